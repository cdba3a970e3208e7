"""A verdict for a batch: whether too many of its spectra are odd, and whether all of them together have moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from n4a_flows.monitoring.drift import Sums
from n4a_flows.monitoring.limits import Limits
from n4a_flows.monitoring.spaces import Place

Values = npt.NDArray[np.float64]

FALSE_ALARMS = 0.01
"""Rate at which batches of normal, independent samples are not called ok, by all tests together."""

_MOMENTS = ("t2", "q", "shape_q", "amplitude")
"""Statistics whose mean over the batch is tested: it rises when something is wrong with all spectra."""

_LEAST = {"shape": 0.05, "scores": 0.1, "rise": 0.3, "y": 0.3}
"""Drifts smaller than these are of no consequence: shares of the variance of single spectra, or their standard deviations."""

_ENDS = (0.01, 0.99)


@dataclass(frozen=True)
class Moments:
    """Number, sum and sum of squares of a number over a batch; those of two batches can be added."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Values) -> Moments:
        """The moments of (n,) values."""
        return cls(len(values), float(values.sum()), float(values @ values))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """The mean."""
        return self.total / self.n

    @property
    def variance(self) -> float:
        """The variance, over n - 1."""
        return max(self.squares - self.n * self.mean**2, 0.0) / max(self.n - 1, 1)


@dataclass(frozen=True)
class BatchTally:
    """What is known of the spectra of a batch; small however many there are, and the tallies of its parts can be added.

    Attributes
    ----------
    counts
        Number of spectra by verdict.
    shape, scores
        Sums of the residuals of the shape and of the scores; None while there are no spectra.
    moments
        By statistic, of its logarithm; `y` of the predictions, in units of the target. All of them within bounds.
    """

    counts: dict[str, int]
    shape: Sums | None = None
    scores: Sums | None = None
    moments: dict[str, Moments] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        limits: Limits,
        codes: npt.NDArray[np.int64],
        statistics: dict[str, Values],
        shape: Sums,
        place: Place,
        y: Values | None,
    ) -> BatchTally:
        """The tally of judged spectra; `codes` are 0 for ok, 1 for warn and 2 for outlier."""
        counts = np.bincount(codes, minlength=3).tolist()
        moments = {
            name: Moments.of(_bounded(limits, name, statistics[name])) for name in _MOMENTS if name in statistics
        }
        if y is not None:
            moments["y"] = Moments.of(_near_the_range(limits, y))
        width = len(limits.usual_scores.mean)
        return cls(
            dict(zip(("ok", "warn", "outlier"), counts, strict=True)),
            shape,
            limits.usual_scores.sums(place.scores[:, :width]),
            moments,
        )

    @classmethod
    def rejected(cls, limits: Limits, n: int) -> BatchTally:
        """The tally of n spectra for which there is no prediction."""
        return cls({"rejected": n})

    def __add__(self, other: BatchTally) -> BatchTally:
        names = {**self.counts, **other.counts}
        known = {**self.moments, **other.moments}
        return BatchTally(
            {name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in names},
            _added(self.shape, other.shape),
            _added(self.scores, other.scores),
            {name: self.moments.get(name, Moments()) + other.moments.get(name, Moments()) for name in known},
        )

    @property
    def n(self) -> int:
        """Number of spectra."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class BatchVerdict:
    """Whether a batch as a whole can be trusted.

    Attributes
    ----------
    verdict
        `"ok"`, `"warn"`, or `"outlier"`: most spectra are odd, or their mean lies further off than single spectra do.
    reasons
        In words, the gravest first.
    detail
        Number of spectra by verdict, and by test the probability `p` in a normal batch and the size of what was found.
    """

    verdict: Literal["ok", "warn", "outlier"]
    reasons: list[str]
    detail: dict[str, Any]


def judge_batch(tally: BatchTally, limits: Limits, false_alarms: float = 0.05) -> BatchVerdict:
    """Judge a batch by the share of its spectra that are not ok, and by how far their means have moved.

    Parameters
    ----------
    false_alarms
        The rate (0 to 1) at which single spectra were judged; the share of odd ones is compared with it. The rate for batches is
        `FALSE_ALARMS`.

    Returns
    -------
    BatchVerdict
        Of a batch of no spectra it is `ok`.
    """
    tests = _tests(tally, limits, false_alarms)
    limit = FALSE_ALARMS / max(len(tests), 1)
    found = sorted((test for test in tests if test.p < limit and test.size >= test.least), key=lambda test: test.p)
    grave = any(test.size >= test.grave for test in found)
    return BatchVerdict(
        "outlier" if grave else "warn" if found else "ok",
        [test.said for test in found],
        {
            "counts": dict(tally.counts),
            "tests": {test.name: {"p": float(f"{test.p:.3g}"), "size": float(f"{test.size:.4g}")} for test in tests},
        },
    )


@dataclass(frozen=True)
class _Test:
    name: str
    p: float
    size: float
    least: float
    grave: float
    said: str


def _tests(tally: BatchTally, limits: Limits, false_alarms: float) -> list[_Test]:
    if tally.n == 0:
        return []
    tests = [_share(tally, limits, false_alarms), _outliers(tally, limits, false_alarms)]
    if tally.shape is None or tally.scores is None:
        return tests
    shape, scores = limits.usual_shape.drift(tally.shape), limits.usual_scores.drift(tally.scores)
    tests.append(
        _Test(
            "shape",
            shape.p,
            shape.size,
            _LEAST["shape"],
            1.0,
            "the mean spectrum has moved: the shape of all spectra differs",
        )
    )
    tests.append(
        _Test(
            "scores", scores.p, scores.size, _LEAST["scores"], 1.0,
            "the mean of the scores has moved: other samples than those of the calibration, or a drift of the instrument",
        )
    )  # fmt: skip
    for name in _MOMENTS:
        if name in tally.moments:
            usual = Moments.of(_bounded(limits, name, limits.calibration[name]))
            rise = tally.moments[name].mean - usual.mean
            size = rise / max(usual.variance, 1e-300) ** 0.5
            said = f"{_MEANS[name]} has risen to {np.exp(rise):.3g} times its usual value"
            tests.append(
                _Test(name, _p_of_rise(tally.moments[name], usual, scores.count), size, _LEAST["rise"], 2.0, said)
            )
    if limits.predicted is not None and "y" in tally.moments:
        tests.append(_y(tally.moments["y"], Moments.of(limits.predicted), scores.count))
    return tests


def _share(tally: BatchTally, limits: Limits, false_alarms: float) -> _Test:
    odd, n = tally.n - tally.counts.get("ok", 0), tally.n
    said = f"{odd} of {n} spectra are not ok, {false_alarms * n:.1f} were to be expected"
    return _Test("share", _p_of_odd(odd, n, limits, limits.level(false_alarms)), odd / n, 0.0, 0.5, said)


def _outliers(tally: BatchTally, limits: Limits, false_alarms: float) -> _Test:
    odd, n = tally.counts.get("outlier", 0) + tally.counts.get("rejected", 0), tally.n
    # Of a few spectra it may be chance that all are, but none of them can be used.
    p = 0.0 if odd == n else _p_of_odd(odd, n, limits, limits.outlier_level(false_alarms))
    return _Test("outliers", p, odd / n, 0.0, 0.5, f"{odd} of {n} spectra are outliers or have no prediction")


def _p_of_odd(odd: int, n: int, limits: Limits, level: float) -> float:
    """Probability of so many spectra beyond a level; the rate at which normal ones are is itself known only as well as the
    calibration is large.
    """
    beyond = int(np.sum(limits.joint > level)) + 1
    return float(stats.betabinom.sf(odd - 1, n, beyond, len(limits.joint) + 1 - beyond))


def _y(batch: Moments, usual: Moments, count: float) -> _Test:
    deviation = max(usual.variance, 1e-300) ** 0.5
    size = abs(batch.mean - usual.mean) / deviation
    p = float(2 * stats.norm.sf(size / (1 / count + 1 / usual.n) ** 0.5))
    said = f"the mean prediction is {batch.mean:.4g}, in the calibration it was {usual.mean:.4g}"
    return _Test("y", p, size, _LEAST["y"], 2.0, said)


def _p_of_rise(batch: Moments, usual: Moments, count: float) -> float:
    """One-sided, for unequal variances; the variance of a batch counts as that of the calibration at least."""
    error = max(batch.variance, usual.variance) / count + usual.variance / usual.n
    return float(stats.norm.sf((batch.mean - usual.mean) / max(error, 1e-300) ** 0.5))


def _bounded(limits: Limits, name: str, values: Values) -> Values:
    """Logarithms between the ends of those of the calibration, so that no single spectrum decides."""
    low, high = np.quantile(np.log(limits.calibration[name]), _ENDS)
    return np.asarray(np.clip(np.log(values), low, high))


def _near_the_range(limits: Limits, y: Values) -> Values:
    """Predictions at most half the calibrated range outside it, so that no single spectrum decides."""
    if limits.y_range is None:
        return y
    low, high = limits.y_range
    return np.asarray(np.clip(y, low - (high - low) / 2, high + (high - low) / 2))


def _added(one: Sums | None, other: Sums | None) -> Sums | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


_MEANS = {
    "t2": "the distance from the centre of the calibration (T²)",
    "q": "what the calibration does not describe (Q)",
    "shape_q": "the unusual share of the shape (Q of the shape)",
    "amplitude": "the distance of the values from those of the calibration",
}
