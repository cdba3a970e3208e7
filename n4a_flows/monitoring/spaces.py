"""Where a spectrum lies among those of the calibration: in the scores of the model, and by its shape whatever the model is.

T², Q and the distance to the nearest neighbour are those of ASTM D6122 (Mahalanobis distance, spectral residuals, nearest neighbour
distance), measured on what enters the model. The shape is looked at before any preprocessing, for a chain's own preprocessing may
hide what is wrong with a spectrum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

_ROWS = 512
"""So many spectra at a time stay in the processor's cache."""

_MOST_COMPONENTS = 20
_SHARE = 0.9999
_MOST_NEIGHBOURS = 2000
_TINY = 1e-300


@dataclass(frozen=True)
class Place:
    """Where spectra lie in a `ScoreSpace`.

    Attributes
    ----------
    scores
        float64 (n_samples, n_components), each component with variance 1 in the calibration.
    t2
        (n_samples,): Hotelling's T², the sum of the squared scores.
    q
        (n_samples,): sum of the squared residuals of what the components do not describe; None where they describe everything.
    neighbours
        (n_samples,): distance of the scores to those of the nearest calibration spectrum.
    """

    scores: Values
    t2: Values
    q: Values | None
    neighbours: Values


@dataclass(frozen=True)
class ScoreSpace:
    """The scores of a PLS model, or the principal components of what enters a model that has none.

    Attributes
    ----------
    centre, scale
        (n_features,): what is subtracted from the features, and by what they are divided.
    rotations, loadings
        (n_features, n_components): features to scores, and scores to features.
    score_scale
        (n_components,): standard deviation of the scores of the calibration.
    neighbours
        float32 (n_kept, n_components): scores of calibration spectra, each component with variance 1; at most 2,000 of them.
    """

    centre: Values
    scale: Values
    rotations: Values
    loadings: Values
    score_scale: Values
    neighbours: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, X: Values, model: Any = None) -> ScoreSpace:
        """The space of a model fitted on X, (n_samples, n_features); principal components unless the model is a PLS."""
        centre, scale, rotations, loadings = _components_of(model) or _principal_components(X)
        scores = ((X - centre) / scale) @ rotations
        score_scale = np.maximum(scores.std(axis=0, ddof=1), _TINY)
        kept = np.unique(np.linspace(0, len(X) - 1, min(len(X), _MOST_NEIGHBOURS)).round().astype(int))
        return cls(centre, scale, rotations, loadings, score_scale, (scores[kept] / score_scale).astype(np.float32))

    @classmethod
    def of_model(cls, model: Any, score_scale: Values, neighbours: npt.NDArray[np.float32]) -> ScoreSpace:
        """The space of a loaded PLS model; `ValueError` when the model has no scores."""
        components = _components_of(model)
        if components is None:
            raise ValueError(f"{type(model).__name__} has no scores")
        return cls(*components, score_scale, neighbours)

    @property
    def principal(self) -> bool:
        """Whether these are principal components, which no model keeps."""
        return self.rotations is self.loadings

    def place(self, X: Values) -> Place:
        """Where spectra lie, as they enter the model: (n_samples, n_features)."""
        cross = self.loadings.T @ self.loadings
        complete = self.rotations.shape[1] >= self.rotations.shape[0]
        scores, q = [], []
        for rows in _blocks(X):
            centred = (rows - self.centre) / self.scale
            raw = centred @ self.rotations
            if not complete:
                # |x - P t|² without forming the residuals.
                described = np.einsum("ij,ij->i", raw, 2 * (centred @ self.loadings) - raw @ cross)
                q.append(np.einsum("ij,ij->i", centred, centred) - described)
            scores.append(raw / self.score_scale)
        t = np.concatenate(scores)
        return Place(
            t,
            np.einsum("ij,ij->i", t, t),
            None if complete else np.maximum(np.concatenate(q), _TINY),
            self._nearest(t),
        )

    def _nearest(self, scores: Values) -> Values:
        known = self.neighbours.astype(np.float64)
        squares = np.einsum("ij,ij->i", known, known)
        nearest = [np.min(squares - 2 * (rows @ known.T), axis=1) for rows in _blocks(scores)]
        own = np.einsum("ij,ij->i", scores, scores)
        return np.asarray(np.sqrt(np.maximum(np.concatenate(nearest) + own, 1e-12)))


@dataclass(frozen=True)
class Look:
    """How spectra look in a `ShapeSpace`.

    Attributes
    ----------
    amplitude
        (n_samples,): largest distance of a point from the mean calibration spectrum, in standard deviations of that point.
    shape_t2, shape_q
        (n_samples,): T² and Q of the shape.
    shape_peak
        (n_samples,): largest residual of a single difference, in root mean squares of the calibration's residuals there.
    peak_at, amplitude_at
        int64 (n_samples,): the point where that is.
    residuals
        (n_samples, n_points - 1): residuals of the shape, each difference with root mean square 1 in the calibration.
    """

    amplitude: Values
    shape_t2: Values
    shape_q: Values
    shape_peak: Values
    peak_at: npt.NDArray[np.int64]
    amplitude_at: npt.NDArray[np.int64]
    residuals: Values


@dataclass(frozen=True)
class ShapeSpace:
    """Principal components of the shape of raw spectra: differences of neighbouring points over the spectrum's standard deviation.

    Attributes
    ----------
    mean, deviation, low, high
        (n_points,): mean, standard deviation, smallest and largest value of the calibration spectra, in units of the signal.
    shape_mean, loadings, score_scale
        (n_points - 1,), (n_points - 1, n_components), (n_components,): of the shape.
    residual_scale
        (n_points - 1,): root mean square of the residuals.
    longest_run
        Largest number of neighbouring points with the same value in a calibration spectrum.
    """

    mean: Values
    deviation: Values
    low: Values
    high: Values
    shape_mean: Values
    loadings: Values
    score_scale: Values
    residual_scale: Values
    longest_run: int

    @classmethod
    def fit(cls, X: Values) -> ShapeSpace:
        """The space of raw calibration spectra, (n_samples, n_points)."""
        shapes = _shapes(X)
        shape_mean, _, loadings, _ = _principal_components(shapes)
        centred = shapes - shape_mean
        scores = centred @ loadings
        residuals = centred - scores @ loadings.T
        deviation = X.std(axis=0, ddof=1)
        scale = np.sqrt(np.mean(residuals**2, axis=0))
        return cls(
            X.mean(axis=0),
            _floored(deviation),
            X.min(axis=0),
            X.max(axis=0),
            shape_mean,
            loadings,
            np.maximum(scores.std(axis=0, ddof=1), _TINY),
            _floored(scale),
            int(longest_runs(X).max()),
        )

    def look(self, X: Values) -> Look:
        """How raw spectra look, (n_samples, n_points)."""
        parts = [self._look(rows) for rows in _blocks(X)]
        return Look(*(np.concatenate([getattr(part, name) for part in parts]) for name in Look.__dataclass_fields__))

    def _look(self, X: Values) -> Look:
        far = np.abs(X - self.mean)
        far /= self.deviation
        centred = _shapes(X)
        centred -= self.shape_mean
        scores = centred @ self.loadings
        centred -= scores @ self.loadings.T
        shape_q = np.einsum("ij,ij->i", centred, centred)
        centred /= self.residual_scale
        amplitude_at, peak_at = far.argmax(axis=1), np.abs(centred).argmax(axis=1)
        each = np.arange(len(X))
        scores /= self.score_scale
        return Look(
            np.maximum(far[each, amplitude_at], _TINY),
            np.maximum(np.einsum("ij,ij->i", scores, scores), _TINY),
            np.maximum(shape_q, _TINY),
            np.maximum(np.abs(centred[each, peak_at]), _TINY),
            peak_at,
            amplitude_at,
            centred,
        )


def longest_runs(X: Values) -> npt.NDArray[np.int64]:
    """Number of points in the longest stretch of equal values of each spectrum, (n_samples,); 1 where no neighbours are equal."""
    runs = np.ones(len(X), dtype=np.int64)
    for start, rows in zip(range(0, len(X), _ROWS), _blocks(X), strict=True):
        equal = rows[:, 1:] == rows[:, :-1]
        for row in np.flatnonzero(equal.any(axis=1)):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], equal[row].astype(np.int8), [0]])))
            runs[start + row] = int(np.max(edges[1::2] - edges[::2])) + 1
    return runs


def _shapes(X: Values) -> Values:
    spread = X.std(axis=1, keepdims=True)
    shapes: Values = np.diff(X, axis=1)
    shapes /= np.where(spread > 0, spread, 1.0)
    return shapes


def has_scores(model: Any) -> bool:
    """Whether a fitted model has scores of its own: a PLS of scikit-learn."""
    return _components_of(model) is not None


def _components_of(model: Any) -> tuple[Values, Values, Values, Values] | None:
    """Centre, scale, rotations and loadings of a PLS of scikit-learn; None for another model."""
    names = ("_x_mean", "_x_std", "x_rotations_", "x_loadings_")
    found = [getattr(model, name, None) for name in names]
    if any(value is None for value in found):
        return None
    centre, scale, rotations, loadings = (np.asarray(value, dtype=np.float64) for value in found)
    return centre, scale, rotations, loadings


def _principal_components(X: Values) -> tuple[Values, Values, Values, Values]:
    """The components that describe 99.99 % of the variance; at most 20, and one for five spectra."""
    centre = X.mean(axis=0)
    centred = X - centre
    wide = X.shape[1] > len(X)
    # Of the smaller of the two matrices of products, which have the same eigenvalues.
    values, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    total = values.sum()
    enough = 1 if total <= 0 else int(np.searchsorted(np.cumsum(values) / total, _SHARE)) + 1
    rank = max(1, int(np.sum(values > values[0] * 1e-12)))
    kept = max(1, min(enough, rank, _MOST_COMPONENTS, len(X) // 5))
    loadings = vectors[:, :kept]
    if wide:
        loadings = centred.T @ loadings / np.sqrt(np.maximum(values[:kept], _TINY))
    return centre, np.ones(X.shape[1]), loadings, loadings


def _floored(scale: Values) -> Values:
    """Scales without zeros: a point that never varied may vary by a thousandth of the others."""
    typical = float(np.median(scale[scale > 0])) if np.any(scale > 0) else 1.0
    return np.maximum(scale, 1e-3 * typical)


def _blocks(X: Values) -> Iterator[Values]:
    for start in range(0, len(X), _ROWS):
        yield X[start : start + _ROWS]
