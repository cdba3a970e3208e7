"""A small lab for the tests: a Prefect server, a block, the deployments and process workers, all of them real."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.storage.codecs import DEFAULT_ALLOWED_MODULES

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
HEARTBEAT = 30  # seconds; Prefect takes no less


def wait_for(what: str, look: Callable[[], Any], timeout: float = 60) -> Any:
    """Look again and again until there is something, and give it."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.3)
    return found


def free_port() -> int:
    for port in range(4540, 4599):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no free port")


class Lab:
    """A server with everything that `deployments/prefect.yaml` needs; commands and workers are processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workspace = folder / "workspace"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_SERVER_UI_API_URL": f"{self.url}/api",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT),
            "PREFECT_LOGGING_LEVEL": "INFO",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PYTHONPATH": str(HERE),  # the operators and flows of the tests
        }

    @contextmanager
    def process(self, name: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process in a session of its own, all of which is ended at the end; what it says is in a file."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def server(self) -> Any:
        return self.process(
            "server", "prefect", "server", "start", "--host", "127.0.0.1", "--port", self.url.rpartition(":")[2]
        )

    def worker(self, name: str = "worker") -> Any:
        return self.process(name, "prefect", "worker", "start", "--pool", "n4a", "--name", name)

    def healthy(self) -> bool:
        try:
            return bool(urllib.request.urlopen(f"{self.url}/api/health", timeout=2).status == 200)
        except OSError:
            return False

    def run(self, *command: str) -> str:
        """Run a command line of Python to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def set_up(self) -> None:
        """As docs/lab_setup.md says."""
        self.run("-m", "prefect", "block", "register", "-m", "n4a_flows.block")
        block = WorkspaceStoreBlock(
            path=self.workspace, lock_timeout=20, allowed_modules=[*DEFAULT_ALLOWED_MODULES, "slow_operators"]
        )
        block.save("local")
        self.run("-m", "prefect", "work-pool", "create", "n4a", "--type", "process")
        self.run("-m", "prefect", "--no-prompt", "deploy", "--prefect-file", "deployments/prefect.yaml", "--all")
        self.run("deployments/automations.py")
        # The tests say themselves when something runs.
        with self.client() as client:
            for deployment in client.read_deployments():
                client.pause_deployment(deployment.id)
                client.resume_deployment(deployment.id)
                for schedule in deployment.schedules:
                    client.update_deployment_schedule(deployment.id, schedule.id, active=False)

    @property
    def block(self) -> WorkspaceStoreBlock:
        # Playwright runs an event loop in this thread, in which Prefect would return a coroutine.
        block: WorkspaceStoreBlock = WorkspaceStoreBlock.load("local", _sync=True)
        return block

    def client(self) -> Any:
        return get_client(sync_client=True)

    def start(self, deployment: str, **parameters: Any) -> UUID:
        """Ask for a flow run of a deployment, with other parameters where they are given."""
        with self.client() as client:
            identity = client.read_deployment_by_name(deployment).id
            return client.create_flow_run_from_deployment(identity, parameters=parameters).id

    def ended(self, flow_run_id: UUID, timeout: float = 120) -> Any:
        """The final state of a flow run."""

        state: Any = None

        def look() -> Any:
            nonlocal state
            with self.client() as client:
                state = client.read_flow_run(flow_run_id).state
            return state if state is not None and state.is_final() else None

        try:
            return wait_for(f"the end of flow run {flow_run_id}", look, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {state!r}") from None

    def flow_runs(self, client: SyncPrefectClient, deployment: str) -> list[Any]:
        identity = client.read_deployment_by_name(deployment).id
        return [one for one in client.read_flow_runs(limit=200) if one.deployment_id == identity]

    def quiet(self) -> None:
        """Wait until nothing runs or is about to, also nothing that an automation starts."""

        def look() -> bool:
            time.sleep(4)
            with self.client() as client:
                return all(run.state is not None and run.state.is_final() for run in client.read_flow_runs(limit=200))

        wait_for("the end of all flow runs", look, 120)
