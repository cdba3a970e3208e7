"""Pictures of new predictions: Q against T2, and spectra on the calibration envelope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from n4a_flows.reports.drawing import (
    COLOURS,
    GREY,
    INK,
    SMALL,
    VERDICT_MARKS,
    canvas,
    legend_above,
    literal,
    name_points,
    png,
    positions,
    spectral_axis,
    styled,
)
from n4a_flows.storage import Axis

Values = npt.NDArray[np.float64]

MOST_SPECTRA = 6
"""Spectra that are drawn and named: as many as can be told apart."""

_MOST_POINTS = 2000
_STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1)), (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
_LIMITS: tuple[Any, Any] = ((0, (4, 3)), "-")
_REACH = 1.5
"""How far beyond the calibration envelope the picture goes, in its heights."""


def q_against_t2(
    t2: Values,
    q: Values,
    verdicts: Sequence[str],
    names: Sequence[str],
    *,
    calibration: tuple[Values, Values],
    limits: tuple[tuple[float, float], tuple[float, float]],
    of: str = "",
) -> bytes:
    """The residual of each spectrum against its distance from the centre of the calibration, both on logarithmic axes.

    Parameters
    ----------
    t2, q
        (n_samples,), the worst sample first: its name is written first, and those of others where there is room.
    verdicts
        (n_samples,): the colour and shape of each point.
    names
        (n_samples,): the samples; outliers are named, and those with a warning where there is no outlier.
    calibration
        T2 and Q of the training samples, (n_training_samples,) each, in grey.
    limits
        The warning and the outlier limit of T2, and those of Q.
    of
        What they describe, where it is not what enters the model: `" of the shape"`.

    Returns
    -------
    The bytes of a PNG file.
    """
    figure = canvas(4.5)
    axes = styled(figure.add_subplot())
    axes.set(xscale="log", yscale="log", xlabel=f"T²{of} (distance in the model)", ylabel=f"Q{of} (residual)")
    x, y = _positive(t2, calibration[0]), _positive(q, calibration[1])
    axes.minorticks_off()
    cloud = _few(np.arange(len(calibration[0])), _MOST_POINTS)
    handles: list[Artist] = [
        axes.scatter(
            _positive(calibration[0], t2)[cloud], _positive(calibration[1], q)[cloud], s=13, color=GREY, alpha=0.45,
            linewidth=0, zorder=1,
        )
    ]  # fmt: skip
    labels = ["calibration"]
    given = np.asarray(verdicts)
    for depth, (verdict, (colour, marker)) in enumerate(VERDICT_MARKS.items(), 2):
        rows = np.flatnonzero(given == verdict)
        if rows.size:
            shown = _few(rows, _MOST_POINTS)
            handles.append(
                axes.scatter(x[shown], y[shown], s=34, color=colour, marker=marker, edgecolor="white", linewidth=0.5, zorder=depth)
            )  # fmt: skip
            labels.append(f"{verdict} ({rows.size})")
    for line, ends in zip((axes.axvline, axes.axhline), limits, strict=True):
        for limit, style in zip(ends, _LIMITS, strict=True):
            line(limit, color=INK, linewidth=1, linestyle=style, zorder=1.5)
    handles += [Line2D([], [], color=INK, linewidth=1, linestyle=style) for style in _LIMITS]
    legend_above(figure, handles, [*labels, "warning limit", "outlier limit"], columns=3)
    outliers = np.isin(given, ("outlier", "rejected"))
    named = np.flatnonzero(outliers if outliers.any() else given == "warn")
    name_points(figure, axes, [(x[row], y[row], names[row]) for row in named.tolist()])
    return png(figure)


def _positive(values: Values, others: Values) -> Values:
    """The values, those that a logarithmic axis cannot show at the smallest one that it can."""
    together = np.concatenate([values, others])
    usable = together[np.isfinite(together) & (together > 0)]
    return np.maximum(values, usable.min() if usable.size else 1.0)


def _few(rows: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most so many of the rows, evenly from all of them."""
    return np.asarray(rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)])


@dataclass(frozen=True, eq=False)
class Envelope:
    """Where the spectra of the calibration lie.

    Attributes
    ----------
    mean, low, high
        (n_points,) each.
    axis
        Where the points lie; None when nobody knows.
    label
        What the values are, with their unit.
    """

    mean: Values
    low: Values
    high: Values
    axis: Axis | None
    label: str


@dataclass(frozen=True, eq=False)
class DrawnSpectrum:
    """A spectrum that is drawn by name.

    Attributes
    ----------
    sample_id
        Name of the sample.
    verdict
        What was said of it.
    values
        (n_points,), on the axis of the chain and in its signal.
    severity
        The larger, the worse.
    """

    sample_id: str
    verdict: str
    values: npt.NDArray[np.floating[Any]]
    severity: float = 0.0


def spectra_on_envelope(envelope: Envelope, spectra: Sequence[DrawnSpectrum]) -> bytes:
    """Named spectra on the range of the calibration spectra, and below it what they differ from their mean.

    Parameters
    ----------
    spectra
        At most `MOST_SPECTRA`.

    Returns
    -------
    The bytes of a PNG file.
    """
    figure = canvas(5.4 + 0.2 * len(spectra))
    panels = [styled(axes) for axes in figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))]
    x = positions(envelope.axis, len(envelope.mean))
    for axes, without in zip(panels, (np.zeros_like(envelope.mean), envelope.mean), strict=True):
        axes.fill_between(x, envelope.low - without, envelope.high - without, color=GREY, alpha=0.3, linewidth=0)
        axes.plot(x, envelope.mean - without, color=GREY, linewidth=1.4)
        for number, spectrum in enumerate(spectra):
            axes.plot(x, spectrum.values - without, color=COLOURS[number], linestyle=_STYLES[number], linewidth=1.3)
        _focus(axes, envelope.low - without, envelope.high - without, [each.values - without for each in spectra])
        axes.margins(x=0.01)
    panels[0].set_ylabel(envelope.label)
    panels[1].set_ylabel("Difference\nfrom the mean")
    spectral_axis(panels[1], envelope.axis)
    handles = [Patch(color=GREY, alpha=0.3, linewidth=0), Line2D([], [], color=GREY, linewidth=1.4)]
    names = ["range of the calibration", "its mean"]
    handles += [Line2D([], [], color=COLOURS[n], linestyle=_STYLES[n], linewidth=1.8) for n in range(len(spectra))]
    names += [f"{literal(each.sample_id, 24)} ({each.verdict})" for each in spectra]
    figure.legend(
        handles, names, loc="outside upper left", ncols=2 if len(spectra) > 2 else 1, frameon=False, fontsize=SMALL,
        labelcolor=INK, handlelength=2.6, columnspacing=1.2,
    )  # fmt: skip
    return png(figure)


def beyond_the_picture(envelope: Envelope, spectra: Sequence[DrawnSpectrum]) -> list[str]:
    """Names of the spectra that `spectra_on_envelope` cannot show whole."""
    low, high = _reach(envelope.low, envelope.high)
    return [each.sample_id for each in spectra if each.values.min() < low or each.values.max() > high]


def _reach(low: Values, high: Values) -> tuple[float, float]:
    height = float(high.max() - low.min()) or 1.0
    return float(low.min()) - _REACH * height, float(high.max()) + _REACH * height


def _focus(axes: Axes, low: Values, high: Values, lines: Sequence[Values]) -> None:
    """Show the envelope and the lines, but nothing so far away that the envelope would be flat."""
    least, most = _reach(low, high)
    shown_low = max(least, min([float(low.min()), *(float(line.min()) for line in lines)]))
    shown_high = min(most, max([float(high.max()), *(float(line.max()) for line in lines)]))
    margin = 0.04 * (shown_high - shown_low)
    axes.set_ylim(shown_low - margin, shown_high + margin)
