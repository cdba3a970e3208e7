"""What lies in the workspace after training, and that a fresh replay gives what training predicted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import joblib
import numpy as np
import polars as pl
import pytest
from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import StandardScaler

from n4a_flows.spectra import Spectra
from n4a_flows.storage import PipelineLibrary, WorkspaceStore
from n4a_flows.storage.errors import DefinitionError, InvalidInputError, MissingFileError, N4AError
from n4a_flows.training import (
    PipelineRunner,
    TrainingError,
    TrainingOptions,
    expand,
    record_pipelines,
    train_pipeline,
)

DEFINITION = [
    {"y_processing": StandardScaler()},
    {"_or_": [None, StandardNormalVariate()]},
    StandardScaler(),
    {"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": {"_or_": [6, 150]}}}},
]


def artifact_files(workspace: Path) -> set[str]:
    return {file.name for file in (workspace / "artifacts").rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tecator: Spectra):
    """A run of four pipelines, two of which must fail (150 components of 100 points)."""
    workspace = tmp_path_factory.mktemp("workspace")
    runner = PipelineRunner(workspace=workspace)
    predictions = runner.run(DEFINITION, tecator, "fat", TrainingOptions(chunk_size=3))
    with WorkspaceStore(workspace) as store:
        yield store, runner, predictions


def test_a_pipeline_that_fails_is_recorded_as_failed_while_others_go_on(run) -> None:
    store, runner, _ = run
    pipelines = store.list_pipelines(run_id=runner.last_run_id)
    assert pipelines.group_by("status").len().sort("status").rows() == [("completed", 2), ("failed", 2)]
    failed = pipelines.filter(pl.col("status") == "failed")
    for row in failed.iter_rows(named=True):
        assert "PLSRegression(n_components=150)" in row["error"]
        assert store.get_chains_for_pipeline(row["pipeline_id"]).is_empty()
        assert store.get_pipeline_log(row["pipeline_id"])["level"].to_list() == ["error"]
    assert [(p.chain_id is None, p.error is None) for p in runner.last_recorded] == [(False, True), (True, False)] * 2


def test_the_run_says_what_was_trained_on_what_and_which_is_best(run, tecator: Spectra) -> None:
    store, runner, _ = run
    document = store.get_run(runner.last_run_id)
    assert (document["status"], document["name"]) == ("completed", "tecator: fat")
    assert document["datasets"][0]["digest"] == tecator.digest
    assert store.list_runs(dataset="tecator").height == 1
    assert document["config"]["targets"] == ["fat"]
    # What was written down can be trained again as it is.
    again = expand(document["config"]["definition"])
    assert [p.definition_hash for p in again] == [p.definition_hash for p in expand(DEFINITION)]

    summary = document["summary"]
    assert (summary["metric"], summary["pipelines"], summary["failed"]) == ("rmse", 4, 2)
    completed = [p for p in runner.last_recorded if p.error is None]
    best = min(completed, key=lambda p: p.best_val)
    assert summary["best"]["fat"]["chain_id"] == best.chain_id
    assert store.best_chain("tecator", target="fat") == best.chain_id


def test_pipelines_hold_their_definition_and_pooled_scores(run) -> None:
    store, runner, _ = run
    recorded = runner.last_recorded[2]
    pipeline = store.get_pipeline(recorded.pipeline_id)
    plan = expand(DEFINITION)[2]
    assert pipeline["expanded_config"] == plan.steps
    assert pipeline["generator_choices"] == plan.choices
    assert (pipeline["name"], pipeline["metric"]) == (plan.name, "rmse")

    rows = store.get_chain_predictions(recorded.chain_id, partition="val")
    arrays = [store.get_prediction_arrays(row["prediction_id"]) for row in rows.iter_rows(named=True)]
    error = np.concatenate([a["y_pred"] - a["y_true"] for a in arrays])
    assert pipeline["best_val"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)
    assert pipeline["best_val"] != pytest.approx(rows["val_score"].mean(), rel=1e-6)  # not the mean over folds
    assert pipeline["best_test"] == store.get_chain(recorded.chain_id)["final_test_score"]


def test_predictions_of_every_fold_are_stored_with_their_rows(run, tecator: Spectra) -> None:
    store, runner, predictions = run
    of_chain = predictions.filter(pl.col("chain_id") == runner.last_recorded[0].chain_id)
    kinds = of_chain.select("fold_id", "partition", "refit_context").sort("fold_id", "partition").rows()
    folds = [(f"fold_{k}", p, None) for k in range(5) for p in ("test", "val")]
    assert kinds == [("final", "test", "standalone"), *folds]
    assert predictions.height == 2 * 11

    seen = []
    for row in of_chain.filter(pl.col("partition") == "val").iter_rows(named=True):
        arrays = store.get_prediction_arrays(row["prediction_id"])
        np.testing.assert_array_equal(arrays["y_true"], tecator.targets["fat"][arrays["sample_indices"]])
        seen += arrays["sample_indices"].tolist()
        scores = json.loads(row["scores"])
        assert set(scores) == {"train", "val", "test"}
        assert set(scores["val"]) == {
                "rmse", "mae", "r2", "bias", "sep", "slope", "rpd", "rpiq", "consistency",
            }  # fmt: skip
        assert (row["val_score"], row["test_score"]) == (scores["val"]["rmse"], scores["test"]["rmse"])
        assert row["train_score"] == scores["train"]["rmse"]
        assert (row["n_samples"], row["n_features"]) == (len(arrays["y_true"]), 100)
    assert sorted(seen) == np.flatnonzero(tecator.metadata["split"] != "test").tolist()


def test_a_replay_gives_what_training_predicted(run, tecator: Spectra) -> None:
    store, runner, _ = run
    recorded = runner.last_recorded[2]
    rows = store.get_chain_predictions(recorded.chain_id, partition="test", fold_id="final")
    arrays = store.get_prediction_arrays(rows["prediction_id"][0])
    test = tecator.take(arrays["sample_indices"])
    np.testing.assert_array_equal(store.replay_chain(recorded.chain_id, test.X, test.axis), arrays["y_pred"])

    context = store.get_chain_context(recorded.chain_id)
    assert (context.axis, context.signal, context.target) == (tecator.axis, "absorbance", "fat")
    train = tecator.X[tecator.metadata["split"] != "test"]
    assert (context.task_type, context.x_range) == ("regression", (train.min(), train.max()))


def test_each_fold_can_be_predicted_by_hand_from_its_own_artifacts(run, tecator: Spectra) -> None:
    store, runner, _ = run
    recorded = runner.last_recorded[2]
    steps = store.get_chain(recorded.chain_id)["steps"]
    for row in store.get_chain_predictions(recorded.chain_id, partition="val").iter_rows(named=True):
        arrays = store.get_prediction_arrays(row["prediction_id"])
        X, scaler_of_y = tecator.X[arrays["sample_indices"]], None
        for step in steps[:-1]:
            artifact = step["fold_artifact_ids"].get(row["fold_id"]) or step["artifact_ids"][0]
            operator = joblib.load(store.get_artifact_path(artifact))
            if step["operator_type"] == "y_processing":
                scaler_of_y = operator
            else:
                X = operator.transform(X)
        model = joblib.load(
            store.get_artifact_path(store.get_chain(recorded.chain_id)["fold_artifacts"][row["fold_id"]])
        )
        y = scaler_of_y.inverse_transform(model.predict(X).reshape(-1, 1)).ravel()
        np.testing.assert_allclose(y, arrays["y_pred"], rtol=0, atol=1e-12)


def test_the_same_definition_again_adds_rows_but_no_artifact(tmp_path: Path, tecator: Spectra) -> None:
    runner = PipelineRunner(workspace=tmp_path)
    definition = [{"_or_": [None, StandardNormalVariate()]}, StandardScaler(), {"model": PLSRegression(4)}]
    runner.run(definition, tecator, "fat")
    first, files = runner.last_recorded, artifact_files(tmp_path)
    runner.run(expand(definition)[0].steps, "tecator", "fat")
    runner.run(definition, tecator, "fat")

    assert [(p.best_val, p.best_test) for p in runner.last_recorded] == [(p.best_val, p.best_test) for p in first]
    assert artifact_files(tmp_path) == files
    with WorkspaceStore(tmp_path) as store:
        assert store.list_runs().height == 3
        digests = [store.get_chain_context(p.chain_id).digest for p in (*first, *runner.last_recorded)]
        assert digests[:2] == digests[2:]
        assert digests[0] != digests[1]


def test_references_are_counted_as_chains_name_them(tmp_path: Path, tecator: Spectra) -> None:
    runner = PipelineRunner(workspace=tmp_path)
    runner.run([StandardNormalVariate(), StandardScaler(), {"model": PLSRegression(4)}], tecator, "fat")
    runner.run([StandardNormalVariate(), {"model": PLSRegression(5)}], tecator, "fat")
    with duckdb.connect(str(tmp_path / "store.duckdb"), read_only=True) as database:
        counts = database.execute(
            "SELECT a.operator_class, a.ref_count, sum(c.count) FROM artifacts a LEFT JOIN chain_artifacts c "
            "USING (artifact_id) GROUP BY a.artifact_id, a.operator_class, a.ref_count"
        ).fetchall()
    assert len(counts) == 1 + 6 + 6 + 6 + 2 + 2  # SNV for both, six scalers, twice six models, two probes, two limits
    assert all(saved == named for _, saved, named in counts)
    assert [saved for name, saved, _ in counts if name.endswith("StandardNormalVariate")] == [2]


def test_several_targets_are_one_run(tmp_path: Path, tecator: Spectra) -> None:
    runner = PipelineRunner(workspace=tmp_path)
    runner.run([{"model": PLSRegression(6)}], "tecator", ["fat", "protein"])
    assert [p.target for p in runner.last_recorded] == ["fat", "protein"]
    with WorkspaceStore(tmp_path) as store:
        summary = store.get_run(runner.last_run_id)["summary"]
        assert set(summary["best"]) == {"fat", "protein"}
        for pipeline in runner.last_recorded:
            assert store.best_chain("tecator", target=pipeline.target) == pipeline.chain_id


def test_missing_values_show_in_the_predictions(tmp_path: Path, tecator: Spectra) -> None:
    fat = tecator.targets["fat"].copy()
    fat[:43] = np.nan
    predictions = PipelineRunner(workspace=tmp_path).run(
        [{"model": PLSRegression(6)}], replace(tecator, targets={"fat": fat})
    )
    assert predictions["exclusion_count"].unique().to_list() == [43]
    assert predictions["exclusion_rate"].unique().to_list() == [0.2]


def test_what_is_wrong_leaves_nothing_behind(tmp_path: Path, tecator: Spectra) -> None:
    runner = PipelineRunner(workspace=tmp_path / "workspace")
    for definition, dataset, target in [
        (["os.system"], "tecator", "fat"),
        ([PLSRegression()], tmp_path / "nowhere.csv", "fat"),
        ([PLSRegression()], "tecator", "ash"),
        ([PLSRegression()], "tecator", None),
    ]:
        with pytest.raises(N4AError):
            runner.run(definition, dataset, target)
    assert not (tmp_path / "workspace").exists()
    assert runner.last_run_id is None
    with pytest.raises(InvalidInputError, match="either a workspace folder or an open store"):
        PipelineRunner()


def test_a_run_in_which_everything_fails_is_failed(tmp_path: Path, tecator: Spectra) -> None:
    with WorkspaceStore(tmp_path) as store:
        runner = PipelineRunner(store=store)
        with pytest.raises(TrainingError, match="All 1 pipelines failed; the first: Failed at step 1"):
            runner.run([{"model": PLSRegression(150)}], tecator, "fat")
        run = store.get_run(runner.last_run_id)
        assert run["status"] == "failed"
        assert "n_components" in run["error"]
        assert store.list_pipelines(run_id=runner.last_run_id)["status"].to_list() == ["failed"]


def test_an_interrupted_run_is_failed_and_whole_chunks_stay(tmp_path: Path, tecator: Spectra, monkeypatch) -> None:
    (tmp_path / "interrupting.py").write_text(
        "from sklearn.linear_model import Ridge\n"
        "class Impatient(Ridge):\n"
        "    def fit(self, X, y):\n"
        "        if self.alpha == 4:\n"
        "            raise KeyboardInterrupt\n"
        "        return super().fit(X, y)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    definition = [{"model": {"class": "interrupting.Impatient", "params": {"alpha": {"_range_": [2, 5]}}}}]
    options = TrainingOptions(chunk_size=2, allowed_modules=["interrupting"])
    with WorkspaceStore(tmp_path) as store:
        runner = PipelineRunner(store=store)
        with pytest.raises(KeyboardInterrupt):
            runner.run(definition, tecator, "fat", options)
        assert store.get_run(runner.last_run_id)["status"] == "failed"
        assert store.list_pipelines(run_id=runner.last_run_id)["status"].to_list() == ["completed", "completed"]


def test_a_chunk_is_recorded_whole_or_not_at_all(tmp_path: Path, tecator: Spectra) -> None:
    options = TrainingOptions()
    plans = expand([{"_or_": [None, StandardScaler()]}, PLSRegression()], options)
    good, bad = (train_pipeline(plan, tecator, "fat", options) for plan in plans)
    bad = replace(bad, artifacts={}, chain=replace(bad.chain, fold_artifacts={"fold_final": "no such artifact"}))
    with WorkspaceStore(tmp_path) as store:
        run_id = store.begin_run("chunk", {}, ["tecator"])
        with pytest.raises(KeyError):
            record_pipelines(store, run_id, [good, bad])
        assert store.list_pipelines(run_id=run_id).is_empty()
        assert store.query_predictions().is_empty()
        record_pipelines(store, run_id, [good])
        assert store.list_pipelines(run_id=run_id).height == 1


def test_an_error_in_the_last_option_is_found_before_the_first_is_trained(tmp_path: Path) -> None:
    wrong = {"class": "sklearn.preprocessing.StandardScaler", "params": {"with_mean": "yes"}}
    with pytest.raises(DefinitionError, match="Step 1: The 'with_mean' parameter of StandardScaler"):
        PipelineRunner(workspace=tmp_path / "w").run([{"_or_": [None, wrong]}, PLSRegression()], "tecator", "fat")
    assert not (tmp_path / "w").exists()


def test_templates_are_trained_by_their_names(tmp_path: Path, tecator: Spectra) -> None:
    spectra = tecator.take(range(100))
    runner = PipelineRunner(tmp_path / "ws")
    with pytest.raises(MissingFileError, match=r"'pls of mine'.*snv_pls"):
        runner.run("pls of mine", spectra, target="fat")
    assert not (tmp_path / "ws").exists()
    rmse = {}
    for name in ("raw_pls", "snv_pls", "derivative_pls", "emsc_pls"):
        runner.run(name, spectra, target="fat")
        assert [pipeline.error for pipeline in runner.last_recorded] == [None] * len(runner.last_recorded)
        rmse[name] = min(pipeline.best_val for pipeline in runner.last_recorded if pipeline.best_val is not None)
    assert max(rmse.values()) < 2.7, rmse

    library = PipelineLibrary(tmp_path / "ws")
    best = min(runner.last_recorded, key=lambda pipeline: pipeline.best_val or 0)
    library.copy_from_pipeline(best.pipeline_id, "pls of mine")
    runner.run("PLS of mine", spectra, target="fat")
    [again] = runner.last_recorded
    assert (again.name, again.best_val) == (best.name, best.best_val)

    library.save_template(["sklearn.cross_decomposition.PLSRegression"], "raw_pls")
    with WorkspaceStore(tmp_path / "ws") as store:
        runner = PipelineRunner(store=store)
        runner.run("raw_pls", spectra, target="fat")
    assert len(runner.last_recorded) == 1, "the template of the workspace goes before the one of the package"
    with pytest.raises(InvalidInputError, match="numbers that are no classes"):
        runner.run("pls-da", spectra, target="fat")
