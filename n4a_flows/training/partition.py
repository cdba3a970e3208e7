"""Which rows train, which are held out, which are left out; checks of a definition against the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.spectra import Spectra
from n4a_flows.storage.errors import DefinitionError, InvalidInputError
from n4a_flows.training.definition import PlannedPipeline
from n4a_flows.training.operators import build, label
from n4a_flows.training.options import DEFAULT_SPLIT_COLUMN, TrainingOptions

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Rows of the dataset: int64, each in the order of the dataset."""

    train: Rows
    test: Rows
    left_out: Rows


def partition_rows(spectra: Spectra, target: str, options: TrainingOptions) -> Partition:
    """Divide the rows of a dataset for one target.

    Returns
    -------
    An object with `train`, `test` and `left_out` (rows without a value of the target): int64 rows in the order of the dataset.

    Raises
    ------
    InvalidInputError
        When the target or the split column is not there, the target holds no numbers, or fewer than two rows are left to
        train on.
    """
    if target not in spectra.targets:
        raise InvalidInputError(
            f"The dataset {spectra.name!r} has no target {target!r}; it has {', '.join(spectra.targets) or 'none'}."
        )
    y = spectra.targets[target]
    if y.dtype.kind != "f":
        raise InvalidInputError(f"The target {target!r} holds classes; only regression on numbers is trained.")
    known = np.isfinite(y)
    held_out = _held_out(spectra, options.split_column)
    part = Partition(
        train=np.flatnonzero(known & ~held_out), test=np.flatnonzero(known & held_out), left_out=np.flatnonzero(~known)
    )
    if len(part.train) < 2:
        raise InvalidInputError(
            f"Only {len(part.train)} rows of {spectra.name!r} are left to train on {target!r}: {len(part.left_out)} have no "
            f"value, {len(part.test)} are held out."
        )
    return part


def folds_of(
    planned: PlannedPipeline, X: npt.NDArray[np.float64], y: npt.NDArray[np.float64], options: TrainingOptions
) -> list[tuple[Any, Any]]:
    """Training and validation rows of each fold, as positions in `X`.

    Raises
    ------
    DefinitionError
        When the splitter cannot split these rows.
    """
    splitter = build(planned.splitter, options.modules, "The splitter")
    try:
        folds = list(splitter.split(X, y))
    except ValueError as error:
        raise DefinitionError(f"The splitter {label(planned.splitter)} cannot split {len(y)} rows: {error}") from error
    if len(folds) < 2:
        raise DefinitionError(
            f"The splitter {label(planned.splitter)} gives {len(folds)} folds; cross-validation needs two."
        )
    return folds


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
        rows = partition_rows(spectra, target, options).train
        seen = []
        for pipeline in planned:
            if pipeline.splitter not in seen:
                seen.append(pipeline.splitter)
                folds_of(pipeline, spectra.X[rows], spectra.targets[target][rows], options)


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


def _held_out(spectra: Spectra, column: str | None) -> npt.NDArray[np.bool_]:
    nothing = np.zeros(spectra.n_samples, dtype=bool)
    if column is None:
        return nothing
    if column in spectra.metadata:
        return np.asarray(spectra.metadata[column] == "test", dtype=bool)
    if column == DEFAULT_SPLIT_COLUMN:
        return nothing
    raise InvalidInputError(
        f"The dataset {spectra.name!r} has no column {column!r} to split by; it has {', '.join(spectra.metadata) or 'none'}."
    )
