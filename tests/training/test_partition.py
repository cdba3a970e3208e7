"""Which rows train, are tested, fold together: by column, file or fraction, with replicates on one side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from n4a_flows.spectra import Axis, Spectra, read_spectra
from n4a_flows.storage.errors import DefinitionError, InvalidInputError, SpectraError
from n4a_flows.training import TrainingOptions, check_data, expand, partition_rows, train_pipeline, training_spectra
from n4a_flows.training.partition import Partition, column_of, folds_of, target_values

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
    with pytest.raises(ValueError, match="first of test_values"):
        TrainingOptions(test_files=(later,), test_values=())


def test_what_files_do_not_say_is_said_by_the_options(tmp_path: Path) -> None:
    def write(name: str, first: int) -> Path:
        rows = "\n".join(f"{number},0.{number % 10}1,0.32,0.43,{number % 7}" for number in range(first, first + 10))
        (tmp_path / name).write_text(f"Probe Nr,1.1,1.2,1.3,fat\n{rows}\n")
        return tmp_path / name

    options = TrainingOptions(
        unit="um", signal="reflectance", id_column="Probe Nr", test_files=(str(write("later.csv", 30)),)
    )
    spectra = training_spectra(write("training.csv", 10), "fat", options)
    assert (spectra.axis.unit, spectra.signal) == ("um", "reflectance")
    assert spectra.sample_ids == [str(number) for number in [*range(10, 20), *range(30, 40)]]
    assert list(spectra.targets) == ["fat"]


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


def labelled(*texts: str, targets: dict[str, np.ndarray] | None = None, **metadata: np.ndarray) -> Spectra:
    """Spectra with a class `kind` for each."""
    X = np.random.default_rng(1).random((len(texts), 8))
    X[:, 0] += np.unique(texts, return_inverse=True)[1]
    return Spectra(
        X,
        Axis(np.linspace(1000, 1070, 8)),
        [f"s{n}" for n in range(len(texts))],
        {"kind": np.array(texts)} if targets is None else targets,
        metadata,
    )


def test_codes_are_classes_as_they_are_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    lines = ["id,kind," + ",".join(f"{w}" for w in range(1000, 1080, 10))]
    for n in range(30):
        lines.append(f"s{n},{['01', '02', '1'][n % 3]}," + ",".join(f"{n % 3 + v:.4f}" for v in rng.random(8)))
    (tmp_path / "codes.csv").write_text("\n".join(lines) + "\n")
    spectra = training_spectra(tmp_path / "codes.csv", "kind", TrainingOptions())
    trained = train_pipeline(expand([LDA])[0], spectra, "kind")
    assert trained.error is None
    assert set(trained.predictions[-1].y_pred) == {"01", "02", "1"}
    with pytest.raises(InvalidInputError, match=r"'kind' holds codes with leading zeros \(such as '01'\)"):
        check_data(expand([PLS]), spectra, ["kind"], TrainingOptions())
    with pytest.raises(SpectraError, match=r"has 'kind' as text, not as a target; .* \(target='kind'\)"):
        training_spectra(read_spectra(tmp_path / "codes.csv"), "kind", TrainingOptions())


def test_a_class_is_one_however_its_zero_is_signed_and_exact() -> None:
    signed = labelled(*"abab", targets={"kind": np.array([0.0, -0.0, 1.0, 1.0])})
    assert target_values(signed, "kind", "classification").tolist() == ["0", "0", "1", "1"]
    assert column_of(signed, "kind").tolist() == ["0", "0", "1", "1"]
    long = labelled(*"abab", targets={"kind": np.array([2.0**53, 2.0**53 + 2, 1.0, 1.0])})
    for task in (lambda: target_values(long, "kind", "classification"), lambda: column_of(long, "kind")):
        with pytest.raises(InvalidInputError, match=r"'kind' holds whole numbers from 9007199254740992 on.* as text"):
            task()
    assert target_values(long, "kind", "regression").tolist() == long.targets["kind"].tolist()


def test_rows_that_say_different_signals_are_not_trained_together() -> None:
    mixed = labelled(*"abababab", signal=np.array(["absorbance", "reflectance"] * 4))
    with pytest.raises(SpectraError, match=r"says absorbance and reflectance; ask for one .* or split the file"):
        check_data(expand([LDA]), mixed, ["kind"], TrainingOptions())


@pytest.mark.parametrize("name", ["split", "Split", "SPLIT"])
@pytest.mark.parametrize("word", ["test", "Test", " TEST "])
def test_words_of_the_split_column_are_known_in_any_case(name: str, word: str) -> None:
    spectra = labelled(*"ab" * 6, **{name: np.array(["train"] * 8 + [word] * 4)})
    part = partition_rows(spectra, "kind", TrainingOptions(), task="classification")
    assert (len(part.train), len(part.test)) == (8, 4)
    chosen = TrainingOptions(test_values=("Holdout",), train_values=("TRAIN",), split_column="set")
    sets = labelled(*"ab" * 6, set=np.array(["Train "] * 6 + ["holdout"] * 4 + ["x"] * 2))
    part = partition_rows(sets, "kind", chosen, task="classification")
    assert (len(part.train), len(part.test), len(part.unused)) == (6, 4, 2)


def test_a_split_column_that_holds_nothing_out_is_not_passed_over() -> None:
    def part(options: TrainingOptions, *words: str, name: str = "split") -> Partition:
        spectra = labelled(*"ab" * 6, **{name: np.resize(np.array(words), 12)})
        return partition_rows(spectra, "kind", options, task="classification")

    nothing = r"'split' .* holds no row out: it says cal-1, validation, and none of it is test.* \(test_values\).* split_column"
    with pytest.raises(InvalidInputError, match=nothing):
        part(TrainingOptions(), "cal-1", "validation")
    with pytest.raises(InvalidInputError, match="it says test, train, and none of it is holdout"):
        part(TrainingOptions(test_values=("holdout",)), "train", "test")
    with pytest.raises(InvalidInputError, match=r"'set' .* says train, and none"):
        part(TrainingOptions(split_column="set"), "train", name="set")
    for options, words in (
        (TrainingOptions(), ["train", "Training", "calibration", ""]),
        (TrainingOptions(train_values=("fit",)), ["fit"]),
        (TrainingOptions(test_values=()), ["cal-1", "validation"]),
        (TrainingOptions(split_column=None), ["cal-1", "validation"]),
        (TrainingOptions(fold_column="split"), ["one", "two"]),
        (TrainingOptions(test_fraction=0.25), ["cal-1", "validation"]),
    ):
        assert len(part(options, *words).test) == (3 if options.test_fraction else 0)
    spectra = labelled(*"ab" * 6, Split=np.array(["train", "test"] * 6), SPLIT=np.array(["test", "train"] * 6))
    with pytest.raises(InvalidInputError, match="'Split' and 'SPLIT'"):
        partition_rows(spectra, "kind", TrainingOptions(), task="classification")


@pytest.mark.parametrize("fraction", [0.05, 0.15, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.95])
def test_a_fraction_of_classes_with_groups_is_met(fraction: float) -> None:
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(60), rng.integers(1, 5, 60))
    spectra = labelled(*np.array(["a", "b", "c"])[group % 3], group=group.astype(str))
    options = TrainingOptions(test_fraction=fraction, group_column="group")
    part = partition_rows(spectra, "kind", options, task="classification")
    assert len(part.test) / len(group) == pytest.approx(fraction, abs=0.03)
    for kind in "abc":
        assert np.mean(spectra.targets["kind"][part.test] == kind) == pytest.approx(
            np.mean(spectra.targets["kind"] == kind), abs=0.1 if len(part.test) > 20 else 0.35
        )
    again = partition_rows(spectra, "kind", options, task="classification")
    assert again.test.tolist() == part.test.tolist()
    other = partition_rows(spectra, "kind", options.model_copy(update={"seed": 1}), task="classification")
    assert other.test.tolist() != part.test.tolist()


def test_few_groups_give_the_nearest_fraction() -> None:
    spectra = labelled(*"abababababab", group=np.repeat(["x", "y", "z"], 4))
    for fraction, rows in ((0.3, 4), (0.4, 4), (0.7, 8), (0.9, 8)):
        options = TrainingOptions(test_fraction=fraction, group_column="group")
        assert len(partition_rows(spectra, "kind", options, task="classification").test) == rows
    ten = labelled(*"ab" * 20, group=np.repeat([f"g{n}" for n in range(10)], 4))
    for fraction, rows in ((0.03, 4), (0.97, 36)):
        options = TrainingOptions(test_fraction=fraction, group_column="group")
        assert len(partition_rows(ten, "kind", options, task="classification").test) == rows
    one = labelled(*"abab", group=np.array(["x"] * 4))
    with pytest.raises(InvalidInputError, match="there is only one group"):
        partition_rows(one, "kind", TrainingOptions(test_fraction=0.3, group_column="group"), task="classification")
