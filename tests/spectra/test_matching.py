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


def holed(spectra: Spectra, low: float, high: float, unit: Any = "nm") -> Spectra:
    """Without the points between the two, and half a step beside the others of the chain."""
    grid = Axis(np.linspace(849.0, 1051.0, 102)).to(unit)
    nm = grid.to("nm").values
    left = (nm <= low) | (nm >= high)
    X = np.array([np.interp(nm[left], spectra.axis.values, row) for row in spectra.X])
    return changed(spectra, X=X, axis=Axis(grid.values[left], unit))


@pytest.mark.parametrize("unit", ["nm", "cm-1"])
def test_nothing_is_interpolated_across_a_gap(tecator: Spectra, context: ChainContext, unit: Any) -> None:
    gap = holed(tecator, 901.0, 943.0, unit)
    with pytest.raises(AxisError, match="no points between 901 and 943 nm, where the chain needs 20"):
        match(gap, context, resample=True)
    outside = np.flatnonzero((tecator.axis.values <= 901.5) | (tecator.axis.values >= 942.5))
    same = ChainContext("c", "d", axis=Axis(tecator.axis.values[outside]), signal="absorbance", x_range=context.x_range)
    assert match(gap, same, resample=True).X.shape == (20, len(outside)), "a chain with the same gap needs none of it"


def test_two_step_widths_are_no_gap_and_a_gap_between_the_finer_ones_is() -> None:
    wide = ChainContext("c", "d", axis=Axis(np.arange(450.0, 2400.0, 2.0)), signal="absorbance")
    nm = np.r_[np.arange(400, 1000, 1.6), np.arange(1000, 2500, 5.5)]
    assert match(Spectra(nm[None] / 3000, Axis(nm), ["a"], signal="absorbance"), wide, resample=True).X.shape == (
        1,
        975,
    )
    fine = ChainContext("c", "d", axis=Axis(np.arange(450.0, 630.0)), signal="absorbance")
    nm = np.r_[np.arange(400, 550), np.arange(575, 640), np.arange(640, 3000, 10)].astype(float)
    with pytest.raises(AxisError, match="no points between 549 and 575 nm"):
        match(Spectra(nm[None] / 3000, Axis(nm), ["a"], signal="absorbance"), fine, resample=True)


def test_an_evenly_coarser_grid_is_no_gap(tecator: Spectra, context: ChainContext) -> None:
    nm = np.linspace(840.0, 1060.0, 23)  # 10 nm, where the chain has 2
    X = np.array([np.interp(nm, tecator.axis.values, row) for row in tecator.X])
    assert match(changed(tecator, X=X, axis=Axis(nm)), context, resample=True).X.shape == tecator.X.shape


@pytest.mark.parametrize("unit", ["nm", "cm-1"])
def test_a_grid_that_is_even_in_wavenumbers_has_no_gap_in_nm(unit: Any) -> None:
    points = Axis(np.linspace(4000.0, 12000.0, 401), "cm-1").to(unit)
    wide = ChainContext("c", "d", axis=Axis(np.linspace(840.0, 2490.0, 826)), signal="absorbance")
    X = np.linspace(0.1, 0.9, 401)[None]
    assert match(Spectra(X, points, ["a"], signal="absorbance"), wide, resample=True).X.shape == (1, 826)


def test_rows_that_say_different_signals_are_not_taken_for_the_chains(tecator: Spectra, context: ChainContext) -> None:
    says = {"Signal": np.array(["absorbance"] * 19 + [" Reflectance"])}
    both = Spectra(tecator.X, tecator.axis, tecator.sample_ids, metadata=says)
    with pytest.raises(SpectraError, match=r"'Signal' says absorbance and reflectance; ask for one .*signal=.* split"):
        match(both, context)
    partly = Spectra(
        tecator.X, tecator.axis, tecator.sample_ids, metadata={"signal": np.array(["absorbance", *[""] * 19])}
    )
    with pytest.raises(SpectraError, match=r"says absorbance of some spectra"):
        match(partly, context)
    other = Spectra(tecator.X, tecator.axis, tecator.sample_ids, metadata={"signal": np.array(["good", *["bad"] * 19])})
    assert len(match(other, context).kept) == 20, "the column is about something else"


def test_nothing_is_extrapolated(tecator: Spectra, context: ChainContext) -> None:
    short = changed(tecator, X=tecator.X[:, :90], axis=Axis(tecator.axis.values[:90]))
    with pytest.raises(AxisError, match="nothing is extrapolated"):
        match(short, context, resample=True)


def test_a_shift_is_refused(tecator: Spectra, context: ChainContext) -> None:
    with pytest.raises(AxisError, match=r"largest difference 0\.5 nm"):
        match(changed(tecator, axis=Axis(tecator.axis.values + 0.5)), context)
