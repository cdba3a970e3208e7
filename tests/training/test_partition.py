"""Which rows train, are tested, fold together: by column, file or fraction, with replicates on one side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from n4a_flows.spectra import Axis, Spectra
from n4a_flows.storage.errors import DefinitionError, InvalidInputError, SpectraError
from n4a_flows.training import TrainingOptions, check_data, expand, partition_rows, train_pipeline, training_spectra
from n4a_flows.training.partition import folds_of

PLS = "sklearn.cross_decomposition.PLSRegression"
LDA = "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"


@pytest.fixture
def replicates() -> Spectra:
    """20 samples, three spectra of each, a value for most, a class for each."""
    rng = np.random.default_rng(0)
    sample = np.repeat(np.arange(20), 3)
    X = rng.random((20, 8))[sample] + rng.normal(0, 0.01, (60, 8))
    value = X[:, 0] * 10
    value[::7] = np.nan
    return Spectra(
        X=X,
        axis=Axis(np.linspace(1000, 1070, 8)),
        sample_ids=[f"S{number:02}_r{replicate}" for number, replicate in zip(sample, [1, 2, 3] * 20, strict=True)],
        targets={
            "value": value,
            "code": (sample % 3).astype(float),
            "fold": (sample % 4).astype(float),
            "kind": np.array(["a", "b"])[sample % 2],
        },
        metadata={"site": np.array(["x", "y", "z"])[sample // 7]},
        name="replicates",
    )


GROUPED = {"group_column": "sample_id", "group_pattern": r"^(S\d+)_"}


def samples(spectra: Spectra, rows: np.ndarray) -> set[str]:
    return {spectra.sample_ids[row][:3] for row in rows}


def test_a_column_may_mark_both_sides_by_any_value(replicates: Spectra) -> None:
    options = TrainingOptions(split_column="site", test_values=("z",), train_values=("x",))
    part = partition_rows(replicates, "code", options)
    assert samples(replicates, part.test) == {f"S{n:02}" for n in range(14, 20)}
    assert samples(replicates, part.train) == {f"S{n:02}" for n in range(7)}
    assert len(part.unused) == 21
    trained = train_pipeline(expand([PLS], options)[0], replicates, "value", options)
    assert trained.error is None
    assert trained.unused == 21
    assert "21 are marked for neither" in str(trained.log[0].message)


def test_a_fraction_is_the_same_for_all_targets_and_keeps_replicates_together(replicates: Spectra) -> None:
    options = TrainingOptions(test_fraction=0.3, **GROUPED)
    by_target = [partition_rows(replicates, target, options) for target in ("value", "code")]
    held_out = samples(replicates, by_target[1].test)
    assert len(held_out) == 6
    assert samples(replicates, by_target[0].test) == held_out
    assert held_out.isdisjoint(samples(replicates, by_target[1].train))
    single = partition_rows(replicates, "code", TrainingOptions(test_fraction=0.3))
    assert len(single.test) == 18
    assert not samples(replicates, single.test).isdisjoint(samples(replicates, single.train)), "without groups they mix"


def test_a_fraction_of_classes_holds_each_in_its_share(replicates: Spectra) -> None:
    for settings in ({}, GROUPED):
        part = partition_rows(replicates, "kind", TrainingOptions(test_fraction=0.4, **settings), task="classification")
        kinds = replicates.targets["kind"]
        share = np.mean(kinds[part.test] == "a")
        assert 0.4 <= share <= 0.6


def test_replicates_never_sit_on_both_sides(replicates: Spectra) -> None:
    options = TrainingOptions(**GROUPED)
    for target, model in (("code", PLS), ("kind", LDA)):
        [planned] = expand([model], options)
        rows = partition_rows(replicates, target, options, planned.task).train
        folds = folds_of(planned, replicates, target, rows, options)
        assert len(folds) == 5
        for inside, outside in folds:
            assert samples(replicates, rows[inside]).isdisjoint(samples(replicates, rows[outside]))
    careless = expand([{"class": "sklearn.model_selection.KFold", "params": {"n_splits": 4}}, PLS], options)
    check_data(
        careless, replicates, ["code"], options
    )  # 20 rows a fold: by luck only the samples at the borders are torn
    shuffled = expand([{"class": "sklearn.model_selection.KFold", "params": {"shuffle": True}}, PLS], options)
    with pytest.raises(DefinitionError, match=r"puts replicates of 'S\d\d' on both sides; use one that keeps groups"):
        check_data(shuffled, replicates, ["code"], options)
    marked = TrainingOptions(split_column="replicate", test_values=("3",), **GROUPED)
    torn = Spectra(
        replicates.X,
        replicates.axis,
        replicates.sample_ids,
        replicates.targets,
        {"replicate": np.tile(["1", "2", "3"], 20)},
    )
    with pytest.raises(InvalidInputError, match=r"Replicates of 'S00' .* both trained on and tested"):
        partition_rows(torn, "code", marked)
    with pytest.raises(InvalidInputError, match="has no group in column 'sample_id'"):
        partition_rows(replicates, "code", TrainingOptions(group_column="sample_id", group_pattern="^T"))


def test_a_column_may_name_the_folds(replicates: Spectra) -> None:
    options = TrainingOptions(fold_column="fold")
    [planned] = expand([PLS], options)
    rows = partition_rows(replicates, "code", options).train
    folds = folds_of(planned, replicates, "code", rows, options)
    assert [set(replicates.targets["fold"][rows[outside]]) for _, outside in folds] == [{0.0}, {1.0}, {2.0}, {3.0}]
    assert train_pipeline(planned, replicates, "value", options).error is None
    with pytest.raises(DefinitionError, match="one too many"):
        expand(["sklearn.model_selection.KFold", PLS], options)
    with pytest.raises(InvalidInputError, match="no column 'batch'"):
        check_data(
            expand([PLS], TrainingOptions(fold_column="batch")),
            replicates,
            ["code"],
            TrainingOptions(fold_column="batch"),
        )


def test_test_files_are_the_test_set(tmp_path: Path, tecator: Spectra) -> None:
    def write(name: str, rows: range) -> str:
        header = ["sample_id", *map(repr, tecator.axis.values.tolist()), "fat"]
        lines = [",".join(header)]
        for i in rows:
            values = [*tecator.X[i].tolist(), float(tecator.targets["fat"][i])]
            lines.append(",".join([tecator.sample_ids[i], *map(repr, values)]))
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return str(tmp_path / name)

    training, later = write("training.csv", range(150)), write("later.csv", range(150, 190))
    options = TrainingOptions(test_files=(later,))
    spectra = training_spectra(training, "fat", options)
    part = partition_rows(spectra, "fat", options)
    assert (len(part.train), len(part.test)) == (150, 40)
    assert spectra.name == "training"
    twice = TrainingOptions(test_files=(write("both.csv", range(149, 160)),))
    with pytest.raises(SpectraError, match="ids must differ"):
        training_spectra(training, "fat", twice)
    with pytest.raises(ValidationError, match="not both"):
        TrainingOptions(test_files=(later,), test_fraction=0.2)


def test_classes_are_trained_with_probabilities_and_their_own_scores(replicates: Spectra) -> None:
    options = TrainingOptions(**GROUPED)
    [planned] = expand([{"class": PLS, "params": {"n_components": 3}}, {"model": LDA}], options)
    assert (planned.task, planned.splitter["class"]) == (
        "classification",
        "sklearn.model_selection.StratifiedGroupKFold",
    )
    for target, classes in (("kind", ("a", "b")), ("code", ("0", "1", "2"))):
        trained = train_pipeline(planned, replicates, target, options)
        assert trained.error is None
        assert trained.metric == "balanced_accuracy"
        assert set(trained.pooled) == {"accuracy", "balanced_accuracy", "f1", "kappa", "roc_auc"}
        [first, *_] = trained.predictions
        assert first.classes == classes
        assert first.y_proba is not None
        assert first.y_proba.shape == (len(first.y_true), len(classes))
        np.testing.assert_allclose(first.y_proba.sum(axis=1), 1)
        assert set(first.y_pred) <= set(classes)


def test_the_wrong_task_is_refused_by_name(replicates: Spectra) -> None:
    options = TrainingOptions()
    with pytest.raises(InvalidInputError, match=r"numbers that are no classes \(such as "):
        check_data(expand([LDA]), replicates, ["value"], options)
    with pytest.raises(InvalidInputError, match="holds classes, but the pipelines predict numbers"):
        check_data(expand([PLS]), replicates, ["kind"], options)
    with pytest.raises(InvalidInputError, match="'rmse' does not score a classification; use one of accuracy"):
        expand([LDA], TrainingOptions(metric="rmse"))
    with pytest.raises(DefinitionError, match="mixes models for numbers with classifiers"):
        expand([{"model": {"_or_": [PLS, LDA]}}])
    with pytest.raises(DefinitionError, match="Classes are not scaled"):
        expand([{"y_processing": "sklearn.preprocessing.StandardScaler"}, LDA])
    with pytest.raises(ValidationError, match="no regular expression"):
        TrainingOptions(group_column="sample_id", group_pattern="(")
