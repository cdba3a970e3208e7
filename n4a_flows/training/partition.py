"""Which rows train, which are held out, which are left out, and how they fold; checks of a definition against the data."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupShuffleSplit, PredefinedSplit, StratifiedGroupKFold, train_test_split

from n4a_flows.spectra import Spectra, load_dataset, with_test_set
from n4a_flows.spectra.columns import EXACT, are_codes, whole_texts
from n4a_flows.spectra.datasets import Source
from n4a_flows.spectra.guards import check_one_signal
from n4a_flows.storage.errors import DefinitionError, InvalidInputError
from n4a_flows.training.definition import PREDEFINED, PlannedPipeline
from n4a_flows.training.metrics import Task
from n4a_flows.training.operators import build, label
from n4a_flows.training.options import DEFAULT_SPLIT_COLUMN, TrainingOptions

Rows = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]

_TRAINING_WORDS = frozenset(["", "train", "training", "cal", "calibration"])
"""What a split column says, in lower case, of rows to train on; one that says nothing else holds nothing out on purpose."""

_MOST_FOLDS = 20
_SHOWN = 10


@dataclass(frozen=True)
class Partition:
    """Rows of the dataset: int64, each in the order of the dataset.

    Attributes
    ----------
    train, test
        Rows to train on, and rows that are held out.
    left_out
        Rows without a value of the target.
    unused
        Rows that the split column marks for neither.
    """

    train: Rows
    test: Rows
    left_out: Rows
    unused: Rows


def target_values(spectra: Spectra, target: str, task: Task) -> npt.NDArray[Any]:
    """The values to learn, (n_samples,): float64 with NaN, or labels with `""`, where there is none.

    Whole numbers are labels where classes are asked for, as long as they are exact.

    Raises
    ------
    InvalidInputError
        When there is no such target, it is none of this task, or its numbers are too large to be told apart.
    """
    if target not in spectra.targets:
        raise InvalidInputError(
            f"The dataset {spectra.name!r} has no target {target!r}; it has {', '.join(spectra.targets) or 'none'}."
        )
    y = spectra.targets[target]
    if task == "regression":
        if y.dtype.kind != "f":
            if are_codes(y.tolist()):
                code = next(text for text in y.tolist() if are_codes([text]))
                raise InvalidInputError(
                    f"The target {target!r} holds codes with leading zeros (such as {code!r}), which are classes; let the "
                    "pipelines end with a classifier, or write measured values without those zeros."
                )
            raise InvalidInputError(
                f"The target {target!r} holds classes, but the pipelines predict numbers; let them end with a classifier."
            )
        return y
    if y.dtype.kind != "f":
        return y
    known = np.isfinite(y)
    if not np.all(y[known] == np.round(y[known])):
        raise InvalidInputError(
            f"The target {target!r} holds numbers that are no classes (such as {y[known][y[known] != np.round(y[known])][0]:g}); "
            "let the pipelines end with a regression model."
        )
    _check_exact(target, y)
    labels = whole_texts(y)
    assert labels is not None, "numbers that are not whole or not exact are refused above"
    return labels


def _check_exact(name: str, values: npt.NDArray[np.float64]) -> None:
    if np.any(np.abs(values[np.isfinite(values)]) >= EXACT):
        raise InvalidInputError(
            f"{name!r} holds whole numbers from {EXACT} on, of which two may have become one; write them as text, such as "
            "with a letter before."
        )


def partition_rows(spectra: Spectra, target: str, options: TrainingOptions, task: Task = "regression") -> Partition:
    """Divide the rows of a dataset for one target.

    Returns
    -------
    An object with `train`, `test`, `left_out` (rows without a value of the target) and `unused`: int64 rows in the order of the
    dataset.

    Raises
    ------
    InvalidInputError
        When the target or a column is not there, the target is none of this task, no row of the split column is marked for the
        test set, fewer than two rows are left to train on, or replicates of a sample would be trained on and tested.
    SpectraError
        When rows of the dataset say that they are different signals.
    """
    check_one_signal(spectra)
    y = target_values(spectra, target, task)
    known = np.isfinite(y) if task == "regression" else y != ""
    groups = groups_of(spectra, options)
    test, unused = _held_out(spectra, y, known, groups, options)
    part = Partition(
        train=np.flatnonzero(known & ~test & ~unused),
        test=np.flatnonzero(known & test),
        left_out=np.flatnonzero(~known & ~unused),
        unused=np.flatnonzero(unused),
    )
    if len(part.train) < 2:
        raise InvalidInputError(
            f"Only {len(part.train)} rows of {spectra.name!r} are left to train on {target!r}: {len(part.left_out)} have no "
            f"value, {len(part.test)} are held out."
        )
    if task == "classification" and len(np.unique(y[part.train])) < 2:
        raise InvalidInputError(f"All rows to train on have the same class of {target!r}: {y[part.train][0]}.")
    if groups is not None:
        shared = np.intersect1d(groups[part.train], groups[part.test])
        if len(shared):
            raise InvalidInputError(
                f"Replicates of {str(shared[0])!r} (column {options.group_column!r}) are both trained on and tested; "
                "mark all of them for the same side."
            )
    return part


def column_of(spectra: Spectra, name: str) -> Texts:
    """A column of the dataset as text, `""` where it has no value; `sample_id` names the ids.

    Raises
    ------
    InvalidInputError
        When there is no such column, or its numbers are too large to be told apart.
    """
    if name in spectra.metadata:
        return np.asarray(spectra.metadata[name]).astype(str)
    if name in spectra.targets:
        values = spectra.targets[name]
        if values.dtype.kind != "f":
            return values
        _check_exact(name, values)
        # Adding 0 makes 0 of -0.
        return np.array(["" if np.isnan(value) else f"{value + 0.0:.15g}" for value in values])
    if name == "sample_id":
        return np.array(spectra.sample_ids)
    columns = ", ".join(["sample_id", *spectra.metadata, *spectra.targets])
    raise InvalidInputError(f"The dataset {spectra.name!r} has no column {name!r}; it has {columns}.")


def groups_of(spectra: Spectra, options: TrainingOptions) -> Texts | None:
    """The group that each row belongs to, None when no group column was named.

    Raises
    ------
    InvalidInputError
        When there is no such column, or a row has no group.
    """
    if options.group_column is None:
        return None
    values = column_of(spectra, options.group_column)
    if options.group_pattern is not None:
        pattern = re.compile(options.group_pattern)
        found = [pattern.search(value) for value in values]
        values = np.array(["" if m is None else (m.group(1) if pattern.groups else m.group(0)) or "" for m in found])
    if np.any(values == ""):
        sample_id = spectra.sample_ids[int(np.flatnonzero(values == "")[0])]
        raise InvalidInputError(f"The sample {sample_id!r} has no group in column {options.group_column!r}.")
    return values


def folds_of(
    planned: PlannedPipeline, spectra: Spectra, target: str, rows: Rows, options: TrainingOptions
) -> list[tuple[Any, Any]]:
    """Training and validation rows of each fold, as positions in `rows`.

    Raises
    ------
    DefinitionError
        When the splitter cannot split these rows, or would put replicates of a sample on both sides.
    """
    X, y = spectra.X[rows], target_values(spectra, target, planned.task)[rows]
    groups = groups_of(spectra, options)
    groups = None if groups is None else groups[rows]
    said = label(planned.splitter)
    splitter = _splitter(planned, spectra, rows, options)
    try:
        with warnings.catch_warnings():
            # Whether replicates stay together is looked at below, whatever the splitter does with groups.
            warnings.filterwarnings("ignore", message="The groups parameter is ignored")
            folds = list(splitter.split(X, y, groups))
    except ValueError as error:
        raise DefinitionError(f"The splitter {said} cannot split {len(y)} rows: {error}") from error
    if len(folds) < 2:
        raise DefinitionError(f"The splitter {said} gives {len(folds)} folds; cross-validation needs two.")
    if groups is not None:
        for inside, outside in folds:
            shared = np.intersect1d(groups[inside], groups[outside])
            if len(shared):
                raise DefinitionError(
                    f"The splitter {said} puts replicates of {str(shared[0])!r} on both sides; use one that keeps groups together, "
                    "such as sklearn.model_selection.GroupKFold, or leave the splitter out."
                )
    return folds


def _splitter(planned: PlannedPipeline, spectra: Spectra, rows: Rows, options: TrainingOptions) -> Any:
    if planned.splitter["class"] != PREDEFINED:
        return build(planned.splitter, options.modules, "The splitter")
    names = column_of(spectra, planned.splitter["params"]["test_fold"])[rows]
    codes = np.full(len(names), -1)
    for code, name in enumerate(sorted(set(names.tolist()) - {""})):
        codes[names == name] = code
    return _Predefined(codes)


class _Predefined(PredefinedSplit):  # type: ignore[misc]
    """Takes X, y and groups as every other splitter does."""

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> Any:
        return super().split()


def training_spectra(
    dataset: Source | Sequence[Source] | Spectra, target: str | Sequence[str] | None, options: TrainingOptions
) -> Spectra:
    """The dataset with its targets, and with the test files of the options, if any, as its test set.

    Raises
    ------
    MissingFileError, SpectraError, InvalidInputError
        As in `load_dataset`; also when a sample is in both, or the two do not fit together.
    """
    read = partial(load_dataset, target=target, unit=options.unit, signal=options.signal, id_column=options.id_column)
    spectra = read(dataset)
    if not options.test_files:
        return spectra
    test = read(list(options.test_files))
    return with_test_set(spectra, test, options.split_column or DEFAULT_SPLIT_COLUMN, ("train", options.test_values[0]))


def check_data(
    planned: Sequence[PlannedPipeline], spectra: Spectra, targets: Sequence[str], options: TrainingOptions
) -> None:
    """Find out before training what would fail for every pipeline: a missing target, a splitter that cannot split.

    Raises
    ------
    InvalidInputError
        As in `partition_rows`.
    DefinitionError
        When a splitter cannot split the rows.
    """
    for target in targets:
        rows = partition_rows(spectra, target, options, planned[0].task).train
        seen = []
        for pipeline in planned:
            if pipeline.splitter not in seen:
                seen.append(pipeline.splitter)
                folds_of(pipeline, spectra, target, rows, options)


def targets_of(spectra: Spectra, target: str | Sequence[str] | None) -> list[str]:
    """The targets to train for: those named, or the only one that the dataset has.

    Raises
    ------
    InvalidInputError
        When none is named and the dataset has not exactly one.
    """
    if target is not None:
        named = [target] if isinstance(target, str) else list(dict.fromkeys(target))
        if not named:
            raise InvalidInputError("The list of targets is empty; name at least one.")
        return named
    if len(spectra.targets) != 1:
        has = ", ".join(spectra.targets) or "no targets"
        raise InvalidInputError(f"Say which target to train for: the dataset {spectra.name!r} has {has}.")
    return list(spectra.targets)


def _held_out(
    spectra: Spectra,
    y: npt.NDArray[Any],
    known: npt.NDArray[np.bool_],
    groups: Texts | None,
    options: TrainingOptions,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which rows are held out, and which are not used at all."""
    nothing = np.zeros(spectra.n_samples, dtype=bool)
    if options.test_fraction is not None:
        return _drawn(y, known, groups, options.test_fraction, options.seed), nothing
    column = _split_column(spectra, options)
    if column is None:
        return nothing, nothing
    values = column_of(spectra, column)
    word: Callable[[str], str] = _word
    if np.isin(list(map(_word, values)), list(map(_word, options.test_values))).all():
        word = str  # there would be nothing to train on: words that differ in case alone are different ones
    words = np.array(list(map(word, values)))
    test = np.isin(words, list(map(word, options.test_values)))
    trains = None if options.train_values is None else list(map(word, options.train_values))
    if options.test_values and not test.any():
        by_default = options.split_column == DEFAULT_SPLIT_COLUMN
        if not by_default or not set(words.tolist()) <= {*_TRAINING_WORDS, *(trains or ())}:
            found = [value for value in np.unique(values).tolist() if value.strip()]
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise InvalidInputError(
                f"The column {column!r} of {spectra.name!r} holds no row out: it says {', '.join(found[:_SHOWN]) or 'nothing'}"
                f"{more}, and none of it is {' or '.join(options.test_values)}. Name the words that mark the test set "
                "(test_values); to hold nothing out, leave them empty or set split_column to null."
            )
    return test, nothing if trains is None else ~test & ~np.isin(words, trains)


def _word(value: str) -> str:
    return value.strip().casefold()


def _split_column(spectra: Spectra, options: TrainingOptions) -> str | None:
    """The column that is named; the default one in any case, None when the data has none or folds by it."""
    column = options.split_column
    there = [*spectra.metadata, *spectra.targets]
    if column != DEFAULT_SPLIT_COLUMN or column in there:
        return None if column == DEFAULT_SPLIT_COLUMN == options.fold_column else column
    found = [name for name in spectra.metadata if _word(name) == column and name != options.fold_column]
    if len(found) > 1:
        raise InvalidInputError(
            f"The dataset {spectra.name!r} has the columns {' and '.join(map(repr, found))}; say which one marks the test set "
            "(split_column)."
        )
    return found[0] if found else None


def _drawn(
    y: npt.NDArray[Any], known: npt.NDArray[np.bool_], groups: Texts | None, fraction: float, seed: int
) -> npt.NDArray[np.bool_]:
    """A test set drawn at random. For numbers it does not depend on which rows have a value, so all targets share it."""
    test = np.zeros(len(y), dtype=bool)
    classes = y.dtype.kind != "f"
    rows = np.flatnonzero(known) if classes else np.arange(len(y))
    try:
        if groups is None:
            _, drawn = train_test_split(
                rows, test_size=fraction, random_state=seed, stratify=y[rows] if classes else None
            )
        elif classes:
            drawn = rows[_drawn_groups(y[rows], groups[rows], fraction, seed)]
        else:
            splitter = GroupShuffleSplit(1, test_size=fraction, random_state=seed)
            _, places = next(splitter.split(rows, groups=groups[rows]))
            drawn = rows[places]
    except ValueError as error:
        raise InvalidInputError(
            f"A test set of {fraction:g} of the {len(rows)} rows cannot be drawn: {error}"
        ) from error
    test[drawn] = True
    return test


def _drawn_groups(y: Texts, groups: Texts, fraction: float, seed: int) -> Rows:
    """Whole groups whose rows, and those of each class, come as near to a share as these groups can: folds put together."""
    several = len(np.unique(groups))
    if several < 2:
        raise ValueError("there is only one group")
    most = max(_MOST_FOLDS, round(1 / min(fraction, 1 - fraction)))
    most = max(2, min(most, several, int(np.unique(y, return_counts=True)[1].max())))
    # As few folds as can give the share: large ones hold each class in its share.
    share_of = Fraction(fraction).limit_denominator(most)
    n_folds = share_of.denominator if 0 < share_of < 1 else most
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with few rows is in few folds: nothing else can be done with it.
        warnings.filterwarnings("ignore", message="The least populated class")
        folds = [places for _, places in splitter.split(y, y, groups)]
    labels, codes = np.unique(y, return_inverse=True)
    counts = np.array([np.bincount(codes[places], minlength=len(labels)) for places in folds])
    sums = np.vstack([np.zeros(len(labels)), np.cumsum(np.vstack([counts, counts]), axis=0)])
    chosen, least = range(1), np.inf
    for first in range(n_folds):
        # Rows of each class in one fold from here on, in two, and so on.
        held = sums[first + 1 : first + n_folds] - sums[first]
        share = held.sum(axis=1) / len(y)
        off = np.abs(share - fraction) + np.abs(held / counts.sum(axis=0) - fraction).mean(axis=1)
        off[(share == 0) | (share == 1)] = np.inf
        if off.min() < least:
            chosen, least = range(first, first + 1 + int(off.argmin())), off.min()
    return np.concatenate([folds[k % n_folds] for k in chosen])
