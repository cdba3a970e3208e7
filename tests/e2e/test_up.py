"""`n4a-flows up` as a new user has it: one command, and all of it gone at its end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab import free_port, wait_for
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from n4a_flows.storage import WorkspaceStore

COMMAND = [sys.executable, "-c", "from n4a_flows.cli import main; main()", "up", "--json"]


@contextmanager
def up(workspace: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """It runs, and this is what it said."""
    process = subprocess.Popen(
        [*COMMAND, "--workspace", str(workspace), "--port", str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        lines = []
        while not lines or lines[-1] != "}\n":
            lines.append(process.stdout.readline())
            assert lines[-1], "it ended before it said anything"
        said = json.loads("".join(lines))
        with temporary_settings({PREFECT_API_URL: said["api"]}):
            yield process, said
    finally:
        if process.poll() is None:
            end(process, signal.SIGTERM)
        process.stdout.close()


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """End it by a signal: it says that all is well and leaves no process behind."""
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.send_signal(number)
    assert process.wait(90) == 0
    assert [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []


def state_of(deployment: str) -> Any:
    with get_client(sync_client=True) as client:
        identity = client.read_deployment_by_name(deployment).id
        return next((run.state for run in client.read_flow_runs() if run.deployment_id == identity), None)


def schedules_run() -> bool:
    with get_client(sync_client=True) as client:
        return not client.read_deployment_by_name("predict-new-spectra/incoming").paused


def test_a_first_try(tmp_path: Path) -> None:
    workspace, port = tmp_path / "ws", free_port()
    with up(workspace, port) as (process, said):
        assert said["ui"] == f"http://127.0.0.1:{port}"
        wait_for("the first training", lambda: getattr(state_of("train-and-record/nightly"), "name", "") == "Running")
        wait_for("its run", lambda: any(WorkspaceStore(workspace).running_runs()))
        end(process, signal.SIGINT)
    store = WorkspaceStore(workspace)
    assert store.running_runs() == [], "a training that was stopped in the middle is no running run"

    with up(workspace, port) as (process, _):
        again = subprocess.run([*COMMAND, "--workspace", str(workspace)], capture_output=True, text=True, check=False)
        assert again.returncode == 1
        assert "runs already" in again.stderr
        assert schedules_run(), "which the end of the first one had paused"
        wait_for("the first training", lambda: store.get_alias("tecator/fat/champion"), 120)
        wait_for(
            "the predictions after it",
            lambda: getattr(state_of("predict-new-spectra/incoming"), "name", "") == "Completed",
            120,
        )
        end(process, signal.SIGTERM)
    assert (workspace / "incoming").is_dir()
    assert store.check("full").ok


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        tried = subprocess.run(
            [*COMMAND, "--workspace", str(tmp_path / "ws"), "--port", port], capture_output=True, text=True, check=False
        )
    assert tried.returncode == 1
    assert "give another one with --port" in tried.stderr


@pytest.fixture(autouse=True)
def _nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's settings, which must not matter."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PREFECT_API_KEY", "of another server")
