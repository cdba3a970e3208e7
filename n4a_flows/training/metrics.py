"""Scores of predictions against laboratory values, and of predicted classes against known ones.

Regression scores take `y_true` (laboratory values) and `y_pred` (predictions), float64 (n_samples,) in the unit of the target. A
score that is undefined for the values at hand (too few, all the same) is None.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from n4a_flows.storage.queries import ascending_for

Task = Literal["regression", "classification"]
RegressionMetric = Literal["rmse", "mae", "r2", "sep", "rpd", "rpiq"]
ClassMetric = Literal["accuracy", "balanced_accuracy", "f1", "kappa", "roc_auc"]
Metric = RegressionMetric | ClassMetric
Values = npt.NDArray[np.float64]
Scores = dict[str, float | None]

METRICS: dict[Task, tuple[str, ...]] = {
    "regression": get_args(RegressionMetric),
    "classification": get_args(ClassMetric),
}
"""The metrics that a training of each task can be ranked by; the first is the default for regression."""

DEFAULT_METRIC: dict[Task, Metric] = {"regression": "rmse", "classification": "balanced_accuracy"}


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


def mae(y_true: Values, y_pred: Values) -> float:
    """Mean absolute error, mean(|y_pred - y_true|), in the unit of the target.

    Examples
    --------
    >>> mae(np.array([10.0, 20.0]), np.array([13.0, 19.0]))
    2.0
    """
    return float(np.mean(np.abs(y_pred - y_true)))


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


def sep(y_true: Values, y_pred: Values) -> float | None:
    """Standard error of prediction: the standard deviation of the errors (n - 1), in the unit of the target; bias taken out.

    RMSE² = bias² + (n - 1) / n SEP². None for a single value. Definition: T. Næs et al. 2002, as above.

    Examples
    --------
    >>> sep(np.array([10.0, 20.0, 30.0]), np.array([11.0, 23.0, 35.0]))
    2.0
    """
    return _deviation(y_pred - y_true)


def slope(y_true: Values, y_pred: Values) -> float | None:
    """Slope of the line of laboratory values over predictions, cov(y_true, y_pred) / var(y_pred), without unit; ideally 1.

    This is the line that a slope and bias correction applies to predictions. None when all predictions are the same.

    Examples
    --------
    >>> slope(np.array([10.0, 20.0, 30.0]), np.array([10.0, 15.0, 20.0]))
    2.0
    """
    spread = y_pred - np.mean(y_pred)
    total = float(np.sum(spread**2))
    return None if total == 0.0 else float(np.sum(spread * (y_true - np.mean(y_true)))) / total


def rpd(y_true: Values, y_pred: Values) -> float | None:
    """Ratio of performance to deviation, SD(y_true) / SEP (both n - 1), without unit; more is better.

    Definition: P. Williams, D. Sobering, Journal of Near Infrared Spectroscopy 1 (1993) 25.

    Examples
    --------
    >>> rpd(np.array([10.0, 20.0, 30.0]), np.array([11.0, 23.0, 35.0]))
    5.0
    """
    return _ratio(_deviation(y_true), sep(y_true, y_pred))


def rpiq(y_true: Values, y_pred: Values) -> float | None:
    """Ratio of performance to interquartile distance, (Q3 - Q1) of y_true / SEP, without unit; more is better.

    Unlike the RPD it makes sense for skewed targets. Definition: V. Bellon-Maurel et al., Trends in Analytical Chemistry 29
    (2010) 1073; quartiles by linear interpolation.

    Examples
    --------
    >>> rpiq(np.array([10.0, 20.0, 30.0]), np.array([11.0, 23.0, 35.0]))
    5.0
    """
    return _ratio(_interquartile(y_true), sep(y_true, y_pred))


def consistency(sec: float | None, sep: float | None) -> float | None:
    """Consistency index, 100 SEC / SEP in percent: near 100 when new samples are predicted as well as those trained on.

    Far below, the model is fitted too closely to its training rows. SEC is the `sep` of the training rows of the same model.

    Examples
    --------
    >>> consistency(0.9, 1.0)
    90.0
    """
    ratio = _ratio(sec, sep)
    return None if ratio is None else 100 * ratio


def _deviation(values: Values) -> float | None:
    """Standard deviation (n - 1); None for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _interquartile(values: Values) -> float:
    ordered = np.sort(values)
    first, third = np.interp(np.array([0.25, 0.75]) * (len(ordered) - 1), np.arange(len(ordered)), ordered)
    return float(third - first)


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


@dataclass(frozen=True)
class Measured:
    """Laboratory values that many predictions are scored against: what depends on them alone is worked out once.

    Attributes
    ----------
    y_true
        float64 (n_samples,), in the unit of the target.
    """

    y_true: Values

    @cached_property
    def _deviation(self) -> float | None:
        return _deviation(self.y_true)

    @cached_property
    def _interquartile(self) -> float:
        return _interquartile(self.y_true)

    def score(self, y_pred: Values) -> Scores:
        """What the function `score` gives for these values and predictions."""
        y_true = self.y_true
        spread = sep(y_true, y_pred)
        return {
            "rmse": rmse(y_true, y_pred),
            "mae": mae(y_true, y_pred),
            "r2": r2(y_true, y_pred),
            "bias": bias(y_true, y_pred),
            "sep": spread,
            "slope": slope(y_true, y_pred),
            "rpd": _ratio(self._deviation, spread),
            "rpiq": _ratio(self._interquartile, spread),
        }


def score(y_true: Values, y_pred: Values) -> Scores:
    """All scores of a regression by name: `rmse`, `mae`, `bias`, `sep` in the unit of the target, the others without unit."""
    return Measured(y_true).score(y_pred)


def score_classes(
    y_true: npt.NDArray[Any],
    y_pred: npt.NDArray[Any],
    y_proba: npt.NDArray[np.float64] | None = None,
    classes: Sequence[Any] = (),
) -> Scores:
    """All scores of a classification by name, from 0 to 1 (`kappa` from -1).

    `accuracy`, `balanced_accuracy` (mean recall of the classes), `f1` (unweighted mean over the classes), `kappa` (Cohen's), and
    `roc_auc`: of two classes the area under the curve, of more the unweighted mean of each class against the others; None without
    probabilities or when a class does not occur. Definitions: scikit-learn, `sklearn.metrics`.

    Parameters
    ----------
    y_true, y_pred
        Labels, (n_samples,).
    y_proba
        (n_samples, n_classes) in the order of `classes`.

    Examples
    --------
    >>> found = score_classes(np.array(["a", "a", "b", "b"]), np.array(["a", "b", "b", "b"]))
    >>> found["accuracy"], found["balanced_accuracy"], found["roc_auc"]
    (0.75, 0.75, None)
    """
    with warnings.catch_warnings():
        # A class that was predicted but does not occur, or the other way round, is no reason to worry anybody.
        warnings.simplefilter("ignore")
        kappa = float(metrics.cohen_kappa_score(y_true, y_pred))
        return {
            "accuracy": float(np.mean(y_true == y_pred)),
            "balanced_accuracy": float(metrics.balanced_accuracy_score(y_true, y_pred)),
            "f1": float(metrics.f1_score(y_true, y_pred, average="macro", zero_division=0)),
            "kappa": kappa if np.isfinite(kappa) else None,
            "roc_auc": None if y_proba is None else _roc_auc(y_true, y_proba, list(classes)),
        }


def _roc_auc(y_true: npt.NDArray[Any], y_proba: npt.NDArray[np.float64], classes: list[Any]) -> float | None:
    if set(np.unique(y_true).tolist()) != set(classes) or len(classes) < 2:
        return None
    if len(classes) == 2:
        return float(metrics.roc_auc_score(y_true == classes[1], y_proba[:, 1]))
    return float(metrics.roc_auc_score(y_true, y_proba, multi_class="ovr", average="macro", labels=classes))


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better, as for `r2` and `accuracy`."""
    return not ascending_for(metric)


def better(metric: str, one: float, other: float) -> bool:
    """Whether the score `one` is better than `other`: smaller for `rmse`, greater for `r2`."""
    return one > other if higher_is_better(metric) else one < other
