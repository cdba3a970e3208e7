"""The artifacts of one step of a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.folds import normalize_fold_key
from n4a_flows.storage.trace.values import append_new, as_document, is_on_branch, known_values


@dataclass
class StepArtifacts:
    """The artifacts of one step, and where in the pipeline each belongs.

    Fold keys are canonical (`fold_0`, `fold_final`), however they are given.

    Attributes
    ----------
    artifact_ids
        Every artifact of the step, once each, in the order they were added.
    primary_artifact_id
        The one that stands for the step, if any.
    fold_artifact_ids
        Fold key -> artifact that was fitted in this fold.
    primary_artifacts, by_chain
        Chain path -> artifact.
    by_branch
        Branch path -> artifacts; `()` is the trunk, which every branch shares.
    by_source
        Index of the data source -> artifacts.
    metadata
        Anything else; the recorder keeps the metadata of an artifact under its id.

    Raises
    ------
    InvalidInputError
        When two artifacts are given for one fold.
    """

    artifact_ids: list[str] = field(default_factory=list)
    primary_artifact_id: str | None = None
    fold_artifact_ids: dict[str, str] = field(default_factory=dict)
    primary_artifacts: dict[str, str] = field(default_factory=dict)
    by_branch: dict[tuple[int, ...], list[str]] = field(default_factory=dict)
    by_source: dict[int, list[str]] = field(default_factory=dict)
    by_chain: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fold_artifact_ids = _canonical_folds(self.fold_artifact_ids)

    def add_artifact(
        self,
        artifact_id: str,
        is_primary: bool = False,
        chain_path: str | None = None,
        branch_path: Sequence[int] | None = None,
        source_index: int | None = None,
    ) -> None:
        """Add an artifact (once), and find it later by its chain path, branch or source."""
        append_new(self.artifact_ids, [artifact_id])
        if is_primary:
            self.primary_artifact_id = artifact_id
        if chain_path is not None:
            self.by_chain[chain_path] = artifact_id
            if is_primary:
                self.primary_artifacts[chain_path] = artifact_id
        if branch_path is not None:
            append_new(self.by_branch.setdefault(tuple(branch_path), []), [artifact_id])
        if source_index is not None:
            append_new(self.by_source.setdefault(source_index, []), [artifact_id])

    def add_fold_artifact(
        self,
        fold_id: int | str,
        artifact_id: str,
        chain_path: str | None = None,
        branch_path: Sequence[int] | None = None,
    ) -> None:
        """Add the artifact that was fitted in a fold."""
        self.add_artifact(artifact_id, chain_path=chain_path, branch_path=branch_path)
        self.fold_artifact_ids[normalize_fold_key(fold_id)] = artifact_id

    def get_fold_artifact_id(self, fold_id: int | str) -> str | None:
        """The artifact that was fitted in a fold, or None."""
        return self.fold_artifact_ids.get(normalize_fold_key(fold_id))

    def get_artifacts_for_branch(self, branch_path: Sequence[int]) -> list[str]:
        """The artifacts that data on this branch met: those of the branch, of its parents and of the trunk."""
        found: list[str] = []
        for path, ids in self.by_branch.items():
            if is_on_branch(path, branch_path):
                append_new(found, ids)
        return found

    def get_artifacts_for_source(self, source_index: int) -> list[str]:
        """The artifacts of one data source."""
        return list(self.by_source.get(source_index, []))

    def get_artifact_by_chain(self, chain_path: str) -> str | None:
        """The artifact with exactly this chain path, or None."""
        return self.by_chain.get(chain_path)

    def merge(self, other: StepArtifacts) -> None:
        """Take in the artifacts of `other`; where both name one for the same place, this one's stays."""
        append_new(self.artifact_ids, other.artifact_ids)
        if self.primary_artifact_id is None:
            self.primary_artifact_id = other.primary_artifact_id
        self.fold_artifact_ids = other.fold_artifact_ids | self.fold_artifact_ids
        self.primary_artifacts = other.primary_artifacts | self.primary_artifacts
        self.by_chain = other.by_chain | self.by_chain
        self.metadata = other.metadata | self.metadata
        for path, ids in other.by_branch.items():
            append_new(self.by_branch.setdefault(path, []), ids)
        for source, ids in other.by_source.items():
            append_new(self.by_source.setdefault(source, []), ids)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; the branch path `(0, 1)` becomes the key `"0.1"` and the trunk `""`."""
        return as_document(
            self, by_branch={".".join(map(str, path)): list(ids) for path, ids in self.by_branch.items()}
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StepArtifacts:
        """The artifacts that `to_dict` wrote; fold keys may be short (`"0"`), keys of sources may be text.

        Raises
        ------
        InvalidInputError
            When a key of `by_branch` or `by_source` cannot be read, or two artifacts are given for one fold.
        """
        values = known_values(cls, document)
        try:
            values["by_branch"] = {_branch_path(key): ids for key, ids in values.get("by_branch", {}).items()}
            values["by_source"] = {int(key): ids for key, ids in values.get("by_source", {}).items()}
        except ValueError as error:
            raise InvalidInputError(
                f"The keys of by_branch must read like '0.1' and those of by_source like '0': {error}."
            ) from error
        return cls(**values)


def _branch_path(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")) if text else ()


def _canonical_folds(artifacts: Mapping[str, str]) -> dict[str, str]:
    canonical: dict[str, str] = {}
    for fold_id, artifact_id in artifacts.items():
        key = normalize_fold_key(fold_id)
        if canonical.setdefault(key, artifact_id) != artifact_id:
            raise InvalidInputError(f"Two artifacts are given for {key}: name every fold once.")
    return canonical
