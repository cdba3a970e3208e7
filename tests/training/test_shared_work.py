"""Pipelines trained together come out as if each were trained alone, bit by bit, and what they share is done once."""

from __future__ import annotations

import io
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import StandardScaler

from n4a_flows.spectra import Spectra
from n4a_flows.training import TrainedPipeline, TrainingOptions, expand, pls_sweep, train_pipeline, train_pipelines

SNV = "chemotools.scatter.StandardNormalVariate"
PLS = "sklearn.cross_decomposition.PLSRegression"


def dumped(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=3)
    return buffer.getvalue()


def same(one: TrainedPipeline, other: TrainedPipeline) -> None:
    assert one.error == other.error
    assert (one.chain, one.probe, one.pooled, one.best_val, one.best_test) == (
        other.chain, other.probe, other.pooled, other.best_val, other.best_test,
    )  # fmt: skip
    assert {h: a.data for h, a in one.artifacts.items()} == {h: a.data for h, a in other.artifacts.items()}
    for left, right in zip(one.predictions, other.predictions, strict=True):
        assert (left.fold_id, left.partition, left.scores) == (right.fold_id, right.partition, right.scores)
        np.testing.assert_array_equal(left.y_pred, right.y_pred)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("targets", [["fat"], ["fat", "protein"]])
def test_a_pls_cut_from_a_larger_one_is_the_one_of_its_own_fit_to_the_last_byte(
    tecator: Spectra, scale: bool, targets: list[str]
) -> None:
    y = np.column_stack([tecator.targets[name] for name in targets])
    y = y[:, 0] if len(targets) == 1 else y
    largest = pls_sweep.fit_largest(PLSRegression(25, scale=scale), tecator.X.copy(), y.copy())
    assert largest is not None, "scikit-learn has changed: pls_sweep fits every size by itself now, and is slower"
    for size, model in pls_sweep.cut(largest, range(1, 26)).items():
        alone = PLSRegression(size, scale=scale).fit(tecator.X, y)
        assert dumped(model) == dumped(alone)
        for X in (tecator.X[:1], tecator.X[:7], tecator.X):
            np.testing.assert_array_equal(pls_sweep.predict(model, X), alone.predict(X))


def test_nothing_is_cut_where_sizes_are_not_alike() -> None:
    X = np.random.default_rng(0).random((20, 6))
    assert pls_sweep.fit_largest(PLSRegression(7), X.copy(), X[:, 0].copy()) is None, "more components than there are"
    y = X @ np.array([1.0, 0, 0, 0, 0, 0])
    assert pls_sweep.fit_largest(PLSRegression(6), np.outer(y, np.arange(1.0, 7)), y.copy()) is None, "y is explained"


def test_pipelines_that_share_steps_come_out_as_if_alone(tecator: Spectra) -> None:
    definition = [
        {"_or_": [None, SNV, [SNV, StandardScaler()]]},
        {"y_processing": {"_or_": [StandardScaler()]}},
        {"model": {"class": PLS, "params": {"n_components": {"_or_": [2, 9, 5]}, "scale": {"_or_": [True, False]}}}},
    ]
    options = TrainingOptions()
    work = [(planned, target) for target in ("fat", "protein") for planned in expand(definition, options)]
    together = train_pipelines(work, tecator, options)
    assert [(one.planned, one.target) for one in together] == work, "in the order of the work"
    for one in together[::3]:
        same(one, train_pipeline(one.planned, tecator, one.target, options))
    rng = np.random.default_rng(1)
    for one, again in zip(together, train_pipelines(work, tecator, options), strict=True):
        same(one, again)
    shuffled = [work[i] for i in rng.permutation(len(work))]
    by_work = {(one.planned.name, one.target): one for one in train_pipelines(shuffled, tecator, options)}
    for one in together:
        same(one, by_work[one.planned.name, one.target])


def test_a_step_that_fails_fails_those_that_have_it_and_no_others(tecator: Spectra) -> None:
    definition = [
        {"_or_": [SNV, "sklearn.feature_selection.SelectKBest"]},
        {"model": {"class": PLS, "params": {"n_components": {"_or_": [3, 4, 150]}}}},
    ]
    trained = train_pipelines([(planned, "fat") for planned in expand(definition)], tecator)
    errors = {one.planned.name: one.error for one in trained}
    assert [name for name, error in errors.items() if error is None] == [
        "StandardNormalVariate > PLSRegression(n_components=3)",
        "StandardNormalVariate > PLSRegression(n_components=4)",
        "SelectKBest > PLSRegression(n_components=3)",
        "SelectKBest > PLSRegression(n_components=4)",
    ]
    assert "upper bound is 100" in str(errors["StandardNormalVariate > PLSRegression(n_components=150)"])
    assert "Failed at step 2 (PLSRegression(n_components=150)), fold_0" in str(
        errors["SelectKBest > PLSRegression(n_components=150)"]
    )


def test_an_operator_that_works_in_place_spoils_nothing_for_the_others(tecator: Spectra) -> None:
    in_place = {"class": "sklearn.preprocessing.StandardScaler", "params": {"copy": False}}
    model = {"model": {"class": PLS, "params": {"n_components": {"_or_": [3, 6]}, "copy": {"_or_": [True, False]}}}}
    trained = train_pipelines([(one, "fat") for one in expand([{"_or_": [in_place, None]}, model])], tecator)
    scores = [one.best_val for one in trained]
    assert all(one.error is None for one in trained)
    # The default splitter and data are the same, so a model that may work in place predicts what the careful one does.
    by_name = {one.planned.name: one.best_val for one in trained}
    for n in (3, 6):
        assert by_name[f"PLSRegression(copy=False, n_components={n})"] == by_name[f"PLSRegression(n_components={n})"]
    assert len(set(scores)) == 4
