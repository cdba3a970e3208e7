"""PLS models of several sizes from one fit.

PLS finds one component after the other, so the largest model holds the smaller ones: cut to its first k components it is the model
that a separate fit of k gives, to the last bit, when the rotations are computed anew from the cut weights and loadings. This uses
attributes that scikit-learn keeps to itself; when they are not as expected, nothing is cut and every size is fitted.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import pinv
from sklearn.cross_decomposition import PLSRegression

CLASS_PATH = "sklearn.cross_decomposition.PLSRegression"

_BY_COMPONENT = ("x_weights_", "y_weights_", "_x_scores", "_y_scores", "x_loadings_", "y_loadings_")
_EXPECTED = {
    *("n_components", "scale", "deflation_mode", "mode", "algorithm", "max_iter", "tol", "copy"),
    *("n_features_in_", "_predict_1d", "_norm_y_weights", "_x_mean", "_y_mean", "_x_std", "_y_std"),
    *_BY_COMPONENT,
    *("n_iter_", "x_rotations_", "y_rotations_", "coef_", "intercept_", "_n_features_out", "x_scores_", "y_scores_"),
}


def fit_largest(model: PLSRegression, X: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> PLSRegression | None:
    """The model fitted with all its components, or None when smaller ones cannot be cut from it.

    That is so when it stopped early (y was explained before the last component), asks for more components than there are, or
    scikit-learn has changed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(X, y)
    except (ValueError, Warning, FloatingPointError, np.linalg.LinAlgError):
        return None
    # Whoever fits the largest model alone gets the error or the warning.
    return model if set(vars(model)) == _EXPECTED and len(model.n_iter_) == model.n_components else None


def cut(model: PLSRegression, sizes: Iterable[int]) -> dict[int, PLSRegression]:
    """The models of these sizes, each as large as the fitted one at most, by their number of components."""
    return {size: model if size == model.n_components else _cut(model, size) for size in sizes}


def predict(model: PLSRegression, X: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What `model.predict(X)` gives for float64 spectra, to the last bit, without looking at them again for every size."""
    y: npt.NDArray[np.float64] = (X - model._x_mean) @ model.coef_.T + model.intercept_
    return y.ravel() if model._predict_1d else y


def _cut(model: PLSRegression, size: int) -> PLSRegression:
    held: dict[str, Any] = vars(model)
    kept: dict[str, Any] = {name: np.ascontiguousarray(held[name][:, :size]) for name in _BY_COMPONENT}
    kept["n_components"] = size
    kept["n_iter_"] = held["n_iter_"][:size]
    # The same expressions as in a fit: numbers, order in memory and all.
    for side in ("x", "y"):
        weights, loadings = kept[f"{side}_weights_"], kept[f"{side}_loadings_"]
        kept[f"{side}_rotations_"] = np.dot(weights, pinv(np.dot(loadings.T, weights), check_finite=False))
        kept[f"{side}_scores_"] = kept[f"_{side}_scores"]
    coefficients = np.dot(kept["x_rotations_"], kept["y_loadings_"].T)
    kept["coef_"] = (coefficients * held["_y_std"]).T / held["_x_std"]
    kept["_n_features_out"] = size
    smaller = PLSRegression.__new__(PLSRegression)
    smaller.__dict__.update({name: kept.get(name, value) for name, value in held.items()})
    return smaller
