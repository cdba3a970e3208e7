"""From a trace to the chain document that `save_chain` takes, and which artifacts such a document names.

A chain document is a dict with the keyword arguments of `save_chain`. It is a line: the steps that led to one model, in
the order they ran. Its artifacts stand in three places: in the steps (`artifact_id`, `artifact_ids`,
`fold_artifact_ids`), in `fold_artifacts` (the model of each fold) and in `shared_artifacts` (step index -> artifacts
that every fold shares).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from n4a_flows.storage.errors import InvalidInputError, TraceError, UnknownIdError
from n4a_flows.storage.folds import normalize_fold_key
from n4a_flows.storage.trace.execution_trace import (
    ExecutionStep,
    ExecutionTrace,
    StepArtifacts,
    StepExecutionMode,
)
from n4a_flows.storage.trace.values import is_on_branch

SOURCE_MAP = "_source_map"
"""Entry of `shared_artifacts` that says which artifact is whose data source's. Keys with `_` are no step index."""

MODEL_TYPES = ("model", "meta_model")


class ChainBuilder:
    """Turn a trace into chain documents, one per model step.

    A step is a model when its operator type says so (`model`, `meta_model`), when the trace names it as its model step,
    or when it has artifacts of folds and no operator type. Any other step with artifacts of folds is a transformer (or
    a scaler of y) that was fitted inside each fold.

    A chain holds what its model was fed by: skipped steps, steps of other branches and other models are left out.

    Parameters
    ----------
    trace
        What was recorded.
    artifact_registry
        Artifact id of the trace -> id in the store, for a trace that was recorded before its artifacts were saved.
        Without it the trace holds the store's ids.

    Examples
    --------
    >>> recorder = TraceRecorder()
    >>> step = recorder.start_step(1, "model", "sklearn.cross_decomposition.PLSRegression")
    >>> recorder.record_artifact("id-in-the-store", fold_id="final")
    >>> recorder.end_step(is_model=True)
    >>> ChainBuilder(recorder.finalize()).build()["fold_artifacts"]
    {'fold_final': 'id-in-the-store'}
    """

    def __init__(self, trace: ExecutionTrace, artifact_registry: Mapping[str, str] | None = None) -> None:
        self.trace = trace
        self.artifact_registry = artifact_registry

    def build(self) -> dict[str, Any]:
        """The chain of the trace's model step; without one, of the last model.

        A trace without any step gives an empty document.

        Returns
        -------
        The document as keyword arguments of `WorkspaceStore.save_chain`: steps, model_step_idx, model_class, preprocessings,
        fold_strategy, fold_artifacts, shared_artifacts, branch_path, source_index.

        Raises
        ------
        TraceError
            When the trace has steps but no model, when the step it names as its model did not run, or when a line of
            steps cannot say what feeds the model: several branches, other models, or a step in several parts.
        UnknownIdError
            When the registry does not hold an artifact.
        InvalidInputError
            When something stands where an artifact id belongs.
        """
        steps = self._steps()
        models = self._models(steps)
        if not models:
            if steps:
                raise TraceError("The trace has no model step: end one with is_model=True, or call set_model_step.")
            return _document([], None, "", {}, None)
        named = [place for place in models if steps[place].step_index == self.trace.model_step_index]
        return self._chain(steps, models, named[0] if named else models[-1])

    def build_all(self) -> list[dict[str, Any]]:
        """One chain per model step, in the order they ran; none for a trace without a model. Raises as `build` does."""
        steps = self._steps()
        models = self._models(steps)
        return [self._chain(steps, models, place) for place in models]

    def _steps(self) -> list[ExecutionStep]:
        return [step for step in self.trace.steps if step.execution_mode != StepExecutionMode.SKIP]

    def _models(self, steps: Sequence[ExecutionStep]) -> list[int]:
        """The places of the model steps."""
        models = [place for place, step in enumerate(steps) if _is_model(step)]
        named = self.trace.model_step_index
        if named is None or any(steps[place].step_index == named for place in models):
            return models
        for place, step in enumerate(steps):
            if step.step_index == named:
                return sorted([*models, place])
        raise TraceError(f"The trace names step {named} as its model, but no such step ran: call set_model_step again.")

    def _chain(self, steps: Sequence[ExecutionStep], models: Sequence[int], place: int) -> dict[str, Any]:
        model = steps[place]
        earlier = steps[:place]
        path = _path_to(model, earlier)
        if model.operator_type == "meta_model" and models[0] < place:
            raise TraceError(
                f"Step {model.step_index} learns from other models, which a line of steps cannot say: name one of "
                "those with set_model_step and build its chain."
            )
        line = [
            step for index, step in enumerate(earlier) if index not in models and is_on_branch(step.branch_path, path)
        ]
        _refuse_parts([*line, model])
        shared: dict[str, Any] = {}
        sources: dict[str, dict[str, list[str]]] = {}
        documents = []
        for step in line:
            ids = _shared_ids(step.artifacts, path)
            documents.append(_step_document(step, ids, step.artifacts.fold_artifact_ids))
            key = str(step.step_index)
            if ids:
                shared[key] = ids
            if max(step.source_count, len(step.artifacts.by_source)) > 1:
                sources[key] = {
                    str(source): [artifact_id for artifact_id in of if artifact_id in ids]
                    for source, of in step.artifacts.by_source.items()
                }
        if sources:
            shared[SOURCE_MAP] = sources
        documents.append(_step_document(model, model.artifacts.artifact_ids, {}))
        if self.trace.fold_weights:
            weights = {normalize_fold_key(fold): weight for fold, weight in self.trace.fold_weights.items()}
            documents[-1]["fold_weights"] = weights
        seen = [list(step.branch_path) for step in [*earlier, model] if step.branch_path]
        document = _document(documents, model, self.trace.preprocessing_chain, shared, seen[-1] if seen else None)
        return document if self.artifact_registry is None else replace_artifacts(document, self.artifact_registry)


def referenced_artifacts(
    steps: Sequence[Mapping[str, Any]],
    fold_artifacts: Mapping[str, Any] | None,
    shared_artifacts: Mapping[str, Any] | None,
) -> Counter[str]:
    """How many times a chain document names each artifact.

    One reference is one place in the chain: a step's shared artifacts, or a step's (or the model's) artifact of one
    fold. A step that lists an artifact which its fold map, `fold_artifacts` or `shared_artifacts` names too does not
    count twice. Keys of `shared_artifacts` that begin with `_` are no references.

    Returns
    -------
    Counter: artifact id -> count, at least 1.

    Raises
    ------
    InvalidInputError
        When something stands where an artifact id, or a list of them, belongs.
    """
    places: dict[str, set[tuple[str, str]]] = {}

    def note(artifact_ids: Any, step: str, fold: str) -> None:
        for artifact_id in _ids(artifact_ids):
            places.setdefault(artifact_id, set()).add((step, fold))

    for key, value in (fold_artifacts or {}).items():
        note(value, "model", normalize_fold_key(key))
    of_folds = set(places)
    for key, value in (shared_artifacts or {}).items():
        if not str(key).startswith("_"):
            note(value, str(key), "shared")
    for place, step in enumerate(steps):
        step_key = str(step.get("step_idx", f"at {place}"))
        folds = step.get("fold_artifact_ids") or {}
        for key, value in folds.items():
            note(value, step_key, normalize_fold_key(key))
        named_elsewhere = of_folds.union(*(_ids(value) for value in folds.values()))
        listed = [*_ids(step.get("artifact_id")), *_ids(step.get("artifact_ids"))]
        note([artifact_id for artifact_id in listed if artifact_id not in named_elsewhere], step_key, "shared")
    return Counter({artifact_id: len(found) for artifact_id, found in places.items()})


def replace_artifacts(chain_document: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """A copy of a chain document in which every artifact id is replaced by `mapping[id]`.

    Inside the metadata of `shared_artifacts` (keys that begin with `_`) ids are replaced where the mapping has them.

    Raises
    ------
    UnknownIdError
        When the mapping does not have an artifact that the chain references.
    InvalidInputError
        When something stands where an artifact id, or a list of them, belongs.
    """

    def replaced(artifact_id: str) -> str:
        if artifact_id not in mapping:
            raise UnknownIdError(f"The chain names artifact {artifact_id!r}, which has no replacement.")
        return mapping[artifact_id]

    document = deepcopy(dict(chain_document))
    for step in document.get("steps") or []:
        for field in ("artifact_id", "artifact_ids"):
            if field in step:
                step[field] = _each_id(step[field], replaced)
        if step.get("fold_artifact_ids"):
            step["fold_artifact_ids"] = {
                key: _each_id(value, replaced) for key, value in step["fold_artifact_ids"].items()
            }
    if document.get("fold_artifacts"):
        document["fold_artifacts"] = {
            key: _each_id(value, replaced) for key, value in document["fold_artifacts"].items()
        }
    if document.get("shared_artifacts"):
        document["shared_artifacts"] = {
            key: _replace_known(value, mapping) if str(key).startswith("_") else _each_id(value, replaced)
            for key, value in document["shared_artifacts"].items()
        }
    return document


def _is_model(step: ExecutionStep) -> bool:
    return step.operator_type in MODEL_TYPES or (not step.operator_type and bool(step.artifacts.fold_artifact_ids))


def _path_to(model: ExecutionStep, earlier: Sequence[ExecutionStep]) -> Sequence[int]:
    """The branch whose steps feed the model: its own, or the only one that came back to it."""
    inner = [step.branch_path for step in earlier if is_on_branch(model.branch_path, step.branch_path)]
    path = max([model.branch_path, *inner], key=len)
    if not all(is_on_branch(other, path) for other in inner):
        raise TraceError(
            f"Step {model.step_index} is fed by several branches, which a line of steps cannot say: record the model "
            "inside its branch, or mark the steps of the other branches as skipped."
        )
    return path


def _refuse_parts(line: Sequence[ExecutionStep]) -> None:
    """A chain finds steps and their artifacts by index, and nothing says whether parts run in turn or side by side."""
    index, times = Counter(step.step_index for step in line).most_common(1)[0]
    if times > 1:
        raise TraceError(
            f"Step {index} ran in {times} parts, which a line of steps cannot say: give every part an index of its own."
        )


def _shared_ids(artifacts: StepArtifacts, path: Sequence[int]) -> list[str]:
    """The artifacts of a step that are neither of one fold nor only of another branch."""
    here = set(artifacts.get_artifacts_for_branch(path))
    elsewhere = {artifact_id for ids in artifacts.by_branch.values() for artifact_id in ids} - here
    left_out = elsewhere.union(artifacts.fold_artifact_ids.values())
    return [artifact_id for artifact_id in artifacts.artifact_ids if artifact_id not in left_out]


def _step_document(step: ExecutionStep, artifact_ids: Sequence[str], folds: Mapping[str, str]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "step_idx": step.step_index,
        "operator_class": step.operator_class,
        "params": deepcopy(step.operator_config),
        "artifact_ids": list(artifact_ids),
        # By all its artifacts: one that left some on another branch only must not be taken for stateless.
        "stateless": not step.has_artifacts(),
    }
    if step.operator_type:
        document["operator_type"] = step.operator_type
    if folds:
        document["fold_artifact_ids"] = dict(folds)
    return document


def _document(
    steps: list[dict[str, Any]],
    model: ExecutionStep | None,
    preprocessings: str,
    shared_artifacts: dict[str, Any],
    branch_path: list[int] | None,
) -> dict[str, Any]:
    folds = dict(model.artifacts.fold_artifact_ids) if model else {}
    return {
        "steps": steps,
        "model_step_idx": model.step_index if model else 0,
        "model_class": model.operator_class if model else "",
        "preprocessings": preprocessings,
        "fold_strategy": "per_fold" if folds else "shared",
        "fold_artifacts": folds,
        "shared_artifacts": shared_artifacts,
        "branch_path": branch_path,
        "source_index": None,
    }


def _ids(value: Any) -> Iterator[str]:
    """The artifact ids in a value: one id, a list of ids, or nothing."""
    for item in value if isinstance(value, (list, tuple)) else [value]:
        if item is not None and not isinstance(item, str):
            raise InvalidInputError(f"An artifact id, or a list of them, belongs where the chain has {value!r}.")
        if item:
            yield item


def _each_id(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every id changed, and nothing (None, empty text) left as it is."""
    changed = {artifact_id: change(artifact_id) for artifact_id in _ids(value)}
    if isinstance(value, (list, tuple)):
        return [changed.get(item, item) for item in value]
    return changed.get(value, value)


def _replace_known(value: Any, mapping: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return mapping.get(value, value)
    if isinstance(value, (list, tuple)):
        return [_replace_known(item, mapping) for item in value]
    if isinstance(value, Mapping):
        return {key: _replace_known(item, mapping) for key, item in value.items()}
    return value
