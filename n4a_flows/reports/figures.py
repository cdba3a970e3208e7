"""Pictures of predictions, as the bytes of PNG files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from n4a_flows.monitoring.agreement import bias, r2, rmse, slope
from n4a_flows.reports.drawing import (
    BLUE,
    GREY,
    INK,
    LETTERS,
    SMALL,
    VERDICT_MARKS,
    VERMILLION,
    WIDTH,
    canvas,
    legend_above,
    literal,
    minus,
    png,
    styled,
    with_unit,
)
from n4a_flows.storage.errors import InvalidInputError

Values = npt.NDArray[np.float64]


Pair = tuple[Values, Values]
"""Laboratory values and predictions, (n_samples,) each."""


def predicted_against_measured(
    measured: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    quantity: str,
    unit: str | None = None,
    title: str | None = None,
    error: str = "RMSEP",
    span: tuple[float, float] | None = None,
    verdicts: Sequence[str] | None = None,
    line: bool = False,
) -> bytes:
    """Predictions against laboratory values with the 1:1 line, the RMSE, R² and bias.

    Parameters
    ----------
    measured, predicted
        (n_samples,), in the same unit; samples without a laboratory value (NaN) are left out.
    quantity
        What was measured, for the axes: `"fat"`.
    unit
        Unit of both, for the axes and the figures: `"%"`.
    title
        Text above the picture.
    error
        What the RMSE of these predictions is called: RMSECV of out-of-fold predictions, RMSEP of a test set.
    span
        Least and greatest value that the axes must show, to compare two pictures.
    verdicts
        (n_samples,): what was said of each prediction, for the colour and the shape of its point.
    line
        Draw the line of laboratory values over predictions too, by which a slope and bias correction would go.

    Returns
    -------
    The bytes of a PNG file.

    Raises
    ------
    InvalidInputError
        When the two have different lengths, or no sample has both values.
    """
    y, y_hat = np.asarray(measured, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.shape != y_hat.shape or y.ndim != 1:
        raise InvalidInputError(
            f"One prediction per laboratory value is needed, not {y_hat.shape} predictions for {y.shape} values."
        )
    known = np.isfinite(y) & np.isfinite(y_hat)
    y, y_hat = y[known], y_hat[known]
    if y.size == 0:
        raise InvalidInputError("There is no sample with both a laboratory value and a prediction to draw.")

    figure = canvas(WIDTH)
    axes = styled(figure.add_subplot())
    shown = [*y, *y_hat, *(span or ())]
    low, high = float(min(shown)), float(max(shown))
    margin = 0.05 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=GREY, linewidth=1.2, zorder=1)
    axes.annotate(
        "1:1", (limits[1], limits[1]), xytext=(-18, -6), textcoords="offset points", ha="right", va="top",
        color=INK, fontsize=SMALL,
    )  # fmt: skip
    inclination = slope(y, y_hat) if line else None
    if inclination is not None:
        ends = np.array([y_hat.min(), y_hat.max()])
        axes.plot(np.mean(y) + inclination * (ends - np.mean(y_hat)), ends, color=VERMILLION, linewidth=1.8, zorder=3)
    said = np.full(y.size, "ok") if verdicts is None else np.asarray(verdicts)[known]
    for verdict, (colour, marker) in VERDICT_MARKS.items():
        these = said == verdict
        if these.any():
            axes.scatter(
                y[these], y_hat[these], s=26, color=colour, marker=marker, edgecolor="white", linewidth=0.5,
                alpha=_alpha(y.size), label=f"{verdict} ({np.count_nonzero(these)})", zorder=2,
            )  # fmt: skip
    if verdicts is not None:
        legend_above(figure, *axes.get_legend_handles_labels(), columns=4)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.set_xlabel(f"Measured {with_unit(quantity, unit)}")
    axes.set_ylabel(f"Predicted {with_unit(quantity, unit)}")
    if title:
        axes.set_title(literal(title, 60), fontsize=LETTERS)
    axes.text(
        0.04,
        0.96,
        _figures(y, y_hat, unit, error) + ("" if inclination is None else f"\nslope = {minus(f'{inclination:.3f}')}"),
        transform=axes.transAxes,
        va="top",
        fontsize=SMALL,
        color=INK,
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "0.8", "alpha": 0.85},
    )
    return png(figure)


def _figures(y: Values, y_hat: Values, unit: str | None, error: str) -> str:
    after = f" {literal(unit)}" if unit else ""
    r_squared = r2(y, y_hat)
    return "\n".join(
        [
            f"n = {y.size}",
            f"{error} = {rmse(y, y_hat):.3g}{after}",
            "R² undefined" if r_squared is None else minus(f"R² = {r_squared:.3f}"),
            minus(f"bias = {bias(y, y_hat):+.2g}{after}"),
        ]
    )


def residuals(validated: Pair, test: Pair | None, *, quantity: str, unit: str | None = None) -> bytes:
    """Residuals (predicted - measured) against predictions, with lines at plus and minus twice the RMSECV.

    Beside them stands how often each size of residual occurs. A slope, a funnel or a curve means that the model misses something.

    Parameters
    ----------
    validated
        Out-of-fold predictions.
    test
        Predictions of the test set, None without one.
    quantity, unit
        As in `predicted_against_measured`.

    Returns
    -------
    The bytes of a PNG file.
    """
    figure = canvas(3.9)
    grid = figure.add_gridspec(1, 2, width_ratios=(3.4, 1), wspace=0.02)
    axes = styled(figure.add_subplot(grid[0]))
    beside = styled(figure.add_subplot(grid[1], sharey=axes))
    band = 2 * rmse(*validated)
    for panel in (axes, beside):
        panel.axhline(0, color=GREY, linewidth=1.2, zorder=1)
        for level in (-band, band):
            panel.axhline(level, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    parts = [("cross-validation", validated, BLUE, "o")] + ([] if test is None else [("test", test, VERMILLION, "^")])
    reach = 1.08 * max(band, *(float(np.abs(y_hat - y).max()) for _, (y, y_hat), _, _ in parts)) or 1.0
    for name, (y, y_hat), colour, marker in parts:
        axes.scatter(
            y_hat, y_hat - y, s=22, color=colour, marker=marker, edgecolor="white", linewidth=0.4,
            alpha=_alpha(y.size), label=f"{name} (n = {y.size})", zorder=2,
        )  # fmt: skip
        beside.hist(
            y_hat - y, bins=np.linspace(-reach, reach, 26).tolist(), density=True, orientation="horizontal",
            histtype="step", color=colour, linewidth=1.5,
        )  # fmt: skip
    beside.annotate(
        "2 RMSECV", (1, band), xycoords=("axes fraction", "data"), xytext=(0, 2), textcoords="offset points",
        ha="right", fontsize=SMALL, color=INK, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )  # fmt: skip
    axes.set_ylim(-reach, reach)
    axes.set_xlabel(f"Predicted {with_unit(quantity, unit)}")
    axes.set_ylabel(f"Predicted \N{MINUS SIGN} measured ({literal(unit) if unit else 'unit not given'})")
    beside.tick_params(labelleft=False, left=False, labelbottom=False, bottom=False)
    beside.spines[["left", "bottom"]].set_visible(False)
    beside.set_xlabel("share", fontsize=SMALL, color=INK)
    legend_above(figure, *axes.get_legend_handles_labels(), columns=len(parts))
    return png(figure)


def confusion(
    known: npt.NDArray[np.str_], predicted: npt.NDArray[np.str_], classes: Sequence[str], *, quantity: str
) -> bytes:
    """A confusion matrix: how many samples of each class were predicted as which, coloured by the share of the class.

    Parameters
    ----------
    known, predicted
        Labels, (n_samples,).
    classes
        All labels, in the order of rows and columns.
    quantity
        What the classes are of, for the axes.

    Returns
    -------
    The bytes of a PNG file.
    """
    place = {name: number for number, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, ([place[name] for name in known], [place[name] for name in predicted]), 1)
    totals = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(totals, 1)
    figure = canvas(WIDTH)
    axes = styled(figure.add_subplot())
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.25)
    size = LETTERS if len(classes) <= 8 else SMALL if len(classes) <= 12 else 6
    names = [literal(name, 14) for name in classes]
    upright = max(map(len, names)) > 4
    axes.set_xticks(range(len(classes)), names, rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(range(len(classes)), names, fontsize=size)
    for row, column in np.argwhere(counts > 0):
        text = str(counts[row, column])
        if row == column and len(classes) <= 8:
            text += f"\n{share[row, column]:.0%}"
        colour = "white" if share[row, column] > 0.6 else INK
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
    axes.set_xticks(np.arange(len(classes)) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(classes)) - 0.5, minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel(f"Predicted {literal(quantity)} (class)")
    axes.set_ylabel(f"Known {literal(quantity)} (class)")
    return png(figure)


def _alpha(size: int) -> float:
    return 0.85 if size <= 300 else 0.55
