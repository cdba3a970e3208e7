"""Probes: a few training spectra kept with a chain, and what the chain predicted for them when it was trained.

Replaying the probe tells whether a chain still predicts what it did: after years, in another process, with other package versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.storage.codecs import SerializedArtifact, deserialize, serialize
from n4a_flows.storage.errors import InvalidInputError, N4AError
from n4a_flows.storage.predictor import Predictor

TOLERANCE = 1e-6
"""Largest difference to the recorded predictions, as a share of the largest of them, that another machine may cause."""

ARTIFACT_TYPE = "probe"


@dataclass(frozen=True)
class Probe:
    """Spectra and what a chain predicted for them.

    Attributes
    ----------
    X
        float64 (n_samples, n_points), on the chain's axis.
    y
        (n_samples,) predictions in units of the target, or class labels.
    """

    X: npt.NDArray[np.float64]
    y: npt.NDArray[Any]

    def to_artifact(self) -> SerializedArtifact:
        """The probe as an artifact of format `npz`, which is read without unpickling; equal probes have equal bytes.

        Raises
        ------
        InvalidInputError
            When there is not one prediction for each spectrum.
        """
        X, y = np.asarray(self.X, dtype=np.float64), np.asarray(self.y)
        if X.ndim != 2 or not len(X) or len(y) != len(X):
            raise InvalidInputError(
                f"A probe needs spectra and a prediction for each, not arrays of {X.shape} and {y.shape}."
            )
        if y.dtype.kind == "O":
            y = y.astype(str)
        return serialize({"X": X, "y": y}, f"{Probe.__module__}.{Probe.__qualname__}", ARTIFACT_TYPE, "npz")

    @classmethod
    def from_bytes(cls, data: bytes) -> Probe:
        """The probe in the bytes of an artifact.

        Raises
        ------
        ArtifactLoadError, InvalidInputError
            When the bytes hold no probe.
        """
        arrays: Mapping[str, Any] = deserialize(data, "npz", trust="none")
        if set(arrays) != {"X", "y"}:
            raise InvalidInputError(f"A probe holds X and y, not {', '.join(sorted(arrays))}.")
        probe = cls(arrays["X"], arrays["y"])
        probe.to_artifact()
        return probe


@dataclass(frozen=True)
class ProbeReport:
    """How the replay of a probe compares with what was recorded.

    Attributes
    ----------
    chain_id
        The chain.
    agrees
        Whether labels are equal, or numbers differ by at most `TOLERANCE` of the largest one.
    difference
        Largest difference of a number, in units of the target; None for labels, and when the chain could not be replayed.
    problem
        What is wrong, in words; None when it agrees.
    """

    chain_id: str
    agrees: bool
    difference: float | None
    problem: str | None


def replay(predictor: Predictor, probe: Probe) -> ProbeReport:
    """Predict the spectra of a probe and compare; a chain that cannot be replayed is reported, not raised."""
    chain_id = predictor.chain_id
    try:
        replayed = predictor.predict(probe.X, predictor.axis)
    # Operators are anybody's classes: whatever they raise says that the chain does not predict any more.
    except Exception as error:  # noqa: BLE001
        said = str(error) if isinstance(error, N4AError) else f"{type(error).__name__}: {error}"
        return ProbeReport(chain_id, False, None, f"It cannot be replayed: {said}")
    if replayed.shape != probe.y.shape:
        return ProbeReport(
            chain_id, False, None, f"It predicts an array of {replayed.shape}, recorded was {probe.y.shape}."
        )
    if probe.y.dtype.kind not in "fiub":
        wrong = int(np.sum(replayed.astype(str) != probe.y.astype(str)))
        problem = f"{wrong} of {len(probe.y)} labels differ from those recorded." if wrong else None
        return ProbeReport(chain_id, not wrong, None, problem)
    expected = probe.y.astype(np.float64)
    difference = float(np.max(np.abs(replayed.astype(np.float64) - expected)))
    if difference <= TOLERANCE * float(np.max(np.abs(expected))):
        return ProbeReport(chain_id, True, difference, None)
    return ProbeReport(
        chain_id, False, difference, f"Predictions of the probe differ from those recorded by up to {difference:.6g}."
    )
