"""Retention and garbage collection as one plan: what it says goes, whole or not at all."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from inside import change

from n4a_flows.storage import CleaningPlan, RetentionPolicy, WorkspaceStore
from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import PlanOutdatedError, TransactionError

LAST_RUN = RetentionPolicy(last_runs=1)


@pytest.fixture
def store(tmp_path: Path) -> WorkspaceStore:
    """Three runs with a chain and an artifact each, and an artifact that no chain needs, all two days old or more."""
    store = WorkspaceStore(tmp_path / "ws")
    for age in (4, 3, 2):
        run_id = store.begin_run(f"{age} days ago", {}, ["d"])
        pipeline_id = store.begin_pipeline(run_id, f"p{age}", [], {}, "d", "h")
        model = store.save_artifact(f"model {age}", "str", "model", "joblib")
        step = {"step_idx": 1, "operator_class": "m", "params": {}}
        store.save_chain(pipeline_id, [step], 1, "m", "", "per_fold", {"fold_final": model}, {})
        store.complete_pipeline(pipeline_id, 1.0, None, "rmse", 1)
        store.complete_run(run_id, {})
        moment = now() - timedelta(days=age)
        change(store.workspace_path, f"UPDATE runs SET created_at = TIMESTAMP '{moment}' WHERE run_id = '{run_id}'")
    store.save_artifact("loose", "str", "model", "joblib")
    change(store.workspace_path, "UPDATE artifact_saves SET saved_at = saved_at - INTERVAL 2 DAY")
    return store


def counts(store: WorkspaceStore) -> tuple[int, int]:
    """Runs, and files of artifacts."""
    files = [path for path in (store.workspace_path / "artifacts").rglob("*") if path.is_file()]
    return store.list_runs().height, len(files)


@pytest.fixture
def plan(store: WorkspaceStore) -> CleaningPlan:
    return store.plan_cleaning(LAST_RUN)


def test_a_plan_counts_what_the_runs_release_and_changes_nothing(store: WorkspaceStore, plan: CleaningPlan) -> None:
    assert plan.retention is not None
    assert (plan.retention.runs, plan.garbage.files, plan.empty) == (2, 3, False)
    assert counts(store) == (3, 4)
    assert store.plan_cleaning(LAST_RUN).digest == plan.digest
    assert store.plan_cleaning().garbage.files == 1, "without a policy every run stays"
    assert store.check("full").ok


def test_what_it_names_goes(store: WorkspaceStore, plan: CleaningPlan) -> None:
    report = store.apply_cleaning(plan)
    assert report.retained is not None
    assert (report.retained.removed_runs, report.collected.removed_files) == (2, 3)
    assert counts(store) == (1, 1)
    assert store.check("full").ok
    assert store.plan_cleaning(LAST_RUN).empty


def test_nothing_goes_when_a_run_of_it_is_needed_by_now(store: WorkspaceStore, plan: CleaningPlan) -> None:
    [pipeline_id] = store.list_pipelines().filter(name="p4")["pipeline_id"]
    store.set_alias("d/y/champion", store.get_chains_for_pipeline(pipeline_id)["chain_id"].item())
    with pytest.raises(PlanOutdatedError, match=r"3 of what plan \w{12} names .* nothing was deleted"):
        store.apply_cleaning(plan)
    assert counts(store) == (3, 4)
    assert store.check("full").ok


def test_nothing_goes_when_a_file_of_it_is_needed_by_now(store: WorkspaceStore, plan: CleaningPlan) -> None:
    store.save_artifact("loose", "str", "model", "joblib")
    with pytest.raises(PlanOutdatedError, match="the first is artifact"):
        store.apply_cleaning(plan)
    assert counts(store) == (3, 4)


def test_what_others_deleted_meanwhile_is_no_obstacle(store: WorkspaceStore, plan: CleaningPlan) -> None:
    assert plan.retention is not None
    store.gc_artifacts()
    store.delete_run(plan.retention.retired[0].run_id)
    store.begin_run("new", {}, [])
    report = store.apply_cleaning(plan)
    assert report.retained is not None
    assert (report.retained.removed_runs, report.collected.removed_files) == (1, 1)
    assert counts(store) == (2, 1)


def test_a_plan_is_not_made_inside_a_transaction(store: WorkspaceStore) -> None:
    with pytest.raises(TransactionError), store.transaction():
        store.plan_cleaning(LAST_RUN)
    assert counts(store) == (3, 4)
