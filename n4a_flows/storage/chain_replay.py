"""A stored chain becomes a `Predictor`, and a `Predictor` gives predictions. Nothing is guessed on the way.

Every step of a chain is an artifact, or an operator that was declared stateless and is rebuilt from its class and parameters. A
transformer that was fitted inside a fold is used with that fold only. A refit (`fold_final`) predicts alone; otherwise the folds
are combined: class labels from mean probabilities or by vote, numbers by (weighted) mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from n4a_flows.storage.artifacts import StoredArtifact
from n4a_flows.storage.axis import Axis
from n4a_flows.storage.chain_builder import SOURCE_MAP
from n4a_flows.storage.chains import ChainContext
from n4a_flows.storage.codecs import DEFAULT_ALLOWED_MODULES, Trust, deserialize, refuse_untrusting
from n4a_flows.storage.errors import ReplayError
from n4a_flows.storage.folds import normalize_fold_key
from n4a_flows.storage.predictor import Lane, Predictor, Transformer, wants_wavelengths
from n4a_flows.storage.stateless import StatelessOperator, rebuild_stateless
from n4a_flows.storage.step_types import operator_type

REPLAY_VERSION = 1
"""Changes when the same chain and spectra would give other predictions; recorded with every scored file."""

FINAL = "fold_final"
AVERAGES = frozenset({"fold_avg", "fold_w_avg"})

Load = Callable[[str], Any]


def replay_chain(
    store: Replays, chain_id: str, X: npt.ArrayLike, wavelengths: Axis | npt.ArrayLike | None = None
) -> np.ndarray:
    """Predict with a chain of a store; takes, returns and raises what `WorkspaceStore.replay_chain` does."""
    return store.replay_chain(chain_id=chain_id, X=X, wavelengths=wavelengths)


class Replays(Protocol):
    """Anything that replays chains, for example a `WorkspaceStore`."""

    def replay_chain(
        self, chain_id: str, X: npt.ArrayLike, wavelengths: Axis | npt.ArrayLike | None = None
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class ChainPackage:
    """A chain with everything that predicting needs, as verified bytes. Picklable: what worker tasks are given.

    Attributes
    ----------
    document
        steps, model_step_idx, fold_artifacts, shared_artifacts.
    context
        Axis, signal, target and digest.
    artifacts
        The bytes by artifact id; only those that predicting needs. They were compared with their SHA-256 when the package was made.
    limits
        The bytes of what predictions of the chain are judged by (an `npz`), compared likewise; None when it has none.
    """

    document: Mapping[str, Any]
    context: ChainContext
    artifacts: Mapping[str, StoredArtifact]
    limits: bytes | None = None

    @property
    def digest(self) -> str:
        """The chain's digest."""
        return self.context.digest

    def load(self, trust: Trust = "all", allowed_modules: Iterable[str] = DEFAULT_ALLOWED_MODULES) -> Predictor:
        """Unpickle the operators, as far as `trust` allows, and put them in order.

        Raises
        ------
        UntrustedError
            When `trust` does not allow what the chain holds.
        ArtifactLoadError
            When a package that the chain was made of is not installed.
        ReplayError
            When a step of the chain is missing, or the chain is no line of steps.

        Examples
        --------
        >>> import pickle
        >>> package = pickle.loads(pickle.dumps(store.chain_package(chain_id)))  # on its way to a worker
        >>> package.load().target
        'fat'
        """
        allowed = tuple(allowed_modules)
        refuse_untrusting(trust)
        loaded: dict[str, Any] = {}

        def load(artifact_id: str) -> Any:
            if artifact_id not in loaded:
                stored = self.artifacts[artifact_id]
                loaded[artifact_id] = deserialize(stored.data, stored.format, trust, allowed)
            return loaded[artifact_id]

        return _assemble(self.document, self.context, load, allowed)


def needed_artifacts(document: Mapping[str, Any]) -> list[str]:
    """Ids of the artifacts that predicting with a chain needs, in no particular order."""
    needed: dict[str, None] = {}

    def note(artifact_id: str) -> None:
        needed[artifact_id] = None

    keys = lane_keys(document)
    _refuse_no_line(document)
    for step in document["steps"]:
        for key in keys:
            for artifact_id in step_artifacts(document, step, key):
                note(artifact_id)
    for key in keys:
        note(model_artifact(document, key))
    return list(needed)


def lane_keys(document: Mapping[str, Any]) -> list[str]:
    """The fold keys that predict, as `fold_artifacts` spells them: the refit alone, else every fold."""
    folds = document["fold_artifacts"] or {}
    for key in folds:
        if normalize_fold_key(key) == FINAL:
            return [key]
    keys = [key for key in folds if normalize_fold_key(key) not in AVERAGES]
    if len({normalize_fold_key(key) for key in keys}) < len(keys):
        raise ReplayError(f"The chain names a fold twice: {', '.join(map(str, keys))}.")
    if not keys:
        raise ReplayError("Chain has no fold model artifacts: its fold_artifacts name neither a fold nor a refit.")
    return keys


def step_artifacts(document: Mapping[str, Any], step: Mapping[str, Any], fold_key: str) -> list[str]:
    """Artifact ids of a step other than the model, as one fold uses them; empty for a stateless one.

    Raises
    ------
    ReplayError
        When the step was fitted inside the folds and nothing is stored for this one.
    """
    if _is_model(document, step):
        return []
    by_fold = step.get("fold_artifact_ids")
    if by_fold:
        wanted = normalize_fold_key(fold_key)
        for key, ids in by_fold.items():
            if normalize_fold_key(key) == wanted:
                return _as_list(ids)
        raise ReplayError(f"{_label(step)} was fitted inside the folds, and nothing is stored for {wanted}.")
    shared = (document["shared_artifacts"] or {}).get(str(step["step_idx"]))
    return _as_list(shared) or _as_list(step.get("artifact_ids")) or _as_list(step.get("artifact_id"))


def _assemble(document: Mapping[str, Any], context: ChainContext, load: Load, allowed: Sequence[str]) -> Predictor:
    keys = lane_keys(document)
    steps = list(document["steps"])
    _refuse_no_line(document)
    shared: list[Transformer] = []
    own: dict[str, list[Transformer]] = {key: [] for key in keys}
    scalers: dict[str, list[Any]] = {key: [] for key in keys}
    for step in steps:
        if _is_model(document, step):
            break
        if operator_type(step) == "splitter":
            continue
        fold_wise = bool(step.get("fold_artifact_ids"))
        for key in keys:
            operators = [load(artifact_id) for artifact_id in step_artifacts(document, step, key)]
            if not operators:
                operators = [_rebuilt(step, allowed)]
            if operator_type(step) == "y_processing":
                scalers[key].extend(operators)
                continue
            transformers = [_transformer(operator, step) for operator in operators]
            if fold_wise or any(own.values()):
                own[key].extend(transformers)
            else:
                shared.extend(transformers)
                break
    weights = lane_weights(document, keys)
    lanes = [
        Lane(key, weight, own[key], load(model_artifact(document, key)), scalers[key])
        for key, weight in zip(keys, weights, strict=True)
    ]
    first = next((item.operator for item in [*shared, *lanes[0].transformers]), lanes[0].model)
    width = getattr(first, "n_features_in_", None)
    return Predictor(context, shared, lanes, width if isinstance(width, int) else None)


# A chain is a line of steps. What else a trace may record (parallel views, several sources, models on models) is not one.
_LINE_TYPES = frozenset({"", "transform", "preprocessing", "y_processing", "splitter"})


def _refuse_no_line(document: Mapping[str, Any]) -> None:
    steps, model = document["steps"], document["model_step_idx"]
    if not all("step_idx" in step for step in steps):
        raise ReplayError("A step of the chain has no step_idx, so it cannot be told which artifacts are whose.")
    indices = [step["step_idx"] for step in steps]
    if model not in indices:
        raise ReplayError(f"No step of the chain is its model step ({model}).")
    if len(set(indices)) < len(indices):
        raise ReplayError(
            "Two steps of the chain have the same step_idx, so it cannot be told which artifacts are whose."
        )
    shared = document["shared_artifacts"] or {}
    if any(len(of_step) > 1 for of_step in (shared.get(SOURCE_MAP) or {}).values()):
        raise ReplayError("The chain treats several sources side by side, which replay cannot do.")
    lost = {key for key in shared if not str(key).startswith("_")} - set(map(str, indices))
    if lost:
        raise ReplayError(f"The chain has artifacts of steps that it does not have: {', '.join(sorted(lost))}.")
    for step in steps[: indices.index(model)]:
        if operator_type(step) not in _LINE_TYPES:
            raise ReplayError(
                f"{_label(step)} is a {operator_type(step)} step before the model, which replay cannot do."
            )
    for step in steps[indices.index(model) + 1 :]:
        if operator_type(step) != "splitter":
            raise ReplayError(f"{_label(step)} comes after the model, and replay would leave it out.")


def _rebuilt(step: Mapping[str, Any], allowed: Sequence[str]) -> Any:
    if not step.get("stateless") or operator_type(step) == "y_processing":
        raise ReplayError(f"{_label(step)} was fitted, but no artifact of it is stored: the chain cannot be replayed.")
    return rebuild_stateless(str(step.get("operator_class") or ""), step.get("params") or {}, allowed)


def _transformer(operator: Any, step: Mapping[str, Any]) -> Transformer:
    if not hasattr(operator, "transform"):
        raise ReplayError(f"{_label(step)} has no transform method: a {type(operator).__name__} cannot treat spectra.")
    judged = operator.operator if isinstance(operator, StatelessOperator) else operator
    return Transformer(operator, wants_wavelengths(judged), _label(step))


def model_artifact(document: Mapping[str, Any], key: str) -> str:
    """Artifact id of the model of one fold; `ReplayError` unless the chain names one."""
    ids = _as_list(document["fold_artifacts"][key])
    if len(ids) != 1:
        raise ReplayError(f"The chain names {len(ids)} models for {key}; it needs one.")
    return ids[0]


def lane_weights(document: Mapping[str, Any], keys: Sequence[str]) -> list[float]:
    """How much each fold counts when folds are combined; `ReplayError` when the weights cannot be used."""
    stored = next((step.get("fold_weights") for step in document["steps"] if _is_model(document, step)), None)
    if not stored or len(keys) == 1:
        return [1.0] * len(keys)
    by_key = {normalize_fold_key(key): float(weight) for key, weight in stored.items()}
    missing = [key for key in keys if normalize_fold_key(key) not in by_key]
    if missing:
        raise ReplayError(f"The chain has fold weights, but none for {', '.join(missing)}.")
    weights = [by_key[normalize_fold_key(key)] for key in keys]
    if not all(np.isfinite(weights)) or min(weights) < 0 or sum(weights) == 0:
        raise ReplayError(f"The fold weights of the chain cannot be used: {weights}.")
    return weights


def _is_model(document: Mapping[str, Any], step: Mapping[str, Any]) -> bool:
    return bool(step["step_idx"] == document["model_step_idx"])


def _as_list(ids: Any) -> list[str]:
    if not ids:
        return []
    return [ids] if isinstance(ids, str) else [str(item) for item in ids]


def _label(step: Mapping[str, Any]) -> str:
    return f"Step {step.get('step_idx')} ({step.get('operator_class') or 'no class'})"
