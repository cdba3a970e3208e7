"""What a trained pipeline's predictions will be judged by, from what its folds saw of the spectra held out from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.monitoring.calibration import HeldOut, Range, calibrate
from n4a_flows.monitoring.drift import Usual
from n4a_flows.monitoring.spaces import Look, ShapeSpace, Singles
from n4a_flows.storage.codecs import SerializedArtifact
from n4a_flows.training.fitting import Fitted, Rows

Labels = npt.NDArray[Any]


@dataclass
class RawLooks:
    """How raw spectra look, fold by fold: the same for all pipelines that are trained on the same rows.

    Attributes
    ----------
    shape
        Of the rows fitted on last, which are those of the refit.
    """

    shape: ShapeSpace | None = None
    _components: int = 0
    _residuals: list[Singles] = field(default_factory=list)

    def of(self, rows: Rows) -> Look | None:
        """How the spectra held out from a fold look; None for the refit."""
        unseen = rows.parts.get("val")
        if unseen is None:
            # With more components than the folds had, T² would be larger than theirs.
            self.shape = ShapeSpace.fit(rows.X, self._components)
            return None
        self.shape = ShapeSpace.fit(rows.X)
        self._components = max(self._components, self.shape.loadings.shape[1])
        return self.shape.look(unseen, self._residuals.append)

    @cached_property
    def usual(self) -> Usual:
        """How the residuals of the held-out spectra scatter; asked when all folds are done."""
        return Usual.learn(np.concatenate(self._residuals).astype(np.float64))


def held_out(fitted: Fitted, look: Look, rows: Rows, y_val: Labels, classify: bool) -> list[HeldOut]:
    """What one fold saw of the spectra held out from it; empty where their place is not known."""
    if fitted.place is None:
        return []
    if classify:
        return [HeldOut(look, fitted.place)]
    return [HeldOut(look, fitted.place, y_val, fitted.predicted["val"], range_of(rows.y))]


def limits_of(
    seen: Sequence[HeldOut], n_folds: int, refit: Fitted, raw: RawLooks, y_train: Labels, classify: bool
) -> SerializedArtifact | None:
    """The limits of a chain as an artifact; None where a fold saw nothing, or too few spectra were held out."""
    if refit.space is None or raw.shape is None or len(seen) < n_folds:
        return None
    limits = calibrate(seen, refit.space, raw.shape, raw.usual, None if classify else range_of(y_train))
    return None if limits is None else limits.to_artifact()


def range_of(y: Labels) -> Range:
    """The range of laboratory values."""
    return Range(float(np.min(y)), float(np.max(y)))
