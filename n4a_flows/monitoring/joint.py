"""Several statistics of one spectrum, judged together: one limit for all, so that the rate of false alarms is that of the whole.

Each statistic is brought to a scale of its own, on which every tail is alike: its logarithm less the 80th percentile of the
cross-validated calibration spectra, in units of their mean excess over that. The joint statistic of a spectrum is the largest of
these, and its limit is a conformal quantile (Vovk, Gammerman and Shafer 2005) of the joint statistics of the same calibration
spectra: whatever their distribution, a new normal spectrum exceeds it at the stated rate, as long as it comes from where the
calibration came from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

TOGETHER = "together"
"""The mean of all statistics on their scales: a spectrum may be unusual in each respect, and too much so in none."""

Y_EXCESS = "y_excess"

_LEAST_EXCESS = 0.02
_TAIL = 0.2


@dataclass(frozen=True)
class JointScale:
    """The scales of the statistics, learned from cross-validated calibration spectra.

    Attributes
    ----------
    centres, spreads
        By statistic, `together` among them: 80th percentile of its logarithm, and the mean excess over that.
    excess_scale
        The 95th percentile of how far predictions lie outside the calibrated range, and at least 0.02 of that range.
    """

    centres: Mapping[str, float]
    spreads: Mapping[str, float]
    excess_scale: float

    @classmethod
    def learn(cls, statistics: Mapping[str, Values]) -> JointScale:
        """The scales on which these statistics, (n_samples,) each, are alike."""
        centres, spreads = {}, {}
        for name, values in statistics.items():
            if name != Y_EXCESS:
                centres[name], spreads[name] = _tail(np.log(values))
        together = _together([(np.log(statistics[name]) - centres[name]) / spreads[name] for name in centres])
        centres[TOGETHER], spreads[TOGETHER] = _tail(np.log(together))
        excess = statistics.get(Y_EXCESS)
        scale = _LEAST_EXCESS if excess is None else max(float(np.quantile(excess, 0.95)), _LEAST_EXCESS)
        return cls(centres, spreads, scale)

    def scaled(self, statistics: Mapping[str, Values]) -> dict[str, Values]:
        """Every statistic on its scale, and `together`."""
        scaled = {
            name: (np.log(values) - self.centres[name]) / self.spreads[name]
            for name, values in statistics.items()
            if name != Y_EXCESS
        }
        together = np.log(_together(list(scaled.values())))
        scaled[TOGETHER] = (together - self.centres[TOGETHER]) / self.spreads[TOGETHER]
        if Y_EXCESS in statistics:
            excess = statistics[Y_EXCESS]
            # Inside the range nothing is wrong, however near its end.
            scaled[Y_EXCESS] = np.where(excess > 0, 1 + excess / self.excess_scale, 0.0)
        return scaled

    def unscaled(self, name: str, level: float) -> float:
        """The value of a statistic that lies at a level of its scale."""
        if name == Y_EXCESS:
            return max(0.0, (level - 1) * self.excess_scale)
        return float(np.exp(self.centres[name] + level * self.spreads[name]))


def _together(scaled: list[Values]) -> Values:
    return np.asarray(np.maximum(np.mean(np.maximum(scaled, 0), axis=0), 1e-3))


def _tail(logs: Values) -> tuple[float, float]:
    """Where the tail of the largest fifth begins, and its mean length."""
    start = float(np.quantile(logs, 1 - _TAIL))
    beyond = logs[logs > start] - start
    return start, max(float(beyond.mean()) if len(beyond) else 0.0, 1e-6)


def upper_limit(values: Values, rate: float) -> float:
    """What a new value exceeds with probability `rate` (0 to 1), if it is one more of these, (n,).

    The conformal quantile: of n values the one with rank ceil((n + 1) (1 - rate)). Where n is too small for that, `tail_limit`, and
    at least the largest value.
    """
    ordered = np.sort(values)
    rank = math.ceil((len(ordered) + 1) * (1 - rate))
    if rank <= len(ordered):
        return float(ordered[rank - 1])
    return max(float(ordered[-1]), tail_limit(ordered, rate))


def tail_limit(values: Values, rate: float) -> float:
    """What a new value exceeds with probability `rate`, at most 0.2, when the tail of the largest fifth of these is exponential.

    Its scale is taken from the median of that fifth, so that a few odd spectra in the calibration do not move the limit.
    """
    start = float(np.quantile(values, 1 - _TAIL))
    beyond = values[values > start] - start
    scale = float(np.median(beyond)) / math.log(2) if len(beyond) else 0.0
    return start + scale * math.log(_TAIL / rate)
