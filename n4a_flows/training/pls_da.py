"""PLS-DA as one estimator: what PLS finds of the classes, told apart by linear discriminant analysis."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data


class PLSDA(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier for spectra: PLS regression on one column per class, then linear discriminant analysis on its scores.

    Parameters
    ----------
    n_components
        Number of PLS components, at most that of the samples and of the points of a spectrum.
    scale
        Divide every point of the spectra by its standard deviation first.

    Attributes
    ----------
    classes_
        The classes, sorted.
    pls_, lda_
        The two parts, fitted.
    """

    def __init__(self, n_components: int = 2, scale: bool = False) -> None:
        self.n_components = n_components
        self.scale = scale

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Fit on spectra (n_samples, n_points) and a class for each, number or text."""
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"PLSDA tells classes apart, and there is only one class: {self.classes_[0]!r}.")
        self.pls_ = PLSRegression(self.n_components, scale=self.scale).fit(X, np.eye(len(self.classes_))[codes])
        self.lda_ = LinearDiscriminantAnalysis().fit(self.pls_.transform(X), codes)
        return self

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """The most likely class of each spectrum, (n_samples,)."""
        likely = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[likely])

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """How likely each class is, (n_samples, n_classes), in the order of `classes_`."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(self.lda_.predict_proba(self.pls_.transform(X)))
