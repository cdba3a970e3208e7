"""The axis that spectra lie on: where each point was measured, and in which unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from n4a_flows.storage.errors import AxisError

Unit = Literal["nm", "cm-1", "um"]
"""Unit of an axis: wavelength in nanometres or micrometres, or wavenumber in 1/cm."""
Signal = Literal[
    "absorbance", "reflectance", "percent_reflectance", "transmittance", "percent_transmittance", "kubelka_munk"
]
"""What the values of spectra are. Reflectance and transmittance are shares (0 to 1), or with `percent_` of 100; absorbance is
log 1/R or log 1/T, and Kubelka-Munk (1 - R)² / 2R."""

UNITS: tuple[str, ...] = get_args(Unit)
SIGNALS: tuple[str, ...] = get_args(Signal)

TOLERANCE = 0.05
"""Two axes are the same when no point differs by more than this share of the distance to its neighbour.

A shift of a quarter of the spacing already doubles the error of some calibrations; the rounding of printed wavelengths and
wavenumbers stays well below a twentieth.
"""


@dataclass(frozen=True, eq=False)
class Axis:
    """Positions of the points of a spectrum.

    Parameters
    ----------
    values
        float64 (n_points,), finite, positive and strictly monotonic (rising or falling).
    unit
        `"nm"` (wavelength), `"um"` (wavelength) or `"cm-1"` (wavenumber).

    Raises
    ------
    AxisError
        When the values or the unit are none of these.

    Examples
    --------
    >>> axis = Axis([850, 900, 950], "nm")
    >>> axis
    Axis(3 points, 850 to 950 nm)
    """

    values: npt.NDArray[np.float64]
    unit: Unit = "nm"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise AxisError(f"Unknown axis unit {self.unit!r}: use one of {', '.join(UNITS)}.")
        try:
            # A copy in writable memory of its own, then frozen: an axis never changes under a chain.
            values = np.array(self.values, dtype=np.float64, copy=True)
            if np.iscomplexobj(self.values):
                raise TypeError("they are complex")
        except (TypeError, ValueError) as error:
            raise AxisError(f"The values of an axis must be numbers: {error}.") from error
        if values.ndim != 1 or values.size == 0:
            raise AxisError(f"An axis needs a row of at least one value, not an array of shape {values.shape}.")
        if not np.all(np.isfinite(values)) or np.any(values <= 0):
            raise AxisError("The values of an axis must be finite and positive.")
        steps = np.diff(values)
        if steps.size and not (np.all(steps > 0) or np.all(steps < 0)):
            raise AxisError("The values of an axis must rise or fall throughout; sort the points first.")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return int(self.values.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Axis):
            return NotImplemented
        return self.unit == other.unit and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.unit, self.values.tobytes()))

    def __repr__(self) -> str:
        return f"Axis({self})"

    def __str__(self) -> str:
        points = "1 point" if len(self) == 1 else f"{len(self)} points"
        return f"{points}, {self.values[0]:g} to {self.values[-1]:g} {self.unit}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickling through the constructor keeps the values frozen on arrival.
        return (Axis, (np.array(self.values), self.unit))

    def to(self, unit: Unit) -> Axis:
        """The same points in another unit, in the same order (nm to cm-1: 1e7 / value).

        Raises
        ------
        AxisError
            When there is no such unit.

        Examples
        --------
        >>> Axis([850, 900, 950], "nm").to("cm-1").values.round(1)
        array([11764.7, 11111.1, 10526.3])
        """
        if unit == self.unit:
            return self
        nanometres = {"nm": self.values, "um": self.values * 1e3, "cm-1": 1e7 / self.values}[self.unit]
        if unit not in UNITS:
            raise AxisError(f"Unknown axis unit {unit!r}: use one of {', '.join(UNITS)}.")
        return Axis({"nm": nanometres, "um": nanometres / 1e3, "cm-1": 1e7 / nanometres}[unit], unit)

    def columns_for(self, wanted: Axis) -> npt.NDArray[np.intp] | None:
        """Which columns of spectra on this axis give spectra on `wanted`.

        Units are converted, and a falling axis is turned round. Nothing is resampled: points are the same when none differs by
        more than a twentieth of the distance to its nearer neighbour.

        Returns
        -------
        None when the columns already lie in the wanted order, else intp (n_points,) to index them with.

        Raises
        ------
        AxisError
            When the points are not the same, naming both axes.

        Examples
        --------
        >>> Axis([950, 900, 850]).columns_for(Axis([850, 900, 950]))
        array([2, 1, 0])
        """
        mine = self.to(wanted.unit).values
        if mine.size == wanted.values.size:
            allowed = TOLERANCE * _spacing(wanted.values)
            if np.all(np.abs(mine - wanted.values) <= allowed):
                return None
            if np.all(np.abs(mine[::-1] - wanted.values) <= allowed):
                return np.arange(mine.size - 1, -1, -1, dtype=np.intp)
        raise AxisError(
            f"The spectra lie on another axis than the one asked for: they have {self}, wanted are {wanted}"
            + (
                f" (largest difference {_largest(mine, wanted.values):.3g} {wanted.unit})."
                if mine.size == len(wanted)
                else "."
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """The axis as JSON takes it: `{"unit": ..., "values": [...]}`."""
        return {"unit": self.unit, "values": self.values.tolist()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Axis:
        """The axis that `to_dict` wrote; `AxisError` when it holds no axis."""
        try:
            return cls(document["values"], document["unit"])
        except KeyError as error:
            raise AxisError(f"The document of an axis has no {error}; it needs values and unit.") from error


def _spacing(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance of each point to its nearer neighbour, float64 (n_points,)."""
    if values.size == 1:
        return values * 1e-3  # no neighbour to measure by: one point must be the same to a part in 20,000
    steps = np.abs(np.diff(values))
    nearer: npt.NDArray[np.float64] = np.minimum(np.append(steps, steps[-1]), np.insert(steps, 0, steps[0]))
    return nearer


def _largest(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return float(min(np.max(np.abs(one - other)), np.max(np.abs(one[::-1] - other))))
