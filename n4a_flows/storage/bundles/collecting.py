"""A chain of the workspace with everything that it names, to be taken elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from n4a_flows.storage import artifacts, chains
from n4a_flows.storage.artifact_files import ArtifactFiles
from n4a_flows.storage.chain_builder import referenced_artifacts
from n4a_flows.storage.chain_replay import ChainPackage, needed_artifacts
from n4a_flows.storage.session import Session


def whole_chain(session: Session, files: ArtifactFiles, chain_id: str) -> ChainPackage:
    """A chain with all its artifacts, its probe and its limits, not only those that predicting needs.

    Folds that predicting does not need and that were given up since (`cleanup_transient_artifacts`) are left out of the document;
    its digest is then that of the chain without them.

    Raises
    ------
    UnknownIdError, ArtifactMissingError, ArtifactCorruptError, ReplayError
        As in `WorkspaceStore.chain_package`.
    """
    document, context = chains.document_of(session, chain_id, whole=True), chains.context_of(session, chain_id)
    named = _named(document)
    given_up = named - artifacts.existing(session, named) - set(needed_artifacts(document))
    if given_up:
        document = _without(document, given_up)
        named = _named(document)
        hashes = artifacts.hashes_of(session, named)
        digest = chains.digest(document, hashes, context.axis, context.signal, context.task_type)
        context = replace(context, digest=digest)
    stored = artifacts.stored(session, files, sorted(named.union(context.companions)))
    limits = stored.get(context.limits_artifact_id or "")
    return ChainPackage(document, context, stored, None if limits is None else limits.data)


def _named(document: Mapping[str, Any]) -> set[str]:
    return set(referenced_artifacts(*(document[key] for key in ("steps", "fold_artifacts", "shared_artifacts"))))


def _without(document: Mapping[str, Any], given_up: Collection[str]) -> dict[str, Any]:
    def kept(by_fold: Mapping[str, Any]) -> dict[str, Any]:
        return {key: ids for key, ids in by_fold.items() if not set(_as_list(ids)) & set(given_up)}

    steps = [
        {**step, "fold_artifact_ids": kept(step["fold_artifact_ids"])} if step.get("fold_artifact_ids") else step
        for step in document["steps"]
    ]
    return {**document, "steps": steps, "fold_artifacts": kept(document["fold_artifacts"])}


def _as_list(ids: Any) -> list[str]:
    return [ids] if isinstance(ids, str) else list(ids or [])
