"""A disk that fills up: one clear error, nothing lost, and all goes on when there is room again. On a real, small file system."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from inside import look
from processes import record_pipeline

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import N4AError

MEGABYTE = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "n4a-test", folder], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def leave(disk: Path, room: int) -> None:
    """Fill the disk until only so many bytes are free."""
    with (disk / "filler").open("wb") as filler:
        space = os.statvfs(disk)
        os.posix_fallocate(filler.fileno(), 0, max(1, space.f_bavail * space.f_frsize - room))


def fill(store: WorkspaceStore, name: str) -> str:
    """A run with 30 predictions of 2 x 1000 random numbers and a big artifact."""
    values = np.random.default_rng(len(name))
    with store.transaction():
        run_id = store.begin_run(name, {}, [])
        pipeline_id = store.begin_pipeline(run_id, name, [], {}, "d", "h")
        model = store.save_artifact(values.random(40_000), "numpy.ndarray", "model", "pickle")
        step = {"step_idx": 1, "operator_class": "m", "params": {}}
        chain_id = store.save_chain(pipeline_id, [step], 1, "m", "", "per_fold", {"fold_final": model}, {})
        for number in range(30):
            prediction_id = store.save_prediction(
                pipeline_id, chain_id, "d", "m", "m", f"fold_{number}", "val", 1.0, None, None, "rmse", "regression",
                1000, 2, {}, {}, None, None, 0, 0.0,
            )  # fmt: skip
            store.save_prediction_arrays(prediction_id, values.random(1000), values.random(1000))
    return run_id


def contents(workspace: Path) -> tuple[list[tuple[object, ...]], ...]:
    return tuple(
        look(workspace, f"SELECT * FROM {table} ORDER BY ALL")
        for table in ("runs", "pipelines", "chains", "predictions", "prediction_arrays", "artifacts", "chain_artifacts")
    )


def _record(store: WorkspaceStore, disk: Path) -> None:
    fill(store, "new")


def _collect(store: WorkspaceStore, disk: Path) -> None:
    store.apply_gc(store.plan_gc(timedelta(0)))


def _vacuum(store: WorkspaceStore, disk: Path) -> None:
    store.vacuum()


def _back_up(store: WorkspaceStore, disk: Path) -> None:
    store.backup(disk / "backup")


def _delete(store: WorkspaceStore, disk: Path) -> None:
    store.delete_run(store.list_runs()["run_id"][0])


@pytest.mark.parametrize("verb", [_record, _collect, _vacuum, _back_up, _delete])
def test_a_disk_that_fills_up_loses_nothing(disk: Path, verb: Callable[[WorkspaceStore, Path], None]) -> None:
    store = WorkspaceStore(disk / "ws")
    for name in ("first", "second"):
        fill(store, name)
    store.save_artifact(np.arange(1000.0), "numpy.ndarray", "model", "pickle")
    for room in (0, MEGABYTE // 16, MEGABYTE // 2, MEGABYTE, 2 * MEGABYTE):
        before = contents(disk / "ws")
        leave(disk, room)
        error = None
        try:
            verb(store, disk)
        except N4AError as caught:
            error = str(caught)
        (disk / "filler").unlink()
        if error is not None:
            print(error)
            assert "No space left" in error or "free disk" in error
            assert contents(disk / "ws") == before, f"with {room} bytes of room: all of it or nothing"
        assert store.check("full").ok
        record_pipeline(store, store.begin_run("after", {}, []), f"after {room}")
        if error is not None:
            verb(store, disk)
            assert store.check("full").ok
