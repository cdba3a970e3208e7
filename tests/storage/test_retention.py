"""Retention keeps what a rule names, removes the rest, and never more than its plan."""

from __future__ import annotations

from datetime import timedelta

import pytest
from inside import change

from n4a_flows.storage import RetentionPolicy, WorkspaceStore
from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import InvalidInputError


def record(
    store: WorkspaceStore,
    name: str,
    scores: dict[str, float],
    *,
    age_days: float = 0,
    metric: str = "rmse",
    dataset: str = "d",
    status: str = "completed",
) -> str:
    """A run with a pipeline, chain and artifact for each name of `scores`, begun some days ago."""
    run_id = store.begin_run(name, {}, [dataset])
    for label, score in scores.items():
        pipeline_id = store.begin_pipeline(run_id, label, [], {}, dataset, "h")
        model = store.save_artifact(f"model {label}", "str", "model", "joblib")
        step = {"step_idx": 1, "operator_class": "m", "params": {}}
        store.save_chain(pipeline_id, [step], 1, "m", "", "per_fold", {"fold_final": model}, {})
        store.complete_pipeline(pipeline_id, score, None, metric, 1)
    if status == "completed":
        store.complete_run(run_id, {})
    elif status == "failed":
        store.fail_run(run_id, "boom")
    moment = now() - timedelta(days=age_days)
    change(store.workspace_path, f"UPDATE runs SET created_at = TIMESTAMP '{moment}' WHERE run_id = '{run_id}'")
    return run_id


def apply(store: WorkspaceStore, **policy: float) -> None:
    store.apply_retention(store.plan_retention(RetentionPolicy(**policy)))


def names(store: WorkspaceStore) -> set[str]:
    return set(store.list_runs()["name"])


def pipelines(store: WorkspaceStore) -> set[str]:
    return set(store.list_pipelines()["name"])


def chain(store: WorkspaceStore, label: str) -> str:
    [pipeline_id] = store.list_pipelines().filter(name=label)["pipeline_id"]
    return str(store.get_chains_for_pipeline(pipeline_id)["chain_id"].item())


def test_the_last_runs_stay_and_their_files_with_the_next_collection(store: WorkspaceStore) -> None:
    for age in range(5):
        record(store, f"night {age}", {f"p{age}": 1.0}, age_days=age)
    plan = store.plan_retention(RetentionPolicy(last_runs=2))
    assert (plan.runs, plan.pipelines, plan.kept) == (3, 3, {"among the last 2 runs": 2})
    assert len(names(store)) == 5, "a plan only looks"
    report = store.apply_retention(plan)
    assert (report.removed_runs, report.removed_pipelines, report.removed_rows, report.kept) == (3, 3, 9, ())
    assert names(store) == {"night 0", "night 1"}
    assert store.gc_artifacts() == 3
    assert store.check("full").ok


def test_rules_add_up(store: WorkspaceStore) -> None:
    record(store, "new", {"a": 3.0}, age_days=1)
    record(store, "month", {"b": 3.0}, age_days=20)
    record(store, "old", {"c": 3.0}, age_days=60)
    record(store, "old and best", {"d": 1.0, "e": 9.0}, age_days=90)
    apply(store, last_runs=1, days=30, best_chains=1)
    assert names(store) == {"new", "month", "old and best"}
    assert pipelines(store) == {"a", "b", "d"}, "a run kept for its best chain gives up the others"


def test_the_best_are_found_for_each_dataset_target_and_metric(store: WorkspaceStore) -> None:
    record(store, "a", {"low rmse": 1.0, "high rmse": 2.0}, age_days=9)
    record(store, "b", {"low r2": 0.1, "high r2": 0.9}, metric="R2", age_days=9)
    record(store, "c", {"other": 7.0}, dataset="e", age_days=9)
    record(store, "d", {"strange": 7.0}, metric="wobble", age_days=9)
    record(store, "e", {"lost": float("nan")}, age_days=9)
    apply(store, best_chains=1)
    assert pipelines(store) == {"low rmse", "high r2", "other", "strange"}, "what cannot be ranked is not given up"


def test_equal_chains_of_many_nights_count_once(store: WorkspaceStore) -> None:
    record(store, "second best", {"other": 2.0}, age_days=9)
    for night in range(3):
        record(store, f"night {night}", {"same": 1.0}, age_days=3 - night)
    apply(store, best_chains=2)
    assert names(store) == {"night 2", "second best"}


def test_failed_runs_have_a_time_of_their_own(store: WorkspaceStore) -> None:
    record(store, "good", {"a": 1.0}, age_days=50)
    record(store, "failed lately", {"b": 1.0}, age_days=2, status="failed")
    record(store, "failed before", {"c": 1.0}, age_days=5, status="failed")
    apply(store, last_runs=10, failed_days=3)
    assert names(store) == {"good", "failed lately"}


def test_what_an_alias_names_and_what_has_not_ended_stays(store: WorkspaceStore) -> None:
    record(store, "named", {"champion": 5.0, "other": 6.0}, age_days=400)
    record(store, "running", {"half": 5.0}, age_days=400, status="running")
    record(store, "new", {"n": 5.0})
    store.set_alias("d/champion", chain(store, "champion"))
    apply(store, last_runs=1)
    assert names(store) == {"named", "running", "new"}
    assert pipelines(store) == {"champion", "half", "n"}


def test_a_policy_that_leaves_nothing_must_say_so(store: WorkspaceStore) -> None:
    record(store, "running", {}, status="running")
    record(store, "only", {"a": 1.0}, age_days=5)
    for policy in (RetentionPolicy(days=1), RetentionPolicy(last_runs=0)):
        with pytest.raises(InvalidInputError, match="would remove every run that has ended"):
            store.plan_retention(policy)
    assert names(store) == {"only", "running"}
    apply(store, remove_everything=True)
    assert names(store) == {"running"}
    with pytest.raises(InvalidInputError, match="days of a retention policy must be at least 0"):
        RetentionPolicy(days=-1)


def test_a_policy_without_rules_is_refused_whatever_is_named_or_failed(store: WorkspaceStore) -> None:
    for number in range(3):
        record(store, f"night {number}", {f"p{number}": 1.0}, age_days=number)
    record(store, "failed", {}, status="failed")
    store.set_alias("d/champion", chain(store, "p2"))
    with pytest.raises(InvalidInputError, match="last_runs, days, best_chains or failed_days"):
        store.plan_retention(RetentionPolicy())
    assert len(names(store)) == 4
    apply(store, remove_everything=True)
    assert names(store) == {"night 2"}


def test_a_rule_for_failed_runs_alone_is_about_failed_runs_alone(store: WorkspaceStore) -> None:
    for number in range(4):
        record(store, f"night {number}", {f"p{number}": 1.0}, age_days=100 + number)
    record(store, "failed today", {}, status="failed")
    record(store, "failed before", {}, age_days=50, status="failed")
    for policy in (RetentionPolicy(failed_days=7, remove_everything=True), RetentionPolicy(failed_days=7)):
        plan = store.plan_retention(policy)
        assert [item.name for item in plan.retired] == ["failed before"]
    store.apply_retention(plan)
    assert names(store) == {"night 0", "night 1", "night 2", "night 3", "failed today"}


def test_a_champion_that_is_old_does_not_stop_the_nightly_retention(store: WorkspaceStore) -> None:
    for number in range(3):
        record(store, f"night {number}", {f"p{number}": 1.0}, age_days=100 + number)
    store.set_alias("d/champion", chain(store, "p1"))
    apply(store, days=90)
    assert names(store) == {"night 1"}


def test_a_champion_that_is_among_the_best_is_left_by_that_rule(store: WorkspaceStore) -> None:
    record(store, "worse", {"worse": 2.0}, age_days=9)
    record(store, "best", {"best": 1.0}, age_days=9)
    store.set_alias("d/champion", chain(store, "best"))
    apply(store, best_chains=1)
    assert names(store) == {"best"}


def test_what_came_to_be_needed_since_the_plan_stays(store: WorkspaceStore) -> None:
    old = record(store, "old", {"a": 1.0, "b": 2.0}, age_days=9)
    grown = record(store, "grown", {"c": 1.0}, age_days=9)
    record(store, "new", {"n": 1.0})
    plan = store.plan_retention(RetentionPolicy(last_runs=1))
    store.set_alias("d/champion", chain(store, "a"))
    store.begin_pipeline(grown, "late", [], {}, "d", "h")
    report = store.apply_retention(plan)
    assert pipelines(store) == {"a", "late", "n"}
    assert names(store) == {"old", "grown", "new"}
    assert {old, grown} < set(report.kept)
    assert report.removed_runs == 0


@pytest.mark.parametrize("days", [1e6, 1e12])
def test_more_days_than_the_calendar_has_keep_everything(store: WorkspaceStore, days: float) -> None:
    record(store, "old", {"a": 1.0}, age_days=4000)
    assert store.plan_retention(RetentionPolicy(days=days)).retired == ()
    store.save_artifact("nobody's", "str", "m")
    assert store.plan_gc(timedelta(days=min(days, 999_999_999))).artifacts == ()
