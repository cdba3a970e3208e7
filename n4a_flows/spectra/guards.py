"""The guards: what every reader found passes through here before it may be called spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.spectra.model import SIGNALS, RejectedRow, Spectra, first_duplicate
from n4a_flows.spectra.raw import RawSpectra, Source
from n4a_flows.storage.axis import UNITS, Axis, Unit
from n4a_flows.storage.errors import AxisError, SpectraError
from n4a_flows.storage.texts import storable

Values = npt.NDArray[np.float64]

NM_RANGE = (180.0, 3000.0)
"""An axis outside of these is not in nm when nobody said so: deep ultraviolet to the end of the near infrared (ISO 20473)."""

ONLY_CM = (200.0, 3000.0, 60000.0)
"""An axis between the first and the last that passes the second can only be in cm-1."""

POSSIBLE: dict[str, tuple[float, float]] = {"nm": (100.0, 1e6), "um": (0.1, 1e3), "cm-1": (10.0, 1e5)}
"""What optical axes reach, whoever says the unit: 100 nm to 1 mm."""

MAX_POINTS = 500_000
"""Points of a spectrum; what declares more is damaged."""

MAX_VALUES = 20_000_000
"""Values of a file: 160 MB as float64."""

MAX_CHARACTERS = 16_000_000
"""Characters of the columns of text of a file, each column as wide as its longest text."""

MEASURED = (1e-30, 1e15)
"""No measured value but 0 is smaller or larger: such numbers are bytes that were something else."""

_BLOCK = 1_000_000

_ISOLATED = 10.0
"""An end point that is so many steps away from its neighbour is another number that got into the axis."""

_LIMITS = {"absorbance": 10.0, "reflectance": 3.0, "transmittance": 3.0}
"""A spectrum whose median lies beyond is on another scale than declared, mostly in percent."""

_PEAK = 300.0
"""And one with a value so many times beyond is none at all."""


def checked(raw: RawSpectra, source: Source, *, name: str, reader: str, version: str) -> Spectra:
    """The spectra of a file, or why there are none.

    Raises
    ------
    SpectraError
        When the axis, its unit, the signal, the ids or the number of rows is not certain, or no row is usable.
    """
    if np.size(raw.X) > MAX_VALUES:
        raise SpectraError(f"{source} holds more than {MAX_VALUES} values; split it into several files.")
    values = _array(raw.axis, source, "its axis")
    X = _array(raw.X, source, "its values")
    if X.ndim != 2 or values.ndim != 1 or X.shape[1] != len(values):
        raise SpectraError(
            f"{source}: spectra of the shape {X.shape} do not fit an axis of the shape {values.shape}; the file is damaged."
        )
    if len(X) + len(raw.rejected) != raw.total:
        raise SpectraError(
            f"{source} declares {raw.total} spectra, but {len(X) + len(raw.rejected)} were found; the file is damaged."
        )
    said, others, signal_notes = _signal_column(raw, source)
    signal = _signal(raw.signal or said, source)
    unit = _unit(raw.unit, source, values)
    if len(values) > MAX_POINTS:
        raise SpectraError(f"{source} has {len(values)} points per spectrum, which no instrument gives; it is damaged.")
    try:
        axis, order = _axis(values.tobytes(), unit, said=bool(raw.unit or source.unit))
    except SpectraError as error:
        raise SpectraError(f"{source}{error}") from error.__cause__
    notes = [*raw.notes, *signal_notes]
    names = raw.points if raw.points is not None else [f"{value:g}" for value in values]
    if order is not None:
        X, names = X[:, order], [names[i] for i in order]
        notes.append("the points were not in order and have been sorted")
    if unit == "cm-1" and not (raw.unit or source.unit):
        notes.append("the unit of the axis is not said, and can only be cm-1")

    rows = list(raw.rows) if raw.rows is not None else list(range(1, len(X) + 1))
    lines = list(raw.lines) if raw.lines is not None else rows
    ids = _ids(raw, source, name, rows)
    faults = _faults(X, names, ids, signal) | others | dict(raw.faults)
    rejected = sorted(
        [*raw.rejected, *(RejectedRow(rows[i], lines[i], reason) for i, reason in faults.items())],
        key=lambda row: row.row,
    )
    if len(faults) == len(X):
        if not rejected:
            raise SpectraError(f"{source} holds no spectrum; write the file again.")
        first = rejected[0]
        raise SpectraError(f"{source} has no usable spectrum; line {first.line}: {first.reason}.")
    kept = slice(None) if not faults else np.array([i for i in range(len(X)) if i not in faults])
    X = X[kept]
    X.flags.writeable = False  # so that Spectra need not copy it
    try:
        return Spectra(
            X=X,
            axis=axis,
            sample_ids=[ids[i] for i in range(len(ids)) if i not in faults],
            targets={key: np.asarray(column)[kept] for key, column in raw.targets.items()},
            metadata={key: np.asarray(column)[kept] for key, column in raw.metadata.items()},
            signal=signal,
            name=name,
            rejected=rejected,
            reader=reader,
            reader_version=version,
            notes=notes,
        )
    except SpectraError as error:
        raise SpectraError(f"{source}: {error}") from error


def _array(given: npt.ArrayLike, source: Source, what: str) -> npt.NDArray[Any]:
    if np.iscomplexobj(given):
        raise SpectraError(f"{source}: {what} are complex numbers; save a real spectrum (absorbance or reflectance).")
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SpectraError(f"{source}: {what} are no numbers ({error}).") from error


def _signal_column(raw: RawSpectra, source: Source) -> tuple[str | None, dict[int, str], list[str]]:
    """What a column `signal` says: one for all, why rows are not of the one that is asked for, and a note on several."""
    name, column = _said_of_each(raw.metadata)
    if len(set(column)) < 2:
        return next(iter(column), None), {}, []
    if source.signal is None:
        return None, {}, [f"{_says(name, column)}; nothing is known of all spectra"]
    others = {i: value for i, value in enumerate(column) if value not in ("", source.signal)}
    return None, {i: f"its column {name!r} says {value!r}, not {source.signal}" for i, value in others.items()}, []


def _said_of_each(metadata: Mapping[str, npt.ArrayLike]) -> tuple[str, list[str]]:
    """The column `signal` and its words in lower case; no words when there is none, or it is about something else."""
    name = next((name for name in metadata if name.strip().lower() == "signal"), "")
    column = [str(value).strip().lower() for value in np.asarray(metadata[name])] if name else []
    return name, column if set(column) & set(SIGNALS) else []


def _says(name: str, column: Sequence[str]) -> str:
    words = sorted({*column} - {""})
    return f"the column {name!r} says {' and '.join(words)}" + ("" if len(words) > 1 else " of some spectra")


def check_one_signal(spectra: Spectra) -> None:
    """Refuse spectra whose column `signal` says different things, unless their signal is known.

    Raises
    ------
    SpectraError
        When it does.
    """
    name, column = _said_of_each(spectra.metadata) if spectra.signal is None else ("", [])
    if len(set(column)) > 1:
        raise SpectraError(
            f"{spectra.name!r}: {_says(name, column)}; ask for one when the file is read (signal=...), or split the file."
        )


def _signal(found: str | None, source: Source) -> str | None:
    for signal in (found, source.signal):
        if signal is not None and signal not in SIGNALS:
            raise SpectraError(f"{source}: Unknown signal {signal!r}: use one of {', '.join(SIGNALS)}.")
    if found and source.signal and found != source.signal:
        raise SpectraError(f"{source} holds {found}, as it says itself, and not {source.signal}; leave the signal out.")
    return found or source.signal


def _unit(found: Unit | None, source: Source, values: Values) -> Unit:
    for unit in (found, source.unit):
        if unit is not None and unit not in UNITS:
            raise SpectraError(f"{source}: Unknown axis unit {unit!r}: use one of {', '.join(UNITS)}.")
    if found and source.unit and found != source.unit:
        raise SpectraError(
            f"{source} has its axis in {found}, as it says itself, and not in {source.unit}; leave the unit out."
        )
    inferred: Unit = "cm-1" if _only_cm(values) else "nm"
    return found or source.unit or inferred


def _only_cm(values: Values) -> bool:
    low, border, high = ONLY_CM
    return bool(values.size and low <= values.min() and border < values.max() <= high)


def plausible(values: npt.ArrayLike, unit: str | None = None) -> bool:
    """Whether these can be the points of an axis whose unit is this, or is not said."""
    found = np.asarray(values, dtype=np.float64)
    if found.size < 2 or not np.all(np.isfinite(found)):
        return False
    low, high = POSSIBLE[unit] if unit else NM_RANGE
    return bool(low <= found.min() and found.max() <= high) or (unit is None and _only_cm(found))


def _order(values: Values) -> npt.NDArray[np.intp] | None:
    """How to sort points that are in no order; None when they are in order, or are not the points of an even axis."""
    steps = np.diff(values)
    if values.size < 3 or not np.all(np.isfinite(values)) or np.all(steps > 0) or np.all(steps < 0):
        return None
    order = np.argsort(values)
    for points in (values[order], 1e7 / values[order] if values.min() > 0 else values[order]):
        gaps = np.abs(np.diff(points))
        if gaps.min() > 0.6 * np.median(gaps) and gaps.max() < 1.6 * np.median(gaps):
            return order
    return None


# The files of an instrument have one axis, and there are many of them.
@lru_cache(maxsize=8)
def _axis(data: bytes, unit: Unit, *, said: bool) -> tuple[Axis, npt.NDArray[np.intp] | None]:
    """The axis, and how its points must be sorted; the message of an error follows the name of the file."""
    values = np.frombuffer(data, dtype=np.float64)
    if len(values) < 2:
        raise SpectraError(" has no axis of at least two points; the file is no spectrum.")
    order = _order(values)
    if order is not None:
        values = values[order]
    try:
        axis = Axis(values, unit)
    except AxisError as error:
        raise SpectraError(f" has no axis: {error}") from error
    ends = f"an axis from {values[0]:g} to {values[-1]:g}"
    low, high = POSSIBLE[unit]
    if not said and unit == "nm" and not (NM_RANGE[0] <= values.min() and values.max() <= NM_RANGE[1]):
        raise SpectraError(
            f": {ends} cannot be in nm; say its unit (unit='cm-1' or unit='um'), or name the targets if a number in the header "
            "is one."
        )
    if not (low <= values.min() and values.max() <= high):
        raise SpectraError(f": {ends} cannot be in {unit}; say the unit it is in, or write the file again.")
    if len(values) > 3:
        steps = np.abs(np.diff(values))
        for step, neighbour, point in ((steps[0], steps[1], values[0]), (steps[-1], steps[-2], values[-1])):
            if step > _ISOLATED * neighbour:
                raise SpectraError(
                    f": the point {point:g} lies far from the rest of the axis; if a number in the header is the name of a "
                    "target, name the targets."
                )
    return axis, order


def _ids(raw: RawSpectra, source: Source, name: str, rows: Sequence[int]) -> list[str]:
    if raw.sample_ids is None:
        name = storable(name)
        return [name] * len(rows) if raw.total == 1 else [f"{name}_{row}" for row in rows]
    ids = [storable(str(sample_id).strip()) for sample_id in raw.sample_ids]
    if len(ids) != len(rows):
        raise SpectraError(f"{source} has {len(ids)} sample ids for {len(rows)} spectra; the file is damaged.")
    twice = first_duplicate([sample_id for sample_id in ids if sample_id])
    if twice is not None:
        raise SpectraError(f"{source}: the sample id {twice!r} comes twice; give each spectrum its own id.")
    return ids


def _faults(X: Values, names: Sequence[str], ids: Sequence[str], signal: str | None) -> dict[int, str]:
    """Why rows are no spectra, by position."""
    faults = {}
    step = max(1, _BLOCK // max(X.shape[1], 1))  # what is computed of all rows at once would need as much memory again
    for start in range(0, len(X), step):
        faults.update({start + i: reason for i, reason in _bad_values(X[start : start + step], names, signal).items()})
    for i, sample_id in enumerate(ids):
        if not sample_id:
            faults.setdefault(i, "the sample id is empty")
    return faults


def _bad_values(X: Values, names: Sequence[str], signal: str | None) -> dict[int, str]:
    faults = {}
    for i in map(int, np.flatnonzero(~np.isfinite(X).all(axis=1))):
        bad = np.flatnonzero(~np.isfinite(X[i]))
        value = X[i, bad[0]]
        what = "has no value" if np.isnan(value) else f"holds {str(value)!r}, which is not a finite number"
        faults[i] = f"column {names[bad[0]]!r} {what}" + more_columns(len(bad))
    for i in map(int, np.flatnonzero(X.min(axis=1) == X.max(axis=1))):
        faults.setdefault(i, f"the spectrum is constant: every value is {X[i, 0]:g}")
    size = np.abs(X)
    for i in map(int, np.flatnonzero(((size > MEASURED[1]) | ((size > 0) & (size < MEASURED[0]))).any(axis=1))):
        faults.setdefault(i, "it holds values that nothing measures, such as 1e-300; its bytes are damaged")
    if signal in _LIMITS:
        limit = _LIMITS[signal]
        middle = np.median(size, axis=1)
        for i in map(int, np.flatnonzero((middle > limit) | (size > limit * _PEAK).any(axis=1))):
            faults.setdefault(
                i,
                f"its values, mostly {middle[i]:.3g}, cannot be {signal}; declare the signal that they are (percent?)",
            )
    return faults


def measured(values: npt.NDArray[np.float64]) -> bool:
    """Whether all values are such as an instrument gives: finite, and of a size that something has."""
    size = np.abs(values)
    return bool(np.all(np.isfinite(values)) and np.all((size <= MEASURED[1]) & ((size == 0) | (size >= MEASURED[0]))))


def more_columns(bad: int) -> str:
    """The end of a reason that names the first of several bad columns."""
    return f" (and {bad - 1} more columns)" if bad > 1 else ""
