"""Whether the mean of a batch lies where means of normal batches lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Sums over rows of vectors; those of two batches can be added.

    Attributes
    ----------
    n
        Number of rows.
    total
        (n_features,): sum of the rows.
    squares
        Sum of their squared lengths.
    """

    n: int
    total: Values
    squares: float

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.n + other.n, self.total + other.total, self.squares + other.squares)


@dataclass(frozen=True)
class Drift:
    """How far the mean of a batch lies from the usual mean.

    Attributes
    ----------
    size
        Squared distance of the means, as a share of the variance of single spectra.
    p
        Probability of a distance that large or larger in a normal batch.
    count
        As how many independent samples the spectra of the batch count: fewer than they are when they are more alike than different
        samples are, such as replicates.
    """

    size: float
    p: float
    count: float


@dataclass(frozen=True)
class Usual:
    """How vectors of normal spectra scatter.

    Attributes
    ----------
    n
        Number of the spectra.
    most
        Longer vectors count with this length, so that a single odd spectrum makes no drift.
    mean
        (n_features,): their mean.
    variance, squared
        Sum of the eigenvalues of their covariance, and of the squared eigenvalues.
    scatter
        Variance of their squared distances from the mean: more than twice `squared` where some spectra scatter more than others.
    """

    n: int
    most: float
    mean: Values
    variance: float
    squared: float
    scatter: float

    @classmethod
    def learn(cls, rows: Values) -> Usual:
        """How these (n, n_features) scatter."""
        lengths = np.linalg.norm(rows, axis=1)
        most = float(np.quantile(lengths, 0.95))
        shortened = rows * np.minimum(1.0, most / np.maximum(lengths, 1e-30))[:, None]
        mean = shortened.mean(axis=0)
        centred = shortened - mean
        products = centred @ centred.T if centred.shape[0] < centred.shape[1] else centred.T @ centred
        scale = max(len(rows) - 1, 1)
        return cls(
            len(rows),
            most,
            mean,
            variance=float(np.trace(products)) / scale,
            squared=float(np.sum(products**2)) / scale**2,
            scatter=float(np.var(np.einsum("ij,ij->i", centred, centred))),
        )

    def sums(self, rows: npt.NDArray[np.floating[Any]]) -> Sums:
        """The sums of a batch (n, n_features) that `drift` takes."""
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        weights = (self.most / np.maximum(lengths, max(self.most, 1e-30))).astype(rows.dtype)
        squares = np.minimum(lengths, self.most).astype(np.float64) ** 2
        return Sums(len(rows), np.einsum("i,ij->j", weights, rows).astype(np.float64), float(squares.sum()))

    def drift(self, batch: Sums) -> Drift:
        """How far the mean of a batch lies from the usual one.

        The squared distance follows a weighted sum of chi-squares, for which one scaled chi-square with the same mean and variance
        stands (Satterthwaite 1946). The mean of a few spectra is not yet normal: its variance has what single ones scatter more.
        """
        mean = batch.total / batch.n
        within = max(batch.squares - batch.n * float(mean @ mean), 0.0) / max(batch.n - 1, 1)
        count = min(max(batch.n * within / self.variance, 1.0), batch.n) if self.variance > 0 else 1.0
        size = float(np.sum((mean - self.mean) ** 2)) / max(self.variance, 1e-300)
        usual = 1 / count + 1 / self.n
        variance = 2 * self.squared * usual**2 + max(self.scatter - 2 * self.squared, 0.0) / count**3
        degrees = 2 * (self.variance * usual) ** 2 / max(variance, 1e-300)
        p = float(stats.chi2.sf(size / usual * degrees, degrees))
        return Drift(size, p, count)

    def to_arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """For an `npz`."""
        return {
            f"{prefix}.mean": self.mean,
            f"{prefix}.numbers": np.array(
                [self.n, self.most, self.variance, self.squared, self.scatter], dtype=np.float64
            ),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> Usual:
        """What `to_arrays` made."""
        n, most, variance, squared, scatter = arrays[f"{prefix}.numbers"].tolist()
        return cls(int(n), most, arrays[f"{prefix}.mean"], variance, squared, scatter)
