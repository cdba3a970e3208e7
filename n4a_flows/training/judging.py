"""What a trained pipeline's predictions will be judged by, from what its folds saw of the spectra held out from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.monitoring.calibration import HeldOut, Range, calibrate
from n4a_flows.monitoring.spaces import Look, ShapeSpace
from n4a_flows.storage.codecs import SerializedArtifact
from n4a_flows.training.fitting import Fitted

Labels = npt.NDArray[Any]


def held_out(fitted: Fitted, look: Look, y_train: Labels, y_val: Labels, classify: bool) -> list[HeldOut]:
    """What one fold saw of the spectra held out from it; empty where their place is not known."""
    if fitted.place is None:
        return []
    if classify:
        return [HeldOut(look, fitted.place)]
    return [HeldOut(look, fitted.place, y_val, fitted.predicted["val"], range_of(y_train))]


def limits_of(
    seen: Sequence[HeldOut], n_folds: int, refit: Fitted, shape: ShapeSpace, y_train: Labels, classify: bool
) -> SerializedArtifact | None:
    """The limits of a chain as an artifact; None where a fold saw nothing, or too few spectra were held out."""
    if refit.space is None or len(seen) < n_folds:
        return None
    limits = calibrate(seen, refit.space, shape, None if classify else range_of(y_train))
    return None if limits is None else limits.to_artifact()


def range_of(y: Labels) -> Range:
    """The range of laboratory values."""
    return Range(float(np.min(y)), float(np.max(y)))
