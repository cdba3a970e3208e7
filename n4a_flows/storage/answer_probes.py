"""A process that replays probes: it is asked on standard input, and answers on standard output.

It lies in this room because a process that imports the storage alone begins in half a second.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from n4a_flows.storage.errors import N4AError
from n4a_flows.storage.probes import ProbeReport
from n4a_flows.storage.workspace_store import WorkspaceStore


def _answer() -> None:
    asked = json.load(sys.stdin)
    sys.path[:] = asked["path"]
    reports = []
    with WorkspaceStore(**asked["settings"]) as store:
        for chain_id in asked["chain_ids"]:
            try:
                reports.append(store.replay_probe(chain_id))
            except N4AError as error:
                reports.append(ProbeReport(chain_id, False, None, f"It cannot be replayed: {error}"))
    print(json.dumps([asdict(report) for report in reports]))


if __name__ == "__main__":
    _answer()
