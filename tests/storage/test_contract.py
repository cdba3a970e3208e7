"""What programs written for the reference system's store rely on, verb by verb."""

from __future__ import annotations

import json
import threading
import typing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from contract import FRAMES, TABLES, TYPES
from inside import change, look
from small_operators import Shift, Times

from n4a_flows.storage import WorkspaceStore, replay_chain

# ---------------------------------------------------------------------- a workspace with something of everything


class Filled(typing.NamedTuple):
    store: WorkspaceStore
    run_id: str
    pipeline_id: str
    chain_id: str
    prediction_id: str
    project_id: str


STEPS = [
    {"step_idx": 0, "operator_class": "Shift", "params": {"by": 1.0}},
    {"step_idx": 1, "operator_class": "Times", "params": {"factor": 2.0}},
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """One row in every table, recorded by position as other programs do."""
    store = WorkspaceStore(str(tmp_path_factory.mktemp("filled") / "deep" / "ws"))
    run_id = store.begin_run("run", {"folds": 2}, [{"name": "tecator"}])
    project_id = store.create_project("wheat")
    store.set_run_project(run_id, project_id)
    pipeline_id = store.begin_pipeline(run_id, "p", [{"model": "Times"}], {"_or_": 1}, "tecator", "hash")
    store.begin_pipeline(run_id, "without logs", {"steps": []}, {}, "tecator", "hash")
    shift = store.save_artifact(Shift(1.0), "Shift", "transformer", "joblib")
    model = store.save_artifact(Times(2.0), "Times", "model", "joblib")
    chain_id = store.save_chain(
        pipeline_id, STEPS, 1, "Times", "shift", "per_fold", {"fold_0": model}, {"0": shift}, "branch", 3
    )
    prediction_id = store.save_prediction(
        pipeline_id, chain_id, "tecator", "Times", "test.Times", "fold_0", "val", 0.5, 0.6, 0.4, "rmse", "regression",
        2, 2, {"val": {"rmse": 0.5}}, {"factor": 2}, 1, "b", 3, 0.25, "shift",
    )  # fmt: skip
    store.save_prediction_arrays(prediction_id, [1, 2], [1.5, 2.5], [[0.1, 0.9], [0.8, 0.2]], [4, 7])
    store.log_step(pipeline_id, 0, "Shift", "end", 30, "done", {"n": 1}, "info")
    store.log_step(pipeline_id, 1, "Times", "end", 12, level="warning")
    store.log_step(pipeline_id, 1, "Times", "error", 5, level="error")
    store.update_chain_summary(chain_id)
    store.complete_pipeline(pipeline_id, 0.5, 0.6, "rmse", 42)
    store.complete_run(run_id, {"best": 0.5})
    return Filled(store, run_id, pipeline_id, chain_id, prediction_id, project_id)


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("empty", [False, True], ids=["filled", "empty"])
def test_frames_have_their_columns_and_types(
    filled: Filled, store: WorkspaceStore, tmp_path: Path, name: str, empty: bool
) -> None:
    columns, ask = FRAMES[name]
    frame = ask(store, None) if empty else ask(filled.store, filled)
    assert isinstance(frame, pl.DataFrame)
    assert (frame.height == 0) is empty
    assert frame.columns == columns.split()
    assert dict(frame.schema) == {column: TYPES.get(column, pl.String) for column in columns.split()}
    frame.write_parquet(tmp_path / "frame.parquet")
    assert pl.read_parquet(tmp_path / "frame.parquet").schema == frame.schema


@pytest.mark.parametrize("table", TABLES)
def test_tables_have_their_columns_in_their_order(filled: Filled, table: str) -> None:
    found = look(
        filled.store.workspace_path,
        "SELECT column_name FROM duckdb_columns() WHERE database_name = 'inside' AND table_name = ? ORDER BY column_index",
        table,
    )
    assert [name for (name,) in found] == TABLES[table].split()


def test_json_columns_hold_json(filled: Filled) -> None:
    run = filled.store.list_runs().row(0, named=True)
    assert (json.loads(run["config"]), json.loads(run["datasets"])) == ({"folds": 2}, [{"name": "tecator"}])
    prediction = filled.store.query_predictions().row(0, named=True)
    assert json.loads(prediction["scores"]) == {"val": {"rmse": 0.5}}
    found = look(filled.store.workspace_path, "SELECT config->>'folds' FROM runs")
    assert found == [("2",)]


# ---------------------------------------------------------------------- rows as dicts


def test_rows_come_as_dicts_with_the_columns_as_keys(filled: Filled) -> None:
    store = filled.store
    run, pipeline, chain = (
        store.get_run(filled.run_id), store.get_pipeline(filled.pipeline_id), store.get_chain(filled.chain_id),
    )  # fmt: skip
    project = store.get_project(filled.project_id)
    for row, table in ((run, "runs"), (pipeline, "pipelines"), (chain, "chains"), (project, "projects")):
        assert row is not None
        assert list(row) == TABLES[table].split()
    assert run is not None
    assert (run["config"], run["datasets"], run["summary"]) == ({"folds": 2}, [{"name": "tecator"}], {"best": 0.5})
    assert pipeline is not None
    assert (pipeline["expanded_config"], pipeline["generator_choices"]) == ([{"model": "Times"}], {"_or_": 1})
    assert (pipeline["status"], pipeline["best_val"], pipeline["best_test"]) == ("completed", 0.5, 0.6)
    assert (pipeline["metric"], pipeline["duration_ms"]) == ("rmse", 42)
    for unknown in (store.get_run, store.get_pipeline, store.get_chain, store.get_prediction, store.get_project):
        assert unknown("none") is None


def test_a_chain_comes_back_exactly_as_it_was_saved(filled: Filled) -> None:
    chain = filled.store.get_chain(filled.chain_id)
    assert chain is not None
    assert chain["steps"] == STEPS
    assert (chain["branch_path"], chain["source_index"], chain["dataset_name"]) == ("branch", 3, "tecator")
    assert (chain["model_step_idx"], chain["model_class"], chain["preprocessings"]) == (1, "Times", "shift")
    assert chain["fold_strategy"] == "per_fold"
    assert chain["fold_artifacts"].keys() == {"fold_0"}
    assert isinstance(chain["shared_artifacts"]["0"], str), "one id stays one id"
    assert json.loads(chain["cv_scores"]) == {"val": {"rmse": 0.5}}, "summaries stay JSON text"
    assert json.loads(chain["best_params"]) == {"factor": 2}


def test_arrays_are_absent_unless_they_are_asked_for(filled: Filled) -> None:
    arrays = {"y_true", "y_pred", "y_proba", "sample_indices", "weights"}
    row = filled.store.get_prediction(filled.prediction_id)
    assert row is not None
    assert list(row) == TABLES["predictions"].split()
    assert (row["scores"], row["best_params"]) == ({"val": {"rmse": 0.5}}, {"factor": 2})
    full = filled.store.get_prediction(filled.prediction_id, load_arrays=True)
    assert full is not None
    assert set(full) - set(row) == arrays
    assert [full[name].dtype for name in ("y_true", "y_pred", "y_proba")] == [np.float64] * 3
    assert full["sample_indices"].dtype == np.int64
    assert full["weights"] is None
    alone = filled.store.get_prediction_arrays(filled.prediction_id)
    assert alone is not None
    assert set(alone) == arrays
    assert filled.store.get_prediction_arrays("none") is None


def test_the_summary_of_a_runs_logs(filled: Filled) -> None:
    rows = filled.store.get_run_log_summary(filled.run_id).drop("pipeline_id").rows()
    assert rows == [("p", "completed", 3, 42, 1, 1), ("without logs", "running", 0, 0, 0, 0)]


# ---------------------------------------------------------------------- errors by their builtin


@pytest.mark.parametrize(
    "verb",
    [
        lambda store, path: store.load_artifact("none"),
        lambda store, path: store.get_artifact_path("none"),
        lambda store, path: store.replay_chain("none", np.ones((1, 2))),
        lambda store, path: store.export_chain("none", path),
        lambda store, path: store.export_run("none", path),
        lambda store, path: store.export_pipeline_config("none", path),
    ],
)
def test_an_unknown_id_is_a_key_error(filled: Filled, tmp_path: Path, verb: Any) -> None:
    with pytest.raises(KeyError, match="none"):
        verb(filled.store, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda store: store.top_predictions(1, metric="none"), "Invalid metric column"),
        (lambda store: store.top_predictions(1, group_by="none"), "Invalid group_by column"),
        (lambda store: store.query_top_chains(score_column="none"), "score"),
        (lambda store: store.query_top_aggregated_predictions("rmse", score_column="none"), "score"),
    ],
)
def test_an_unknown_column_is_a_value_error(filled: Filled, ask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask(filled.store)


def test_a_missing_file_is_a_file_not_found_error(store: WorkspaceStore) -> None:
    artifact_id = store.save_artifact(Times(1.0), "Times", "model", "joblib")
    store.get_artifact_path(artifact_id).unlink()
    assert store.get_artifact_path(artifact_id).is_absolute()
    with pytest.raises(FileNotFoundError):
        store.load_artifact(artifact_id)


# ---------------------------------------------------------------------- the folder and its artifacts


def test_a_workspace_is_made_with_its_parents_and_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    store = WorkspaceStore(str(path))
    assert store.workspace_path == path
    with pytest.raises(AttributeError):
        store.workspace_path = tmp_path  # type: ignore[misc]
    run_id = store.begin_run("kept", {}, [])
    store.close()
    assert WorkspaceStore(path).get_run(run_id) is not None
    assert {item.name for item in path.iterdir() if ".duckdb." not in item.name} == {"store.duckdb", "artifacts"}


def test_two_saves_are_two_references_and_a_row_at_zero_is_collected(store: WorkspaceStore) -> None:
    first = store.save_artifact(Times(2.0), "Times", "model", "joblib")
    assert store.save_artifact(Times(2.0), "Times", "model", "joblib") == first
    path, artifacts = store.get_artifact_path(first), store.workspace_path / "artifacts"
    assert [len(folder.name) for folder in artifacts.iterdir()] == [2]
    assert (path.suffix, len(path.stem), path.parent.name) == (".joblib", 64, path.stem[:2])
    ((count, size, relative),) = look(
        store.workspace_path, "SELECT ref_count, size_bytes, artifact_path FROM artifacts"
    )
    assert (count, size, relative) == (2, path.stat().st_size, str(path.relative_to(artifacts)))
    assert store.gc_artifacts() == 0
    change(store.workspace_path, "UPDATE artifacts SET ref_count = 0")
    assert store.gc_artifacts() == 1
    assert list(artifacts.iterdir()) == []
    assert store.vacuum() is None


def test_registered_bytes_are_known_to_a_save_in_the_same_unit(store: WorkspaceStore) -> None:
    prepared = store.prepare_artifact(Times(2.0), "Times", "model")
    digest, size = prepared.serialized.content_hash, len(prepared.serialized.data)
    with store.transaction():
        store.register_existing_artifact("mine", prepared.relative_path, digest, "Times", "model", "joblib", size)
        assert store.save_artifact(prepared) == "mine"
    assert look(store.workspace_path, "SELECT artifact_id, ref_count FROM artifacts") == [("mine", 2)]


def test_a_pipeline_that_an_alias_needs_is_not_failed_and_the_unit_stays_whole(store: WorkspaceStore) -> None:
    pipeline_id = store.begin_pipeline(store.begin_run("r", {}, []), "p", [], {}, "d", "h")
    store.set_alias("champion", store.save_chain(pipeline_id, STEPS, 1, "Times", "", "per_fold", {}, {}))
    with store.transaction():
        store.begin_run("kept", {}, [])
        with pytest.raises(ValueError, match="champion"):
            store.fail_pipeline(pipeline_id, "too late")
    assert sorted(store.list_runs()["name"]) == ["kept", "r"]


# ---------------------------------------------------------------------- replay


class TakesAnything:
    """A transformer of test doubles: it takes any keyword."""

    def transform(self, X: np.ndarray, **keywords: Any) -> np.ndarray:
        return X + keywords.get("wavelengths", 0.0)


class SaysSo(Shift):
    """A transformer that says by an attribute that it must be told the wavelengths."""

    _requires_wavelengths = True

    def transform(self, X: np.ndarray, wavelengths: np.ndarray | None = None) -> np.ndarray:
        return X + wavelengths


@pytest.mark.parametrize(
    ("operator", "expected"), [(TakesAnything(), 3005.0), (SaysSo(0.0), 3005.0), (Shift(0.0), 2.0)]
)
@pytest.mark.parametrize("as_list", [False, True])
def test_wavelengths_are_passed_to_those_who_take_them(
    store: WorkspaceStore, operator: Any, expected: float, as_list: bool
) -> None:
    pipeline_id = store.begin_pipeline(store.begin_run("r", {}, []), "p", [], {}, "d", "h")
    shared = store.save_artifact(operator, "operator", "transformer", "joblib")
    model = store.save_artifact(Times(1.0), "Times", "model", "joblib")
    chain_id = store.save_chain(
        pipeline_id, STEPS, 1, "Times", "", "per_fold", {"fold_final": model}, {"0": [shared] if as_list else shared}
    )
    X = np.ones((3, 2))
    predicted = store.replay_chain(chain_id, X, wavelengths=np.array([1001.0, 2002.0]))
    assert predicted.tolist() == [expected] * 3
    assert X.tolist() == [[1.0, 1.0]] * 3


def test_a_chain_of_nothing_but_its_document_is_kept(store: WorkspaceStore) -> None:
    pipeline_id = store.begin_pipeline(store.begin_run("r", {}, []), "p", [], {}, "d", "h")
    chain_id = store.save_chain(pipeline_id, STEPS, 1, "Times", "", "per_fold", {}, {})
    chain = store.get_chain(chain_id)
    assert chain is not None
    assert (chain["fold_artifacts"], chain["shared_artifacts"], chain["branch_path"]) == ({}, {}, None)
    with pytest.raises(RuntimeError, match="Chain has no fold model artifacts"):
        store.replay_chain(chain_id, np.ones((1, 2)))


def test_the_function_calls_the_stores_method_with_these_keywords() -> None:
    class Stand:
        def replay_chain(self, *args: Any, **keywords: Any) -> Any:
            self.called_with = (args, keywords)
            return "what the store says"

    stand, X, wavelengths = Stand(), np.ones((1, 2)), np.arange(2)
    assert replay_chain(stand, "chain", X) == "what the store says"
    assert stand.called_with == ((), {"chain_id": "chain", "X": X, "wavelengths": None})
    replay_chain(stand, "chain", X, wavelengths=wavelengths)
    assert stand.called_with[1]["wavelengths"] is wavelengths


# ---------------------------------------------------------------------- queries, exports, threads


@pytest.mark.parametrize(
    ("metric", "best"), [("rmse", 0.1), ("MAE", 0.1), ("r2", 0.9), ("R2", 0.9), ("accuracy", 0.9), ("RPD", 0.9)]
)
def test_the_top_chains_are_the_best_by_their_metric(store: WorkspaceStore, metric: str, best: float) -> None:
    pipeline_id = store.begin_pipeline(store.begin_run("r", {}, []), "p", [], {}, "d", "h")
    for score in (0.5, None, 0.1, 0.9):
        chain_id = store.save_chain(pipeline_id, STEPS, 1, "Times", "", "per_fold", {}, {})
        store.save_prediction(
            pipeline_id, chain_id, "d", "m", "m", "fold_0", "val", score, None, None, metric, "regression", 1, 1,
            {}, {}, None, None, 0, 0.0,
        )  # fmt: skip
        store.update_chain_summary(chain_id)
    for column, ask in (
        ("cv_val_score", store.query_top_chains),
        ("avg_val_score", store.query_top_aggregated_predictions),
    ):
        found = ask(metric, n=4, score_column=column)["cv_val_score"].to_list()
        assert found[0] == best
        assert found[-1] is None
    assert store.query_top_chains(metric, n=1, ascending=True)["cv_val_score"].to_list() == [0.1]
    assert store.query_top_chains("none").height == 0


def test_exports_have_their_suffix_and_their_keys(filled: Filled, tmp_path: Path) -> None:
    store = filled.store
    paths = [
        store.export_run(filled.run_id, tmp_path / "new" / "run.yaml"),
        store.export_pipeline_config(filled.pipeline_id, tmp_path / "new" / "p.json"),
        store.export_predictions_parquet(tmp_path / "new" / "x.parquet", partition="none"),
    ]
    assert [path.suffix for path in paths] == [".yaml", ".json", ".parquet"]
    run = yaml.safe_load(paths[0].read_text())
    keys = "run_id name status created_at completed_at config datasets summary pipelines"
    assert list(run) == keys.split()
    keys = "pipeline_id name status dataset_name best_val best_test metric duration_ms chains"
    assert [list(pipeline) for pipeline in run["pipelines"]] == [keys.split()] * 2
    assert list(run["pipelines"][0]["chains"][0]) == TABLES["chains"].split()
    assert json.loads(paths[1].read_text()) == [{"model": "Times"}], "a list stays a list"
    assert pl.read_parquet(paths[2]).columns == TABLES["predictions"].split()


def test_a_writer_and_a_reader_share_one_store_object(store: WorkspaceStore) -> None:
    run_id = store.begin_run("r", {}, ["tecator"])
    failed: list[BaseException] = []

    def use(verb: Any) -> None:
        try:
            for number in range(10):
                verb(number)
        except BaseException as error:
            failed.append(error)
            raise

    def write(number: int) -> None:
        pipeline_id = store.begin_pipeline(run_id, str(number), [], {}, "tecator", "h")
        store.log_step(pipeline_id, 1, "SNV", "start")

    def read(number: int) -> None:
        assert store.list_runs(dataset="tecator").height == 1
        assert store.get_run_log_summary(run_id)["log_count"].sum() <= 10

    threads = [threading.Thread(target=use, args=(verb,)) for verb in (write, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert store.list_pipelines().height == 10
