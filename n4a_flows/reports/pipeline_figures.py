"""Pictures of what a pipeline is and does: its diagram, the sweep over components, spectra before and after treatment."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import MaxNLocator

from n4a_flows.reports.drawing import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    INK,
    LETTERS,
    SMALL,
    VERMILLION,
    WIDTH,
    canvas,
    legend_above,
    literal,
    png,
    positions,
    spectral_axis,
    styled,
    with_unit,
)
from n4a_flows.storage import Axis

Values = npt.NDArray[np.float64]

_KINDS = {"data": GREY, "transform": BLUE, "y_processing": GREEN, "model": VERMILLION}
_STYLES = ("-", (0, (5, 1.5)), (0, (2, 1)), (0, (5, 1, 1, 1)))
MOST_SPECTRA = 60
"""More are not drawn, but as many as this, evenly from the lowest to the highest value."""


@dataclass(frozen=True)
class Box:
    """A box of the diagram.

    Attributes
    ----------
    kind
        data, transform, y_processing or model: its colour.
    name, detail
        What stands in the box.
    """

    kind: str
    name: str
    detail: str = ""


def diagram(boxes: Sequence[Box]) -> bytes:
    """The way from spectra to predictions, from top to bottom; the bytes of a PNG file."""
    details = [textwrap.wrap(literal(box.detail, 150), 52) for box in boxes]
    heights = [0.36 + 0.19 * len(lines) for lines in details]
    gap, edge = 0.24, 0.06
    height = sum(heights) + gap * (len(boxes) - 1) + 2 * edge
    figure = canvas(height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    top = edge
    for box, lines, tall in zip(boxes, details, heights, strict=True):
        colour = _KINDS[box.kind]
        frame = FancyBboxPatch(
            (0.1, top), WIDTH - 0.2, tall, boxstyle="round,pad=0,rounding_size=0.07", linewidth=1.4,
            edgecolor=colour, facecolor="white",
        )  # fmt: skip
        stripe = Rectangle((0.1, top), 0.1, tall, linewidth=0, facecolor=colour)
        axes.add_patch(frame)
        axes.add_patch(stripe)
        stripe.set_clip_path(frame)
        axes.text(0.32, top + 0.18, literal(box.name, 44), va="center", fontsize=LETTERS, color=INK, fontweight="bold")
        for number, line in enumerate(lines):
            axes.text(0.32, top + 0.4 + 0.19 * number, line, va="center", fontsize=SMALL, color=INK)
        bottom = top + tall
        if box is not boxes[-1]:
            axes.annotate(
                "", (WIDTH / 2, bottom + gap - 0.02), (WIDTH / 2, bottom + 0.02),
                arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip
        top = bottom + gap
    return png(figure)


@dataclass
class Sweep:
    """Scores of pipelines that differ in their number of components alone.

    Attributes
    ----------
    name
        What they have in common, for people.
    validation
        Pooled out-of-fold score by number of components.
    training
        Score on the training rows of the refit by number of components.
    """

    name: str
    validation: dict[int, float] = field(default_factory=dict)
    training: dict[int, float] = field(default_factory=dict)


def components(sweeps: Sequence[Sweep], best: int | None, *, score: str, training: str, unit: str | None) -> bytes:
    """Scores against the number of components, a line for each sweep; the chosen number is marked with a ring.

    Of the chosen sweep the score on the training rows is drawn too: where the two part, the model begins to learn noise.

    Parameters
    ----------
    sweeps
        The best first.
    best
        Number of components of the best pipeline; None when it was not swept.
    score, training
        What the scores are called: RMSECV and RMSEC.
    unit
        Unit of the scores; empty when they have none.

    Returns
    -------
    The bytes of a PNG file.
    """
    figure = canvas(3.5 + 0.21 * (len(sweeps) + 2))
    axes = styled(figure.add_subplot())
    for number, sweep in reversed(list(enumerate(sweeps))):
        count, values = zip(*sorted(sweep.validation.items()), strict=True)
        axes.plot(
            count, values, color=COLOURS[number % len(COLOURS)], linestyle=_STYLES[number // 2 % len(_STYLES)],
            linewidth=2.2 if number == 0 else 1.4, marker="o", markersize=5 if number == 0 else 3.5,
            label=literal(sweep.name, 52), zorder=3 if number == 0 else 2,
        )  # fmt: skip
    first = sweeps[0]
    if first.training:
        count, values = zip(*sorted(first.training.items()), strict=True)
        axes.plot(count, values, color=GREY, linewidth=1.2, linestyle=(0, (1, 1)), zorder=1)
    counts = sorted({count for sweep in sweeps for count in sweep.validation})
    axes.set_xticks(counts) if len(counts) <= 12 else axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("Number of components")
    axes.set_ylabel(score if unit == "" else with_unit(score, unit))
    handles, names = axes.get_legend_handles_labels()
    handles, names = handles[::-1], names[::-1]
    if best is not None:
        chosen = (best, first.validation[best])
        handles.append(axes.scatter(*chosen, s=170, facecolor="none", edgecolor=INK, linewidth=1.6, zorder=4))
        names.append(f"chosen: {best}")
    if first.training:
        handles.append(Line2D([], [], color=GREY, linewidth=1.2, linestyle=(0, (1, 1))))
        names.append(f"{training} of the thick line")
    figure.legend(
        handles, names, loc="outside lower left", frameon=False, fontsize=SMALL, labelcolor=INK, handlelength=2.6
    )
    return png(figure)


@dataclass(frozen=True)
class Stage:
    """Spectra at one point of their way.

    Attributes
    ----------
    X
        (n_samples, n_points).
    axis
        Where the points lie; None when they are no points of an axis any more.
    label
        What the values are, with their unit.
    """

    X: Values
    axis: Axis | None
    label: str


def spectra_before_and_after(
    raw: Stage, treated: Stage | None, y: npt.NDArray[Any], *, quantity: str, unit: str | None
) -> bytes:
    """Raw spectra above treated ones, each line coloured by the value or class of its sample.

    Parameters
    ----------
    y
        (n_samples,): numbers, or labels.
    quantity, unit
        As in `predicted_against_measured`.

    Returns
    -------
    The bytes of a PNG file.
    """
    stages = [raw] if treated is None else [raw, treated]
    figure = canvas(0.9 + 2.5 * len(stages))
    panels = [styled(axes) for axes in figure.subplots(len(stages), 1, squeeze=False)[:, 0]]
    order = np.argsort(y, kind="stable")
    shown = order[np.linspace(0, len(order) - 1, min(len(order), MOST_SPECTRA)).round().astype(int)]
    # In no order, or the highest values would cover the others.
    shown = np.random.default_rng(0).permutation(shown)
    if y.dtype.kind == "f":
        scale = ScalarMappable(Normalize(float(y.min()), float(y.max())), "viridis")
        colours: list[Any] = [scale.to_rgba(value) for value in y[shown]]
        bar = figure.colorbar(scale, ax=panels, location="top", aspect=36, pad=0.02)
        bar.set_label(f"Measured {with_unit(quantity, unit)}", fontsize=SMALL, color=INK)
        bar.ax.tick_params(labelsize=SMALL, colors=INK)
        bar.outline.set_visible(False)
    else:
        by_class = dict(zip(sorted(set(y.tolist())), COLOURS, strict=False))
        if len(by_class) < len(set(y.tolist())):
            colours = [GREY] * len(shown)  # there are not that many colours that can be told apart
        else:
            colours = [by_class[name] for name in y[shown]]
            _class_legend(figure, by_class, quantity)
    for axes, stage in zip(panels, stages, strict=True):
        _lines(axes, stage, shown, colours)
    return png(figure)


def _lines(axes: Axes, stage: Stage, shown: npt.NDArray[np.int64], colours: Sequence[Any]) -> None:
    where = positions(stage.axis, stage.X.shape[1])
    lines = [np.column_stack([where, row]) for row in stage.X[shown]]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.8, alpha=0.8))
    axes.autoscale_view()
    axes.margins(x=0.01, y=0.05)
    axes.set_ylabel(stage.label)
    spectral_axis(axes, stage.axis)


def _class_legend(figure: Any, by_class: Mapping[str, str], quantity: str) -> None:
    handles = [Line2D([], [], color=colour, linewidth=2.2) for colour in by_class.values()]
    names = [literal(name, 16) for name in by_class]
    legend_above(figure, handles, names, columns=min(6, len(names)), title=f"{literal(quantity)} (class)")
