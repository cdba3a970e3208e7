"""What a trace holds: steps in the order they ran, each with the artifacts it left.

Every class turns into a document of plain values with `to_dict` and back with `from_dict`; a document may have been
through JSON on the way. `from_dict` fills what is absent with the defaults and leaves out what it does not know, so
that traces of older and newer writers can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.folds import fold_key_candidates, normalize_fold_key, parse_numeric_fold_key
from n4a_flows.storage.trace.step_artifacts import StepArtifacts
from n4a_flows.storage.trace.values import append_new, as_document, as_shape, as_shapes, known_values

__all__ = [
    "ExecutionStep",
    "ExecutionTrace",
    "StepArtifacts",
    "StepExecutionMode",
    "fold_key_candidates",
    "normalize_fold_key",
    "parse_numeric_fold_key",
]


class StepExecutionMode(StrEnum):
    """What was done with a step; `str()` gives the value."""

    TRAIN = "train"
    PREDICT = "predict"
    SKIP = "skip"


@dataclass
class ExecutionStep:
    """One step as it ran.

    Attributes
    ----------
    step_index
        Place in the pipeline. Steps of several branches, and the parts of a step, share it.
    operator_type, operator_class, operator_config
        What ran: its role (`transform`, `y_processing`, `splitter`, `model` ...), its class and its parameters.
    branch_path
        The branches entered, from the outermost to the innermost; empty on the trunk.
    duration_ms
        Wall-clock time in milliseconds.
    input_chain_path, output_chain_paths
        What had happened to the data before and after the step, e.g. `s1.StandardNormalVariate>s2.SavitzkyGolay`.
    source_count
        Number of data sources the step worked on.
    produces_branches
        The step only opens branches.
    substep_index
        Which part of the step this is, when one step has several.
    input_shape, output_shape
        Shape of the data matrix, (n_samples, n_points).
    input_features_shape, output_features_shape
        Per source (n_samples, n_processings, n_points).

    Raises
    ------
    InvalidInputError
        When the execution mode is unknown.
    """

    step_index: int
    operator_type: str = ""
    operator_class: str = ""
    operator_config: dict[str, Any] = field(default_factory=dict)
    execution_mode: StepExecutionMode = StepExecutionMode.TRAIN
    artifacts: StepArtifacts = field(default_factory=StepArtifacts)
    branch_path: list[int] = field(default_factory=list)
    branch_name: str = ""
    duration_ms: float = 0.0
    metadata: dict[str, Any] = field(default_factory=dict)
    input_chain_path: str = ""
    output_chain_paths: list[str] = field(default_factory=list)
    source_count: int = 1
    produces_branches: bool = False
    substep_index: int | None = None
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    input_features_shape: list[tuple[int, ...]] | None = None
    output_features_shape: list[tuple[int, ...]] | None = None

    def __post_init__(self) -> None:
        try:
            self.execution_mode = StepExecutionMode(self.execution_mode)
        except ValueError as error:
            known = ", ".join(StepExecutionMode)
            raise InvalidInputError(
                f"Unknown execution mode {self.execution_mode!r} of step {self.step_index}: use one of {known}."
            ) from error
        self.branch_path = list(self.branch_path)
        # JSON has no tuples, so a shape may come as a list.
        self.input_shape = as_shape(self.input_shape)
        self.output_shape = as_shape(self.output_shape)
        self.input_features_shape = as_shapes(self.input_features_shape)
        self.output_features_shape = as_shapes(self.output_features_shape)

    def has_artifacts(self) -> bool:
        """Whether the step left anything that was fitted."""
        return bool(self.artifacts.artifact_ids or self.artifacts.fold_artifact_ids)

    def add_output_chain(self, chain_path: str) -> None:
        """Note a chain path that leaves the step (once)."""
        append_new(self.output_chain_paths, [chain_path])

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, the execution mode as text and shapes as lists."""
        return as_document(
            self,
            execution_mode=str(self.execution_mode),
            artifacts=self.artifacts.to_dict(),
            input_shape=_as_list(self.input_shape),
            output_shape=_as_list(self.output_shape),
            input_features_shape=_as_lists(self.input_features_shape),
            output_features_shape=_as_lists(self.output_features_shape),
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ExecutionStep:
        """The step that `to_dict` wrote; `InvalidInputError` when it has no step_index or an unknown execution mode."""
        values = known_values(cls, document)
        if "step_index" not in values:
            raise InvalidInputError("A step of a trace needs a step_index.")
        if "artifacts" in values:
            values["artifacts"] = StepArtifacts.from_dict(values["artifacts"])
        return cls(**values)


@dataclass(repr=False)
class ExecutionTrace:
    """Every step of one training, in the order they ran.

    Attributes
    ----------
    trace_id
        12 hexadecimal digits, unless given.
    created_at
        ISO 8601, UTC.
    model_step_index
        Index of the step that predicts.
    fold_weights
        Number of the fold -> weight of its model in the average.
    preprocessing_chain
        The preprocessing in short, for people to read.

    Raises
    ------
    InvalidInputError
        When a fold of the weights has no number.
    """

    trace_id: str = field(default_factory=lambda: uuid4().hex[:12])
    pipeline_uid: str = ""
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    steps: list[ExecutionStep] = field(default_factory=list)
    model_step_index: int | None = None
    fold_weights: dict[int, float] | None = None
    preprocessing_chain: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fold_weights = _weights_by_number(self.fold_weights)

    def __repr__(self) -> str:
        return (
            f"ExecutionTrace(trace_id={self.trace_id!r}, pipeline_uid={self.pipeline_uid!r}, steps={len(self.steps)}, "
            f"model_step_index={self.model_step_index}, artifacts={len(self.get_artifact_ids())})"
        )

    def add_step(self, step: ExecutionStep) -> None:
        """Append a step."""
        self.steps.append(step)

    def get_step(self, step_index: int) -> ExecutionStep | None:
        """The first step with this index, or None."""
        return next((step for step in self.steps if step.step_index == step_index), None)

    def get_steps_before(self, step_index: int) -> list[ExecutionStep]:
        """The steps with a smaller index."""
        return [step for step in self.steps if step.step_index < step_index]

    def get_steps_up_to_model(self) -> list[ExecutionStep]:
        """The steps up to and including the model's index; all of them when no model is set."""
        if self.model_step_index is None:
            return list(self.steps)
        return self.get_steps_before(self.model_step_index + 1)

    def get_artifact_ids(self) -> list[str]:
        """Every artifact of every step, once each."""
        found: list[str] = []
        for step in self.steps:
            append_new(found, step.artifacts.artifact_ids)
        return found

    def get_artifacts_by_step(self, step_index: int) -> list[str]:
        """Every artifact of the steps with this index, once each."""
        found: list[str] = []
        for step in self.steps:
            if step.step_index == step_index:
                append_new(found, step.artifacts.artifact_ids)
        return found

    def get_model_artifact_id(self) -> str | None:
        """The primary artifact of the model step, or None."""
        model = self._model_step()
        return model.artifacts.primary_artifact_id if model else None

    def get_fold_artifact_ids(self) -> dict[str, str]:
        """Fold key -> artifact of the model step (a copy); empty without a model step."""
        model = self._model_step()
        return dict(model.artifacts.fold_artifact_ids) if model else {}

    def set_model_step(self, step_index: int, fold_weights: Mapping[int, float] | None = None) -> None:
        """Say which step predicts, and with which weights its fold models are averaged.

        Raises
        ------
        InvalidInputError
            When a fold of the weights has no number.
        """
        self.model_step_index = step_index
        self.fold_weights = _weights_by_number(fold_weights)

    def finalize(self, preprocessing_chain: str | None = None, metadata: Mapping[str, Any] | None = None) -> None:
        """Add the summary: the preprocessing in short, and metadata to merge."""
        if preprocessing_chain is not None:
            self.preprocessing_chain = preprocessing_chain
        self.metadata.update(metadata or {})

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, the steps as documents."""
        return as_document(self, steps=[step.to_dict() for step in self.steps])

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ExecutionTrace:
        """The trace that `to_dict` wrote; the keys of the fold weights may be text. Raises as `ExecutionStep.from_dict` does."""
        values = known_values(cls, document)
        values["steps"] = [ExecutionStep.from_dict(step) for step in values.get("steps", [])]
        return cls(**values)

    def _model_step(self) -> ExecutionStep | None:
        return None if self.model_step_index is None else self.get_step(self.model_step_index)


def _as_list(shape: tuple[int, ...] | None) -> list[int] | None:
    return None if shape is None else list(shape)


def _as_lists(shapes: list[tuple[int, ...]] | None) -> list[list[int]] | None:
    return None if shapes is None else [list(shape) for shape in shapes]


def _weights_by_number(weights: Mapping[Any, float] | None) -> dict[int, float] | None:
    if weights is None:
        return None
    numbered: dict[int, float] = {}
    for fold_id, weight in weights.items():
        number = parse_numeric_fold_key(fold_id)
        if number is None:
            raise InvalidInputError(f"Fold weights belong to numbered folds, not to {fold_id!r}.")
        numbered[number] = float(weight)
    return numbered
