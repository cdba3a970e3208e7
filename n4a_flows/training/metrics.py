"""Scores of predictions against laboratory values.

Every function takes `y_true` (laboratory values) and `y_pred` (predictions), float64 (n_samples,) in the unit of the target.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Metric = Literal["rmse", "r2"]
Values = npt.NDArray[np.float64]

HIGHER_IS_BETTER: dict[Metric, bool] = {"rmse": False, "r2": True}


def rmse(y_true: Values, y_pred: Values) -> float:
    """Root mean squared error, sqrt(mean((y_pred - y_true)²)), in the unit of the target.

    Of out-of-fold predictions it is the RMSECV, of a test set the RMSEP, of the training rows the RMSEC. It contains the bias.
    Definition: T. Næs, T. Isaksson, T. Fearn, T. Davies, A User-Friendly Guide to Multivariate Calibration and
    Classification, NIR Publications 2002.

    Examples
    --------
    >>> rmse(np.array([10.0, 20.0]), np.array([13.0, 17.0]))
    3.0
    """
    return float(np.sqrt(np.mean((y_pred - y_true) ** 2)))


def r2(y_true: Values, y_pred: Values) -> float | None:
    """Coefficient of determination, 1 - sum((y_true - y_pred)²) / sum((y_true - mean(y_true))²), without unit.

    The mean is that of the values scored. 1 is perfect, 0 is no better than their mean, and it can be negative; it is not the
    squared correlation. None when all laboratory values are the same (a single one, for instance): it is undefined then.
    Definition: scikit-learn, `sklearn.metrics.r2_score`.

    Examples
    --------
    >>> r2(np.array([10.0, 20.0, 30.0]), np.array([10.0, 20.0, 40.0]))
    0.5
    """
    total = float(np.sum((y_true - np.mean(y_true)) ** 2))
    return None if total == 0.0 else 1.0 - float(np.sum((y_true - y_pred) ** 2)) / total


def bias(y_true: Values, y_pred: Values) -> float:
    """Mean error, mean(y_pred - y_true), in the unit of the target: positive when predictions are too high.

    Definition: T. Næs, T. Isaksson, T. Fearn, T. Davies, A User-Friendly Guide to Multivariate Calibration and
    Classification, NIR Publications 2002.

    Examples
    --------
    >>> bias(np.array([10.0, 20.0]), np.array([11.0, 21.0]))
    1.0
    """
    return float(np.mean(y_pred - y_true))


def score(y_true: Values, y_pred: Values) -> dict[str, float | None]:
    """All scores by name: `rmse` and `bias` in the unit of the target, `r2` without unit (None where it is undefined)."""
    return {"rmse": rmse(y_true, y_pred), "r2": r2(y_true, y_pred), "bias": bias(y_true, y_pred)}


def better(metric: Metric, one: float, other: float) -> bool:
    """Whether the score `one` is better than `other`: smaller for `rmse`, greater for `r2`."""
    return one > other if HIGHER_IS_BETTER[metric] else one < other
