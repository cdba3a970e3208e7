"""Deletion takes what hangs on a run and nothing else; gc takes what no chain needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from processes import record_pipeline

from n4a_flows.storage import WorkspaceStore, serialize
from n4a_flows.storage.database import Database
from n4a_flows.storage.errors import ArtifactMissingError, InvalidInputError, UnknownIdError

TABLES = ("runs", "pipelines", "chains", "predictions", "prediction_arrays", "logs", "chain_artifacts", "chain_context")


def rows(store: WorkspaceStore, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with Database.at(store.workspace_path).session(write=True, operation="test", timeout=5) as session:
        return session.rows(sql, parameters)


def files_of(store: WorkspaceStore) -> list[Path]:
    return sorted(path for path in (store.workspace_path / "artifacts").rglob("*") if path.is_file())


def ref_count(store: WorkspaceStore, artifact_id: str) -> int:
    return int(rows(store, "SELECT ref_count FROM artifacts WHERE artifact_id = ?", artifact_id)[0][0])


def chain_of(store: WorkspaceStore, run_id: str, *artifact_ids: str) -> str:
    pipeline_id = store.begin_pipeline(run_id, "p", [], {}, "d", "h")
    folds = {f"fold_{number}": artifact_id for number, artifact_id in enumerate(artifact_ids)}
    return store.save_chain(
        pipeline_id, [{"step_idx": 1, "operator_class": "m", "params": {}}], 1, "m", "", "per_fold", folds, {}
    )


def test_a_deleted_run_leaves_nothing_behind(store: WorkspaceStore) -> None:
    run_id = store.begin_run("r", {}, [])
    for number in range(3):
        record_pipeline(store, run_id, f"p{number}")
    assert store.delete_run("unknown") == 0
    # 1 run + 3 x (pipeline, chain, prediction, arrays, log)
    assert store.delete_run(run_id) == 16
    assert [rows(store, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES] == [0] * len(TABLES)
    assert files_of(store) == []
    assert list((store.workspace_path / "artifacts").iterdir()) == [], "empty folders go too"


def test_what_another_run_shares_survives(store: WorkspaceStore) -> None:
    runs = [store.begin_run(name, {}, []) for name in ("a", "b")]
    shared, _ = (store.save_artifact("shared", "str", "model", "joblib") for _ in runs)
    chains = [chain_of(store, run_id, shared) for run_id in runs]
    assert ref_count(store, shared) == 2
    store.delete_run(runs[0])
    assert ref_count(store, shared) == 1
    assert store.load_artifact(shared) == "shared"
    assert store.get_chain(chains[0]) is None
    assert store.get_chain(chains[1]) is not None
    store.delete_run(runs[1])
    with pytest.raises(UnknownIdError):
        store.load_artifact(shared)


def test_one_artifact_twice_in_a_chain_is_given_back_twice(store: WorkspaceStore) -> None:
    run_id = store.begin_run("a", {}, [])
    artifact_id, _ = (store.save_artifact("x", "str", "model", "joblib") for _ in range(2))
    chain_of(store, run_id, artifact_id, artifact_id)
    store.delete_run(run_id)
    assert files_of(store) == []


def test_artifacts_may_be_kept(store: WorkspaceStore) -> None:
    run_id = store.begin_run("a", {}, [])
    artifact_id = store.save_artifact("x", "str", "model", "joblib")
    chain_of(store, run_id, artifact_id)
    store.delete_run(run_id, delete_artifacts=False)
    assert store.load_artifact(artifact_id) == "x"
    assert store.gc_artifacts() == 0, "it was saved lately"


def test_gc_takes_what_no_chain_needs(store: WorkspaceStore) -> None:
    run_id = store.begin_run("a", {}, [])
    live, loose, zero = (store.save_artifact(name, "str", "model", "joblib") for name in ("live", "loose", "zero"))
    chain_of(store, run_id, live)
    rows(store, "UPDATE artifacts SET ref_count = 0 WHERE list_contains(?, artifact_id)", [zero, live])
    assert store.gc_artifacts() == 1
    assert [store.load_artifact(artifact_id) for artifact_id in (live, loose)] == ["live", "loose"]
    with pytest.raises(UnknownIdError):
        store.load_artifact(zero)
    rows(store, "UPDATE artifact_saves SET saved_at = saved_at - INTERVAL 2 HOUR")
    assert store.gc_artifacts() == 1, "saved long ago and never put into a chain"
    assert len(files_of(store)) == 1


def test_gc_keeps_a_file_that_another_row_names_and_stops_when_a_live_one_is_missing(store: WorkspaceStore) -> None:
    run_id = store.begin_run("a", {}, [])
    first = store.save_artifact("same", "str", "model", "joblib")
    path = store.get_artifact_path(first)
    artifact = serialize("same", "str", "model")
    assert (
        store.register_existing_artifact("second", str(path), artifact.content_hash, "str", "model", "joblib", 9)
        == "second"
    )
    store.register_existing_artifact("second", "other/path", "x" * 64, "str", "model", "joblib", 9)
    with pytest.raises(InvalidInputError, match="leads out"):
        store.register_existing_artifact("third", "../../etc/passwd", "x" * 64, "str", "model", "joblib", 9)
    rows(store, "UPDATE artifacts SET ref_count = 0 WHERE artifact_id = ?", first)
    assert store.gc_artifacts() == 0
    assert store.load_artifact("second") == "same"

    chain_of(store, run_id, "second")
    garbage = store.save_artifact("garbage", "str", "model", "joblib")
    rows(store, "UPDATE artifacts SET ref_count = 0 WHERE artifact_id = ?", garbage)
    path.unlink()
    with pytest.raises(ArtifactMissingError, match="Nothing was removed"):
        store.gc_artifacts()
    assert store.load_artifact(garbage) == "garbage"


def test_cache_keys_find_what_was_fitted_before(store: WorkspaceStore) -> None:
    artifact_id = store.save_artifact_with_cache_key("snv", "str", "transformer", "joblib", "path", "input", "data")
    assert store.find_cached_artifact("path", "input") == artifact_id
    assert store.find_cached_artifact("path", "other") is None
    other = store.save_artifact("later", "str", "transformer", "joblib")
    store.update_artifact_cache_key(other, "path", "input", "data")
    assert store.find_cached_artifact("path", "input") == other
    assert store.invalidate_dataset_cache("data") == 2
    assert store.find_cached_artifact("path", "input") is None
    assert store.invalidate_dataset_cache("data") == 0
    with pytest.raises(UnknownIdError):
        store.update_artifact_cache_key("none", "a", "b", "c")


def test_a_cached_artifact_that_gc_took_meanwhile_is_kept_anew(store: WorkspaceStore) -> None:
    run_id = store.begin_run("a", {}, [])
    found = store.save_artifact_with_cache_key("snv", "str", "transformer", "joblib", "path", "input", "data")
    prepared = store.prepare_artifact(store.read_artifact(found))
    rows(store, "UPDATE artifacts SET ref_count = 0")
    assert store.gc_artifacts() == 1
    with store.transaction():
        again = store.save_artifact(prepared)
        chain_of(store, run_id, again)
    assert again != found
    assert store.load_artifact(again) == "snv"


def test_trimming_keeps_what_predictions_and_winners_need(store: WorkspaceStore) -> None:
    run_id = store.begin_run("a", {}, [])
    kept = {}
    for name in ("winner", "loser"):
        ids = {
            key: store.save_artifact(f"{name} {key}", "str", "m", "joblib")
            for key in ("fold_0", "fold_1", "fold_final", "snv")
        }
        pipeline_id = store.begin_pipeline(run_id, name, [], {}, "d", "h")
        folds = {key: ids[key] for key in ("fold_0", "fold_1", "fold_final")}
        steps = [{"step_idx": 1, "operator_class": "snv"}, {"step_idx": 2, "operator_class": "m"}]
        chain_id = store.save_chain(pipeline_id, steps, 2, "m", "", "per_fold", folds, {"1": ids["snv"]})
        if name == "winner":
            store.save_prediction(
                pipeline_id, chain_id, "d", "m", "m", "fold_1", "val", 1.0, None, None, "rmse", "regression",
                1, 1, {}, {}, None, None, 0, 0.0,
            )  # fmt: skip
        kept[name] = pipeline_id
    removed = store.cleanup_transient_artifacts(run_id, "d", [kept["winner"]])
    left = {store.load_artifact(artifact_id) for (artifact_id,) in rows(store, "SELECT artifact_id FROM artifacts")}
    assert left == {"winner fold_1", "winner fold_final", "winner snv"}
    assert removed == 5
    assert store.cleanup_transient_artifacts(run_id, "d", [kept["loser"]]) == 1, "the former winner's refit"
    assert store.check().ok


def test_trimming_leaves_alone_what_an_alias_names(store: WorkspaceStore) -> None:
    run_id = store.begin_run("a", {}, [])
    ids = [store.save_artifact(f"model {number}", "str", "m", "joblib") for number in range(2)]
    chains = [chain_of(store, run_id, artifact_id) for artifact_id in ids]
    dataset = str(store.list_pipelines()["dataset_name"][0])
    store.set_alias("champion", chains[0])
    assert store.cleanup_transient_artifacts(run_id, dataset, []) == 1
    assert store.load_artifact(ids[0]) == "model 0"
    assert store.check("full").ok


def test_trimming_takes_only_winners_that_there_are(store: WorkspaceStore) -> None:
    run_id, other = (store.begin_run(name, {}, []) for name in "ab")
    model = store.save_artifact("model", "str", "m", "joblib")
    chain_of(store, run_id, model)
    chain_of(store, other, model)
    winner, elsewhere = (str(store.list_pipelines(of)["pipeline_id"].item()) for of in (run_id, other))
    with pytest.raises(InvalidInputError, match="a list of ids"):
        store.cleanup_transient_artifacts(run_id, "d", winner)
    for of, dataset, winners, said in (
        ("no-run", "d", [], "No run"),
        (run_id, "d", [winner, "no-pipeline"], "no-pipeline"),
        (run_id, "d", [elsewhere], elsewhere),
        (run_id, "other set", [winner], winner),
    ):
        with pytest.raises(UnknownIdError, match=said):
            store.cleanup_transient_artifacts(of, dataset, winners)
    assert store.load_artifact(model) == "model"


def test_exports_hold_what_the_store_does(store: WorkspaceStore, tmp_path: Path) -> None:
    run_id = store.begin_run("nightly", {"folds": 5}, ["made up"])
    pipeline_id = record_pipeline(store, run_id, "p")
    store.complete_run(run_id, {"n": np.int64(1)})
    document = yaml.safe_load(store.export_run(run_id, tmp_path / "run").read_text())
    assert (document["name"], document["summary"], document["status"]) == ("nightly", {"n": 1}, "completed")
    (pipeline,) = document["pipelines"]
    assert pipeline["pipeline_id"] == pipeline_id
    assert pipeline["chains"][0]["fold_artifacts"].keys() == {"fold_0"}
    assert yaml.safe_load(store.export_pipeline_config(pipeline_id, tmp_path / "p").read_text()) == [{"model": "p"}]
    assert pl.read_parquet(store.export_predictions_parquet(tmp_path / "x", run_id=run_id)).height == 1
    for refused in (store.export_run, store.export_pipeline_config, store.export_chain):
        with pytest.raises(UnknownIdError):
            refused("none", tmp_path / "none")
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["p.json", "run.yaml", "x.parquet"]


def test_chain_summaries_are_averages_over_the_folds(store: WorkspaceStore) -> None:
    run_id = store.begin_run("r", {}, [])
    pipeline_id = store.begin_pipeline(run_id, "p", [], {}, "d", "h")
    model = store.save_artifact("m", "str", "model", "joblib")
    steps = [{"step_idx": 1, "operator_class": "m"}]
    chain_id = store.save_chain(pipeline_id, steps, 1, "m", "", "per_fold", {"fold_0": model}, {})

    def save(fold: str, partition: str, val: float, test: float, context: str | None = None) -> str:
        scores = {"val": {"rmse": val}, "test": {"rmse": test, "r2": 1 / 3}}
        return store.save_prediction(
            pipeline_id, chain_id, "d", "PLS", "m", fold, partition, val, test, None, "r2", "regression",
            1, 1, scores, {"n": 2}, None, None, 0, 0.0, refit_context=context,
        )  # fmt: skip

    for number, (val, test) in enumerate([(0.2, 0.3), (0.4, 0.5)]):
        save(f"fold_{number}", "val", val, test)
    final = save("final", "test", 9.0, 0.7, "standalone")
    store.update_chain_summary(chain_id)
    row = store.query_chain_summaries(run_id=run_id).row(0, named=True)
    assert (row["cv_val_score"], row["cv_test_score"], row["cv_fold_count"]) == (
        pytest.approx(0.3),
        pytest.approx(0.4),
        2,
    )
    assert (row["final_test_score"], row["model_name"], row["best_params"]) == (0.7, "PLS", '{"n": 2}')
    assert '"r2": 0.333333' in row["cv_scores"]
    assert store.query_top_chains(score_column="avg_val_score")["chain_id"].to_list() == [chain_id]
    with pytest.raises(ValueError, match="Invalid score column"):
        store.query_top_aggregated_predictions("r2", score_column="name")
    store.delete_prediction(final)
    store.update_chain_summary(chain_id)
    assert store.query_aggregated_predictions(chain_id=chain_id)["final_test_score"].to_list() == [None]
    store.delete_run(run_id)
    assert store.query_chain_summaries().height == 0


def test_projects_hold_runs(store: WorkspaceStore) -> None:
    project = store.get_or_create_project("wheat")
    assert store.get_or_create_project("wheat") == project
    with pytest.raises(InvalidInputError, match="'wheat' already"):
        store.create_project("wheat")
    maize = store.create_project("maize")
    with pytest.raises(InvalidInputError, match="'wheat' already"):
        store.update_project(maize, "wheat")
    store.update_project(maize, "maize", "keeps its name")
    store.delete_project(maize)
    run_id = store.begin_run("r", {}, [])
    store.set_run_project(run_id, project)
    assert store.list_runs(project_id=project).height == 1
    store.update_project(project, "barley", "2027")
    assert store.get_project(project)["description"] == "2027"  # type: ignore[index]
    assert store.get_project_by_name("wheat") is None
    assert store.list_projects()["name"].to_list() == ["barley"]
    store.delete_project(project)
    assert store.get_run(run_id)["project_id"] is None  # type: ignore[index]
    for refused in (lambda: store.set_run_project(run_id, "none"), lambda: store.delete_project("none")):
        with pytest.raises(UnknownIdError):
            refused()
