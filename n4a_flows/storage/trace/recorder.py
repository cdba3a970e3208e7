"""Recording a trace while a pipeline is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from n4a_flows.storage.errors import TraceError
from n4a_flows.storage.trace.execution_trace import ExecutionStep, ExecutionTrace, StepExecutionMode
from n4a_flows.storage.trace.values import as_shape, as_shapes


@dataclass
class _OpenStep:
    step: ExecutionStep
    depth: int  # branches entered when the step started
    place: int  # its place in the trace: a step stands before those recorded inside it
    started: float


class TraceRecorder:
    """Build an `ExecutionTrace` step by step.

    A step ends with `end_step`, or when the next one starts. A step that produces branches stays open while the steps
    of its branches are recorded. Steps are kept in the order they started. One recorder serves one thread.

    Every step gets a chain path, which says what has happened to the data: `s{step}.{Class}` of each step so far,
    joined by `>`, with the branch, source and part in brackets where there are any:
    `s1.MinMaxScaler>s3.SNV[br=0.1,src=0,sub=2]`. A step that only opens branches, or is skipped, changes no data and
    adds nothing.

    Parameters
    ----------
    pipeline_uid, pipeline_id
        Which pipeline this is; the id is kept in the trace's metadata.
    metadata
        Anything worth keeping with the trace.
    """

    def __init__(
        self, pipeline_uid: str = "", pipeline_id: str = "", metadata: Mapping[str, Any] | None = None
    ) -> None:
        self._trace = ExecutionTrace(pipeline_uid=pipeline_uid, metadata=dict(metadata or {}))
        if pipeline_id:
            self._trace.metadata["pipeline_id"] = pipeline_id
        self._open: list[_OpenStep] = []
        self._chain_path = ""
        self._branches: list[tuple[int, str]] = []  # index of each branch entered, and the chain path it started from

    @property
    def trace(self) -> ExecutionTrace:
        """The trace so far; an open step is not in it yet."""
        return self._trace

    @property
    def trace_id(self) -> str:
        """Id of the trace."""
        return self._trace.trace_id

    def has_model_step(self) -> bool:
        """Whether a step has ended as the model."""
        return self._trace.model_step_index is not None

    def start_step(
        self,
        step_index: int,
        operator_type: str = "",
        operator_class: str = "",
        operator_config: Mapping[str, Any] | None = None,
        execution_mode: StepExecutionMode = StepExecutionMode.TRAIN,
        branch_path: Sequence[int] | None = None,
        branch_name: str = "",
        source_count: int = 1,
        produces_branches: bool = False,
        substep_index: int | None = None,
    ) -> ExecutionStep:
        """Open a step; without `branch_path` it lies on the branches entered.

        Parameters
        ----------
        step_index, operator_type, operator_class, operator_config, execution_mode, branch_name, source_count, substep_index
            See `ExecutionStep`.
        produces_branches
            The step only opens branches: it stays open while their steps are recorded.

        Raises
        ------
        InvalidInputError
            When the execution mode is unknown.
        """
        while self._open and not self._inside(self._open[-1]):
            self._close()
        branches = [index for index, _ in self._branches]
        step = ExecutionStep(
            step_index=step_index,
            operator_type=operator_type,
            operator_class=operator_class,
            operator_config=dict(operator_config or {}),
            execution_mode=execution_mode,
            branch_path=branches if branch_path is None else list(branch_path),
            branch_name=branch_name,
            source_count=source_count,
            produces_branches=produces_branches,
            substep_index=substep_index,
            input_chain_path=self._chain_path,
        )
        self._open.append(_OpenStep(step, len(branches), len(self._trace.steps), perf_counter()))
        return step

    def record_artifact(
        self,
        artifact_id: str,
        is_primary: bool = False,
        fold_id: int | str | None = None,
        chain_path: str | None = None,
        branch_path: Sequence[int] | None = None,
        source_index: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an artifact to the open step.

        Without `branch_path` it lies on the step's branch. Without `chain_path` it is found by the step's own, except
        that the artifacts of folds, which share it, are found by their fold.

        Raises
        ------
        TraceError
            When no step is open.
        """
        step = self._current("record an artifact for")
        if chain_path is None and fold_id is None:
            chain_path = _extended(step, source_index)
        if branch_path is None:
            branch_path = step.branch_path
        step.artifacts.add_artifact(artifact_id, is_primary, chain_path, branch_path, source_index)
        if fold_id is not None:
            step.artifacts.add_fold_artifact(fold_id, artifact_id)
        if metadata is not None:
            step.artifacts.metadata[artifact_id] = dict(metadata)

    def add_step_metadata(self, key: str, value: Any) -> None:
        """Keep a value with the open step; `TraceError` when none is open."""
        self._current("add metadata to").metadata[key] = value

    def record_input_shapes(
        self, input_shape: Iterable[int] | None = None, features_shape: Iterable[Iterable[int]] | None = None
    ) -> None:
        """Keep the shape of the data that enters the open step, as a matrix and per source; `TraceError` when none is open."""
        step = self._current("record a shape for")
        step.input_shape, step.input_features_shape = as_shape(input_shape), as_shapes(features_shape)

    def record_output_shapes(
        self, output_shape: Iterable[int] | None = None, features_shape: Iterable[Iterable[int]] | None = None
    ) -> None:
        """Keep the shape of the data that leaves the open step, as a matrix and per source; `TraceError` when none is open."""
        step = self._current("record a shape for")
        step.output_shape, step.output_features_shape = as_shape(output_shape), as_shapes(features_shape)

    def end_step(
        self, is_model: bool = False, fold_weights: Mapping[int, float] | None = None, skip_trace: bool = False
    ) -> None:
        """Close the open step.

        Parameters
        ----------
        is_model
            The step predicts: it becomes the trace's model step.
        fold_weights
            Weights of the fold models in the average, of a model step.
        skip_trace
            Leave the step out of the trace, as if it had not run.

        Raises
        ------
        TraceError
            When no step is open, when the model step is to be left out, or when a step that is no model has fold
            weights.
        InvalidInputError
            When a fold of the weights has no number.
        """
        step = self._current("end")
        if is_model and skip_trace:
            raise TraceError(f"Step {step.step_index} is the model: it cannot be left out of the trace.")
        if fold_weights is not None and not is_model:
            raise TraceError(f"Step {step.step_index} has fold weights: end it with is_model=True.")
        self._close(skip_trace)
        if is_model:
            self._trace.set_model_step(step.step_index, fold_weights)

    def mark_step_skipped(self, step_index: int) -> None:
        """Record that a step does not run on the branches entered.

        An open or recorded step with this index becomes a skipped one; otherwise a skipped step is added.
        """
        branches = [index for index, _ in self._branches]
        recorded = [opened.step for opened in self._open] + self._trace.steps
        same = [step for step in recorded if step.step_index == step_index and step.branch_path == branches]
        for step in same:
            step.execution_mode = StepExecutionMode.SKIP
            if self._chain_path == _extended(step):
                self._chain_path = step.input_chain_path
        if not same:
            skipped = ExecutionStep(step_index, execution_mode=StepExecutionMode.SKIP, branch_path=branches)
            skipped.input_chain_path = self._chain_path
            self._trace.add_step(skipped)

    def enter_branch(self, index: int) -> None:
        """Go into a branch: the steps that follow lie on it, until `exit_branch`."""
        while self._open and not self._open[-1].step.produces_branches:
            self._close()
        self._branches.append((index, self._chain_path))

    def exit_branch(self) -> None:
        """Leave the innermost branch: its open step ends, and the chain path is again what it was before.

        Raises
        ------
        TraceError
            When no branch has been entered.
        """
        if not self._branches:
            raise TraceError("There is no branch to leave: call enter_branch first.")
        while self._open and self._open[-1].depth >= len(self._branches):
            self._close()
        _, self._chain_path = self._branches.pop()

    def finalize(
        self, preprocessing_chain: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> ExecutionTrace:
        """End what is open, add the summary and give the trace."""
        while self._open:
            self._close()
        self._trace.finalize(preprocessing_chain, metadata)
        return self._trace

    def _current(self, purpose: str) -> ExecutionStep:
        if not self._open:
            raise TraceError(f"There is no open step to {purpose}: call start_step first.")
        return self._open[-1].step

    def _inside(self, opened: _OpenStep) -> bool:
        return opened.step.produces_branches and len(self._branches) > opened.depth

    def _close(self, skip_trace: bool = False) -> None:
        opened = self._open.pop()
        step = opened.step
        step.duration_ms = (perf_counter() - opened.started) * 1000
        if skip_trace:
            return
        self._trace.steps.insert(opened.place, step)
        if step.execution_mode == StepExecutionMode.SKIP or step.produces_branches:
            return
        for source_index in step.artifacts.by_source:
            step.add_output_chain(_extended(step, source_index))
        if not step.output_chain_paths:
            step.add_output_chain(_extended(step))
        self._chain_path = _extended(step)


def _extended(step: ExecutionStep, source_index: int | None = None) -> str:
    """The chain path of what leaves a step."""
    where = {
        "br": ".".join(map(str, step.branch_path)) or None,
        "src": source_index,
        "sub": step.substep_index,
    }
    brackets = ",".join(f"{key}={value}" for key, value in where.items() if value is not None)
    name = (step.operator_class or step.operator_type).rsplit(".", 1)[-1]
    node = f"s{step.step_index}.{name}" + (f"[{brackets}]" if brackets else "")
    return f"{step.input_chain_path}>{node}" if step.input_chain_path else node
