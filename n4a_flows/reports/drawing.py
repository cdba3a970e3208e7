"""What all pictures have in common: size, letters, colours that colour-blind readers can tell apart, and small files.

A picture is 5 inches wide, so that its letters of 10 to 11 points can be read on a phone and on paper. Nothing here touches
pyplot or other state that threads share.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from PIL import Image

from n4a_flows.reports.names import unit_text
from n4a_flows.storage import Axis

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, "#56B4E9", "#CC79A7", "#000000", "#C8B900")
"""The palette of Okabe and Ito, its yellow darkened for white paper."""
GREY, INK = "#8C8C8C", "#333333"

VERDICT_MARKS = {"ok": (BLUE, "o"), "warn": (ORANGE, "^"), "outlier": (VERMILLION, "s"), "rejected": (INK, "X")}
"""Colour and shape of the points of each verdict, from the best to the worst."""

WIDTH = 5.0
LETTERS, SMALL = 11, 10
_DPI = 150
_COLOURS_IN_FILE = 255
_MOST_NAMES = 8


def canvas(height: float) -> Figure:
    """An empty figure, `WIDTH` inches wide."""
    figure = Figure(figsize=(WIDTH, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def styled(axes: Axes) -> Axes:
    """Axes without a box, with letters of our sizes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL, colors=INK)
    axes.xaxis.label.set_fontsize(LETTERS)
    axes.yaxis.label.set_fontsize(LETTERS)
    return axes


def legend_above(
    figure: Figure, handles: Sequence[Artist], names: Sequence[str], *, columns: int, title: str | None = None
) -> None:
    """A legend at the upper edge, where it hides nothing."""
    figure.legend(
        handles, names, loc="outside upper left", ncols=columns, frameon=False, fontsize=SMALL, labelcolor=INK,
        handletextpad=0.4, columnspacing=1.2, handlelength=1.2, title=title, title_fontsize=SMALL, alignment="left",
    )  # fmt: skip


def name_points(
    figure: Figure,
    axes: Axes,
    points: Sequence[tuple[float, float, str]],
    others: npt.NDArray[np.float64] | None = None,
) -> None:
    """Write names beside the first points, where they hide no other name and none of `others`; the last thing to be drawn.

    Parameters
    ----------
    points
        (x, y, name), the most important one first.
    others
        (n_points, 2): x and y of all points that are to stay visible.
    """
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)
    figure.set_layout_engine("none")  # it has done its work, and names beside points are no part of it
    frame = axes.get_window_extent()
    visible = np.empty((0, 2)) if others is None else axes.transData.transform(others)
    taken: list[Bbox] = []
    for x, y, name in points[: 4 * _MOST_NAMES]:
        for right, up in ((True, True), (False, True), (True, False), (False, False)):
            text = axes.annotate(
                literal(name, 20), (x, y), xytext=(5 if right else -5, 4 if up else -4), textcoords="offset points",
                ha="left" if right else "right", va="bottom" if up else "top", fontsize=SMALL - 1, color=INK, zorder=9,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )  # fmt: skip
            box = text.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            hidden = ((visible > box.padded(2).min) & (visible < box.padded(2).max)).all(axis=1).any()
            if inside and not hidden and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()
        if len(taken) == _MOST_NAMES:
            return


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file with a palette, a third of the size of one without."""
    agg: Any = figure.canvas
    agg.draw()
    pixels = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
    file = io.BytesIO()
    pixels.quantize(_COLOURS_IN_FILE, dither=Image.Dither.NONE).save(file, format="png")
    return file.getvalue()


def literal(text: str, most: int = 44) -> str:
    """A text that somebody else chose, without meaning for matplotlib; of a long one the middle is left out."""
    text = " ".join(text.split())
    if len(text) > most:
        end = most // 3
        text = f"{text[: most - end - 1]}…{text[-end:]}"
    return text.replace("$", r"\$")


def with_unit(quantity: str, unit: str | None) -> str:
    """The label of an axis."""
    return f"{literal(quantity, 22)} ({literal(unit, 16) if unit else 'unit not given'})"


def spectral_axis(axes: Axes, axis: Axis | None) -> None:
    """Say below the picture where the points of the spectra lie; wavenumbers fall, as everywhere."""
    axes.locator_params(axis="x", nbins=6)
    if axis is None:
        axes.set_xlabel("Number of the variable")
        return
    wavenumbers = axis.unit == "cm-1"
    axes.set_xlabel(f"{'Wavenumber' if wavenumbers else 'Wavelength'} ({unit_text(axis.unit)})")
    if wavenumbers:
        axes.invert_xaxis()


def positions(axis: Axis | None, n_points: int) -> npt.NDArray[np.float64]:
    """Where the points lie; their numbers, from 1, when nobody knows."""
    return np.arange(1.0, n_points + 1) if axis is None else axis.values


def minus(text: str) -> str:
    """A number with the sign that is as wide as a plus."""
    return text.replace("-", "\N{MINUS SIGN}")
