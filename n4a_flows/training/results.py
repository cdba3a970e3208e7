"""What training gives and recording takes: plain, picklable, without a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.monitoring.agreement import Scores
from n4a_flows.storage.axis import Axis
from n4a_flows.storage.codecs import SerializedArtifact
from n4a_flows.training.definition import PlannedPipeline
from n4a_flows.training.metrics import Metric

Values = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]


@dataclass(frozen=True)
class FoldPrediction:
    """Predictions of one fitted model for one partition.

    Attributes
    ----------
    fold_id
        `fold_0` ... for cross-validation, `final` for the refit on all training rows.
    partition
        `train`, `val` or `test`.
    y_true, y_pred
        (n_samples,): float64 in the unit of the target, or labels.
    sample_indices
        int64 (n_samples,): rows of the dataset.
    scores
        Every score of this model by partition: `{"train": {"rmse": ...}, "val": ..., "test": ...}`.
    y_proba, classes
        float64 (n_samples, n_classes) and the labels of its columns; None and empty where there are no probabilities.
    """

    fold_id: str
    partition: str
    y_true: Labels
    y_pred: Labels
    sample_indices: npt.NDArray[np.int64]
    scores: dict[str, Scores]
    y_proba: Values | None = None
    classes: tuple[str, ...] = ()

    @property
    def refit_context(self) -> str | None:
        """`standalone` for the refit, None in cross-validation."""
        return "standalone" if self.fold_id == "final" else None


@dataclass(frozen=True)
class ChainDraft:
    """A chain document in which content hashes stand for the artifact ids that recording will give.

    Attributes
    ----------
    steps, model_step_idx, model_class, preprocessings, fold_artifacts, shared_artifacts
        As `WorkspaceStore.save_chain` takes them.
    """

    steps: list[dict[str, Any]]
    model_step_idx: int
    model_class: str
    preprocessings: str
    fold_artifacts: dict[str, str]
    shared_artifacts: dict[str, list[str]]


@dataclass(frozen=True)
class LogEntry:
    """One line of a pipeline's log; step 0 is the pipeline as a whole.

    Attributes
    ----------
    step_idx, operator_class, event, duration_ms, message, details, level
        As `WorkspaceStore.log_step` takes them.
    """

    step_idx: int
    operator_class: str
    event: str
    duration_ms: int | None = None
    message: str | None = None
    details: dict[str, Any] | None = None
    level: str = "info"


@dataclass(frozen=True)
class TrainedPipeline:
    """A pipeline after training, or after failing.

    Attributes
    ----------
    dataset_digest, axis, signal
        Of the spectra; see `Spectra`.
    duration_ms
        What training took, in milliseconds.
    x_range
        Smallest and largest value of the training spectra, in units of the signal.
    pooled
        Every score of all out-of-fold predictions together.
    best_val
        Score of all out-of-fold predictions together, in units of the metric.
    best_test
        Score of the refit on the test set, in units of the metric; None without one.
    n_rows
        Number of rows of the dataset.
    left_out, unused
        Number of rows without a value of the target, and of those that the split column marks for neither side; they neither train
        nor are scored.
    artifacts
        The fitted objects as bytes, by content hash.
    probe
        Content hash of the artifact with a few training spectra and what the chain predicts for them; None for a failed pipeline.
    limits
        Content hash of the artifact with the limits by which predictions are judged (see `Limits`); None where there are too few
        spectra for limits.
    unit
        Unit of the target, where it was told.
    error
        Why it failed, naming the step and the fold; None when it did not. A failed pipeline has no predictions and no chain.
    """

    planned: PlannedPipeline
    target: str
    dataset_name: str
    dataset_digest: str
    metric: Metric
    axis: Axis
    signal: str | None
    duration_ms: int
    x_range: tuple[float, float] | None = None
    left_out: int = 0
    unused: int = 0
    n_rows: int = 0
    predictions: list[FoldPrediction] = field(default_factory=list)
    chain: ChainDraft | None = None
    artifacts: dict[str, SerializedArtifact] = field(default_factory=dict)
    log: list[LogEntry] = field(default_factory=list)
    pooled: Scores = field(default_factory=dict)
    best_val: float | None = None
    best_test: float | None = None
    probe: str | None = None
    limits: str | None = None
    unit: str | None = None
    error: str | None = None
