"""Scores as a chemometrician names and writes them."""

from __future__ import annotations

import math
from typing import Literal

from n4a_flows.reports.document import Table
from n4a_flows.reports.names import pipeline_name
from n4a_flows.reports.recorded import BestChain

Part = Literal["calibration", "CV", "test"]

_OWN_NAMES: dict[str, dict[Part, str]] = {
    "rmse": {"calibration": "RMSEC", "CV": "RMSECV", "test": "RMSEP"},
    "sep": {"calibration": "SEC", "CV": "SECV", "test": "SEP"},
}
_LABELS = {
    "mae": "MAE",
    "r2": "R²",
    "rpd": "RPD",
    "rpiq": "RPIQ",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "roc_auc": "AUC",
}
_IN_UNITS = ("rmse", "mae", "sep", "bias")
_REGRESSION = {
    "rmse": "RMSE",
    "r2": "R²",
    "bias": "bias",
    "sep": "SE without bias",
    "rpd": "RPD",
    "rpiq": "RPIQ",
    "slope": "slope",
    "mae": "MAE",
    "consistency": "consistency",
}
_CLASSES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1, mean of the classes",
    "kappa": "Cohen's kappa",
    "roc_auc": "area under the ROC curve",
}


def number(value: float | None) -> str:
    """A number with three digits that count, without powers of ten where they can be avoided; empty for None."""
    if value is None or not math.isfinite(value):
        return ""
    size = abs(value)
    if size != 0 and not 1e-4 <= size < 1e6:
        return f"{value:.2e}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(size))) if size else 0}f}"


def ranking_name(metric: str, part: Part = "CV") -> str:
    """What a metric is called for the training rows, for all out-of-fold predictions together, or for the test set."""
    own = _OWN_NAMES.get(metric)
    return f"{_LABELS.get(metric, metric)} ({part})" if own is None else own[part]


def in_units(metric: str) -> bool:
    """Whether a metric has the unit of the target."""
    return metric in _IN_UNITS


def pipeline_scores(chain: BestChain, unit: str | None) -> str:
    """The best pipeline and its scores in one sentence."""
    cv, test = chain.validated.scores, None if chain.test is None else chain.test.scores
    after = f" {unit}" if unit else ""
    name = f"{pipeline_name(chain.recorded.planned)} is best, with"
    if chain.classes:
        said = f"{name} {_percent(cv['accuracy'])} of the samples right in cross-validation"
        return said + ("." if test is None else f" and {_percent(test['accuracy'])} in the test set.")
    said = f"{name} RMSECV {number(cv['rmse'])}{after} (R² {number(cv['r2'])}, RPD {number(cv['rpd'])})"
    return said + (
        "." if test is None else f" and RMSEP {number(test['rmse'])}{after} (R² {number(test['r2'])}) in the test set."
    )


def scores_table(chain: BestChain, unit: str | None) -> Table:
    """All scores of the best chain: of the training rows, of cross-validation and of the test set."""
    parts = [chain.training, chain.validated.scores, *([] if chain.test is None else [chain.test.scores])]
    counts = [
        chain.noted.get("train"),
        len(chain.validated.rows),
        *([] if chain.test is None else [len(chain.test.rows)]),
    ]
    names = _CLASSES if chain.classes else _REGRESSION
    rows = [["n", *("" if count is None else str(count) for count in counts)]]
    for key, name in names.items():
        values = [part.get(key) for part in parts]
        if any(value is not None for value in values):
            suffix = f" ({unit})" if unit and key in _IN_UNITS else " (%)" if key == "consistency" else ""
            rows.append([name + suffix, *map(_tidy, values)])
    return Table(["", "calibration", "cross-validation", "test"][: len(parts) + 1], rows)


def _tidy(value: float | None) -> str:
    """As `number`, with rounding errors of zero as zero."""
    return "0" if value is not None and abs(value) < 1e-9 else number(value)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
