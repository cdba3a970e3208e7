"""Runs, pipelines, logs and predictions come back as they went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError
from n4a_flows.storage.schema import COLUMNS


def save(
    store: WorkspaceStore, pipeline_id: str, fold: str = "fold_0", score: float | None = 1.0, **other: object
) -> str:
    values = {
        "pipeline_id": pipeline_id, "chain_id": None, "dataset_name": "tecator", "model_name": "PLS",
        "model_class": "sklearn.cross_decomposition.PLSRegression", "fold_id": fold, "partition": "val",
        "val_score": score, "test_score": None, "train_score": None, "metric": "rmse", "task_type": "regression",
        "n_samples": 3, "n_features": 100, "scores": {"val": {"rmse": score}}, "best_params": {"n_components": 3},
        "branch_id": None, "branch_name": None, "exclusion_count": 0, "exclusion_rate": 0.0,
    }  # fmt: skip
    return store.save_prediction(**{**values, **other})  # type: ignore[arg-type]


def test_a_run_from_begin_to_end(store: WorkspaceStore) -> None:
    config = {"folds": np.int64(5), "alpha": [0.1, np.inf], "when": Path("a/b"), "model": {"nan": float("nan")}}
    run_id = store.begin_run("nightly", config, ["tecator", {"name": "nirsoil"}], flow_run_id="flow")
    run = store.get_run(run_id)
    assert run is not None
    assert list(run) == list(COLUMNS["runs"])
    assert (run["status"], run["completed_at"]) == ("running", None)
    assert run["config"]["folds"] == 5
    assert run["config"]["alpha"] == [0.1, np.inf]
    assert np.isnan(run["config"]["model"]["nan"])
    store.complete_run(run_id, {"best": 1.5})
    run = store.get_run(run_id)
    assert run is not None
    assert (run["status"], run["summary"]) == ("completed", {"best": 1.5})
    assert run["completed_at"] >= run["created_at"]
    failed = store.begin_run("bad", {}, "tecator_2")
    store.fail_run(failed, "no target")
    assert store.list_runs(status="failed")["error"].to_list() == ["no target"]
    assert store.get_run("unknown") is None


def test_what_is_completed_after_all_has_no_error_any_more(store: WorkspaceStore, pipeline_id: str) -> None:
    run_id = store.begin_run("second try", {}, [])
    store.fail_run(run_id, "boom")
    store.complete_run(run_id, {})
    store.fail_pipeline(pipeline_id, "boom")
    store.complete_pipeline(pipeline_id, 1.0, None, "rmse", 1)
    for row in (store.get_run(run_id), store.get_pipeline(pipeline_id)):
        assert row is not None
        assert (row["status"], row["error"]) == ("completed", None)


@pytest.mark.parametrize(
    ("dataset", "found"), [("tecator", 1), ("nirsoil", 1), ("tecator_2", 1), ("teca", 0), ("name", 0)]
)
def test_runs_are_found_by_whole_dataset_names(store: WorkspaceStore, dataset: str, found: int) -> None:
    store.begin_run("a", {}, ["tecator", {"name": "nirsoil"}])
    store.begin_run("b", {}, "tecator_2")
    assert store.list_runs(dataset=dataset).height == found


def test_unknown_parents_are_refused_and_nothing_is_written(store: WorkspaceStore, pipeline_id: str) -> None:
    for refused in (
        lambda: store.begin_pipeline("none", "x", [], {}, "d", "h"),
        lambda: store.complete_pipeline("none", 1, 1, "rmse", 1),
        lambda: store.fail_run("none", "x"),
        lambda: store.log_step("none", 1, "x", "start"),
        lambda: save(store, "none"),
        lambda: save(store, pipeline_id, chain_id="none"),
        lambda: store.save_chain("none", [], 1, "x", "", "per_fold", {}, {}),
        lambda: store.save_chain(pipeline_id, [], 1, "x", "", "per_fold", {"fold_0": "none"}, {}),
        lambda: store.save_prediction_arrays("none", [1.0], [1.0]),
        lambda: store.update_chain_summary("none"),
    ):
        with pytest.raises(UnknownIdError, match="none"):
            refused()
    assert store.list_pipelines().height == 1
    assert store.query_predictions().height == 0
    assert store.get_chains_for_pipeline(pipeline_id).height == 0
    assert store.get_pipeline_log(pipeline_id).height == 0


def test_a_prediction_saved_again_keeps_its_id_and_loses_its_arrays(store: WorkspaceStore, pipeline_id: str) -> None:
    first = save(store, pipeline_id, score=1.0)
    store.save_prediction_arrays(first, [1, 2, 3], [1, 2, 4])
    with pytest.raises(InvalidInputError, match="Save the prediction again"):
        store.save_prediction_arrays(first, [1, 2, 3], [9, 9, 9])
    assert save(store, pipeline_id, score=0.5, prediction_id="another") == first
    prediction = store.get_prediction(first, load_arrays=True)
    assert prediction is not None
    assert (prediction["val_score"], prediction["y_pred"]) == (0.5, None)
    assert store.query_predictions().height == 1
    assert save(store, pipeline_id, branch_id=1) != first, "a branch is another prediction"
    with pytest.raises(InvalidInputError, match="another prediction"):
        save(store, pipeline_id, fold="fold_1", prediction_id=first)


@pytest.mark.parametrize(
    ("y_true", "y_pred"),
    [
        ([1.5, np.nan, 3.0], [1.0, 2.0, np.inf]),
        (["pork", "beef", "pork"], ["pork", "pork", "veal"]),
        ([1, 2, 3], [[1.0], [2.0], [3.0]]),
    ],
)
def test_arrays_come_back_as_they_went_in(store: WorkspaceStore, pipeline_id: str, y_true: list, y_pred: list) -> None:
    prediction_id = save(store, pipeline_id)
    proba = np.arange(6.0).reshape(3, 2)
    store.save_prediction_arrays(prediction_id, y_true, y_pred, proba, np.array([7, 8, 9]), None)
    arrays = store.get_prediction_arrays(prediction_id)
    assert arrays is not None
    np.testing.assert_array_equal(arrays["y_true"], y_true)
    np.testing.assert_array_equal(arrays["y_pred"], np.ravel(y_pred))
    np.testing.assert_array_equal(arrays["y_proba"], proba)
    assert arrays["sample_indices"].dtype == np.int64
    assert arrays["sample_indices"].tolist() == [7, 8, 9]
    assert arrays["weights"] is None


def test_labels_that_look_like_numbers_stay_labels(store: WorkspaceStore, pipeline_id: str) -> None:
    prediction_id = save(store, pipeline_id)
    store.save_prediction_arrays(prediction_id, np.array(["1", "02"], dtype=object), np.array(["1", "02"]))
    arrays = store.get_prediction_arrays(prediction_id)
    assert arrays is not None
    assert arrays["y_true"].tolist() == arrays["y_pred"].tolist() == ["1", "02"]  # type: ignore[union-attr]
    other = save(store, pipeline_id, "fold_1")
    for refused in ([1 + 2j], ["a", None], [{}]):
        with pytest.raises(InvalidInputError, match="y_true"):
            store.save_prediction_arrays(other, refused, None)


def test_a_prediction_and_its_chain_are_of_one_pipeline(store: WorkspaceStore, pipeline_id: str) -> None:
    other = store.begin_pipeline(store.begin_run("other", {}, []), "p", [], {}, "d", "h")
    model = store.save_artifact("m", "str", "model", "joblib")
    steps = [{"step_idx": 1, "operator_class": "m"}]
    chain_id = store.save_chain(other, steps, 1, "m", "", "per_fold", {"fold_0": model}, {})
    with pytest.raises(InvalidInputError, match="another pipeline"):
        save(store, pipeline_id, chain_id=chain_id)
    assert save(store, other, chain_id=chain_id)


def test_json_that_would_not_come_back_is_refused(store: WorkspaceStore) -> None:
    for refused in ({1: "a", "1": "b"}, {"$float": "1.5"}):
        with pytest.raises(InvalidInputError, match="config"):
            store.begin_run("r", refused, [])


def test_arrays_of_unequal_length_are_refused(store: WorkspaceStore, pipeline_id: str) -> None:
    prediction_id = save(store, pipeline_id)
    with pytest.raises(InvalidInputError, match="y_true has 3, y_pred has 2"):
        store.save_prediction_arrays(prediction_id, [1, 2, 3], [1, 2])
    with pytest.raises(InvalidInputError, match="one target at a time"):
        store.save_prediction_arrays(prediction_id, np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(InvalidInputError, match="whole numbers"):
        store.save_prediction_arrays(prediction_id, None, [1, 2], sample_indices=[0.5, 1])
    assert store.get_prediction_arrays(prediction_id) is None


def test_the_best_come_first_and_no_numbers_last(store: WorkspaceStore, pipeline_id: str) -> None:
    scores = {"fold_0": 0.4, "fold_1": None, "fold_2": float("nan"), "fold_3": 0.2, "fold_4": float("inf")}
    for fold, score in scores.items():
        save(store, pipeline_id, fold, score)
    assert store.top_predictions(5)["fold_id"].to_list()[:2] == ["fold_3", "fold_0"]
    assert store.top_predictions(5, ascending=False)["fold_id"].to_list()[:2] == ["fold_0", "fold_3"]
    save(store, pipeline_id, "fold_0", 0.1, dataset_name="other", model_name="other")
    best = store.top_predictions(1, group_by="dataset_name")
    assert dict(best.select("dataset_name", "val_score").iter_rows()) == {"tecator": 0.2, "other": 0.1}
    with pytest.raises(ValueError, match="Invalid metric column"):
        store.top_predictions(1, metric="val_score; DROP TABLE runs")
    with pytest.raises(ValueError, match="Invalid group_by column"):
        store.top_predictions(1, group_by="nothing")


def test_the_best_of_each_group_are_those_that_sorting_everything_gives(
    store: WorkspaceStore, pipeline_id: str
) -> None:
    random = np.random.default_rng(0)
    values = [0.1, 0.2, 0.3, -1.0, 0.0, float("nan"), float("inf"), -float("inf"), None]
    with store.transaction():
        for number in range(200):
            score = values[random.integers(len(values))]
            group = None if number % 7 == 0 else int(random.integers(9))
            save(store, pipeline_id, f"fold_{number}", score, branch_id=group, model_name=f"m{number % 40}")

    def rank(row: dict[str, object], ascending: bool) -> tuple[bool, float]:
        score = row["val_score"]
        usable = isinstance(score, float) and bool(np.isfinite(score))
        return not usable, (score if ascending else -score) if usable else 0.0  # type: ignore[operator]

    everything = store.query_predictions().reverse().to_dicts()
    for ascending in (True, False):
        for n in (0, 1, 3, 1000):
            found = store.top_predictions(n, ascending=ascending, group_by="branch_id")["val_score"].to_list()
            expected = []
            for group in {row["branch_id"] for row in everything}:
                rows = [row for row in everything if row["branch_id"] == group]
                expected += sorted(rows, key=lambda row: rank(row, ascending))[:n]
            usable = [row["val_score"] for row in expected if not rank(row, ascending)[0]]
            assert found[: len(usable)] == sorted(usable, reverse=not ascending)
            assert len(found) == len(expected)
            best = [row["val_score"] for row in sorted(everything, key=lambda row: rank(row, ascending))[:n]]
            numbers = [score for score in best if score is not None and np.isfinite(score)]
            assert store.top_predictions(n, ascending=ascending)["val_score"].to_list()[: len(numbers)] == numbers
    for metric in ("fold_id", "created_at", "n_samples", "scores"):
        names = store.top_predictions(2, metric=metric, group_by="model_name")
        assert names.group_by("model_name").len()["len"].to_list() == [2] * 40


def test_predictions_are_filtered_and_paged(store: WorkspaceStore, pipeline_id: str) -> None:
    for number in range(4):
        save(store, pipeline_id, f"fold_{number}")
    assert store.query_predictions(model_class="sklearn.cross%").height == 4
    assert store.query_predictions(model_class="sklearn.PLS%").height == 0
    assert store.query_predictions(fold_id="fold_2", partition="val", pipeline_id=pipeline_id).height == 1
    assert store.query_predictions(run_id="other").height == 0
    assert store.query_predictions(limit=2, offset=1)["fold_id"].to_list() == ["fold_2", "fold_1"]
    assert store.delete_prediction(store.query_predictions(fold_id="fold_2")["prediction_id"][0]) is True
    assert store.delete_prediction("gone") is False
    assert store.query_predictions().height == 3


@pytest.mark.parametrize("number", [-1, 10**20, 1.5])
def test_a_page_that_cannot_be_is_refused(store: WorkspaceStore, number: int) -> None:
    for verb in (
        lambda: store.query_predictions(limit=number),
        lambda: store.query_predictions(offset=number),
        lambda: store.list_runs(limit=number),
        lambda: store.list_runs(offset=number),
        lambda: store.top_predictions(number),
        lambda: store.top_predictions(number, group_by="model_name"),
        lambda: store.list_chains(limit=number),
        lambda: store.list_chains(offset=number),
        lambda: store.rank_chains(number),
        lambda: store.query_top_chains(n=number),
    ):
        with pytest.raises(InvalidInputError, match="must be a whole number of at least 0"):
            verb()
    assert store.list_runs(limit=0).height == store.top_predictions(0).height == 0


def test_empty_tables_have_all_columns_and_can_be_written(store: WorkspaceStore, tmp_path: Path) -> None:
    for frame, table in (
        (store.list_runs(), "runs"),
        (store.list_pipelines(), "pipelines"),
        (store.get_chains_for_pipeline("x"), "chains"),
        (store.query_predictions(), "predictions"),
        (store.top_predictions(3), "predictions"),
        (store.get_chain_predictions("x"), "predictions"),
    ):
        assert frame.columns == list(COLUMNS[table])
        frame.write_parquet(tmp_path / "x.parquet")
    path = store.export_predictions_parquet(tmp_path / "sub" / "predictions")
    assert pl.read_parquet(path).columns == list(COLUMNS["predictions"])


def test_logs_are_ordered_and_counted(store: WorkspaceStore, pipeline_id: str) -> None:
    store.log_step(pipeline_id, 2, "PLS", "end", 30, details={"n": 1})
    store.log_step(pipeline_id, 1, "SNV", "start", 5)
    store.log_step(pipeline_id, 1, "SNV", "warning", message="odd", level="warning")
    log = store.get_pipeline_log(pipeline_id)
    assert log["step_idx"].to_list() == [1, 1, 2]
    assert log.columns == [column for column in COLUMNS["logs"] if column != "pipeline_id"]
    summary = store.get_run_log_summary(store.list_runs()["run_id"][0]).row(0, named=True)
    assert (summary["log_count"], summary["total_duration_ms"], summary["warning_count"], summary["error_count"]) == (
        3,
        30,
        1,
        0,
    )


def test_failing_a_pipeline_takes_back_what_it_had_recorded(store: WorkspaceStore, pipeline_id: str) -> None:
    model = store.save_artifact({"a": 1}, "builtins.dict", "model", "joblib")
    store.save_artifact({"a": 1}, "builtins.dict", "model", "joblib")
    steps = [{"step_idx": 1, "operator_class": "m", "params": {}}]
    chain_id = store.save_chain(pipeline_id, steps, 1, "m", "", "per_fold", {"fold_0": model, "fold_1": model}, {})
    store.save_prediction_arrays(save(store, pipeline_id, chain_id=chain_id), [1], [2])
    store.fail_pipeline(pipeline_id, "singular matrix")
    pipeline = store.get_pipeline(pipeline_id)
    assert pipeline is not None
    assert (pipeline["status"], pipeline["error"]) == ("failed", "singular matrix")
    assert store.get_chain(chain_id) is None
    assert store.query_predictions().height == 0
    assert store.load_artifact(model) == {"a": 1}, "an artifact stays until gc"
