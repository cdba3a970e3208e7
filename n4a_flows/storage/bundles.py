"""`.n4a` bundles: a chain as one ZIP file that predicts elsewhere.

Members are named by what they do (`artifacts/step_<N>_...`), so that nirs4all's loader finds its way too; their bytes are those of
the artifact files, never serialised anew.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from n4a_flows.storage.artifacts import StoredArtifact
from n4a_flows.storage.chain_replay import FINAL, ChainPackage, lane_keys, step_artifacts
from n4a_flows.storage.clock import now
from n4a_flows.storage.codecs import content_hash, extension
from n4a_flows.storage.errors import BundleError
from n4a_flows.storage.folds import normalize_fold_key
from n4a_flows.storage.json_values import to_json

FORMAT_VERSION = "1.0"
_PACKAGES = ("n4a-flows", "scikit-learn", "numpy", "joblib", "chemotools")
_TIME = (1980, 1, 1, 0, 0, 0)  # the same chain gives the same members, byte by byte


@dataclass(frozen=True)
class _Member:
    name: str
    artifact: StoredArtifact


def to_bundle(package: ChainPackage) -> bytes:
    """The bytes of the bundle of a chain.

    With a refit only the refit travels, with its own transformers; else every fold.

    Raises
    ------
    BundleError
        When the chain has no refit and transformers that were fitted inside its folds: the format cannot say which belongs to
        which fold.
    """
    document = package.document
    keys = lane_keys(document)
    has_refit = normalize_fold_key(keys[0]) == FINAL
    members = list(_members(package, keys))
    chain = {
        "steps": [_portable(document, step, keys, has_refit) for step in document["steps"]],
        "model_step_idx": document["model_step_idx"],
        "fold_artifacts": {normalize_fold_key(key): document["fold_artifacts"][key] for key in keys},
        "shared_artifacts": _shared(document, keys),
        "artifacts": {member.artifact.artifact_id: _described(member.artifact) for member in members},
    }
    contents = {
        "chain.json": (to_json(chain, "chain") or "").encode(),
        **{member.name: member.artifact.data for member in members},
    }
    manifest = _manifest(package, has_refit, contents)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {"manifest.json": (to_json(manifest, "manifest") or "").encode(), **contents}.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _manifest(package: ChainPackage, has_refit: bool, contents: Mapping[str, bytes]) -> dict[str, Any]:
    document, context = package.document, package.context
    return {
        "bundle_format_version": FORMAT_VERSION,
        "chain_id": context.chain_id,
        "chain_digest": context.digest,
        "model_class": document["model_class"],
        "model_step_index": document["model_step_idx"],
        "preprocessings": document["preprocessings"],
        "fold_strategy": "single_refit" if has_refit else document["fold_strategy"],
        "has_refit": has_refit,
        "exported_at": now().isoformat(timespec="seconds") + "+00:00",
        "target": context.target,
        "task_type": context.task_type,
        "signal": context.signal,
        "axis": None if context.axis is None else context.axis.to_dict(),
        "x_range": context.x_range,
        "packages": {name: version(name) for name in _PACKAGES},
        "members": {name: {"sha256": content_hash(data), "size": len(data)} for name, data in contents.items()},
    }


def _members(package: ChainPackage, keys: list[str]) -> Iterator[_Member]:
    document = package.document
    for step in document["steps"]:
        number = step["step_idx"]
        if number == document["model_step_idx"]:
            for key in keys:
                artifact = package.artifacts[document["fold_artifacts"][key]]
                fold = normalize_fold_key(key).removeprefix("fold_")
                yield _Member(_name(number, f"fold{fold}", artifact), artifact)
            return
        if step.get("fold_artifact_ids") and len(keys) > 1:
            raise BundleError(
                f"Step {number} was fitted inside each of the {len(keys)} folds, and the chain has no refit: a .n4a bundle cannot "
                "say which transformer belongs to which fold. Train with a refit, then export."
            )
        for position, artifact_id in enumerate(step_artifacts(document, step, keys[0])):
            artifact = package.artifacts[artifact_id]
            yield _Member(_name(number, str(position), artifact), artifact)


def _name(number: int, part: str, artifact: StoredArtifact) -> str:
    # The loader splits the stem at underscores and reads any part that begins with "fold" as a fold.
    label = re.sub(r"[^A-Za-z0-9]", "", artifact.operator_class.rpartition(".")[2]) or "operator"
    label = f"x{label}" if label.startswith("fold") else label
    return f"artifacts/step_{number}_{part}_{label}{extension(artifact.format)}"


def _portable(document: Mapping[str, Any], step: Mapping[str, Any], keys: list[str], has_refit: bool) -> dict[str, Any]:
    """A step as the bundle holds it: a step of the refit is one that was fitted once."""
    portable = dict(step)
    if has_refit and portable.pop("fold_artifact_ids", None):
        portable["artifact_ids"] = step_artifacts(document, step, keys[0])
    return portable


def _shared(document: Mapping[str, Any], keys: list[str]) -> dict[str, list[str]]:
    return {
        str(step["step_idx"]): ids
        for step in document["steps"]
        if step["step_idx"] != document["model_step_idx"] and (ids := step_artifacts(document, step, keys[0]))
    }


def _described(artifact: StoredArtifact) -> dict[str, Any]:
    return {
        "sha256": artifact.content_hash,
        "format": artifact.format,
        "operator_class": artifact.operator_class,
    }
