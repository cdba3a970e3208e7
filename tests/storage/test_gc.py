"""Garbage collection as plan and apply."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from processes import record_pipeline

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import ArtifactMissingError, InvalidInputError

NOW = timedelta(0)


def files_of(store: WorkspaceStore) -> set[str]:
    folder = store.workspace_path / "artifacts"
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def live(store: WorkspaceStore) -> set[str]:
    """A workspace with one chain; the files that it needs."""
    record_pipeline(store, store.begin_run("r", {}, []), "live")
    return files_of(store)


def test_a_plan_says_what_and_why_and_changes_nothing(store: WorkspaceStore, live: set[str]) -> None:
    loose = store.save_artifact("loose", "str", "model", "joblib")
    before = files_of(store)
    assert store.plan_gc().artifacts == (), "it was saved lately"
    plan = store.plan_gc(grace=NOW)
    (garbage,) = plan.artifacts
    assert (garbage.artifact_id, plan.files) == (loose, 1)
    assert "last saved at" in garbage.reason
    assert plan.bytes == store.get_artifact_path(loose).stat().st_size
    assert files_of(store) == before
    assert store.plan_gc(grace=NOW).digest == plan.digest
    assert json.loads(json.dumps(plan.to_dict()))["digest"] == plan.digest
    report = store.apply_gc(plan)
    assert (report.removed_artifacts, report.removed_files, report.freed_bytes, report.kept) == (1, 1, plan.bytes, ())
    assert files_of(store) == live
    assert store.apply_gc(plan).removed_files == 0, "applied twice, it removes nothing more"


def test_what_became_alive_meanwhile_stays(store: WorkspaceStore, live: set[str]) -> None:
    again, used, garbage = (
        store.save_artifact(name, "str", "model", "joblib") for name in ("again", "used", "garbage")
    )
    time.sleep(0.01)
    plan = store.plan_gc(grace=NOW)
    later = store.save_artifact("later", "str", "model", "joblib")
    store.save_artifact("again", "str", "model", "joblib")
    pipeline_id = store.begin_pipeline(store.begin_run("r", {}, []), "p", [], {}, "d", "h")
    steps = [{"step_idx": 1, "operator_class": "m"}]
    store.save_chain(pipeline_id, steps, 1, "m", "", "per_fold", {"fold_0": used}, {})
    report = store.apply_gc(plan)
    assert set(report.kept) == {again, used}
    assert [store.load_artifact(artifact_id) for artifact_id in (again, used, later)] == ["again", "used", "later"]
    assert report.removed_artifacts == 1
    with pytest.raises(KeyError):
        store.load_artifact(garbage)


def test_orphans_go_after_the_grace_period_and_foreign_files_stay(store: WorkspaceStore, live: set[str]) -> None:
    folder = store.workspace_path / "artifacts"
    orphan, temporary, fresh, foreign = (
        folder / name
        for name in (f"ab/ab{'0' * 62}.joblib", "cd/.tmp-1", f"ef/ef{'0' * 62}.pkl", "12/model_PLS_123.joblib")
    )
    for path in (orphan, temporary, fresh, foreign):
        path.parent.mkdir()
        path.write_bytes(b"12345")
    (folder / "99").mkdir()
    for path in (orphan, temporary, foreign):
        os.utime(path, (time.time() - 7200,) * 2)
    plan = store.plan_gc()
    assert {item.path for item in plan.orphans} == {str(path.relative_to(folder)) for path in (orphan, temporary)}
    assert plan.foreign == ("12/model_PLS_123.joblib",)
    assert (plan.files, plan.bytes) == (2, 10)
    assert store.apply_gc(plan).freed_bytes == 10
    assert files_of(store) == live | {str(path.relative_to(folder)) for path in (fresh, foreign)}
    assert not (folder / "99").exists()
    assert not orphan.parent.exists()


def test_a_prepared_file_that_gc_takes_is_written_again(store: WorkspaceStore) -> None:
    prepared = store.prepare_artifact("slow", "str", "model")
    path = store.workspace_path / "artifacts" / prepared.relative_path
    os.utime(path, (time.time() - 7200,) * 2)
    assert store.gc_artifacts() == 1
    assert not path.exists()
    assert store.load_artifact(store.save_artifact(prepared)) == "slow"


def test_a_missing_live_file_stops_everything(store: WorkspaceStore, live: set[str]) -> None:
    garbage = store.save_artifact("garbage", "str", "model", "joblib")
    plan = store.plan_gc(grace=NOW)
    (store.workspace_path / "artifacts" / next(iter(live))).unlink()
    for refused in (lambda: store.apply_gc(plan), store.plan_gc, store.gc_artifacts):
        with pytest.raises(ArtifactMissingError, match="Nothing was removed"):
            refused()
    assert store.load_artifact(garbage) == "garbage"
    with pytest.raises(InvalidInputError, match="negative"):
        store.plan_gc(timedelta(seconds=-1))


def test_a_file_that_cannot_be_removed_is_an_orphan_for_the_next_time(
    store: WorkspaceStore, live: set[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.save_artifact("garbage", "str", "model", "joblib")
    time.sleep(0.01)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda self, missing_ok=False: (_ for _ in ()).throw(OSError(13, "denied")))
        store.apply_gc(store.plan_gc(grace=NOW))
    assert "cannot be removed" in caplog.text
    time.sleep(0.01)
    plan = store.plan_gc(grace=NOW)
    assert [item.reason for item in plan.orphans] == ["no row names it"]
    store.apply_gc(plan)
    assert files_of(store) == live
