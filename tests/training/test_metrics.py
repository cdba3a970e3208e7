"""Scores against figures worked out by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score, root_mean_squared_error

from n4a_flows.training.metrics import better, bias, r2, rmse, score


def test_scores_by_hand() -> None:
    y_true, y_pred = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 5.0])
    assert bias(y_true, y_pred) == 1.0  # too high by 0, 1 and 2
    assert rmse(y_true, y_pred) == pytest.approx(np.sqrt(5 / 3))
    assert r2(y_true, y_pred) == pytest.approx(1 - 5 / 2)


def test_scores_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y_true = rng.normal(20, 5, 50)
    y_pred = y_true + rng.normal(0.3, 1, 50)
    scores = score(y_true, y_pred)
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(y_true, y_pred), rel=1e-14)
    assert scores["r2"] == pytest.approx(r2_score(y_true, y_pred), rel=1e-14)


def test_r2_is_undefined_for_a_single_value_or_equal_values() -> None:
    assert r2(np.array([3.0]), np.array([2.0])) is None
    assert r2(np.array([3.0, 3.0]), np.array([2.0, 4.0])) is None


def test_which_score_is_better() -> None:
    assert better("rmse", 0.5, 0.6)
    assert not better("rmse", 0.6, 0.6)
    assert better("r2", 0.9, 0.8)
