"""Rule 1: any number of processes, threads and forks take turns, and nobody loses a write."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import duckdb
import pytest
from processes import answer, record_pipeline, start, wait_for

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import StoreBusyError, UnsupportedPlatformError, WorkspaceError
from n4a_flows.storage.locks import refuse_network_file_system


def test_four_processes_record_at_once_into_a_new_workspace(tmp_path: Path) -> None:
    workspace, stop = tmp_path / "ws", tmp_path / "stop"
    writers = [start("record_many", workspace, tmp_path / "meeting", 4, 10, 0.02) for _ in range(4)]
    WorkspaceStore(workspace).close()
    reader = start("read_until", workspace, stop)
    times = [answer(writer) for writer in writers]
    stop.touch()
    assert answer(reader) > 5

    store = WorkspaceStore(workspace)
    pipelines = store.list_pipelines()
    assert pipelines.height == 40
    assert set(pipelines["status"]) == {"completed"}
    assert store.query_predictions().height == 40
    assert set(store.list_runs()["status"]) == {"completed"}
    # While all four are at it, each gets its turn: the slowest has at least half the share of the fastest.
    first_end = min(done[-1] for done in times)
    shares = [sum(moment <= first_end for moment in done) for done in times]
    assert min(shares) >= max(shares) / 2


def test_kill_inside_a_transaction_leaves_no_half_pipeline(tmp_path: Path) -> None:
    workspace, ready = tmp_path / "ws", tmp_path / "ready"
    process = start("stop_in_the_middle", workspace, ready)
    wait_for(ready)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    begun = time.monotonic()
    store = WorkspaceStore(workspace)
    assert store.list_runs()["name"].to_list() == ["doomed"]
    assert store.list_pipelines().height == 0
    record_pipeline(store, store.begin_run("next", {}, []), "whole")
    assert time.monotonic() - begun < 2
    assert store.list_pipelines()["name"].to_list() == ["whole"]


def test_a_held_store_raises_at_the_deadline_and_names_the_holder(tmp_path: Path) -> None:
    workspace, ready = tmp_path / "ws", tmp_path / "ready"
    store = WorkspaceStore(workspace, lock_timeout=0.5)
    holder = start("hold", workspace, ready, 3)
    wait_for(ready)
    for verb in (store.list_runs, lambda: store.begin_run("x", {}, [])):
        begun = time.monotonic()
        with pytest.raises(StoreBusyError) as caught:
            verb()
        assert time.monotonic() - begun == pytest.approx(0.5, abs=0.1)
        assert f"process {holder.pid}" in str(caught.value)
        assert "begin_run" in str(caught.value)
    assert answer(holder) is True
    assert store.list_runs()["name"].to_list() == ["held"], "the store is free again, and what was held is committed"


def test_waiters_given_up_do_not_keep_the_store(tmp_path: Path) -> None:
    workspace, ready = tmp_path / "ws", tmp_path / "ready"
    WorkspaceStore(workspace).close()
    holder = start("hold", workspace, ready, 3)
    wait_for(ready)
    # Another process has the gate now and waits for the lock, so that this one has to wait for the gate.
    queue = start("record_many", workspace, tmp_path / "meeting", 1, 1, 0)
    time.sleep(1.2)
    with pytest.raises(StoreBusyError):
        WorkspaceStore(workspace, lock_timeout=0.2)
    with pytest.raises(StoreBusyError):
        WorkspaceStore(workspace, lock_timeout=0.2)
    before = threading.active_count()
    answer(holder)
    answer(queue)
    store = WorkspaceStore(workspace)
    assert store.list_pipelines().height == 1
    assert threading.active_count() <= before


def test_threads_share_one_store(tmp_path: Path) -> None:
    store = WorkspaceStore(tmp_path / "ws")
    run_id = store.begin_run("shared", {}, [])
    errors: list[str] = []

    def work(name: str) -> None:
        try:
            for number in range(5):
                record_pipeline(store, run_id, f"{name}-{number}")
                store.top_predictions(3)
        except BaseException:  # noqa: BLE001 - shown by the assertion below
            errors.append(traceback.format_exc())

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.list_pipelines().height == 20


def test_a_thread_waits_for_the_transaction_of_another(tmp_path: Path) -> None:
    store = WorkspaceStore(tmp_path / "ws", lock_timeout=0.3)
    caught: list[BaseException] = []

    def read() -> None:
        try:
            store.list_runs()
        except StoreBusyError as error:
            caught.append(error)

    with store.transaction():
        store.begin_run("long", {}, [])
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert len(caught) == 1
    assert f"process {os.getpid()}" in str(caught[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("inside_transaction", [False, True])
def test_a_forked_child_works(tmp_path: Path, inside_transaction: bool) -> None:
    store = WorkspaceStore(tmp_path / "ws")
    run_id = store.begin_run("parent", {}, [])
    report = tmp_path / "report"
    if inside_transaction:
        with store.transaction():
            store.begin_pipeline(run_id, "of the parent", [], {}, "d", "h")
            child = os.fork()
            if child == 0:
                _finish_child(report, lambda: None)
    else:
        child = os.fork()
        if child == 0:
            _finish_child(report, lambda: record_pipeline(store, run_id, "of the child"))
    record_pipeline(store, run_id, "after the fork")
    _, status = os.waitpid(child, 0)
    assert status == 0, report.read_text()
    other = "of the parent" if inside_transaction else "of the child"
    assert sorted(store.list_pipelines()["name"]) == sorted(["after the fork", other])


def _finish_child(report: Path, work: object) -> None:
    try:
        work()  # type: ignore[operator]
    except BaseException:  # noqa: BLE001 - the parent shows it
        report.write_text(traceback.format_exc())
        os._exit(1)
    # Not os._exit: what the interpreter tears down at exit must not touch the parent's DuckDB.
    sys.stdout.flush()
    os._exit(0)


def test_a_forked_child_that_exits_normally_does_not_hang(tmp_path: Path) -> None:
    code = f"""
import os, sys
from n4a_flows.storage import WorkspaceStore
store = WorkspaceStore({str(tmp_path / "ws")!r})
store.begin_run("parent", {{}}, [])
child = os.fork()
store.begin_run("both", {{}}, [])
if child:
    assert os.waitpid(child, 0)[1] == 0
    print(store.list_runs().height)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "3"


def test_a_second_and_a_pickled_store_share_the_door(tmp_path: Path) -> None:
    store = WorkspaceStore(tmp_path / "ws", lock_timeout=7, trust="modules")
    (tmp_path / "link").symlink_to(tmp_path / "ws")
    second = WorkspaceStore(tmp_path / "link")
    pickled = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own bytes
    with store.transaction():
        run_id = store.begin_run("one", {}, [])
        second.fail_run(run_id, "seen through the link")
        assert pickled.get_run(run_id)["error"] == "seen through the link"
    assert (pickled.lock_timeout, pickled.trust) == (7, "modules")


def test_another_program_that_has_the_file_open_is_named(tmp_path: Path) -> None:
    WorkspaceStore(tmp_path / "ws").close()
    database = str(tmp_path / "ws" / "store.duckdb")
    code = f"import duckdb, sys; c = duckdb.connect({database!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        with pytest.raises(StoreBusyError, match=f"process {program.pid}"):
            WorkspaceStore(tmp_path / "ws", lock_timeout=0.3)
        program.kill()
    WorkspaceStore(tmp_path / "ws", lock_timeout=0.3)


def test_the_database_file_is_plain_duckdb(tmp_path: Path) -> None:
    store = WorkspaceStore(tmp_path / "ws")
    store.begin_run("readable", {"folds": 5}, ["tecator"])
    assert not (tmp_path / "ws" / "store.duckdb.wal").exists()
    with duckdb.connect(str(tmp_path / "ws" / "store.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT name, config->>'folds' FROM runs").fetchall() == [("readable", "5")]


def test_a_file_in_the_way_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WorkspaceError, match="cannot be made"):
        WorkspaceStore(tmp_path / "file" / "ws")
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "store.duckdb").write_text("not a database, though long enough to look like one" * 100)
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        WorkspaceStore(tmp_path / "ws")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p"])
def test_network_file_systems_are_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    table = f"22 1 0:21 / / rw - ext4 /dev/sda rw\n30 22 0:40 / /mnt/lab rw shared:1 - {kind} server:/lab rw\n"
    real = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda self, *a, **k: table if self.name == "mountinfo" else real(self, *a, **k)
    )
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(UnsupportedPlatformError, match=f"{kind}.*allow_network"):
        refuse_network_file_system(Path("/mnt/lab/ws"))
    refuse_network_file_system(Path("/mnt/laboratory"))


def test_a_lost_database_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    store = WorkspaceStore(tmp_path / "ws")
    record_pipeline(store, store.begin_run("r", {}, []), "p")
    (tmp_path / "ws" / "store.duckdb").rename(tmp_path / "kept")
    for use in (store.list_runs, lambda: store.begin_run("x", {}, []), lambda: WorkspaceStore(tmp_path / "ws")):
        with pytest.raises(WorkspaceError, match="Restore it from a backup"):
            use()
    (tmp_path / "kept").rename(tmp_path / "ws" / "store.duckdb")
    assert store.list_pipelines().height == 1


def test_any_deadline_is_taken(tmp_path: Path) -> None:
    assert WorkspaceStore(tmp_path / "ws", lock_timeout=float("inf")).list_runs().height == 0


def test_an_object_that_another_process_saved_meanwhile_is_not_saved_again(tmp_path: Path) -> None:
    with WorkspaceStore(tmp_path / "ws") as store:
        # After some looks the hashes that are recorded are known, and not asked for again.
        for number in range(8):
            store.save_artifact([number], "list", "transformer")
        there = answer(start("save_list", store.workspace_path, 100))
        assert store.save_artifact([100], "list", "transformer") == there
        assert store.save_artifact([101], "list", "transformer") == answer(
            start("save_list", store.workspace_path, 101)
        )
