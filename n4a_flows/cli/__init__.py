"""The command `n4a-flows`."""

from __future__ import annotations

import os
import sys

_PREFECT_SETTINGS = {
    # What the command reports, it reports itself. The logs still go to the Prefect server.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    # The first start of a temporary server on a slow machine outlasts the 20 seconds that Prefect gives it.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    for name, value in _PREFECT_SETTINGS.items():
        os.environ.setdefault(name, value)
    # Prefect reads its settings when it is imported.
    from n4a_flows.cli.commands import run

    sys.exit(run())
