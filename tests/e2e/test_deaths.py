"""However a flow run ends under a real worker, no run of the workspace says that it still runs."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any
from uuid import UUID

import psutil
import pytest
from lab import HEARTBEAT, Lab, wait_for
from prefect.states import Cancelling

from n4a_flows.storage import RunOrigin

PLS = {"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 4}}}
NIGHTLY = "train-and-record/nightly"


def slowly(seconds: float) -> list[dict[str, Any]]:
    return [{"class": "slow_operators.Slow", "params": {"seconds": seconds}}, PLS]


def begun(lab: Lab, flow_run_id: UUID) -> RunOrigin:
    """The run of a flow run, once it trains."""

    def look() -> RunOrigin | None:
        if not (lab.workspace / "store.duckdb").exists():
            return None
        with lab.block.open() as store:
            return next((one for one in store.running_runs() if one.flow_run_id == str(flow_run_id)), None)

    found: RunOrigin = wait_for("the beginning of the run", look, 90)
    return found


def status(lab: Lab, run: RunOrigin) -> tuple[str, str]:
    with lab.block.open() as store:
        row = store.get_run(run.run_id)
    assert row is not None
    return row["status"], row["error"] or ""


def ended_as(lab: Lab, run: RunOrigin) -> tuple[str, str]:
    """Status and error of a run that nobody may leave running. What a worker does after a death takes it a moment."""
    wait_for("the end of the run", lambda: status(lab, run)[0] != "running", 90)
    return status(lab, run)


def test_an_exception(lab: Lab, worker: object) -> None:
    flow_run = lab.start(NIGHTLY, pipeline=[{"class": "slow_operators.Broken", "params": {}}, PLS])
    state = lab.ended(flow_run)
    assert state.type.value == "FAILED"
    with lab.block.open() as store:
        assert store.running_runs() == []
        [row] = store.list_runs(limit=1).iter_rows(named=True)
    assert row["status"] == "failed"
    assert "broken on purpose" in row["error"]


def test_a_timeout(lab: Lab, worker: object) -> None:
    lab.run("-c", DEPLOY_BRIEFLY)
    flow_run = lab.start("train-briefly/brief", pipeline=slowly(3))
    run = begun(lab, flow_run)
    assert lab.ended(flow_run).name == "TimedOut"
    assert ended_as(lab, run)[0] == "failed"


DEPLOY_BRIEFLY = """
from short_flows import train_briefly
store = {"$ref": {"block_document_slug": "workspace-store/local"}}
brief = train_briefly.to_deployment(
    "brief", work_pool_name="n4a", parameters={"store": store, "dataset": "tecator", "target": "fat"}
)
brief.entrypoint = "short_flows.train_briefly"
brief.apply()
"""


def test_a_cancellation_from_the_api(lab: Lab, worker: object) -> None:
    flow_run = lab.start(NIGHTLY, pipeline=slowly(5))
    run = begun(lab, flow_run)
    with lab.client() as client:
        client.set_flow_run_state(flow_run, Cancelling())
    assert lab.ended(flow_run).name == "Cancelled"
    assert ended_as(lab, run)[0] == "failed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_process_of_the_flow(lab: Lab, worker: object, number: signal.Signals) -> None:
    flow_run = lab.start(NIGHTLY, pipeline=slowly(5))
    run = begun(lab, flow_run)
    assert run.pid is not None
    os.kill(run.pid, number)
    assert lab.ended(flow_run).name == "Crashed"
    how, why = ended_as(lab, run)
    assert how == "failed"
    assert why


def test_the_worker_is_killed_and_the_flow_is_not(lab: Lab) -> None:
    with lab.worker("killed early") as killed:
        flow_run = lab.start(NIGHTLY, pipeline=slowly(4))
        run = begun(lab, flow_run)
        killed.kill()
        killed.wait()
        # Prefect crashes it when it misses its worker, here after some seconds; it may also get to its end.
        ends = {"Crashed": "failed", "Completed": "completed"}
        assert ended_as(lab, run)[0] == ends[lab.ended(flow_run).name]


def test_worker_and_flow_are_killed(lab: Lab) -> None:
    with lab.worker("killed") as killed:
        flow_run = lab.start(NIGHTLY, pipeline=slowly(300))
        run = begun(lab, flow_run)
        kill_all(killed)
    # Nobody is left to tell the server. A maintenance on this machine sees at once that the process is gone.
    with lab.worker():
        with lab.client() as client:
            said = client.read_flow_run(flow_run).state
            assert said is not None
            assert said.name == "Running"
        assert lab.ended(lab.start("maintain/gc")).name == "Completed"
        assert status(lab, run) == ("failed", f"The process {run.pid} on {run.host} that recorded this run is gone.")
        # The automation for lost heartbeats tells the server some time later.
        assert lab.ended(flow_run, 3 * HEARTBEAT + 90).name == "Crashed"


def kill_all(worker: subprocess.Popen[bytes]) -> None:
    processes = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, 10)
