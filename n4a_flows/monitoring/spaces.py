"""Where a spectrum lies among those of the calibration: in the scores of the model, and by its shape whatever the model is.

T², Q and the distance to the nearest neighbour are those of ASTM D6122 (Mahalanobis distance, spectral residuals, nearest neighbour
distance), measured on what enters the model. The shape is looked at before any preprocessing, for a chain's own preprocessing may
hide what is wrong with a spectrum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
"""What is only looked at needs seven digits, and is then twice as fast."""

_ROWS = 128
"""So many spectra at a time stay in the processor's cache."""

_ONE_THREAD = 200_000
"""Multiplications of a matrix product that OpenBLAS does not divide among threads (its limit is 262,144)."""

_MOST_COMPONENTS = 20
_SHARE = 0.9999
_MOST_NEIGHBOURS = 1000
_TINY = 1e-30
_NO_DISTANCE = 1e-6
_FURTHEST = 1e12
"""What lies further off, such as the -3.4e38 that stands for no value, is not calculated with: squares must stay finite."""


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
        float32 (n_kept, n_components): scores of calibration spectra, each component with variance 1; at most 1,000 of them.
    """

    centre: Values
    scale: Values
    rotations: Values
    loadings: Values
    score_scale: Values
    neighbours: Singles

    @classmethod
    def fit(cls, X: Values, model: Any = None) -> ScoreSpace:
        """The space of a model fitted on X, (n_samples, n_features); principal components unless the model is a PLS."""
        known = _components_of(model)
        centre, scale, rotations, loadings = known or _principal_components(X)
        # A PLS has kept the scores of what it was fitted on.
        scores = ((X - centre) / scale) @ rotations if known is None else np.asarray(model.x_scores_)
        score_scale = np.maximum(scores.std(axis=0, ddof=1), _TINY)
        kept = np.unique(np.linspace(0, len(X) - 1, min(len(X), _MOST_NEIGHBOURS)).round().astype(int))
        return cls(centre, scale, rotations, loadings, score_scale, (scores[kept] / score_scale).astype(np.float32))

    @classmethod
    def of_model(cls, model: Any, score_scale: Values, neighbours: Singles) -> ScoreSpace:
        """The space of a loaded PLS model; `ValueError` when the model has no scores."""
        components = _components_of(model)
        if components is None:
            raise ValueError(f"{type(model).__name__} has no scores")
        return cls(*components, score_scale, neighbours)

    def first(self, most: int) -> ScoreSpace:
        """This space with the first components only, so many at most."""
        loadings = self.loadings[:, :most]
        rotations = loadings if self.principal else self.rotations[:, :most]
        return replace(
            self,
            rotations=rotations,
            loadings=loadings,
            score_scale=self.score_scale[:most],
            neighbours=self.neighbours[:, :most],
        )

    @property
    def principal(self) -> bool:
        """Whether these are principal components, which no model keeps."""
        return self.rotations is self.loadings

    def place(self, X: Values) -> Place:
        """Where spectra lie, as they enter the model: (n_samples, n_features)."""
        complete = self.rotations.shape[1] >= self.rotations.shape[0]
        scaled, scale = np.any(self.scale != 1), (1 / self.scale).astype(np.float32)
        rotations, described = (
            (self.rotations / self.scale[:, None]).astype(np.float32),
            np.ascontiguousarray(self.loadings.T.astype(np.float32)),
        )
        # |a - b|² = |a|² + |b|² - 2 ab: the last two by one product of (t, 1) with these.
        known = np.vstack([-2 * self.neighbours.T, np.einsum("ij,ij->i", self.neighbours, self.neighbours)])
        score_scale = self.score_scale.astype(np.float32)
        scores, q, neighbours = [], [], []
        for rows in _blocks(X):
            centred = _less(rows, self.centre)
            raw = _times(centred, rotations)
            if not complete:
                if scaled:
                    centred *= scale
                centred -= _times(raw, described)
                q.append(np.einsum("ij,ij->i", centred, centred))
            t = raw / score_scale
            scores.append(t)
            to_all = _times(np.column_stack([t, np.ones(len(t), np.float32)]), known)
            neighbours.append(to_all.min(axis=1) + np.einsum("ij,ij->i", t, t))
        all_scores = np.concatenate(scores).astype(np.float64)
        return Place(
            all_scores,
            np.maximum(np.einsum("ij,ij->i", all_scores, all_scores), _TINY),
            None if complete else np.maximum(np.concatenate(q).astype(np.float64), _TINY),
            np.sqrt(np.maximum(np.concatenate(neighbours).astype(np.float64), _NO_DISTANCE)),
        )


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
    runs
        int64 (n_samples,): number of points in the longest stretch of equal values.
    """

    amplitude: Values
    shape_t2: Values
    shape_q: Values
    shape_peak: Values
    runs: npt.NDArray[np.int64]


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
    def fit(cls, X: Values, most: int = _MOST_COMPONENTS) -> ShapeSpace:
        """The space of raw calibration spectra, (n_samples, n_points), with at most so many components."""
        X = _bounded(X)
        shapes = _shapes(X).astype(np.float64)
        shape_mean, _, loadings, _ = _principal_components(shapes, most)
        centred = shapes - shape_mean
        scores = centred @ loadings
        residuals = centred - scores @ loadings.T
        return cls(
            X.mean(axis=0),
            _floored(X.std(axis=0, ddof=1)),
            X.min(axis=0),
            X.max(axis=0),
            shape_mean,
            loadings,
            np.maximum(scores.std(axis=0, ddof=1), _TINY),
            _floored(np.sqrt(np.mean(residuals**2, axis=0))),
            int(_longest_runs(shapes).max()),
        )

    def look(self, X: Values, tell: Callable[[Singles], None]) -> Look:
        """How raw spectra look, (n_samples, n_points).

        Parameters
        ----------
        tell
            Is given the residuals of the shape, a block of rows after the other: (n_rows, n_points - 1), each difference with root
            mean square 1 in the calibration.
        """
        parts = []
        deviation = (1 / self.deviation).astype(np.float32)
        residual = (1 / self.residual_scale).astype(np.float32)
        shape_mean, loadings = self.shape_mean.astype(np.float32), self.loadings.astype(np.float32)
        described = np.ascontiguousarray(loadings.T)
        for rows in _blocks(X):
            far = _less(rows, self.mean)
            far *= deviation
            shapes = _shapes(rows)
            runs = _longest_runs(shapes)
            shapes -= shape_mean
            scores = _times(shapes, loadings)
            shapes -= _times(scores, described)
            shape_q = np.einsum("ij,ij->i", shapes, shapes)
            shapes *= residual
            scores /= self.score_scale.astype(np.float32)
            tell(shapes)
            parts.append((_furthest(far), np.einsum("ij,ij->i", scores, scores), shape_q, _furthest(shapes), runs))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        amplitude, shape_t2, shape_q, shape_peak = (np.maximum(one.astype(np.float64), _TINY) for one in columns[:4])
        return Look(amplitude, shape_t2, shape_q, shape_peak, columns[4])

    def where(self, X: Values) -> tuple[list[int], list[int]]:
        """The points of each of some spectra, (n_samples, n_points), where shape and value are furthest from the calibration."""
        X = _bounded(X)
        shapes = _shapes(X) - self.shape_mean
        shapes -= (shapes @ self.loadings) @ self.loadings.T
        return (
            np.argmax(np.abs(shapes / self.residual_scale), axis=1).tolist(),
            np.argmax(np.abs((X - self.mean) / self.deviation), axis=1).tolist(),
        )


def _shapes(X: Values) -> Singles:
    """Differences of neighbouring points over the standard deviation of the spectrum; 0 where the points are equal."""
    n = X.shape[1]
    shapes = _less(X[:, 1:], X[:, :-1])
    means = X.sum(axis=1) / n
    # Rounding leaves something where a spectrum is constant.
    spread = np.sqrt(np.maximum(np.einsum("ij,ij->i", X, X) / n - means**2, 1e-12 * means**2))
    shapes *= (1 / np.where(spread > 0, spread, 1.0)).astype(np.float32)[:, None]
    return shapes


def _less(rows: Values, others: Values) -> Singles:
    """The differences, taken in double precision."""
    return (rows - others).astype(np.float32)


def _times(rows: Singles, matrix: Singles) -> Singles:
    """The matrix product in strips, each so small that it stays in one thread: where all cores are busy, the threads of a bigger
    product wait for each other (measured: a hundred times as long).
    """
    strip = int(np.clip(_ONE_THREAD // max(matrix.size, 1), 1, len(rows)))
    whole = len(rows) // strip * strip
    product = np.empty((len(rows), matrix.shape[1]), np.float32)
    strips = rows[:whole].reshape(-1, strip, rows.shape[1])
    np.matmul(strips, matrix, out=product[:whole].reshape(-1, strip, matrix.shape[1]))
    np.matmul(rows[whole:], matrix, out=product[whole:])
    return product


def _furthest(rows: Singles) -> Singles:
    return np.asarray(np.maximum(rows.max(axis=1), -rows.min(axis=1)))


def _longest_runs(differences: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Number of points in the longest stretch whose differences are 0; 1 where none are."""
    runs = np.ones(len(differences), dtype=np.int64)
    equal = differences == 0
    for row in np.flatnonzero(equal.any(axis=1)) if equal.any() else ():
        edges = np.flatnonzero(np.diff(np.concatenate([[0], equal[row].astype(np.int8), [0]])))
        runs[row] = int(np.max(edges[1::2] - edges[::2])) + 1
    return runs


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


def _principal_components(X: Values, most: int = _MOST_COMPONENTS) -> tuple[Values, Values, Values, Values]:
    """The components that describe 99.99 % of the variance; at most 20 (or `most`), and one for five spectra."""
    centre = X.mean(axis=0)
    centred = X - centre
    wide = X.shape[1] > len(X)
    # Of the smaller of the two matrices of products, which have the same eigenvalues.
    values, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    total = values.sum()
    enough = 1 if total <= 0 else int(np.searchsorted(np.cumsum(values) / total, _SHARE)) + 1
    rank = max(1, int(np.sum(values > values[0] * 1e-12)))
    kept = max(1, min(enough, rank, most, len(X) // 5))
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
        yield _bounded(X[start : start + _ROWS])


def _bounded(X: Values) -> Values:
    far = X.size > 0 and max(X.max(), -X.min()) > _FURTHEST
    return np.clip(X, -_FURTHEST, _FURTHEST) if far else X
