"""What a chain's predictions are judged by: learned from spectra that the models had not seen, and kept with the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.monitoring.drift import Usual
from n4a_flows.monitoring.joint import Y_EXCESS, JointScale, tail_limit, upper_limit
from n4a_flows.monitoring.spaces import ScoreSpace, ShapeSpace
from n4a_flows.storage.codecs import SerializedArtifact, deserialize, serialize
from n4a_flows.storage.errors import InvalidInputError

Values = npt.NDArray[np.float64]

ARTIFACT_TYPE = "limits"

_VERSION = 1
_OUTLIERS = 0.2
_FEWEST = 19
"""Residuals from which the 95 % interval needs no assumption about their distribution."""
_SHAPE = ("mean", "deviation", "low", "high", "shape_mean", "loadings", "score_scale", "residual_scale")
# Of no consequence beyond their seventh digit, and half the size.
_SINGLE = frozenset({"loadings", "rotations", "neighbours"})


@dataclass(frozen=True)
class Limits:
    """How cross-validated calibration spectra lay, by which new spectra are judged.

    Attributes
    ----------
    calibration
        Statistic -> float64 (n_samples,): of calibration spectra by models that had not seen them. `t2`, `q`, `neighbours`,
        `shape_t2`, `shape_q`, `shape_peak`, `amplitude`, and for numbers `y_excess`: how far the prediction lies outside the
        calibrated range, in widths of that range. `q` is not there where the scores describe everything.
    residuals, predicted
        (n_samples,): cross-validated predictions less the laboratory values, and these predictions, in units of the target; None
        for classes.
    y_range
        Smallest and largest laboratory value of the calibration; None for classes.
    score_scale, neighbours
        Of the `ScoreSpace`.
    components
        Centre (n_features,) and rotations (n_features, n_components) where these are principal components; None where they are the
        model's.
    shape
        The `ShapeSpace` of the raw spectra.
    usual_shape, usual_scores
        How the residuals of the shape and the scores scatter, to tell whether a batch drifts.
    """

    calibration: Mapping[str, Values]
    residuals: Values | None
    predicted: Values | None
    y_range: tuple[float, float] | None
    score_scale: Values
    neighbours: npt.NDArray[np.float32]
    components: tuple[Values, Values] | None
    shape: ShapeSpace
    usual_shape: Usual
    usual_scores: Usual

    @cached_property
    def scale(self) -> JointScale:
        """The scales on which the statistics are judged together."""
        return JointScale.learn(self.calibration)

    @cached_property
    def joint(self) -> Values:
        """The joint statistic of the calibration spectra, (n_samples,)."""
        return np.asarray(np.max(list(self.scale.scaled(self.calibration).values()), axis=0))

    @property
    def envelope(self) -> dict[str, Values]:
        """`mean`, `low` and `high` of the raw calibration spectra, (n_points,) each, in units of the signal on the chain's axis."""
        return {"mean": self.shape.mean, "low": self.shape.low, "high": self.shape.high}

    def level(self, rate: float) -> float:
        """The joint statistic that normal spectra exceed at this rate (0 to 1)."""
        return upper_limit(self.joint, rate)

    def outlier_level(self, rate: float) -> float:
        """The joint statistic from which a spectrum is an outlier: normal ones exceed it at about a fifth of the rate (0 to 1)."""
        return max(self.level(rate), tail_limit(self.joint, rate * _OUTLIERS))

    def limit_of(self, name: str, rate: float) -> float:
        """The value of one statistic from which a spectrum is not called normal, when all are judged together at this rate."""
        return self.scale.unscaled(name, self.level(rate))

    def half_width(self, coverage: float) -> float | None:
        """Half the prediction interval that covers this share (0 to 1) of normal samples, in units of the target; None for classes.

        The conformal quantile of the absolute cross-validated residuals.
        """
        return None if self.residuals is None else upper_limit(np.abs(self.residuals), 1 - coverage)

    @property
    def interval_method(self) -> str:
        """How the prediction interval is made, in words."""
        if self.residuals is None:
            return "none: the chain predicts classes"
        how = "conformal quantile" if len(self.residuals) >= _FEWEST else "extrapolated tail"
        return f"{how} of {len(self.residuals)} absolute cross-validated residuals, the same width everywhere"

    def space(self, model: Any) -> ScoreSpace:
        """The space in which what enters the model is placed.

        Raises
        ------
        InvalidInputError
            When the scores were those of a PLS model, and this is none.
        """
        if self.components is None:
            try:
                return ScoreSpace.of_model(model, self.score_scale, self.neighbours)
            except ValueError as error:
                raise InvalidInputError(f"These limits do not belong to the chain: {error}.") from error
        centre, rotations = self.components
        return ScoreSpace(centre, np.ones_like(centre), rotations, rotations, self.score_scale, self.neighbours)

    def to_artifact(self) -> SerializedArtifact:
        """The limits as an artifact of format `npz`, which is read without unpickling; equal limits have equal bytes."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "version": np.array(_VERSION),
            "longest_run": np.array(self.shape.longest_run),
            "score_space.score_scale": self.score_scale,
            "score_space.neighbours": self.neighbours,
        }
        arrays |= {f"calibration.{name}": values for name, values in self.calibration.items()}
        arrays |= {f"shape.{name}": getattr(self.shape, name) for name in _SHAPE}
        arrays |= self.usual_shape.to_arrays("usual_shape") | self.usual_scores.to_arrays("usual_scores")
        if self.components is not None:
            arrays["score_space.centre"], arrays["score_space.rotations"] = self.components
        if self.residuals is not None and self.predicted is not None and self.y_range is not None:
            arrays |= {"residuals": self.residuals, "predicted": self.predicted, "y_range": np.array(self.y_range)}
        stored = {
            name: np.asarray(values, np.float32) if name.rpartition(".")[2] in _SINGLE else values
            for name, values in arrays.items()
        }
        return serialize(stored, f"{Limits.__module__}.{Limits.__qualname__}", ARTIFACT_TYPE, "npz")

    @classmethod
    def from_bytes(cls, data: bytes) -> Limits:
        """The limits in the bytes of an artifact.

        Raises
        ------
        ArtifactLoadError, InvalidInputError
            When the bytes hold no limits, or those of a newer n4a_flows.
        """
        arrays: Mapping[str, npt.NDArray[Any]] = deserialize(data, "npz", trust="none")
        try:
            if int(arrays["version"]) > _VERSION:
                raise InvalidInputError(
                    "The limits were made by a newer n4a_flows: install that, or train the chain here."
                )
            return cls._from(arrays)
        except (KeyError, ValueError, TypeError) as error:
            if isinstance(error, InvalidInputError):
                raise
            raise InvalidInputError(f"The bytes hold no limits of a chain: {error}.") from error

    @classmethod
    def _from(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Limits:
        calibration = {
            name.removeprefix("calibration."): np.asarray(values, np.float64)
            for name, values in arrays.items()
            if name.startswith("calibration.")
        }
        shape = {name: np.asarray(arrays[f"shape.{name}"], np.float64) for name in _SHAPE}
        numbers = Y_EXCESS in calibration
        low, high = arrays["y_range"].tolist() if numbers else (0.0, 0.0)
        components = None
        if "score_space.rotations" in arrays:
            components = arrays["score_space.centre"], np.asarray(arrays["score_space.rotations"], np.float64)
        return cls(
            calibration=calibration,
            residuals=arrays["residuals"] if numbers else None,
            predicted=arrays["predicted"] if numbers else None,
            y_range=(float(low), float(high)) if numbers else None,
            score_scale=arrays["score_space.score_scale"],
            neighbours=arrays["score_space.neighbours"],
            components=components,
            shape=ShapeSpace(**shape, longest_run=int(arrays["longest_run"])),
            usual_shape=Usual.from_arrays(arrays, "usual_shape"),
            usual_scores=Usual.from_arrays(arrays, "usual_scores"),
        )
