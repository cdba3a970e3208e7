"""Pictures, as the bytes of PNG files. Drawn without pyplot, so that threads do not share state."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.training.metrics import bias, r2, rmse


def predicted_against_measured(
    measured: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    quantity: str,
    unit: str | None = None,
    title: str | None = None,
) -> bytes:
    """Predictions against laboratory values with the 1:1 line, RMSEP, R² and bias.

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

    figure = Figure(figsize=(5.0, 5.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    low, high = float(min(y.min(), y_hat.min())), float(max(y.max(), y_hat.max()))
    margin = 0.05 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color="0.5", linewidth=1, zorder=1)
    axes.annotate(
        "1:1", (limits[1], limits[1]), xytext=(-16, -6), textcoords="offset points", ha="right", va="top", color="0.4"
    )
    axes.scatter(y, y_hat, s=26, color="#1f6f8b", edgecolor="white", linewidth=0.5, zorder=2)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    suffix = f" ({unit})" if unit else ""
    axes.set_xlabel(f"Measured {quantity}{suffix}")
    axes.set_ylabel(f"Predicted {quantity}{suffix}")
    if title:
        axes.set_title(title, fontsize=11)
    axes.text(
        0.04,
        0.96,
        _figures(y, y_hat, unit),
        transform=axes.transAxes,
        va="top",
        fontsize=10,
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "0.8"},
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _figures(y: npt.NDArray[np.float64], y_hat: npt.NDArray[np.float64], unit: str | None) -> str:
    after = f" {unit}" if unit else ""
    r_squared = r2(y, y_hat)
    return "\n".join(
        [
            f"n = {y.size}",
            f"RMSEP = {rmse(y, y_hat):.3g}{after}",
            "R² undefined" if r_squared is None else f"R² = {r_squared:.3f}",
            f"bias = {bias(y, y_hat):+.2g}{after}".replace("-", "\N{MINUS SIGN}"),
        ]
    )
