"""Bundles that nirs4all wrote, read as its own loader reads them: by the names of the files and the types that it notes beside.

The chain that comes of it predicts what that loader predicts, except that labels of folds are voted, not averaged. What the
loader would only half do (several scalers of y) and what is no line of steps (views side by side, models on models) is refused.
These bundles list no digests, versions or axis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from n4a_flows.storage.bundles import strict_json
from n4a_flows.storage.bundles.archive import Archive
from n4a_flows.storage.bundles.contents import BundleContents, BundleInfo
from n4a_flows.storage.bundles.formats import check_format
from n4a_flows.storage.bundles.strict_json import text
from n4a_flows.storage.chain_replay import FINAL
from n4a_flows.storage.chains import ChainContext
from n4a_flows.storage.codecs import SerializedArtifact, content_hash
from n4a_flows.storage.errors import BundleError

_VERSION = "1.0"
_FOLDER = "artifacts/"
_STEP = re.compile(r"step_(\d{1,6})(?:_(.+))?")
_FOLD = re.compile(r"(?:.*_)?fold(\d{1,6}|final)(?:_.*)?")
_UNSUPPORTED = frozenset({"feature_augmentation", "concat_transform", "meta_model", "branch", "merge"})
_TYPES = _UNSUPPORTED | {"y_processing", "model"}


@dataclass
class _Step:
    """The files of one step, in their order."""

    operators: list[str] = field(default_factory=list)
    folds: dict[str, str] = field(default_factory=dict)


def read(archive: Archive, manifest: Mapping[str, Any], path: Path) -> BundleContents:
    """What a bundle of nirs4all holds.

    Raises
    ------
    BundleError
        When it is damaged, of a newer format, or holds no line of steps that leads to a model.
    """
    version = text(manifest, "bundle_format_version") or _VERSION
    if version != _VERSION:
        raise BundleError(f"The bundle has nirs4all's format {version[:40]!r}; n4a_flows reads {_VERSION} of these.")
    model_index = manifest.get("model_step_index")
    if type(model_index) is not int:
        raise BundleError("The bundle does not say which step is its model (model_step_index in manifest.json).")
    # All of it, for only opening a member shows that its name was not damaged.
    data = {name: archive.read(name) for name in archive.names if name != "manifest.json"}
    files = _files(list(data))
    notes = _Notes(data)
    model = files.get(model_index)
    if model is None:
        raise BundleError(
            f"The bundle has no file for its model, step {model_index}. The stores of nirs4all before 1.0 wrote such bundles, "
            "which its loader cannot read either: bring the workspace over with upgrade instead."
        )
    order = [index for index in notes.order(files, model_index) if index in files]
    if model_index not in order:
        raise BundleError(f"The model of the bundle, step {model_index}, is not among the steps that it ran.")
    steps = [_document_of(index, files[index], notes, index == model_index) for index in order]
    if sum(step["operator_type"] == "y_processing" for step in steps) > 1:
        raise BundleError("The bundle scales y in several steps, of which nirs4all's loader inverts only the last.")
    weights = notes.fold_weights()
    folds = model.folds if FINAL not in model.folds else {FINAL: model.folds[FINAL]}
    folds = folds or {FINAL: model.operators[0]}
    if weights and FINAL not in folds:
        steps[-1]["fold_weights"] = weights
    document = {
        "steps": steps,
        "model_step_idx": model_index,
        "fold_artifacts": folds,
        "shared_artifacts": {str(step["step_idx"]): step["artifact_ids"] for step in steps if step["artifact_ids"]},
        "branch_path": None,
        "source_index": None,
    }
    used = {name: step for step in steps for name in step["artifact_ids"]}
    used |= dict.fromkeys(folds.values(), steps[-1])
    artifacts = {name: _artifact(name, data[name], step) for name, step in used.items()}
    info = _info(archive, manifest, document, path)
    return BundleContents(info, document, ChainContext(info.chain_id or "", ""), artifacts, None)


def _files(names: Sequence[str]) -> dict[int, _Step]:
    found: dict[int, _Step] = {}
    for name in names:
        match = _STEP.fullmatch(name.rpartition("/")[2].rpartition(".")[0])
        if not name.startswith(_FOLDER) or match is None:
            continue
        step = found.setdefault(int(match[1]), _Step())
        fold = _FOLD.fullmatch(match[2] or "")
        if fold is None:
            step.operators.append(name)
        elif f"fold_{fold[1]}" in step.folds:
            raise BundleError(f"The bundle has two files for fold {fold[1]} of step {match[1]}.")
        else:
            step.folds[f"fold_{fold[1]}"] = name
    return found


def _document_of(index: int, files: _Step, notes: _Notes, is_model: bool) -> dict[str, Any]:
    kind = "model" if is_model else notes.operator_type(index)
    if kind in _UNSUPPORTED or (kind == "model" and not is_model):
        raise BundleError(f"Step {index} of the bundle is a {kind} step before the model, which is no line of steps.")
    if not is_model and files.folds:
        raise BundleError(f"Step {index} of the bundle has files of folds, but is not its model.")
    if kind == "y_processing" and len(files.operators) > 1:
        raise BundleError(f"Step {index} of the bundle scales y in several parts, which chains do not.")
    return {
        "step_idx": index,
        "operator_class": notes.operator_class(index) or _class_in(files),
        "operator_type": kind,
        "params": {},
        "artifact_ids": [] if is_model else list(files.operators),
        "stateless": False,
    }


def _class_in(files: _Step) -> str:
    """The class that the name of a file may end with."""
    stem = next(iter([*files.operators, *files.folds.values()])).rpartition("/")[2].rpartition(".")[0]
    label = stem.rpartition("_")[2]
    return label if label[:1].isupper() else ""


class _Notes:
    """What stands beside the artifacts: `trace.json` or `pipeline.json`, and perhaps `chain.json` and `fold_weights.json`."""

    def __init__(self, data: Mapping[str, bytes]) -> None:
        self._trace = _steps_by_index(_optional(data, "trace.json"), "step_index")
        self._chain = _steps_by_index(_optional(data, "chain.json"), "step_idx")
        # Steps of the definition carry no index: they are counted from 1.
        listed = _optional(data, "pipeline.json").get("steps")
        self._pipeline = dict(enumerate(listed, 1)) if isinstance(listed, list) else {}
        self._weights = _optional(data, "fold_weights.json")

    def order(self, files: Mapping[int, _Step], model_index: int) -> Iterator[int]:
        """The steps up to the model as they run."""
        for index in self._trace or sorted(files):
            if self._trace.get(index, {}).get("execution_mode") != "skip":
                yield index
            if index == model_index:
                return

    def operator_type(self, index: int) -> str:
        """The type of a step before the model: as the trace says, else as its definition shows.

        Raises
        ------
        BundleError
            When neither knows the step: it may scale y.
        """
        if self._trace:
            kind = self._trace[index].get("operator_type")
            return kind if isinstance(kind, str) and kind in _TYPES else "transform"
        step = self._pipeline.get(index)
        if step is None:
            raise BundleError(f"Neither trace.json nor pipeline.json of the bundle says what step {index} does.")
        keys = step if isinstance(step, dict) else {}
        return next((kind for kind in sorted(_TYPES) if kind in keys), "transform")

    def operator_class(self, index: int) -> str:
        """The class of a step, or "" where nothing says it."""
        for step in (self._chain.get(index), self._trace.get(index)):
            found = step.get("operator_class") if step else None
            if isinstance(found, str) and found:
                return found
        return ""

    def fold_weights(self) -> dict[str, float]:
        """The weights of the folds by fold key; empty where all count the same."""
        weights = {f"fold_{fold}": weight for fold, weight in self._weights.items()}
        if not all(type(weight) in (int, float) for weight in weights.values()):
            raise BundleError("The fold weights of the bundle are no numbers.")
        return weights


def _optional(data: Mapping[str, bytes], name: str) -> dict[str, Any]:
    return strict_json.parse(data[name], name) if name in data else {}


def _steps_by_index(document: Mapping[str, Any], key: str) -> dict[int, dict[str, Any]]:
    steps = document.get("steps", [])
    if not isinstance(steps, list) or not all(isinstance(step, dict) and type(step.get(key)) is int for step in steps):
        raise BundleError(f"The bundle has a document whose steps are no list of steps with a {key}.")
    return {step[key]: step for step in steps}


def _artifact(name: str, data: bytes, step: Mapping[str, Any]) -> SerializedArtifact:
    format = "pickle" if data.startswith(b"\x80") and name.endswith(".pkl") else "joblib"
    check_format(data, format)
    kind = {"model": "model", "y_processing": "y_processing"}.get(step["operator_type"], "transformer")
    return SerializedArtifact(data, content_hash(data), step["operator_class"], kind, format)


def _info(archive: Archive, manifest: Mapping[str, Any], document: Mapping[str, Any], path: Path) -> BundleInfo:
    return BundleInfo(
        path=path,
        sha256=archive.sha256,
        origin="nirs4all",
        chain_id=text(manifest, "chain_id") or text(manifest, "pipeline_uid"),
        digest=None,
        model_class=text(manifest, "model_class") or document["steps"][-1]["operator_class"],
        preprocessings=text(manifest, "preprocessings") or text(manifest, "preprocessing_chain") or "",
        fold_strategy="per_fold",
        dataset_name=None,
        steps=tuple(step["operator_class"] for step in document["steps"]),
        folds=tuple(document["fold_artifacts"]),
        target=None,
        task_type=None,
        signal=None,
        axis=None,
        x_range=None,
        imports=(),
        packages={},
        members={name: archive.size(name) for name in archive.names if name != "manifest.json"},
        has_probe=False,
        nirs4all_cannot=None,
        exported_at=text(manifest, "exported_at") or text(manifest, "created_at"),
    )
