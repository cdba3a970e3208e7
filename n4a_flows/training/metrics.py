"""What trainings are ranked by: scores of numbers, which `n4a_flows.monitoring.agreement` defines, and scores of classes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from n4a_flows.monitoring.agreement import (
    Scores,
    bias,
    consistency,
    mae,
    r2,
    rmse,
    rpd,
    rpiq,
    score,
    sep,
    slope,
)
from n4a_flows.storage.queries import ascending_for

Task = Literal["regression", "classification"]
RegressionMetric = Literal["rmse", "mae", "r2", "sep", "rpd", "rpiq"]
ClassMetric = Literal["accuracy", "balanced_accuracy", "f1", "kappa", "roc_auc"]
Metric = RegressionMetric | ClassMetric

__all__ = [
    "better",
    "bias",
    "consistency",
    "higher_is_better",
    "mae",
    "r2",
    "rmse",
    "rpd",
    "rpiq",
    "score",
    "score_classes",
    "sep",
    "slope",
]

METRICS: dict[Task, tuple[str, ...]] = {
    "regression": get_args(RegressionMetric),
    "classification": get_args(ClassMetric),
}
"""The metrics that a training of each task can be ranked by; the first is the default for regression."""

DEFAULT_METRIC: dict[Task, Metric] = {"regression": "rmse", "classification": "balanced_accuracy"}


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
