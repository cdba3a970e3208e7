"""`Spectra`: what every reader gives and every consumer takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from n4a_flows.storage.axis import Axis, Signal
from n4a_flows.storage.errors import SpectraError

SIGNALS: tuple[str, ...] = get_args(Signal)


@dataclass(frozen=True)
class RejectedRow:
    """A row of a file that does not hold a usable spectrum.

    Attributes
    ----------
    row
        Number of the row among the rows below the header, or of the spectrum in an instrument's file, from 1.
    line
        Number of the line in a text file or sheet, from 1; of the spectrum in other files.
    reason
        What is wrong with it, naming the column where there is one.
    """

    row: int
    line: int
    reason: str


@dataclass(frozen=True, eq=False, repr=False)
class Spectra:
    """Spectra of several samples on one axis, with what is known of the samples.

    The arrays are made read-only, so that `digest` stays true.

    Parameters
    ----------
    X
        float64 (n_samples, n_points), finite.
    axis
        Where the points were measured; as long as a row of `X`.
    sample_ids
        One different text per sample.
    targets
        Laboratory values by name, each (n_samples,): float64 with NaN for missing ones, or text for classes.
    metadata
        Other columns by name, each (n_samples,): a split, groups, an instrument.
    signal
        What the values are (see `n4a_flows.storage.axis.Signal`), None when nobody said.
    name
        Name of the set: the stem of its file.
    rejected
        Rows of the file that are not among the samples.
    reader, reader_version
        What read the file; the version changes when the same bytes would give other spectra. Not part of the digest.
    notes
        What the reader did that the file did not say in so many words, such as putting points in order.

    Raises
    ------
    SpectraError
        When the parts do not fit together, a value is not finite or an id comes twice.

    Examples
    --------
    >>> Spectra(np.array([[0.1, 0.2], [0.2, 0.4]]), Axis([1000, 1010]), ["a", "b"], {"fat": np.array([12.5, np.nan])})
    Spectra('spectra': 2 samples, 2 points, 1000 to 1010 nm, targets: fat)
    """

    X: npt.NDArray[np.float64]
    axis: Axis
    sample_ids: list[str]
    targets: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    metadata: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    signal: str | None = None
    name: str = "spectra"
    rejected: list[RejectedRow] = field(default_factory=list)
    reader: str = ""
    reader_version: str = ""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        X = _frozen(np.ascontiguousarray(self.X, dtype=np.float64), self.X)
        if X.ndim != 2 or X.shape[1] != len(self.axis):
            raise SpectraError(
                f"X has the shape {X.shape}, but must be (samples, {len(self.axis)}): the axis has that many points."
            )
        if not np.all(np.isfinite(X)):
            raise SpectraError("X holds values that are missing or infinite; leave those spectra out.")
        if self.signal is not None and self.signal not in SIGNALS:
            raise SpectraError(f"Unknown signal {self.signal!r}: use one of {', '.join(SIGNALS)}.")
        ids = [str(sample_id) for sample_id in self.sample_ids]
        _check_length("sample_ids", len(ids), len(X))
        if len(set(ids)) != len(ids):
            raise SpectraError(f"The sample id {first_duplicate(ids)!r} comes twice; ids must differ.")
        object.__setattr__(self, "X", X)
        object.__setattr__(self, "sample_ids", ids)
        object.__setattr__(self, "targets", {name: _target(name, y, len(X)) for name, y in self.targets.items()})
        object.__setattr__(self, "metadata", {name: _column(name, v, len(X)) for name, v in self.metadata.items()})

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Unpickled arrays are writable otherwise.
        self.__dict__.update(state)
        for values in (self.X, *self.targets.values(), *self.metadata.values()):
            values.flags.writeable = False

    def __len__(self) -> int:
        return self.n_samples

    def __repr__(self) -> str:
        targets = ", ".join(self.targets) or "none"
        return f"Spectra({self.name!r}: {self.n_samples} samples, {self.axis}, targets: {targets})"

    @property
    def n_samples(self) -> int:
        """Number of spectra."""
        return int(self.X.shape[0])

    @property
    def n_points(self) -> int:
        """Number of points of each spectrum."""
        return int(self.X.shape[1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the values, axis, ids, targets, metadata and signal: 64 hexadecimal digits.

        The same content has the same digest in every process and on every machine, whatever its file was called.
        """
        hasher = hashlib.sha256()
        _feed(hasher, "X", self.X)
        _feed(hasher, "axis", self.axis.values)
        _feed(hasher, "unit, signal, ids", [self.axis.unit, self.signal, self.sample_ids])
        for kind, columns in (("target", self.targets), ("metadata", self.metadata)):
            for name in sorted(columns):
                _feed(hasher, f"{kind} {name}", columns[name])
        return hasher.hexdigest()

    def take(self, indices: npt.ArrayLike) -> Spectra:
        """The samples at `indices` (numbers, or a boolean per sample), in that order, without the rejected rows.

        Raises
        ------
        SpectraError
            When a sample is taken twice.
        IndexError
            When there is no such sample.

        Examples
        --------
        >>> spectra.take(spectra.metadata["split"] == "test").n_samples
        43
        """
        chosen = np.arange(self.n_samples)[np.asarray(indices)]
        return Spectra(
            X=self.X[chosen],
            axis=self.axis,
            sample_ids=[self.sample_ids[i] for i in chosen],
            targets={name: y[chosen] for name, y in self.targets.items()},
            metadata={name: values[chosen] for name, values in self.metadata.items()},
            signal=self.signal,
            name=self.name,
            reader=self.reader,
            reader_version=self.reader_version,
            notes=list(self.notes),
        )

    def aligned_to(self, axis: Axis) -> npt.NDArray[np.float64]:
        """The spectra with their points in the order of `axis`, float64 (n_samples, n_points).

        Units are converted and a falling axis is turned round; nothing is resampled.

        Raises
        ------
        AxisError
            When the spectra were measured at other points.

        Examples
        --------
        >>> spectra.aligned_to(spectra.axis.to("um")).shape
        (215, 100)
        """
        columns = self.axis.columns_for(axis)
        return self.X if columns is None else np.ascontiguousarray(self.X[:, columns])


def first_duplicate(ids: Sequence[str]) -> str | None:
    """The first id that has been there before, None when all differ."""
    seen: set[str] = set()
    for sample_id in ids:
        if sample_id in seen:
            return sample_id
        seen.add(sample_id)
    return None


def _check_length(name: str, length: int, n_samples: int) -> None:
    if length != n_samples:
        raise SpectraError(f"{name} has {length} values for {n_samples} spectra; give one for each.")


def _frozen(values: npt.NDArray[Any], given: object) -> npt.NDArray[Any]:
    """`values` read-only, without making the caller's own array read-only."""
    if values is given and values.flags.writeable:
        values = values.copy()
    values.flags.writeable = False
    return values


def _column(name: str, values: npt.ArrayLike, n_samples: int) -> npt.NDArray[Any]:
    column = np.asarray(values)
    if column.dtype.kind == "O":
        column = column.astype(np.str_)
    if column.ndim != 1:
        raise SpectraError(f"{name} must be one value per spectrum, not an array of shape {column.shape}.")
    _check_length(name, len(column), n_samples)
    return _frozen(column, values)


def _target(name: str, values: npt.ArrayLike, n_samples: int) -> npt.NDArray[Any]:
    column = _column(name, values, n_samples)
    return column if column.dtype.kind == "U" else _frozen(column.astype(np.float64), None)


def _feed(hasher: Any, label: str, content: npt.NDArray[Any] | Sequence[Any] | Mapping[str, Any]) -> None:
    """Add one labelled part; lengths are hashed too, so parts cannot run into each other."""
    if isinstance(content, np.ndarray) and content.dtype.kind == "f":
        # One bit pattern for every NaN, and the same byte order everywhere.
        data = np.where(np.isnan(content), np.nan, content).astype("<f8").tobytes()
        label = f"{label} {content.shape}"
    else:
        data = json.dumps(content.tolist() if isinstance(content, np.ndarray) else content).encode()
    hasher.update(f"{len(label)}:{len(data)}:{label}".encode())
    hasher.update(data)
