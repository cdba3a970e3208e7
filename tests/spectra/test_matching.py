"""The axis contract: what is converted, what is resampled when it is allowed, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from n4a_flows.spectra import Axis, Spectra, load_tecator, match
from n4a_flows.storage import ChainContext
from n4a_flows.storage.errors import AxisError, SpectraError


@pytest.fixture(scope="module")
def tecator() -> Spectra:
    return load_tecator().take(range(20))


@pytest.fixture(scope="module")
def context(tecator: Spectra) -> ChainContext:
    x_range = float(tecator.X.min()), float(tecator.X.max())
    return ChainContext("c", "d", axis=tecator.axis, signal="absorbance", x_range=x_range)


def changed(spectra: Spectra, **changes: Any) -> Spectra:
    parts = {"X": spectra.X, "axis": spectra.axis, "sample_ids": spectra.sample_ids, "signal": spectra.signal}
    return Spectra(**{**parts, **changes})


def test_what_fits_is_taken_as_it_is(tecator: Spectra, context: ChainContext) -> None:
    matched = match(tecator, context)
    assert np.array_equal(matched.X, tecator.X)
    assert (matched.conversions, matched.rejected, len(matched.kept)) == ([], [], 20)


@pytest.mark.parametrize("unit", ["nm", "um", "cm-1"])
@pytest.mark.parametrize("turned", [False, True])
def test_units_and_directions_are_converted(tecator: Spectra, context: ChainContext, unit: Any, turned: bool) -> None:
    axis, X = tecator.axis.to(unit), tecator.X
    if turned:
        axis, X = Axis(axis.values[::-1], unit), X[:, ::-1]
    matched = match(changed(tecator, X=X, axis=axis), context)
    assert np.array_equal(matched.X, tecator.X)
    assert matched.conversions == ([] if unit == "nm" else [f"{unit} to nm"])


@pytest.mark.parametrize(
    ("signal", "to"),
    [
        ("reflectance", lambda A: 10**-A),
        ("percent_reflectance", lambda A: 100 * 10**-A),
        ("transmittance", lambda A: 10**-A),
        ("percent_transmittance", lambda A: 100 * 10**-A),
        ("kubelka_munk", lambda A: (1 - 10**-A) ** 2 / (2 * 10**-A)),
    ],
)
def test_a_declared_signal_is_converted_both_ways(
    tecator: Spectra, context: ChainContext, signal: Any, to: Any
) -> None:
    matched = match(changed(tecator, X=to(tecator.X), signal=signal), context)
    np.testing.assert_allclose(matched.X, tecator.X, rtol=1e-12)
    assert matched.conversions == [f"{signal} to absorbance"]
    back = ChainContext("c", "d", axis=tecator.axis, signal=signal, x_range=(0.0, 100.0))
    np.testing.assert_allclose(match(tecator, back).X, to(tecator.X), rtol=1e-12)


def test_light_that_is_not_there_has_no_absorbance(tecator: Spectra, context: ChainContext) -> None:
    X = 10**-tecator.X
    X[3, 7], X[5, 0] = 0.0, -0.01
    matched = match(changed(tecator, X=X, signal="reflectance"), context)
    assert [position for position, _ in matched.rejected] == [3, 5]
    assert matched.kept.tolist() == [n for n in range(20) if n not in (3, 5)]
    assert "has no absorbance" in matched.rejected[0][1]


def test_reflectance_is_no_transmittance(tecator: Spectra) -> None:
    context = ChainContext("c", "d", axis=tecator.axis, signal="transmittance")
    with pytest.raises(SpectraError, match="one is not the other"):
        match(changed(tecator, signal="percent_reflectance"), context)


def test_undeclared_values_must_lie_where_the_training_spectra_did(tecator: Spectra, context: ChainContext) -> None:
    assert match(changed(tecator, signal=None), context).conversions == []
    powder = tecator.X / 4  # absorbance as of a powder, 0.5 to 1.1
    of_powder = ChainContext("c", "d", axis=tecator.axis, signal="absorbance", x_range=(powder.min(), powder.max()))
    percent = changed(tecator, X=100 * 10**-powder, signal=None)
    low, high = percent.X[0].min(), percent.X[0].max()
    with pytest.raises(SpectraError, match=f"from {low:.4g} to {high:.4g}.*declare it"):
        match(percent, of_powder)
    X = tecator.X.copy()
    X[4, 50] = 30.0
    matched = match(changed(tecator, X=X, signal=None), context)
    assert [position for position, _ in matched.rejected] == [4]


def test_another_grid_is_refused_with_both_axes_unless_resampling_is_allowed(
    tecator: Spectra, context: ChainContext
) -> None:
    fine = Axis(np.linspace(840, 1060, 331))
    X = np.array([np.interp(fine.values, tecator.axis.values, row) for row in tecator.X])
    other = changed(tecator, X=X, axis=fine)
    with pytest.raises(AxisError, match=r"331 points, 840 to 1060 nm, wanted are 100 points, 850 to 1050 nm"):
        match(other, context)
    matched = match(other, context, resample=True)
    assert np.max(np.abs(matched.X - tecator.X)) < 0.01
    assert matched.conversions == ["resampled by cubic spline, largest gap 0.6667 nm"]
    wavenumbers = changed(tecator, X=X[:, ::-1], axis=Axis(fine.to("cm-1").values[::-1], "cm-1"))
    np.testing.assert_allclose(match(wavenumbers, context, resample=True).X, matched.X, atol=1e-9)


def test_nothing_is_extrapolated(tecator: Spectra, context: ChainContext) -> None:
    short = changed(tecator, X=tecator.X[:, :90], axis=Axis(tecator.axis.values[:90]))
    with pytest.raises(AxisError, match="nothing is extrapolated"):
        match(short, context, resample=True)


def test_a_shift_is_refused(tecator: Spectra, context: ChainContext) -> None:
    with pytest.raises(AxisError, match=r"largest difference 0\.5 nm"):
        match(changed(tecator, axis=Axis(tecator.axis.values + 0.5)), context)
