"""A loaded chain that predicts, and judges each prediction where it has limits. Plain, no Prefect and no store."""

from __future__ import annotations

import heapq
import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.monitoring import BatchTally, Judge, Judged, Limits
from n4a_flows.monitoring.judge import NOT_FINITE
from n4a_flows.reports.prediction_figures import MOST_SPECTRA, DrawnSpectrum
from n4a_flows.reports.prediction_rows import furthest_beyond
from n4a_flows.storage import Axis, ChainContext, ChainPackage, Predictor
from n4a_flows.storage.codecs import Trust
from n4a_flows.storage.errors import InvalidInputError

_MOST_SCORERS = 8
_scorers: dict[tuple[Any, ...], Scorer] = {}
_scorers_lock = threading.Lock()

_RANKS = {"ok": 0, "warn": 1, "outlier": 2, "rejected": 3}


@dataclass(frozen=True)
class Judging:
    """How predictions are judged.

    Attributes
    ----------
    false_alarms
        The share of normal spectra that are not called ok, by all statistics together.
    coverage
        The share of normal samples whose laboratory value the prediction interval holds.
    """

    false_alarms: float = 0.05
    coverage: float = 0.95


AS_USUAL = Judging()


@dataclass(frozen=True)
class Said:
    """What a chain says of spectra, (n_samples,) each: as the ledger has it.

    Attributes
    ----------
    y
        Predictions; None for rejected spectra.
    verdicts, reasons, details
        None, and empty, for a chain without limits.
    odd
        The worst of those that are not ok: row and severity.
    tally
        What judging the batch as a whole needs; None for a chain without limits.
    """

    y: list[Any]
    verdicts: Sequence[str | None]
    reasons: Sequence[Sequence[str]]
    details: Sequence[dict[str, Any]]
    odd: list[tuple[int, float]] = field(default_factory=list)
    tally: BatchTally | None = None


class SeveralTargetsError(InvalidInputError):
    """A chain predicts several targets at once; the ledger has one number, or one label, for each sample."""


class Scorer:
    """Predicts with a chain, and judges where it has limits.

    Parameters
    ----------
    predictor
        The loaded chain.
    judge
        Its judge, None without limits.
    """

    def __init__(self, predictor: Predictor, judge: Judge | None) -> None:
        self._predictor = predictor
        self._judge = judge
        self.limits = {} if judge is None else {name: judge.limits_of(name) for name in judge.limits.calibration}
        """Warning and outlier limit by the name of a statistic."""

    @property
    def context(self) -> ChainContext:
        """Axis and signal that the chain takes."""
        return self._predictor.context

    def say(self, X: npt.NDArray[np.float64], axis: Axis) -> Said:
        """Predict and judge spectra; what the operators of the chain raise is raised.

        Raises
        ------
        SeveralTargetsError
            When the chain predicts more than one target.
        """
        axis = self.context.axis or axis
        if self._judge is None:
            return _without_limits(_one_target(self.context.chain_id, self._predictor.predict(X, axis)))
        judged = self._judge.predict(X, axis)
        y = [
            None if verdict == "rejected" else value
            for value, verdict in zip(judged.y.tolist(), judged.verdicts, strict=True)
        ]
        return Said(y, judged.verdicts, judged.reasons, _details(judged), self._odd(judged), judged.tally)

    def rejected(self, n: int) -> BatchTally | None:
        """The tally of n spectra that do not even reach the chain; None without limits."""
        return None if self._judge is None else BatchTally.rejected(self._judge.limits, n)

    def _odd(self, judged: Judged) -> list[tuple[int, float]]:
        ranks = np.array([_RANKS[verdict] for verdict in judged.verdicts])
        beyond = furthest_beyond(judged.statistics, self.limits, len(ranks))
        severity = ranks + beyond / (1 + beyond)
        worst = np.argsort(-severity, kind="stable")[:MOST_SPECTRA]
        return [(int(row), float(severity[row])) for row in worst if ranks[row]]


def _one_target(chain_id: str, predicted: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if predicted.ndim != 1:
        raise SeveralTargetsError(
            f"Chain {chain_id} predicts {predicted.shape[1]} targets at once, which are not scored file by file: train a chain for "
            "each, or predict with load_predictor."
        )
    return predicted


def _without_limits(predicted: npt.NDArray[Any]) -> Said:
    """As it is, but for spectra for which the chain gives no number: these are rejected."""
    y, n = predicted.tolist(), len(predicted)
    said = Said(y, [None] * n, [()] * n, [{}] * n)
    if predicted.dtype.kind != "f" or (finite := np.isfinite(predicted)).all():
        return said
    sure = finite.tolist()
    return replace(
        said,
        y=[value if good else None for value, good in zip(y, sure, strict=True)],
        verdicts=[None if good else "rejected" for good in sure],
        reasons=[() if good else NOT_FINITE for good in sure],
    )


def worst(spectra: Iterable[DrawnSpectrum]) -> list[DrawnSpectrum]:
    """As many spectra as are drawn, the worst first."""
    return heapq.nlargest(MOST_SPECTRA, spectra, key=lambda spectrum: spectrum.severity)


def scorer(package: ChainPackage, trust: Trust, allowed_modules: tuple[str, ...], judging: Judging) -> Scorer:
    """The loaded chain with its judge; loaded once per process, not once per task."""
    key = (package.digest, package.context.limits_artifact_id, trust, allowed_modules, judging)
    with _scorers_lock:
        if key not in _scorers:
            if len(_scorers) >= _MOST_SCORERS:
                del _scorers[next(iter(_scorers))]
            predictor = package.load(trust=trust, allowed_modules=allowed_modules)
            judge = None
            if package.limits is not None:
                judge = Judge(predictor, Limits.from_bytes(package.limits), judging.false_alarms, judging.coverage)
            _scorers[key] = Scorer(predictor, judge)
        return _scorers[key]


def _details(judged: Judged) -> list[dict[str, Any]]:
    """The interval and the statistics of each spectrum, without those that it has not."""
    values = _rounded(np.column_stack(list(judged.statistics.values())))
    details: list[dict[str, Any]] = [dict(zip(judged.statistics, row, strict=True)) for row in values.tolist()]
    for row in np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist():
        details[row] = {name: value for name, value in details[row].items() if math.isfinite(value)}
    if judged.lower is not None and judged.upper is not None:
        ends = _rounded(np.column_stack([judged.lower, judged.upper])).tolist()
        for detail, interval, verdict in zip(details, ends, judged.verdicts, strict=True):
            if verdict != "rejected":
                detail["interval"] = interval
    return details


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """To six digits that count."""
    with np.errstate(divide="ignore", invalid="ignore"):
        places = 5 - np.floor(np.log10(np.abs(values)))
        scale = 10.0 ** np.abs(places)
        rounded = np.where(places >= 0, np.round(values * scale) / scale, np.round(values / scale) * scale)
    return np.where(np.isfinite(rounded), rounded, values)
