"""What a bundle holds, once it has been read and looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from n4a_flows.storage import chains
from n4a_flows.storage.artifacts import StoredArtifact
from n4a_flows.storage.axis import Axis
from n4a_flows.storage.chain_builder import referenced_artifacts
from n4a_flows.storage.chain_replay import ChainPackage, lane_keys, lane_weights, needed_artifacts
from n4a_flows.storage.chains import DOCUMENT_KEYS, ChainContext
from n4a_flows.storage.codecs import SerializedArtifact
from n4a_flows.storage.errors import BundleError, InvalidInputError, ReplayError, UnknownIdError


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says of itself.

    Attributes
    ----------
    path
        The file.
    sha256
        Of the whole file.
    origin
        Who wrote it: `"n4a_flows"` or `"nirs4all"`.
    chain_id, digest
        The chain as it was called where it comes from, and its digest; None where the bundle does not say.
    model_class, preprocessings, fold_strategy, dataset_name
        As in the row of the chain.
    steps
        Classes of the steps, in order.
    folds
        Names of the folds that have a model, `fold_final` for the refit.
    target, task_type, signal, axis, x_range
        What it was trained on; see `ChainContext`. None where the bundle does not say.
    imports
        Packages outside the standard library that loading it imports.
    packages
        Versions of Python and of packages where it was written.
    members
        Size in bytes by name of the member, `manifest.json` left out.
    has_probe
        Whether spectra travel with it whose predictions are known.
    has_limits
        Whether what its predictions are judged by travels with it.
    unit, parent_digest
        The unit of the target, and the digest of the chain that it was made from; None where there is none.
    nirs4all_cannot
        Why nirs4all's loader does not predict with it, or None when it does.
    exported_at
        When it was written, ISO 8601; None where the bundle does not say.
    """

    path: Path
    sha256: str
    origin: Literal["n4a_flows", "nirs4all"]
    chain_id: str | None
    digest: str | None
    model_class: str
    preprocessings: str
    fold_strategy: str
    dataset_name: str | None
    steps: tuple[str, ...]
    folds: tuple[str, ...]
    target: str | None
    task_type: str | None
    signal: str | None
    axis: Axis | None
    x_range: tuple[float, float] | None
    imports: tuple[str, ...]
    packages: Mapping[str, str]
    members: Mapping[str, int]
    has_probe: bool
    nirs4all_cannot: str | None
    exported_at: str | None
    has_limits: bool = False
    unit: str | None = None
    parent_digest: str | None = None


@dataclass(frozen=True)
class BundleContents:
    """A bundle whose bytes have been compared with what it promises.

    Attributes
    ----------
    document
        The chain document, with the artifact ids of the bundle.
    context
        With the chain id of the bundle, or "".
    artifacts
        Bytes by artifact id of the bundle.
    probe, limits
        The bytes of its probe and of its limits.
    """

    info: BundleInfo
    document: Mapping[str, Any]
    context: ChainContext
    artifacts: Mapping[str, SerializedArtifact]
    probe: SerializedArtifact | None
    limits: SerializedArtifact | None = None

    def package(self) -> ChainPackage:
        """The chain ready to be loaded."""
        stored = {
            artifact_id: StoredArtifact(
                artifact_id, found.data, found.content_hash, found.format, found.operator_class, found.artifact_type
            )
            for artifact_id, found in self.artifacts.items()
        }
        return ChainPackage(self.document, self.context, stored, None if self.limits is None else self.limits.data)


def with_digest(contents: BundleContents) -> BundleContents:
    """The same contents, whose context has the digest of the chain.

    Raises
    ------
    BundleError
        When the document is none of a chain that can be replayed, or not all of its artifacts are there.
    """
    document, context = contents.document, contents.context
    try:
        check_document(document)
        needed_artifacts(document)
        lane_weights(document, lane_keys(document))
        named = referenced_artifacts(*(document[key] for key in ("steps", "fold_artifacts", "shared_artifacts")))
        unused = sorted(set(contents.artifacts) - set(named))
        if unused:
            raise BundleError(f"The bundle describes artifacts that its chain does not name: {', '.join(unused)}.")
        hashes = {artifact_id: found.content_hash for artifact_id, found in contents.artifacts.items()}
        digest = chains.digest(document, hashes, context.axis, context.signal, context.task_type)
    except UnknownIdError as error:
        raise BundleError(f"The bundle is not whole: {error}") from error
    except (InvalidInputError, ReplayError) as error:
        raise BundleError(f"The chain in the bundle cannot be used: {error}") from error
    return replace(contents, context=replace(context, digest=digest))


def check_document(document: Mapping[str, Any]) -> None:
    """Refuse a chain document in which something has not the type that a chain document gives it.

    Raises
    ------
    InvalidInputError
    """
    missing = [key for key in DOCUMENT_KEYS if key not in document]
    if missing:
        raise InvalidInputError(f"it has no {', '.join(missing)}")
    steps = document["steps"]
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise InvalidInputError("its steps are no list of steps")
    for step in steps:
        _check_step(step)
    _demand(_is_index(document["model_step_idx"]), "model_step_idx", document["model_step_idx"])
    for key in ("fold_artifacts", "shared_artifacts"):
        _demand(document[key] is None or _is_id_map(document[key]), key, document[key])
    path, source = document["branch_path"], document["source_index"]
    _demand(path is None or (isinstance(path, list) and all(map(_is_index, path))), "branch_path", path)
    _demand(source is None or _is_index(source), "source_index", source)


def _check_step(step: Mapping[str, Any]) -> None:
    checks: dict[str, Callable[[Any], bool]] = {
        "step_idx": _is_index,
        "operator_class": _is_text,
        "operator_type": _is_text,
        "artifact_id": _is_ids,
        "artifact_ids": _is_ids,
        "fold_artifact_ids": _is_id_map,
        "fold_weights": lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
    }
    for key, check in checks.items():
        value = step.get(key)
        _demand((value is None and key != "step_idx") or check(value), f"{key} of a step", value)


def _demand(holds: bool, what: str, value: Any) -> None:
    if not holds:
        raise InvalidInputError(f"{what} is {str(value)[:80]!r}")


def _is_index(value: Any) -> bool:
    return type(value) is int and -(2**31) <= value < 2**31


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_ids(value: Any) -> bool:
    return value is None or _is_text(value) or (isinstance(value, list) and all(map(_is_text, value)))


def _is_id_map(value: Any) -> bool:
    return isinstance(value, dict) and all(key.startswith("_") or _is_ids(ids) for key, ids in value.items())
