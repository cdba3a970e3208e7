"""Runs that died are ended as failed, and only those."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from inside import change

from n4a_flows.storage import WorkspaceStore

BEGIN = """
import sys, time
from n4a_flows.storage import WorkspaceStore
store = WorkspaceStore(sys.argv[1])
run_id = store.begin_run("r", {}, [])
done = store.begin_pipeline(run_id, "done", [], {}, "d", "h")
store.complete_pipeline(done, 1.0, None, "rmse", 1)
store.begin_pipeline(run_id, "half", [], {}, "d", "h")
print(run_id, flush=True)
time.sleep(60)
"""


def test_a_run_whose_process_was_killed_is_reaped_once(store: WorkspaceStore) -> None:
    recorder = subprocess.Popen(
        [sys.executable, "-c", BEGIN, str(store.workspace_path)], stdout=subprocess.PIPE, text=True
    )
    assert recorder.stdout is not None
    run_id = recorder.stdout.readline().strip()
    mine = store.begin_run("mine", {}, [])
    assert store.reap_dead_runs() == [], "it still runs"
    recorder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, recorder.pid, os.WEXITED | os.WNOWAIT)  # still a zombie
    [reaped] = store.reap_dead_runs()
    recorder.wait()
    recorder.stdout.close()
    assert reaped.run_id == run_id
    assert "is gone" in reaped.reason
    run = store.get_run(run_id)
    assert run is not None
    assert (run["status"], run["error"]) == ("failed", reaped.reason)
    assert dict(store.list_pipelines(run_id).select("name", "status").rows()) == {"done": "completed", "half": "failed"}
    assert store.reap_dead_runs() == []
    assert [origin.run_id for origin in store.running_runs()] == [mine]


def test_a_pid_that_another_process_has_by_now_is_no_sign_of_life(store: WorkspaceStore) -> None:
    run_id = store.begin_run("r", {}, [])
    change(store.workspace_path, "UPDATE run_origins SET process_started_at = process_started_at - INTERVAL 1 HOUR")
    assert [reaped.run_id for reaped in store.reap_dead_runs()] == [run_id]


def test_a_run_of_another_host_or_of_nobody_is_left_alone(store: WorkspaceStore) -> None:
    for _ in range(2):
        store.begin_run("r", {}, [])
    first, second = (origin.run_id for origin in store.running_runs())
    change(
        store.workspace_path,
        f"UPDATE run_origins SET host = 'elsewhere', pid = 1 WHERE run_id = '{first}'",
        f"DELETE FROM run_origins WHERE run_id = '{second}'",
    )
    assert store.reap_dead_runs(lambda _: True) == []
    assert len(store.running_runs()) == 2


def test_a_flow_run_is_dead_when_it_is_over_or_its_process_is_gone(store: WorkspaceStore) -> None:
    names = ("over", "running", "running, killed", "unknown", "unknown, killed")
    runs = {name: store.begin_run(name, {}, [], flow_run_id=name) for name in names}
    killed = [run_id for name, run_id in runs.items() if name.endswith("killed")]
    change(store.workspace_path, f"UPDATE run_origins SET pid = 2000000000 WHERE run_id IN {tuple(killed)}")
    without_a_server = {run.name for run in store.reap_dead_runs(dry_run=True)}
    assert without_a_server == {"running, killed", "unknown, killed"}
    said = {"over": True, "running": False, "running, killed": False}
    reasons = {run.name: run.reason for run in store.reap_dead_runs(said.get)}
    assert set(reasons) == {"over", "running, killed", "unknown, killed"}
    assert reasons.pop("over") == "The flow run over is over, but did not end this run."
    assert all(reason.startswith("The process 2000000000") for reason in reasons.values())


def test_a_process_of_a_container_is_not_looked_for_outside(store: WorkspaceStore) -> None:
    store.begin_run("r", {}, [])
    change(store.workspace_path, "UPDATE run_origins SET host = host || ' pid:[1]', pid = 2000000000")
    assert store.reap_dead_runs() == []


def test_a_server_that_cannot_be_reached_reaps_nothing(store: WorkspaceStore) -> None:
    for number in range(2):
        store.begin_run("r", {}, [], flow_run_id=f"f{number}")

    def asked(flow_run_id: str) -> bool:
        if flow_run_id == "f1":
            raise ConnectionError("no server")
        return True

    with pytest.raises(ConnectionError):
        store.reap_dead_runs(asked)
    assert len(store.running_runs()) == 2


def test_a_run_that_ended_is_not_ended_again(store: WorkspaceStore) -> None:
    run_id = store.begin_run("r", {}, [])
    store.complete_run(run_id, {"n": 1})
    assert not store.reap_run(run_id, "too late")
    assert not store.reap_run("unknown", "too late")
    run = store.get_run(run_id)
    assert run is not None
    assert (run["status"], run["error"]) == ("completed", None)
