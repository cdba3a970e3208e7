"""Agreement of predictions with laboratory values, against figures worked out by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from n4a_flows.monitoring import agreement
from n4a_flows.storage.errors import InvalidInputError


@pytest.fixture
def values() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    measured = rng.uniform(5, 50, 24)
    return measured, 0.94 * measured + 2.4 + rng.normal(0, 0.8, 24)


def test_figures_by_hand() -> None:
    found = agreement([10.0, 20.0, 30.0], [11.0, 23.0, 35.0])
    assert (found.n, found.bias, found.sep, found.rmsep) == (3, 3.0, 2.0, pytest.approx(np.sqrt(35 / 3)))
    # The line through (11, 10), (23, 20), (35, 30).
    assert (found.slope, found.intercept) == (pytest.approx(10 / 12), pytest.approx(10 - 110 / 12))
    assert found.r2 == pytest.approx(1 - 35 / 200)


def test_the_t_tests_are_those_of_scipy(values: tuple[np.ndarray, np.ndarray]) -> None:
    measured, predicted = values
    for confidence in (0.9, 0.95, 0.99):
        found = agreement(measured, predicted, confidence)
        interval = stats.ttest_1samp(predicted - measured, 0).confidence_interval(confidence)
        assert found.bias_limit == pytest.approx((interval.high - interval.low) / 2)
        assert found.bias_differs == (stats.ttest_1samp(predicted - measured, 0).pvalue < 1 - confidence)
        line = stats.linregress(predicted, measured)
        assert (found.slope, found.intercept) == (pytest.approx(line.slope), pytest.approx(line.intercept))
        assert found.slope_limit == pytest.approx(stats.t.ppf((1 + confidence) / 2, 22) * line.stderr)
        assert found.slope_differs == (abs(line.slope - 1) > stats.t.ppf((1 + confidence) / 2, 22) * line.stderr)


def test_chance_is_called_a_difference_as_often_as_said() -> None:
    rng = np.random.default_rng(11)
    found = [agreement(measured, measured + rng.normal(0, 1, 15)) for measured in rng.uniform(0, 100, (2000, 15))]
    assert 0.035 < np.mean([one.bias_differs for one in found]) < 0.065
    assert 0.035 < np.mean([one.slope_differs for one in found]) < 0.065


def test_what_a_few_samples_cannot_say_is_none() -> None:
    one = agreement([10.0], [11.0])
    assert (one.n, one.bias, one.sep, one.slope, one.bias_limit, one.slope_limit) == (1, 1.0, None, None, None, None)
    assert not one.bias_differs
    same = agreement([10.0, 10.0, 12.0], [11.0, 11.0, 11.0])
    assert (same.slope, same.slope_limit, same.slope_differs) == (None, None, False)
    exact = agreement([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (exact.bias_differs, exact.slope_differs) == (False, False)
    assert agreement([1.0, 2.0, 3.0], [1.5, 2.5, 3.5]).bias_differs, "the same difference each time is no chance"


@pytest.mark.parametrize(
    ("measured", "predicted", "confidence", "message"),
    [
        ([1.0, 2.0], [1.0], 0.95, "One prediction for each"),
        ([], [], 0.95, "One prediction for each"),
        ([1.0, np.nan], [1.0, 2.0], 0.95, "1 of 2 pairs"),
        ([1.0, 2.0], [1.0, 2.0], 95, "between 0 and 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    measured: list[float], predicted: list[float], confidence: float, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        agreement(measured, predicted, confidence)
