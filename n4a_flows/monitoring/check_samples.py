"""Check samples: samples with known values that tell whether a batch may be released."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Predicted = tuple[str, float | None, float | None, float | None]
"""Sample id, prediction and the ends of its interval in units of the target; None where there is none."""


@dataclass(frozen=True)
class CheckedSample:
    """What became of a check sample.

    Attributes
    ----------
    sample_id
        Its name.
    known, predicted
        Its known value, and the predicted one (None where there is none), in units of the target.
    allowed
        Where the prediction may lie; None where there is no prediction.
    reason
        Why it stands against a release, in words; None when it does not.
    """

    sample_id: str
    known: float
    predicted: float | None
    allowed: tuple[float, float] | None
    reason: str | None

    @property
    def passed(self) -> bool:
        """Whether the batch may be released, as far as this sample goes."""
        return self.reason is None


def checked_samples(
    known: Mapping[str, float], predicted: Iterable[Predicted], tolerance: float | None = None
) -> list[CheckedSample]:
    """Compare check samples with what was predicted for them: each must be there, and each of its spectra must be right.

    Parameters
    ----------
    known
        Known value by sample id.
    predicted
        The predictions of the batch; those of other samples are passed over.
    tolerance
        How far a prediction may lie from the known value, in units of the target; None: its prediction interval must hold the
        known value.

    Examples
    --------
    >>> from n4a_flows.monitoring import checked_samples
    >>> passed, failed = checked_samples({"QC1": 12.0, "QC2": 30.0}, [("QC1", 12.4, 11.2, 13.6), ("a", 9.0, 7.8, 10.2)])
    >>> passed.allowed
    (10.8, 13.2)
    >>> failed.reason
    'check sample QC2 is not in the batch'
    """
    spectra: dict[str, list[Predicted]] = {sample_id: [] for sample_id in known}
    for each in predicted:
        if each[0] in spectra:
            spectra[each[0]].append(each)
    return [
        checked
        for sample_id, value in known.items()
        for checked in (
            [_checked(value, each, tolerance) for each in spectra[sample_id]]
            or [CheckedSample(sample_id, value, None, None, f"check sample {sample_id} is not in the batch")]
        )
    ]


def _checked(known: float, predicted: Predicted, tolerance: float | None) -> CheckedSample:
    sample_id, y, lower, upper = predicted
    if y is None or not math.isfinite(y):
        return CheckedSample(sample_id, known, None, None, f"check sample {sample_id} could not be predicted")
    if tolerance is not None:
        below = above = tolerance
    elif lower is None or upper is None:
        return CheckedSample(sample_id, known, y, None, f"check sample {sample_id} has no prediction interval")
    else:
        below, above = upper - y, y - lower
    allowed = _rounded(known - below), _rounded(known + above)
    if allowed[0] <= y <= allowed[1]:
        return CheckedSample(sample_id, known, y, allowed, None)
    reason = (
        f"check sample {sample_id}: {y:.5g} was predicted, {allowed[0]:.5g} to {allowed[1]:.5g} is allowed "
        f"(its known value is {known:.5g})"
    )
    return CheckedSample(sample_id, known, y, allowed, reason)


def _rounded(value: float) -> float:
    """Without the noise of the last bits, which is no reason to hold a batch back."""
    return float(f"{value:.12g}")
