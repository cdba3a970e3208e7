"""The picture of a control chart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from n4a_flows.monitoring.chart import ACTION, LEAST, WARNING, WINDOW, ControlChart
from n4a_flows.reports.drawing import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    VERMILLION,
    canvas,
    legend_above,
    minus,
    name_points,
    png,
    styled,
    with_unit,
)

MOST_SAMPLES = 200
"""Samples that are drawn: the latest ones, as many as can be told apart."""

_REACH = 6.0
"""How far the picture goes at most, in multiples of the error; what lies beyond is drawn at its edge."""

_MOST_NAMES = 8
_LOOKS = {
    "within": (BLUE, "o", 5.0, "sample"),
    "warning": (ORANGE, "^", 7.0, "beyond the warning limit"),
    "action": (VERMILLION, "s", 6.5, "beyond the action limit"),
}


def control_chart_picture(chart: ControlChart, *, quantity: str) -> bytes:
    """Differences of predictions and laboratory values in the order of time, with the limits, and where they were crossed.

    What lies beyond a limit has a colour and a shape of its own; the samples that a rule of the chart names are named. The line is
    the mean of the last 20 samples, thick where it differs from zero.

    Parameters
    ----------
    chart
        The samples; the latest 200 of them are drawn.
    quantity
        What was measured, for the axis.

    Returns
    -------
    The bytes of a PNG file.
    """
    first = max(0, len(chart.differences) - MOST_SAMPLES)
    x = np.arange(first, len(chart.differences)) + 1
    reach = _reach(chart, first)
    y = np.clip(chart.differences[first:], -reach, reach)
    figure = canvas(4.2)
    axes = styled(figure.add_subplot())
    axes.axhline(0, color=GREY, linewidth=1.2, zorder=1)
    axes.set_ylim(-1.15 * reach, 1.15 * reach)
    axes.set_xlim(x[0] - 0.03 * len(x) - 0.5, x[-1] + 0.03 * len(x) + 0.5)
    kinds = _kinds(chart)[first:]
    handles = [*_points(axes, x, y, kinds), *_limits(axes, chart), *_running_bias(axes, chart, first)]
    axes.set_xlabel("Samples in the order of prediction (date)")
    axes.set_ylabel(f"Predicted \N{MINUS SIGN} measured\n{with_unit(quantity, chart.unit)}")
    _dates(axes, chart.scored_at, x)
    legend_above(figure, handles, [str(handle.get_label()) for handle in handles], columns=2)
    name_points(figure, axes, _named(chart, x, y), np.column_stack([x, y]))
    return png(figure)


def _reach(chart: ControlChart, first: int) -> float:
    """What the picture shows on both sides of zero: the action limits, and what is not too far beyond."""
    largest = float(np.max(np.abs(chart.differences[first:])))
    if chart.error is None:
        return largest or 1.0
    return float(np.clip(largest, (ACTION + 0.3) * chart.error, _REACH * chart.error))


def _kinds(chart: ControlChart) -> npt.NDArray[np.str_]:
    """What each sample is drawn as: a key of `_LOOKS`."""
    if chart.error is None:
        return np.full(len(chart.differences), "within")
    size = np.abs(chart.differences) / chart.error
    return np.select([size > ACTION, size > WARNING], ["action", "warning"], "within")


def _points(
    axes: Axes, x: npt.NDArray[np.int64], y: npt.NDArray[np.float64], kinds: npt.NDArray[np.str_]
) -> list[Line2D]:
    handles: list[Line2D] = []
    for depth, (kind, (colour, marker, size, name)) in enumerate(_LOOKS.items(), 3):
        rows = kinds == kind
        if rows.any():
            handles += axes.plot(
                x[rows], y[rows], linestyle="none", marker=marker, color=colour, markersize=size,
                markeredgecolor="white", markeredgewidth=0.5, zorder=depth, label=name, clip_on=False,
            )  # fmt: skip
    return handles


def _limits(axes: Axes, chart: ControlChart) -> list[Line2D]:
    if chart.error is None:
        return []
    handles: list[Line2D] = []
    for times, dashes, name in ((WARNING, (4, 3), "warning limit (2 s)"), (ACTION, (), "action limit (3 s)")):
        for sign in (1, -1):
            line = axes.axhline(
                sign * times * chart.error, color=INK, linewidth=1, dashes=dashes or (None, None), zorder=1
            )
        line.set_label(name)
        handles.append(line)
    return handles


def _running_bias(axes: Axes, chart: ControlChart, first: int) -> list[Line2D]:
    total = len(chart.differences)
    means = np.array([np.mean(chart.differences[max(0, i - WINDOW + 1) : i + 1]) for i in range(total)])
    x = np.arange(total) + 1
    drawn = slice(max(first, LEAST - 1), total)
    if drawn.start >= total:
        return []
    handles = axes.plot(x[drawn], means[drawn], color=GREY, linewidth=1.6, zorder=2, label=f"mean of the last {WINDOW}")
    for crossing in chart.crossings:
        rows = [i for i in crossing.members if crossing.rule == "bias" and i >= first]
        if rows:
            # With round ends, for a single sample would be a line without length.
            thick = axes.plot(
                x[rows], means[rows], color=VERMILLION, linewidth=3.5, marker="o", markersize=3.5, markeredgewidth=0,
                zorder=2.5, label="… differs from zero",
            )  # fmt: skip
            handles = [handles[0], *thick]
    return handles


def _dates(axes: Axes, scored_at: Sequence[datetime], x: npt.NDArray[np.int64]) -> None:
    """Some of the samples by their number and day."""
    shown = np.unique(np.linspace(x[0], x[-1], min(len(x), 4)).round().astype(int))
    axes.set_xticks(shown, [f"{number}\n{scored_at[number - 1]:%Y-%m-%d}" for number in shown.tolist()])


def _named(chart: ControlChart, x: npt.NDArray[np.int64], y: npt.NDArray[np.float64]) -> list[tuple[float, float, str]]:
    """The samples that the rules name, the farthest first; with the difference where it is too large to be drawn."""
    found = {i for crossing in chart.crossings if crossing.rule != "bias" for i in crossing.members}
    rows = np.flatnonzero(np.isin(x - 1, sorted(found)))
    points = []
    for row in rows[np.argsort(-np.abs(y[rows]), kind="stable")].tolist():
        name, difference = chart.sample_ids[x[row] - 1], chart.differences[x[row] - 1]
        shown = "" if difference == y[row] else minus(f" ({difference:+.3g})")
        points.append((float(x[row]), float(y[row]), name + shown))
    return points
