"""The axis contract: spectra are brought to where a chain was trained, as far as that is certain, and refused otherwise.

Units of the axis are converted and a falling axis is turned round. A declared signal is converted (reflectance and transmittance to
absorbance and back, shares and percent); reflectance and transmittance are different measurements and never one another. Where a
file does not say what its values are, they must lie where the training spectra did. Resampling is done only when it is allowed, the
grid lies inside, and nothing would be made up across a gap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from n4a_flows.spectra.guards import check_one_signal
from n4a_flows.spectra.model import Spectra
from n4a_flows.storage.axis import Axis
from n4a_flows.storage.chains import ChainContext
from n4a_flows.storage.errors import AxisError, SpectraError

Values = npt.NDArray[np.float64]

_BEYOND = 1.0
"""How far undeclared values may lie beyond the training spectra, in widths of their range."""

_GAP = 3.0
"""An interval that is wider than so many steps beside it is a gap."""

_BESIDE = 5
"""So many steps on each side say what is usual there."""


@dataclass(frozen=True)
class Matched:
    """Spectra as a chain takes them.

    Attributes
    ----------
    X
        float64 (n_kept, n_points) on the chain's axis, in the chain's signal.
    kept
        int64 (n_kept,): which samples of the file these are.
    rejected
        Samples of the file that cannot be used, as (position, reason).
    conversions
        What was done, in words; empty when the spectra were as the chain's already.
    """

    X: Values
    kept: npt.NDArray[np.int64]
    rejected: list[tuple[int, str]]
    conversions: list[str]


def match(spectra: Spectra, context: ChainContext, *, resample: bool = False) -> Matched:
    """Bring spectra to the axis and the signal of a chain.

    Parameters
    ----------
    resample
        Whether spectra on another grid may be interpolated (cubic spline over the wavelength in nm) when the chain's grid lies
        inside and needs nothing across a gap.

    Raises
    ------
    AxisError
        When the axes differ, and the message names both; when the chain needs points in a gap of the spectra.
    SpectraError
        When the signals cannot be converted, rows of the file say different signals, or no spectrum can be used.

    Examples
    --------
    >>> percent = Spectra(100 * 10**-spectra.X, spectra.axis.to("cm-1"), spectra.sample_ids, signal="percent_reflectance")
    >>> matched = match(percent, store.get_chain_context(chain_id))
    >>> matched.conversions
    ['percent_reflectance to absorbance', 'cm-1 to nm']
    >>> bool(np.allclose(matched.X, spectra.X))
    True
    """
    check_one_signal(spectra)
    conversions: list[str] = []
    X, rejected = _in_signal(spectra, context, conversions)
    X = _on_axis(X, spectra.axis, context.axis, resample, conversions)
    kept = np.array(sorted(set(range(len(X))) - rejected.keys()), dtype=np.int64)
    if not len(kept):
        reason = next(iter(rejected.values()), "it holds none")
        raise SpectraError(f"No spectrum of {spectra.name!r} can be used; the first: {reason}")
    return Matched(np.ascontiguousarray(X[kept]), kept, sorted(rejected.items()), conversions)


# To absorbance and back, by way of the share of light.
_TO_SHARE: dict[str, Callable[[Values], Values]] = {
    "absorbance": lambda values: np.asarray(10.0**-values),
    "reflectance": lambda values: values,
    "percent_reflectance": lambda values: values / 100,
    "transmittance": lambda values: values,
    "percent_transmittance": lambda values: values / 100,
    # Below 0 it belongs to no reflectance.
    "kubelka_munk": lambda values: np.where(
        values < 0, np.nan, 1 / (1 + values + np.sqrt(np.abs(values * (values + 2))))
    ),
}
_FROM_SHARE: dict[str, Callable[[Values], Values]] = {
    "absorbance": lambda share: -np.log10(share),
    "reflectance": lambda share: share,
    "percent_reflectance": lambda share: share * 100,
    "transmittance": lambda share: share,
    "percent_transmittance": lambda share: share * 100,
    "kubelka_munk": lambda share: (1 - share) ** 2 / (2 * share),
}


def _in_signal(spectra: Spectra, context: ChainContext, conversions: list[str]) -> tuple[Values, dict[int, str]]:
    """The values in the chain's signal, and why samples cannot be used, by position."""
    have, wanted = spectra.signal, context.signal
    if have is None or wanted is None:
        return spectra.X, _implausible(spectra, context)
    if have == wanted:
        return spectra.X, {}
    if {_measured(have), _measured(wanted)} == {"reflectance", "transmittance"}:
        raise SpectraError(
            f"{spectra.name!r} holds {have}, and the chain was trained on {wanted}; one is not the other."
        )
    share = _TO_SHARE[have](spectra.X)
    logarithmic = wanted in ("absorbance", "kubelka_munk")
    dark = ~(share > 0).all(axis=1) if logarithmic else ~np.isfinite(share).all(axis=1)
    rejected = {int(row): f"{have} of 0 or less has no {wanted}" for row in np.flatnonzero(dark)}
    conversions.append(f"{have} to {wanted}")
    usable = np.where(share > 0, share, 1.0) if logarithmic else share
    return _FROM_SHARE[wanted](usable), rejected


def _measured(signal: str) -> str:
    return "reflectance" if signal == "kubelka_munk" else signal.removeprefix("percent_")


def _implausible(spectra: Spectra, context: ChainContext) -> dict[int, str]:
    """Samples that lie far from the training spectra, though nobody said that they are another signal."""
    if context.x_range is None:
        return {}
    low, high = context.x_range
    width = _BEYOND * (high - low)
    lowest, highest = spectra.X.min(axis=1), spectra.X.max(axis=1)
    far = np.flatnonzero((lowest < low - width) | (highest > high + width))
    trained = f"{context.signal or 'values'} from {low:.4g} to {high:.4g}"
    return {
        int(
            row
        ): f"its values go from {lowest[row]:.4g} to {highest[row]:.4g}, and the chain was trained on {trained}; "
        "if they are another signal, declare it"
        for row in far
    }


def _on_axis(X: Values, axis: Axis, wanted: Axis | None, resample: bool, conversions: list[str]) -> Values:
    if wanted is None:
        return X
    try:
        columns = _columns(axis, wanted)
    except AxisError as error:
        if not resample:
            raise AxisError(f"{error} Allow resampling if the grids are close enough for your calibration.") from error
        return _resampled(X, axis, wanted, conversions)
    if axis.unit != wanted.unit:
        conversions.append(f"{axis.unit} to {wanted.unit}")
    return X if columns is None else X[:, columns]


@lru_cache(maxsize=64)
def _columns(axis: Axis, wanted: Axis) -> npt.NDArray[np.intp] | None:
    """`Axis.columns_for`, worked out once for the files of one instrument."""
    return axis.columns_for(wanted)


def _resampled(X: Values, axis: Axis, wanted: Axis, conversions: list[str]) -> Values:
    have, want = axis.to("nm").values, wanted.to("nm").values
    order = np.argsort(have)
    grid = have[order]
    if want.min() < grid[0] or want.max() > grid[-1]:
        raise AxisError(
            f"The spectra lie on {axis} and cannot be resampled to {wanted}: that reaches beyond them, and nothing is extrapolated."
        )
    if len(grid) < 4:
        raise AxisError(f"The spectra lie on {axis}, which are too few points to resample.")
    _check_gaps(grid, want, axis)
    inside = grid[max(0, np.searchsorted(grid, want.min()) - 1) : np.searchsorted(grid, want.max()) + 1]
    gap = float(np.max(np.diff(inside))) if len(inside) > 1 else 0.0
    conversions.append(f"resampled by cubic spline, largest gap {gap:.4g} nm")
    return np.asarray(CubicSpline(grid, X[:, order], axis=1)(want))


def _check_gaps(grid: Values, want: Values, axis: Axis) -> None:
    """Refuse to make up what lies between two points of a grid (in nm) that are much farther apart than those beside them."""
    # In the unit in which the instrument counts, nm or cm-1, its steps are even.
    steps = min((np.diff(grid), -np.diff(1e7 / grid)), key=_unevenness)
    usual = _steps_beside(steps)
    for start in np.flatnonzero(steps > _GAP * usual):
        low, high = grid[start], grid[start + 1]
        # A point beside a measured one, as another grid with the same gap may have it, is no farther away than between others.
        beside = (high - low) * usual[start] / steps[start] / 2
        lost = int(np.sum((want > low + beside) & (want < high - beside)))
        if lost:
            raise AxisError(
                f"The spectra lie on {axis} and have no points between {low:.6g} and {high:.6g} nm, where the chain needs {lost}; "
                "nothing is interpolated across a gap. Measure these too, or train a chain without them."
            )


def _steps_beside(steps: Values) -> Values:
    """The usual step beside each one, on the side where it is larger: an instrument may count in two widths."""
    medians = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(steps, _BESIDE), _BESIDE), axis=1)
    return np.maximum(medians[: len(steps)], medians[_BESIDE + 1 : _BESIDE + 1 + len(steps)])


def _unevenness(steps: Values) -> float:
    middle = np.median(steps)
    return float(np.median(np.abs(steps - middle)) / middle)
