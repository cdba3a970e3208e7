"""vacuum gives the space of deleted rows back, and loses nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
from processes import answer, meet, record_pipeline, start

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError, TransactionError, WorkspaceError


def fill(store: WorkspaceStore, count: int) -> str:
    """A run with many predictions of 2 x 200 numbers."""
    run_id = store.begin_run("r", {}, [])
    y = np.random.default_rng(0).random((2, 200))
    with store.transaction():
        pipeline_id = store.begin_pipeline(run_id, "p", [], {}, "d", "h")
        for number in range(count):
            prediction_id = store.save_prediction(
                pipeline_id, None, "d", "m", "m", f"fold_{number}", "val", 1.0, None, None, "rmse", "regression",
                200, 2, {}, {}, None, None, 0, 0.0,
            )  # fmt: skip
            store.save_prediction_arrays(prediction_id, y[0] + number, y[1] + number)
    return run_id


_DIES_AFTER_ITS_COMMIT = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("INSERT INTO meta VALUES ('written', 'by a process that died')")
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("whole", [True, False], ids=["after its commit", "in the middle of it"])
@pytest.mark.parametrize("verb", ["compact", "backup"])
def test_the_log_of_a_process_that_was_killed_stops_neither_vacuum_nor_backup(
    store: WorkspaceStore, tmp_path: Path, verb: str, whole: bool
) -> None:
    file = tmp_path / "ws" / "store.duckdb"
    log = file.with_name("store.duckdb.wal")
    run_id = store.begin_run("kept", {}, [])
    store.backup(tmp_path / "copy")  # the first one notes in the database whose it is
    subprocess.run([sys.executable, "-c", _DIES_AFTER_ITS_COMMIT, str(file)], check=False)
    if not whole:
        log.write_bytes(log.read_bytes()[:-1])
    if verb == "compact":
        assert store.compact(0.0).compacted
    else:
        store.backup(tmp_path / "copy")
        assert WorkspaceStore.restore(tmp_path / "copy", tmp_path / "again").workspace == tmp_path / "again"
    assert not log.exists()
    assert store.get_run(run_id) is not None
    with duckdb.connect(str(file), read_only=True) as connection:
        written = connection.sql("SELECT count(*) FROM meta WHERE key = 'written'").fetchall()
        tables = connection.sql("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'n4a_written'").fetchall()
    assert (written, tables) == ([(int(whole),)], [(0,)])


def test_the_file_shrinks_and_the_rest_stays(store: WorkspaceStore, tmp_path: Path) -> None:
    kept = store.begin_run("kept", {}, [])
    record_pipeline(store, kept, "kept")
    before = store.query_predictions()
    fresh = (tmp_path / "ws" / "store.duckdb").stat().st_size
    run_id = fill(store, 3000)
    full = store.compact()
    assert not full.compacted, "there is nothing to gain"
    assert full.bytes_before > 2 * fresh
    store.delete_run(run_id)
    assert (tmp_path / "ws" / "store.duckdb").stat().st_size > 0.9 * full.bytes_before, (
        "DuckDB itself gives nothing back"
    )
    report = store.compact()
    assert report.compacted
    assert report.bytes_after == (tmp_path / "ws" / "store.duckdb").stat().st_size <= 1.2 * fresh
    assert report.rows["predictions"] == 1
    assert store.query_predictions().equals(before)
    assert store.vacuum() is None
    assert sorted(path.name for path in (tmp_path / "ws").iterdir()) == [
        "artifacts", "store.duckdb", "store.duckdb.gate", "store.duckdb.lock",
    ]  # fmt: skip
    record_pipeline(WorkspaceStore(tmp_path / "ws"), kept, "afterwards")


def test_a_large_database_gets_larger_blocks_once(store: WorkspaceStore) -> None:
    run_id = store.begin_run("r", {}, [])
    y = np.random.default_rng(0).random(1_500_000)
    with store.transaction():
        pipeline_id = store.begin_pipeline(run_id, "p", [], {}, "d", "h")
        for number in range(6):
            prediction_id = store.save_prediction(
                pipeline_id, None, "d", "m", "m", f"fold_{number}", "val", 1.0, None, None, "rmse", "regression",
                len(y), 2, {}, {}, None, None, 0, 0.0,
            )  # fmt: skip
            store.save_prediction_arrays(prediction_id, y + number, y - number)
    due = store.compact(dry_run=True)
    assert (due.compacted, due.outgrown, round(due.dead_share, 1)) == (False, True, 0.0)
    done = store.compact()
    assert (done.compacted, done.outgrown) == (True, True)
    kept = store.get_prediction(prediction_id, load_arrays=True)
    assert np.array_equal(kept["y_true"], y + 5)
    again = store.compact()
    assert (again.compacted, again.outgrown) == (False, False)
    # What becomes small gets small blocks again.
    store.delete_run(run_id)
    assert store.compact().bytes_after < 1e6


def test_other_processes_go_on_with_the_new_file(store: WorkspaceStore, tmp_path: Path) -> None:
    writers = [start("record_many", store.workspace_path, tmp_path / "meeting", 3, 15, 0) for _ in range(2)]
    meet(tmp_path / "meeting", 3)
    vacuums = 0
    while any(writer.poll() is None for writer in writers):
        store.vacuum()
        vacuums += 1
    assert vacuums > 1
    for writer in writers:
        answer(writer)
    assert store.list_pipelines().height == 30
    assert store.query_predictions().height == 30


def test_it_stops_before_harm(store: WorkspaceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    record_pipeline(store, store.begin_run("r", {}, []), "p")
    with pytest.raises(TransactionError, match="cannot be part"), store.transaction():
        store.vacuum()
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        store.compact(2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]
    with pytest.raises(WorkspaceError, match="free disk"):
        store.vacuum()
    assert store.list_pipelines().height == 1
