"""From what the folds of a cross-validation saw of the spectra they had not been fitted on to the limits of a chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from n4a_flows.monitoring.drift import Usual
from n4a_flows.monitoring.joint import Y_EXCESS
from n4a_flows.monitoring.limits import Limits
from n4a_flows.monitoring.spaces import Look, Place, ScoreSpace, ShapeSpace

Values = npt.NDArray[np.float64]

FEWEST_SPECTRA = 10
"""With fewer calibration spectra there are no limits worth the name."""


@dataclass(frozen=True)
class Range:
    """Smallest and largest laboratory value that a model was fitted on, in units of the target."""

    low: float
    high: float

    def excess(self, y: Values) -> Values:
        """How far predictions lie outside, in widths of the range; negative inside."""
        width = max(self.high - self.low, 1e-12 * max(abs(self.high), 1e-300))
        return np.asarray(np.maximum(self.low - y, y - self.high) / width)


@dataclass(frozen=True)
class HeldOut:
    """The held-out spectra of one fold, as its fitted pipeline saw them.

    Attributes
    ----------
    look, place
        How they look, and where they lie.
    y_true, y_pred, y_range
        (n_samples,) laboratory values and predictions, and the range of the values that the fold was fitted on; None for classes.
    """

    look: Look
    place: Place
    y_true: Values | None = None
    y_pred: Values | None = None
    y_range: Range | None = None


def statistics_of(look: Look, place: Place, y_excess: Values | None) -> dict[str, Values]:
    """The statistics by which a spectrum is judged, (n_samples,) each, by name; see `Limits.calibration`."""
    found = {
        "t2": np.maximum(place.t2, 1e-300),
        "q": place.q,
        "neighbours": place.neighbours,
        "shape_t2": look.shape_t2,
        "shape_q": look.shape_q,
        "shape_peak": look.shape_peak,
        "amplitude": look.amplitude,
        Y_EXCESS: y_excess,
    }
    return {name: values for name, values in found.items() if values is not None}


def calibrate(
    held_out: Sequence[HeldOut], space: ScoreSpace, shape: ShapeSpace, usual_shape: Usual, y_range: Range | None
) -> Limits | None:
    """The limits of a chain.

    Parameters
    ----------
    held_out
        Of every fold.
    space, shape, y_range
        Of the refit, by which new spectra will be judged.
    usual_shape
        How the residuals of the shape of the held-out spectra scatter.

    Returns
    -------
    None with fewer than `FEWEST_SPECTRA` held-out spectra.
    """
    if sum(len(fold.look.amplitude) for fold in held_out) < FEWEST_SPECTRA:
        return None
    each = [
        statistics_of(
            fold.look,
            fold.place,
            None if fold.y_range is None or fold.y_pred is None else fold.y_range.excess(fold.y_pred),
        )
        for fold in held_out
    ]
    known = [name for name in each[0] if all(name in fold for fold in each)]
    calibration: Mapping[str, Values] = {name: np.concatenate([fold[name] for fold in each]) for name in known}
    predicted, residuals = None, None
    if y_range is not None:
        predicted = np.concatenate([fold.y_pred for fold in held_out if fold.y_pred is not None])
        residuals = predicted - np.concatenate([fold.y_true for fold in held_out if fold.y_true is not None])
    # Folds may have fewer components where there are fewer spectra: T² of more components than theirs would be larger than theirs.
    widths = [fold.place.scores.shape[1] for fold in held_out]
    if space.principal:
        space = space.first(max(widths))
    width = min(*widths, len(space.score_scale))
    return Limits(
        calibration=calibration,
        residuals=residuals,
        predicted=predicted,
        y_range=None if y_range is None else (y_range.low, y_range.high),
        score_scale=space.score_scale,
        neighbours=space.neighbours,
        components=(space.centre, space.rotations) if space.principal else None,
        shape=shape,
        usual_shape=usual_shape,
        usual_scores=Usual.learn(np.concatenate([fold.place.scores[:, :width] for fold in held_out])),
    )
