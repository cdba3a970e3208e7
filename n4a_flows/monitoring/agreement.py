"""How predictions agree with laboratory values that came in: bias, SEP, RMSEP, slope, R² ..., and whether bias and slope are real.

Scores take `y_true` (laboratory values) and `y_pred` (predictions), float64 (n_samples,) in the unit of the target. A score that is
undefined for the values at hand (too few, all the same) is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from n4a_flows.storage.errors import InvalidInputError

Values = npt.NDArray[np.float64]
Scores = dict[str, float | None]

_ROUNDING = 1e-9


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


@dataclass(frozen=True)
class Agreement:
    """Predictions of samples whose laboratory values came in, compared with them.

    Attributes
    ----------
    n
        Number of samples.
    bias, sep, rmsep
        In the unit of the target; see `bias`, `sep` and `rmse`. The bias is predicted less measured.
    slope, intercept
        The line measured = intercept + slope * predicted by least squares; see `slope`.
    r2
        See `r2`.
    bias_limit, slope_limit
        How far the bias may lie from 0, and the slope from 1, by chance: the quantile of Student's t times the standard error. That
        is SEP / sqrt(n) with n - 1 degrees of freedom, and with n - 2 the SD of the residuals of the line divided by
        sqrt(sum((y_pred - mean)²)). None for too few samples.
    confidence
        Of these two limits, two-sided.
    """

    n: int
    bias: float
    sep: float | None
    rmsep: float
    slope: float | None
    intercept: float | None
    r2: float | None
    bias_limit: float | None
    slope_limit: float | None
    confidence: float

    @property
    def bias_differs(self) -> bool:
        """Whether the bias differs from 0 by the t-test."""
        return self.bias_limit is not None and abs(self.bias) > max(self.bias_limit, _ROUNDING * self.rmsep)

    @property
    def slope_differs(self) -> bool:
        """Whether the slope differs from 1 by the t-test."""
        return (
            self.slope is not None
            and self.slope_limit is not None
            and abs(self.slope - 1) > max(self.slope_limit, _ROUNDING)
        )


def agreement(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, confidence: float = 0.95) -> Agreement:
    """Compare predictions with laboratory values.

    Parameters
    ----------
    y_true, y_pred
        Laboratory values and predictions, (n_samples,), finite.
    confidence
        Of the limits of bias and slope, between 0 and 1.

    Raises
    ------
    InvalidInputError
        When there is not one finite prediction for each finite laboratory value, or the confidence is none.

    Examples
    --------
    >>> found = agreement([10.0, 20.0, 30.0, 40.0], [11.1, 20.9, 31.1, 40.9])
    >>> round(found.bias, 3), round(found.bias_limit, 3), found.bias_differs
    (1.0, 0.184, True)
    >>> round(found.slope, 3), found.slope_differs
    (1.004, False)
    """
    measured, predicted = pairs(y_true, y_pred)
    if not 0 < confidence < 1:
        raise InvalidInputError(f"The confidence must lie between 0 and 1, not be {confidence!r}.")
    n, inclination = len(measured), slope(measured, predicted)
    intercept = None if inclination is None else float(np.mean(measured) - inclination * np.mean(predicted))
    return Agreement(
        n,
        bias(measured, predicted),
        sep(measured, predicted),
        rmse(measured, predicted),
        inclination,
        intercept,
        r2(measured, predicted),
        bias_limit(predicted - measured, confidence),
        _slope_limit(measured, predicted, inclination, intercept, confidence),
        confidence,
    )


def pairs(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[Values, Values]:
    """Laboratory values and predictions as arrays; `InvalidInputError` unless there is a finite one of both for each sample."""
    measured, predicted = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    if measured.ndim != 1 or measured.shape != predicted.shape or not measured.size:
        raise InvalidInputError(
            f"One prediction for each laboratory value is needed, not {predicted.shape} predictions for {measured.shape} values."
        )
    unfit = int(np.sum(~(np.isfinite(measured) & np.isfinite(predicted))))
    if unfit:
        raise InvalidInputError(f"{unfit} of {measured.size} pairs hold a value that is not finite: leave those out.")
    return measured, predicted


def bias_limit(differences: Values, confidence: float) -> float | None:
    """How far the mean of differences may lie from 0 by chance, two-sided; None for a single one."""
    n, spread = len(differences), _deviation(differences)
    return None if spread is None else float(stdtrit(n - 1, (1 + confidence) / 2)) * spread / float(np.sqrt(n))


def _slope_limit(
    measured: Values, predicted: Values, inclination: float | None, intercept: float | None, confidence: float
) -> float | None:
    n = len(measured)
    if inclination is None or intercept is None or n < 3:
        return None
    residual = measured - (intercept + inclination * predicted)
    error = np.sqrt(np.sum(residual**2) / (n - 2) / np.sum((predicted - np.mean(predicted)) ** 2))
    return float(stdtrit(n - 2, (1 + confidence) / 2) * error)
