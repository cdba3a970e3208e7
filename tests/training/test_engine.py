"""Training one pipeline: what is fitted on which rows, what is predicted, and what comes out as bytes."""

from __future__ import annotations

import io
import json
import pickle
import re
import subprocess
import sys
from dataclasses import replace

import joblib
import numpy as np
import pytest
from chemotools.derivative import SavitzkyGolay
from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, LeaveOneOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from n4a_flows.spectra import Spectra
from n4a_flows.storage.errors import DefinitionError, InvalidInputError
from n4a_flows.training import TrainedPipeline, TrainingOptions, check_data, expand, targets_of, train_pipeline

SG_SNV = [SavitzkyGolay(window_length=11, polyorder=2, deriv=1), StandardNormalVariate()]
SCALED = [*SG_SNV, StandardScaler(), {"model": PLSRegression(10)}]


def train(definition, spectra: Spectra, target: str = "fat", **options) -> TrainedPipeline:
    settings = TrainingOptions(**options)
    (plan,) = expand(definition, settings)
    return train_pipeline(plan, spectra, target, settings)


def by_fold(trained: TrainedPipeline, partition: str) -> dict:
    return {p.fold_id: p for p in trained.predictions if p.partition == partition}


@pytest.fixture(scope="module")
def trained(tecator: Spectra) -> TrainedPipeline:
    return train(SCALED, tecator)


def test_every_prediction_equals_a_plain_scikit_learn_loop(tecator: Spectra, trained: TrainedPipeline) -> None:
    y = tecator.targets["fat"]
    test = tecator.metadata["split"] == "test"
    X_train, y_train = tecator.X[~test], y[~test]
    rows = np.flatnonzero(~test)
    val, held_out = by_fold(trained, "val"), by_fold(trained, "test")
    assert len(val) == 5

    pooled_true, pooled_pred = [], []
    for k, (inside, outside) in enumerate(KFold(5, shuffle=True, random_state=42).split(X_train)):
        plain = make_pipeline(*SG_SNV, StandardScaler(), PLSRegression(10)).fit(X_train[inside], y_train[inside])
        fold = val[f"fold_{k}"]
        np.testing.assert_array_equal(fold.sample_indices, rows[outside])
        np.testing.assert_array_equal(fold.y_true, y_train[outside])
        np.testing.assert_allclose(fold.y_pred, plain.predict(X_train[outside]), rtol=0, atol=1e-12)
        np.testing.assert_allclose(held_out[f"fold_{k}"].y_pred, plain.predict(tecator.X[test]), rtol=0, atol=1e-12)
        pooled_true.append(y_train[outside])
        pooled_pred.append(plain.predict(X_train[outside]))
        train_error = plain.predict(X_train[inside]) - y_train[inside]
        assert fold.scores["train"]["rmse"] == pytest.approx(np.sqrt(np.mean(train_error**2)), rel=1e-12)

    refit = make_pipeline(*SG_SNV, StandardScaler(), PLSRegression(10)).fit(X_train, y_train)
    np.testing.assert_allclose(held_out["final"].y_pred, refit.predict(tecator.X[test]), rtol=0, atol=1e-12)
    error = np.concatenate(pooled_pred) - np.concatenate(pooled_true)
    assert trained.best_val == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)
    assert trained.best_test == held_out["final"].scores["test"]["rmse"]
    assert held_out["final"].refit_context == "standalone"
    assert val["fold_0"].refit_context is None


def test_fat_of_meat_comes_out_as_well_as_it_should(trained: TrainedPipeline) -> None:
    assert trained.error is None
    assert trained.best_test <= 2.3
    assert len(by_fold(trained, "test")["final"].y_pred) == 43


def test_transformers_that_learn_are_fitted_inside_each_fold(tecator: Spectra, trained: TrainedPipeline) -> None:
    derivative, snv, scaler, model = trained.chain.steps
    folds = [f"fold_{k}" for k in range(5)]
    assert list(scaler["fold_artifact_ids"]) == [*folds, "fold_final"]
    assert len(set(scaler["fold_artifact_ids"].values())) == 6

    treated = SG_SNV[1].fit_transform(SG_SNV[0].fit_transform(tecator.X))
    for fold, prediction in by_fold(trained, "val").items():
        stored = joblib.load(io.BytesIO(trained.artifacts[scaler["fold_artifact_ids"][fold]].data))
        inside = np.setdiff1d(np.flatnonzero(tecator.metadata["split"] != "test"), prediction.sample_indices)
        np.testing.assert_allclose(stored.mean_, treated[inside].mean(axis=0), rtol=1e-12)

    # What has nothing to learn is one object for all.
    for step in (derivative, snv):
        assert step["fold_artifact_ids"] == {}
        assert len(step["artifact_ids"]) == 1
        assert trained.chain.shared_artifacts[str(step["step_idx"])] == step["artifact_ids"]
    assert [step["step_idx"] for step in trained.chain.steps] == [1, 2, 3, 4]
    assert (trained.chain.model_step_idx, model["operator_type"]) == (4, "model")
    assert list(trained.chain.fold_artifacts) == [*folds, "fold_final"]
    assert trained.chain.model_class == "sklearn.cross_decomposition.PLSRegression"


def test_the_same_training_gives_the_same_bits_in_every_form_and_process(
    tecator: Spectra, trained: TrainedPipeline
) -> None:
    as_json = expand(SCALED)[0].steps
    again = train(as_json, tecator)
    code = (
        "import sys, pickle; from n4a_flows.training import train_pipeline\n"
        "sys.stdout.buffer.write(pickle.dumps(train_pipeline(*pickle.load(sys.stdin.buffer))))"
    )
    sent = pickle.dumps((trained.planned, tecator, "fat", TrainingOptions()))
    answer = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True).stdout
    elsewhere = pickle.loads(answer)  # noqa: S301

    for other in (again, elsewhere):
        assert other.planned.definition_hash == trained.planned.definition_hash
        assert (other.best_val, other.best_test) == (trained.best_val, trained.best_test)
        assert set(other.artifacts) == set(trained.artifacts)
        assert other.chain == trained.chain


def test_bytes_do_not_tell_how_a_definition_was_written(tecator: Spectra) -> None:
    # Pickle writes a text that is one object in two places only once; JSON never makes it one object.
    twice = [SavitzkyGolay(window_length=9, polyorder=2, mode="interp") for _ in range(2)]
    written = [{"model": make_pipeline(*twice, Ridge())}]
    as_json = json.loads(json.dumps(expand(written)[0].steps))
    assert set(train(written, tecator).artifacts) == set(train(as_json, tecator).artifacts)


def test_a_random_model_is_repeatable_and_follows_the_seed(tecator: Spectra) -> None:
    forest = {"class": "sklearn.ensemble.RandomForestRegressor", "params": {"n_estimators": 3, "max_depth": 3}}
    one, same = (train([KFold(2), {"model": forest}], tecator) for _ in range(2))
    other = train([KFold(2), {"model": forest}], tecator, seed=1)
    assert one.best_val == same.best_val
    assert set(one.artifacts) == set(same.artifacts)
    assert one.best_val != other.best_val


def test_rows_without_a_value_are_left_out_and_counted(tecator: Spectra) -> None:
    fat = tecator.targets["fat"].copy()
    missing = [3, 50, 180]  # two that would train, one of the test set
    fat[missing] = np.nan
    trained = train([{"model": PLSRegression(6)}], replace(tecator, targets={"fat": fat}))

    assert (trained.left_out, trained.n_rows) == (3, 215)
    used = np.concatenate([p.sample_indices for p in by_fold(trained, "val").values()])
    test = by_fold(trained, "test")["final"].sample_indices
    assert sorted([*used, *test, *missing]) == list(range(215))
    assert len(test) == 42
    assert "3 are left out" in trained.log[0].message


def test_without_a_test_set_everything_trains(tecator: Spectra) -> None:
    trained = train([{"model": PLSRegression(6)}], tecator, split_column=None)
    assert trained.best_test is None
    assert by_fold(trained, "test") == {}
    final = by_fold(trained, "train")["final"]
    assert len(final.y_true) == 215
    assert final.refit_context == "standalone"
    assert {p.fold_id for p in trained.predictions} == {*(f"fold_{k}" for k in range(5)), "final"}


def test_y_processing_is_fitted_in_the_fold_and_undone_on_the_output(tecator: Spectra) -> None:
    forest = {"class": "sklearn.linear_model.Ridge", "params": {"alpha": 1e-3}}
    trained = train([{"y_processing": StandardScaler()}, StandardScaler(), {"model": forest}], tecator)
    plain = train([StandardScaler(), {"model": forest}], tecator)
    # Ridge commutes with scaling of y, so the predictions must be those without it.
    for fold, prediction in by_fold(trained, "val").items():
        np.testing.assert_allclose(prediction.y_pred, by_fold(plain, "val")[fold].y_pred, rtol=1e-9)
    scaler = trained.chain.steps[0]
    assert (scaler["operator_type"], len(set(scaler["fold_artifact_ids"].values()))) == ("y_processing", 6)
    inside = np.setdiff1d(
        np.flatnonzero(tecator.metadata["split"] != "test"), by_fold(trained, "val")["fold_0"].sample_indices
    )
    stored = joblib.load(io.BytesIO(trained.artifacts[scaler["fold_artifact_ids"]["fold_0"]].data))
    assert stored.mean_[0] == pytest.approx(tecator.targets["fat"][inside].mean())


def test_the_refit_alone_is_kept_on_request(tecator: Spectra, trained: TrainedPipeline) -> None:
    alone = train(SCALED, tecator, keep_fold_models=False)
    assert list(alone.chain.fold_artifacts) == ["fold_final"]
    assert len(alone.artifacts) == 4 + 2, "and the probe and the limits"
    assert set(alone.artifacts) < set(trained.artifacts)
    assert alone.best_val == trained.best_val


def test_leave_one_out_has_a_pooled_r2_though_no_fold_has_one(tecator: Spectra) -> None:
    small = tecator.take(np.arange(20))
    trained = train([LeaveOneOut(), {"model": PLSRegression(3)}], small, metric="r2")
    assert by_fold(trained, "val")["fold_7"].scores["val"]["r2"] is None
    assert 0 < trained.best_val < 1


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (
            [{"model": PLSRegression(150)}],
            r"Failed at step 1 \(PLSRegression\(n_components=150\)\), fold_0: ValueError: ",
        ),
        (
            [SavitzkyGolay(window_length=5, polyorder=7), {"model": PLSRegression(3)}],
            r"Failed at step 1 \(SavitzkyGolay\(polyorder=7, window_length=5\)\), fold_0: ValueError: ",
        ),
        ([KFold(500), {"model": PLSRegression(3)}], r"The splitter KFold\(n_splits=500\) cannot split 172 rows"),
    ],
)
def test_a_pipeline_that_fails_says_where_and_why(tecator: Spectra, definition, message: str) -> None:
    failed = train(definition, tecator)
    assert failed.error is not None
    assert re.search(message, failed.error)
    assert (failed.chain, failed.predictions, failed.artifacts, failed.best_val) == (None, [], {}, None)


def test_data_that_does_not_fit_is_refused_before_training(tecator: Spectra) -> None:
    options = TrainingOptions()
    plans = expand([{"_or_": [KFold(3), KFold(173)]}, {"model": PLSRegression(3)}], options)
    with pytest.raises(DefinitionError, match=r"KFold\(n_splits=173\) cannot split 172 rows"):
        check_data(plans, tecator, ["fat"], options)
    with pytest.raises(InvalidInputError, match="no target 'ash'; it has moisture, fat, protein"):
        check_data(plans[:1], tecator, ["fat", "ash"], options)
    with pytest.raises(InvalidInputError, match="no column 'set'; it has sample_id, split"):
        check_data(plans[:1], tecator, ["fat"], TrainingOptions(split_column="set"))
    kinds = replace(tecator, targets={"kind": np.where(tecator.targets["fat"] > 10, "fat", "lean")})
    with pytest.raises(InvalidInputError, match="'kind' holds classes, but the pipelines predict numbers"):
        check_data(plans[:1], kinds, ["kind"], options)
    with pytest.raises(InvalidInputError, match="Only 0 rows of 'tecator' are left to train on 'fat'"):
        check_data(plans[:1], tecator.take(tecator.metadata["split"] == "test"), ["fat"], options)
    check_data(plans[:1], tecator, ["fat"], options)


def test_which_targets_are_trained(tecator: Spectra) -> None:
    assert targets_of(tecator, ["fat", "protein", "fat"]) == ["fat", "protein"]
    with pytest.raises(InvalidInputError, match=r"Say which target to train for: .* has moisture, fat, protein"):
        targets_of(tecator, None)
    assert targets_of(replace(tecator, targets={"fat": tecator.targets["fat"]}), None) == ["fat"]
