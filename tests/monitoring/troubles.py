"""What can be wrong with a spectrum, made from spectra that are right."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def troubled(X: Values, wavelengths: Values) -> dict[str, Values]:
    """The spectra with each kind of trouble that no single one of them may be called ok with, by name."""
    random = np.random.default_rng(0)
    n, points = X.shape
    height = np.ptp(X, axis=1, keepdims=True)
    half, tenth = points // 2, points // 10
    spike = X.copy()
    spike[np.arange(n), random.integers(0, points, n)] += 0.2 * height[:, 0]
    dead, gap, step = X.copy(), X.copy(), X.copy()
    dead[:, half : half + tenth] = dead[:, half : half + 1]
    gap[:, half : half + tenth] = 0.0
    step[:, half:] += 0.2 * height
    return {
        "reflectance read as absorbance": 10.0**-X,
        "percent reflectance read as absorbance": 100 * 10.0**-X,
        "a flat line": np.repeat(X.mean(axis=1, keepdims=True), points, axis=1),
        "a flat line with noise": X.mean(axis=1, keepdims=True) + 1e-4 * random.standard_normal(X.shape),
        "a spike": spike,
        "a saturated band": np.minimum(X, X.min(axis=1, keepdims=True) + 0.8 * height),
        "swapped halves": np.hstack([X[:, half:], X[:, :half]]),
        "the wrong way round": X[:, ::-1].copy(),
        "noise": X + 0.05 * height * random.standard_normal(X.shape),
        "a dead detector": dead,
        "a gap": gap,
        "a step between two detectors": step,
        "rounded values": np.round(X / (height / 20)) * (height / 20),
    }


def shifted(X: Values, wavelengths: Values, by: float) -> Values:
    """The spectra as an instrument measures them whose wavelengths are off by so many nm, and does not know it."""
    return np.array([np.interp(wavelengths - by, wavelengths, row) for row in X])
