"""A verdict for each spectrum: whether its prediction can be trusted, and in words why not."""

from __future__ import annotations

import functools
import operator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from n4a_flows.monitoring.batch import BatchTally
from n4a_flows.monitoring.calibration import Range, statistics_of
from n4a_flows.monitoring.drift import Sums
from n4a_flows.monitoring.joint import TOGETHER, Y_EXCESS
from n4a_flows.monitoring.limits import Limits
from n4a_flows.storage import Axis, Predictor
from n4a_flows.storage.errors import InvalidInputError

Values = npt.NDArray[np.float64]
Verdict = Literal["ok", "warn", "outlier", "rejected"]

_FEWEST_EQUAL = 5
_PLACED = ("shape_peak", "amplitude")


@dataclass(frozen=True)
class Judged:
    """Predictions with their verdicts.

    Attributes
    ----------
    y
        (n_samples,): float64 in units of the target, NaN where no prediction is given; or class labels, `""` there.
    lower, upper
        (n_samples,): the prediction interval, in units of the target; None for classes.
    verdicts
        `"ok"`, `"warn"`, `"outlier"`, or `"rejected"`: no prediction is given.
    reasons
        In words, of each sample; empty for those that are ok.
    statistics
        Name -> float64 (n_samples,), NaN for those rejected; see `Limits.calibration`.
    tally
        What judging the batch as a whole needs.
    """

    y: npt.NDArray[Any]
    lower: Values | None
    upper: Values | None
    verdicts: list[Verdict]
    reasons: list[tuple[str, ...]]
    statistics: dict[str, Values]
    tally: BatchTally


class Judge:
    """Predicts with a chain and judges each prediction. Keep it and use it again.

    Parameters
    ----------
    predictor
        The loaded chain.
    limits
        Those of the chain.
    false_alarms
        The share (above 0, below 1) of normal spectra that shall not be called ok, by all statistics together.
    coverage
        The share (above 0, below 1) of normal samples whose laboratory value the prediction interval shall hold.

    Raises
    ------
    InvalidInputError
        When a share is none, or the limits do not belong to the chain.

    Examples
    --------
    >>> from n4a_flows.monitoring import Judge, Limits
    >>> judge = Judge(store.load_predictor(chain_id), Limits.from_bytes(store.get_limits(chain_id)))
    >>> judged = judge.predict(np.vstack([spectra.X[:2], 10 ** -spectra.X[:1]]))
    >>> judged.verdicts
    ['ok', 'ok', 'outlier']
    """

    def __init__(
        self, predictor: Predictor, limits: Limits, false_alarms: float = 0.05, coverage: float = 0.95
    ) -> None:
        for name, share in (("false_alarms", false_alarms), ("coverage", coverage)):
            if not 0 < share < 1:
                raise InvalidInputError(f"{name} is a share between 0 and 1, not {share!r}.")
        self.predictor = predictor
        self.limits = limits
        self.false_alarms = false_alarms
        self._space = limits.space(predictor.model)
        self._range = None if limits.y_range is None else Range(*limits.y_range)
        self._half_width = limits.half_width(coverage)
        self._warn, self._outlier = limits.level(false_alarms), limits.outlier_level(false_alarms)
        scale = limits.scale
        self._limits_of = {
            name: (scale.unscaled(name, self._warn), scale.unscaled(name, self._outlier)) for name in limits.calibration
        }
        self._most_equal = max(2 * limits.shape.longest_run, _FEWEST_EQUAL)

    def limits_of(self, name: str) -> tuple[float, float]:
        """The values of a statistic from which a spectrum is no longer ok, and from which it is an outlier."""
        return self._limits_of[name]

    def predict(self, X: npt.ArrayLike, wavelengths: Axis | npt.ArrayLike | None = None) -> Judged:
        """Predict and judge.

        Parameters
        ----------
        X, wavelengths
            As `Predictor.predict` takes them; one target.

        Raises
        ------
        InvalidInputError, AxisError, ReplayError
            As `Predictor.predict` does.
        """
        spectra, positions = self.predictor.arranged(X, wavelengths)
        suspects = spectra[:, 0] == spectra[:, -1]
        constant = suspects & (np.ptp(spectra, axis=1) == 0) if suspects.any() else suspects
        kept = ~constant
        judged = self._judged(spectra[kept] if constant.any() else spectra, positions) if kept.any() else None
        if judged is not None and judged.y.dtype.kind == "f" and not (finite := np.isfinite(judged.y)).all():
            kept[kept] = finite
            # Once more without them: what is said of the others together must not hang on them.
            judged = self._judged(spectra[kept], positions) if kept.any() else None
        return judged if judged is not None and kept.all() else self._with_rejected(judged, kept, constant)

    def _judged(self, X: Values, positions: Values | None) -> Judged:
        sums: list[Sums] = []
        # The raw spectra are looked at meanwhile and for the reasons, so operators that work in place are to take copies.
        X.flags.writeable = False
        with ThreadPoolExecutor(1) as beside:
            looking = beside.submit(
                self.limits.shape.look, X, lambda residuals: sums.append(self.limits.usual_shape.sums(residuals))
            )
            y, treated = self.predictor.predict_arranged(X, positions)
            place = self._space.place(treated)
            look = looking.result()
        excess = None if self._range is None else self._range.excess(y)
        statistics = {
            name: values
            for name, values in statistics_of(look, place, excess).items()
            if name in self.limits.calibration
        }
        scaled = self.limits.scale.scaled(statistics)
        levels = np.vstack(list(scaled.values()))
        joint = levels.max(axis=0)
        dead = look.runs > self._most_equal
        # Not to be compared is not to be normal.
        codes = (~(joint <= self._warn)).astype(int) + (~(joint <= self._outlier) | dead)
        codes[dead] = 2
        verdicts: list[Verdict] = [_VERDICTS[code] for code in codes.tolist()]
        # Tuples, for ten thousand empty lists would make Python look through all objects for garbage.
        reasons: list[tuple[str, ...]] = [()] * len(codes)
        odd = np.flatnonzero(codes)
        for row, *where in zip(odd.tolist(), *self.limits.shape.where(X[odd]), strict=True):
            run = int(look.runs[row]) if dead[row] else 0
            reasons[row] = self._reasons(row, scaled, statistics, dict(zip(_PLACED, where, strict=True)), y[row], run)
        half = self._half_width
        tally = BatchTally.of(
            self.limits,
            codes,
            statistics,
            functools.reduce(operator.add, sums),
            place,
            None if self._range is None else y,
        )
        return Judged(
            y,
            None if half is None else y - half,
            None if half is None else y + half,
            verdicts,
            reasons,
            statistics,
            tally,
        )

    def _reasons(
        self,
        row: int,
        scaled: dict[str, Values],
        statistics: dict[str, Values],
        where: dict[str, int],
        predicted: float,
        run: int,
    ) -> tuple[str, ...]:
        """Why a spectrum is not ok: what is furthest beyond its limit first, and what came of it, the prediction, last."""
        beyond = sorted(
            (name for name, levels in scaled.items() if levels[row] > self._warn),
            key=lambda name: (name == Y_EXCESS, -scaled[name][row]),
        )
        said = [f"{run} neighbouring points have exactly the same value: a saturated or dead band"] if run else []
        for name in beyond:
            if name == TOGETHER:
                if len(beyond) == 1:
                    said.append("unusual in every respect, though in none beyond its limit alone")
                continue
            limit = self.limits_of(name)[0]
            if name == Y_EXCESS and self._range is not None:
                low, high = self._range.low, self._range.high
                said.append(
                    f"the prediction {predicted:.4g} lies outside the calibrated range, {low:.4g} to {high:.4g}"
                )
                continue
            at = f" at {self._position(where[name])}" if name in where else ""
            said.append(f"{_WORDS[name]}{at} ({statistics[name][row]:.3g}, limit {limit:.3g})")
        return tuple(said)

    def _position(self, point: int) -> str:
        axis = self.predictor.axis
        return f"point {point + 1}" if axis is None else f"{axis.values[point]:.6g} {axis.unit}"

    def _with_rejected(
        self, judged: Judged | None, kept: npt.NDArray[np.bool_], constant: npt.NDArray[np.bool_]
    ) -> Judged:
        """The verdicts on what was kept, if any, with those on rejected spectra in their places."""
        n = len(kept)
        numbers = self._range is not None
        y: npt.NDArray[Any] = np.full(n, np.nan) if numbers else np.full(n, "", dtype=object)
        verdicts: list[Verdict] = ["rejected"] * n
        reasons: list[tuple[str, ...]] = [_CONSTANT if same else NOT_FINITE for same in constant.tolist()]
        statistics = {name: np.full(n, np.nan) for name in self.limits.calibration}
        tally = BatchTally.rejected(self.limits, int(n - kept.sum()))
        if judged is not None:
            places = np.flatnonzero(kept)
            y[places] = judged.y
            for place, verdict, reason in zip(places, judged.verdicts, judged.reasons, strict=True):
                verdicts[place], reasons[place] = verdict, reason
            for name, values in judged.statistics.items():
                statistics[name][places] = values
            tally += judged.tally
        half = self._half_width
        return Judged(
            y if numbers else y.astype(str),
            None if half is None else y - half,
            None if half is None else y + half,
            verdicts,
            reasons,
            statistics,
            tally,
        )


NOT_FINITE = ("the chain predicts no finite number",)
"""Why a spectrum is rejected for which a chain gives no number."""

_CONSTANT = ("all its points have the same value: it is no spectrum",)
_VERDICTS: tuple[Verdict, ...] = ("ok", "warn", "outlier")
_WORDS = {
    "t2": "far from the centre of the calibration: T²",
    "q": "not described by the calibration: Q",
    "neighbours": "no calibration spectrum is near: distance",
    "shape_t2": "an unusual shape: T² of the shape",
    "shape_q": "a shape that the calibration does not have: Q of the shape",
    "shape_peak": "a spike or step",
    "amplitude": "values beyond those of the calibration",
}
