"""Which members of a bundle nirs4all's loader reads, and which chains it would predict otherwise than we do.

Its loader takes every file `artifacts/step_<N>_...` for an operator of step N: in the order of the file they transform the
spectra, `..._fold<k>` are the models of folds, whose numbers are averaged, and `..._foldfinal` predicts alone. A step of type
`y_processing` in `trace.json` is inverted on the output. It passes over files with other names, and knows neither wavelengths nor
votes.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from n4a_flows.storage.artifacts import StoredArtifact
from n4a_flows.storage.chain_replay import (
    FINAL,
    ChainPackage,
    lane_keys,
    lane_weights,
    model_artifact,
    step_artifacts,
)
from n4a_flows.storage.codecs import class_allowed, extension
from n4a_flows.storage.folds import normalize_fold_key, parse_numeric_fold_key
from n4a_flows.storage.predictor import wants_wavelengths
from n4a_flows.storage.step_types import operator_type

_JOBLIB_READS = frozenset({"joblib", "pickle", "cloudpickle"})
# Of these the mean of what was inverted is the inverse of the mean.
_LINEAR_SCALERS = frozenset({"StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler"})


@dataclass(frozen=True)
class Member:
    """An artifact and its name in the bundle."""

    name: str
    artifact: StoredArtifact


@dataclass(frozen=True)
class Layout:
    """What nirs4all's loader is given.

    Attributes
    ----------
    members
        The operators that it uses, in their order; none when it cannot predict the chain.
    trace, fold_weights
        The documents `trace.json` and `fold_weights.json`; None where there is no need of them.
    why_not
        Why it cannot predict the chain as we do, or None when it can.
    """

    members: tuple[Member, ...]
    trace: Mapping[str, Any] | None
    fold_weights: Mapping[str, float] | None
    why_not: str | None


class _OnlyOurs(Exception):  # noqa: N818 - it never leaves this module
    """The loader of nirs4all would predict something else."""


def lay_out(package: ChainPackage) -> Layout:
    """Name the operators of a chain for nirs4all's loader, unless it would mispredict with them.

    Raises
    ------
    ReplayError
        When the chain cannot be replayed.
    """
    document = package.document
    keys = lane_keys(document)
    weights = lane_weights(document, keys)
    try:
        members = tuple(_members(package, keys))
    except _OnlyOurs as error:
        return Layout((), None, None, str(error))
    numbers = {str(parse_numeric_fold_key(key)): weight for key, weight in zip(keys, weights, strict=True)}
    return Layout(members, _trace(package), numbers if len(set(weights)) > 1 else None, None)


def has_refit(document: Mapping[str, Any]) -> bool:
    """Whether the refit predicts alone."""
    return normalize_fold_key(lane_keys(document)[0]) == FINAL


def _members(package: ChainPackage, keys: Sequence[str]) -> Iterator[Member]:
    document = package.document
    steps = _before_model(document)
    scalers = 0
    for step in steps:
        number, of_y = step["step_idx"], operator_type(step) == "y_processing"
        by_fold = [step_artifacts(document, step, key) for key in keys]
        if any(ids != by_fold[0] for ids in by_fold):
            raise _OnlyOurs(f"step {number} was fitted inside each of the {len(keys)} folds, and there is no refit")
        if not by_fold[0]:
            raise _OnlyOurs(f"step {number} is not stored, but rebuilt from its class and parameters")
        for position, artifact_id in enumerate(by_fold[0]):
            artifact = package.artifacts[artifact_id]
            if of_y:
                scalers += 1
                _refuse_scaler(number, artifact, scalers, len(keys))
            elif package.context.axis is not None and _wants_wavelengths(artifact.operator_class):
                raise _OnlyOurs(f"step {number} is told the wavelengths of the spectra")
            yield _member(number, str(position), artifact)
    yield from _models(package, keys)


def _before_model(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The steps that treat spectra or laboratory values."""
    steps = list(document["steps"])
    place = next(i for i, step in enumerate(steps) if step["step_idx"] == document["model_step_idx"])
    return [step for step in steps[:place] if operator_type(step) != "splitter"]


def _refuse_scaler(number: int, artifact: StoredArtifact, so_far: int, folds: int) -> None:
    if so_far > 1:
        raise _OnlyOurs("several scalers of y are inverted one after the other")
    if folds > 1 and artifact.operator_class.rpartition(".")[2] not in _LINEAR_SCALERS:
        raise _OnlyOurs(f"step {number} scales y in a way that is inverted before folds are averaged")


def _models(package: ChainPackage, keys: Sequence[str]) -> Iterator[Member]:
    document, number = package.document, package.document["model_step_idx"]
    if len(keys) == 1:
        yield _member(number, "foldfinal", package.artifacts[model_artifact(document, keys[0])])
        return
    folds = [parse_numeric_fold_key(key) for key in keys]
    if None in folds or len(set(folds)) < len(folds):
        raise _OnlyOurs("its folds have names that are no numbers")
    for key, fold in zip(keys, folds, strict=True):
        artifact = package.artifacts[model_artifact(document, key)]
        if _votes(package.context.task_type, artifact.operator_class):
            raise _OnlyOurs("its folds vote, and there is no refit")
        yield _member(number, f"fold{fold}", artifact)


def _member(number: int, part: str, artifact: StoredArtifact) -> Member:
    if artifact.format not in _JOBLIB_READS:
        raise _OnlyOurs(f"step {number} is kept in the format {artifact.format!r}")
    # The loader splits the stem at underscores and reads any part that begins with "fold" as a fold.
    label = re.sub(r"[^A-Za-z0-9]", "", artifact.operator_class.rpartition(".")[2])[:60] or "operator"
    label = f"x{label}" if label.startswith("fold") else label
    return Member(f"artifacts/step_{number}_{part}_{label}{extension(artifact.format)}", artifact)


def _votes(task_type: str | None, operator_class: str) -> bool:
    if task_type is not None:
        return task_type.endswith("classification")
    from sklearn.base import ClassifierMixin

    kind = _class(operator_class)
    return kind is not None and issubclass(kind, ClassifierMixin)


def _wants_wavelengths(operator_class: str) -> bool:
    kind = _class(operator_class)
    if kind is None or kind.__module__.startswith("sklearn.") or not hasattr(kind, "transform"):
        return False
    return wants_wavelengths(kind) != "no"


def _class(class_path: str) -> type | None:
    """The class of a path, where nothing that is stored runs for it: of scikit-learn or chemotools, or imported already."""
    module, _, name = class_path.rpartition(".")
    if class_allowed(module, ("sklearn", "chemotools")):
        try:
            importlib.import_module(module)
        except ImportError:
            return None
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def _trace(package: ChainPackage) -> dict[str, Any]:
    """The steps with their types: without it the loader would take a scaler of y for one of spectra."""
    document = package.document
    model = document["model_step_idx"]
    steps = [(step, operator_type(step) or "transform") for step in _before_model(document)]
    steps += [(step, "model") for step in document["steps"] if step["step_idx"] == model]
    return {
        "trace_id": package.digest[:12],
        "pipeline_uid": package.context.chain_id,
        "model_step_index": model,
        "preprocessing_chain": document["preprocessings"],
        "steps": [
            {
                "step_index": step["step_idx"],
                "operator_type": kind,
                "operator_class": str(step.get("operator_class") or ""),
                "execution_mode": "train",
            }
            for step, kind in steps
        ],
    }
