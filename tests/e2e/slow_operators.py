"""Operators that take their time, so that a flow run can be killed while it trains; and one that cannot be fitted."""

from __future__ import annotations

import time
from typing import Any, Self

from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin


class Slow(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Changes nothing, slowly."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds

    def fit(self, X: Any, y: Any = None) -> Self:
        time.sleep(self.seconds)
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return X


class Broken(Slow):
    """Cannot be fitted."""

    def fit(self, X: Any, y: Any = None) -> Self:
        raise ArithmeticError("broken on purpose")
