"""What a reader is given and what it gives back, before the guards have looked at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from n4a_flows.spectra.model import RejectedRow
from n4a_flows.storage.axis import Unit


@dataclass(frozen=True)
class Source:
    """A file to read, and what the caller said about it.

    Attributes
    ----------
    path
        Where the file lies on this machine, for libraries that open files themselves.
    data
        Its bytes.
    targets
        Columns that must be there as targets.
    unit, signal, id_column
        As in `read_spectra`.
    fetched_from
        Where it was fetched from, for messages; empty when it lies here.
    """

    path: Path
    data: bytes
    targets: Sequence[str] = ()
    unit: Unit | None = None
    signal: str | None = None
    id_column: str | None = None
    fetched_from: str = ""

    def __str__(self) -> str:
        return self.fetched_from or str(self.path)


def text_of(value: object) -> str:
    """What a cell says: bytes are UTF-8, a whole number has no decimals whatever type it came in, and None says nothing."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return str(int(value))
    return "" if value is None else str(value)


@dataclass(frozen=True)
class RawSpectra:
    """What a file says, as a reader found it; `guards.checked` makes `Spectra` of it or refuses it.

    Attributes
    ----------
    X
        Numbers (n_rows, n_points). What is not finite makes its row a rejected one.
    axis
        Numbers (n_points,), in any order.
    unit
        Unit of the axis as the file says it; None when it does not.
    signal
        What the values are as the file says it; None when it does not.
    sample_ids
        One per row of `X`; None where the file has none.
    targets, metadata
        Columns by name, one value per row of `X`.
    total
        Number of spectra that the file holds: each is a row of `X` or in `rejected`.
    rows, lines
        Number of each row of `X` in the file, and the line it stands on; counted from 1 when left out.
    faults
        What is wrong with rows of `X`, by position, where the reader knows better than "not finite".
    rejected
        Rows of the file that gave no row of `X`.
    points
        What the file calls the points, for messages.
    notes
        What the reader did that the file did not say in so many words.
    """

    X: npt.ArrayLike
    axis: npt.ArrayLike
    unit: Unit | None
    signal: str | None
    total: int
    sample_ids: Sequence[str] | None = None
    targets: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    metadata: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    rows: Sequence[int] | None = None
    lines: Sequence[int] | None = None
    faults: Mapping[int, str] = field(default_factory=dict)
    rejected: Sequence[RejectedRow] = ()
    points: Sequence[str] | None = None
    notes: Sequence[str] = ()
