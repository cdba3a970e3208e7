"""The process of `n4a-flows up` that sets up a Prefect server for a workspace and runs its flows.

    python -m n4a_flows.deploy.serving WORKSPACE DESCRIPTOR

It writes a byte to the open file descriptor when everything is in place, and ends on SIGTERM with all its flow runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.runner import Runner

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.deploy import automations
from n4a_flows.deploy.deployments import deployments

BLOCK_NAME = "local"
"""The name of the block in the deployments."""

FIRST, NEEDS_IT = "nightly", "incoming"
"""The deployment that makes a champion, and the one that predicts with it."""


def set_up(workspace: Path) -> Runner:
    """Save the block, the deployments and the automations; start the first training, where there is no champion yet."""
    block = WorkspaceStoreBlock(path=workspace)
    block.save(BLOCK_NAME, overwrite=True)
    runner = Runner(name="n4a-flows up")
    served = {deployment.name: deployment for deployment in deployments()}
    ids = {name: runner.add_deployment(deployment) for name, deployment in served.items()}
    automations.save()
    with block.open() as store:
        champion = store.get_alias(served[NEEDS_IT].parameters["chain"])
    if champion is None:
        with get_client(sync_client=True) as client:
            client.create_flow_run_from_deployment(cast(UUID, ids[FIRST]))
    return runner


def main(workspace: str, descriptor: str) -> None:
    """Set up and run until told to stop."""
    runner = set_up(Path(workspace))
    with os.fdopen(int(descriptor), "wb") as told:
        told.write(b".")
    with contextlib.suppress(KeyboardInterrupt, TerminationSignal):
        asyncio.run(runner.start())


if __name__ == "__main__":
    main(*sys.argv[1:])
