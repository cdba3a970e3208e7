"""A bundle comes into a workspace: bytes under their digests, the chain with a run and a pipeline that say where it is from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from n4a_flows.storage import artifacts, chains, probes, records
from n4a_flows.storage.artifact_files import ArtifactFiles, PreparedArtifact
from n4a_flows.storage.bundles import requirements
from n4a_flows.storage.bundles.contents import BundleContents, BundleInfo
from n4a_flows.storage.bundles.requirements import VersionDifference
from n4a_flows.storage.chain_builder import referenced_artifacts, replace_artifacts
from n4a_flows.storage.codecs import Trust
from n4a_flows.storage.errors import BundleError, InvalidInputError
from n4a_flows.storage.probes import Probe, ProbeReport
from n4a_flows.storage.session import Session
from n4a_flows.storage.texts import storable

logger = logging.getLogger(__name__)

Versions = Literal["report", "refuse", "allow"]
"""What to do about packages of other versions."""


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    chain_id
        The chain in this workspace.
    digest
        Its digest.
    already_there
        Whether the workspace had an equal chain, so that nothing was added.
    new_artifacts, known_artifacts
        How many artifacts came in, and how many the workspace had already.
    differences
        Packages that are here in other versions than where the bundle was written.
    missing
        Packages that it imports and that cannot be imported here.
    probe
        How the replayed probe compares; None when nothing was loaded, or the bundle has no probe.
    """

    chain_id: str
    digest: str
    already_there: bool
    new_artifacts: int
    known_artifacts: int
    differences: tuple[VersionDifference, ...]
    missing: tuple[str, ...]
    probe: ProbeReport | None


def check_versions(info: BundleInfo, versions: Versions) -> tuple[tuple[VersionDifference, ...], tuple[str, ...]]:
    """Compare the packages that a bundle was recorded with to those that are here.

    Returns
    -------
    Those of another version, and those that cannot be imported.

    Raises
    ------
    BundleError
        With `"refuse"`, when there are any, or the bundle does not say what it was recorded with.
    InvalidInputError
        When `versions` is none of the three.
    """
    if versions not in get_args(Versions):
        raise InvalidInputError(f"Unknown versions {versions!r}: use one of {', '.join(get_args(Versions))}.")
    differences, missing = requirements.differences(info.packages), requirements.missing(info.imports)
    said = [f"{d.package} {d.recorded} (here {d.installed or 'not installed'})" for d in differences]
    said += [f"{name} (cannot be imported here)" for name in missing]
    if versions == "refuse" and not info.packages:
        raise BundleError("The bundle does not say which package versions it was recorded with.")
    if versions == "refuse" and said:
        raise BundleError(f"The bundle was recorded with other packages: {', '.join(said)}.")
    if versions == "report" and said:
        logger.warning("The bundle %s was recorded with other packages: %s.", info.path.name, ", ".join(said))
    return differences, missing


def replay_probe(contents: BundleContents, trust: Trust, allowed_modules: Sequence[str]) -> ProbeReport | None:
    """Load the chain of a bundle and predict its probe; None when it has none.

    Raises
    ------
    UntrustedError, ArtifactLoadError, ReplayError
        When the chain cannot be loaded.
    BundleError
        When it does not predict what the bundle says it predicts.
    """
    predictor = contents.package().load(trust, allowed_modules)
    if contents.probe is None:
        return None
    report = probes.replay(predictor, Probe.from_bytes(contents.probe.data))
    if not report.agrees:
        raise BundleError(
            f"The chain in the bundle does not predict here what it predicted where it comes from, so it is not imported. "
            f"{report.problem} Import it with trust=None to keep it all the same."
        )
    return report


@dataclass(frozen=True)
class Prepared:
    """The bytes of a bundle on disk, under their digests.

    Attributes
    ----------
    artifacts
        By their ids in the bundle.
    probe, limits
        Probe and limits, if there are any.
    """

    artifacts: Mapping[str, PreparedArtifact]
    probe: PreparedArtifact | None
    limits: PreparedArtifact | None

    @classmethod
    def written(cls, files: ArtifactFiles, contents: BundleContents) -> Prepared:
        """Write what is not there already."""
        return cls(
            {artifact_id: files.write(found) for artifact_id, found in contents.artifacts.items()},
            None if contents.probe is None else files.write(contents.probe),
            None if contents.limits is None else files.write(contents.limits),
        )

    def content_hashes(self) -> set[str]:
        """The digests of all of them."""
        all_of_them = [*self.artifacts.values(), self.probe, self.limits]
        return {found.serialized.content_hash for found in all_of_them if found is not None}


def record(
    session: Session,
    files: ArtifactFiles,
    contents: BundleContents,
    prepared: Prepared,
    differences: tuple[VersionDifference, ...],
    missing: tuple[str, ...],
    probe: ProbeReport | None,
) -> ImportReport:
    """Add the chain of a bundle, with a completed run and pipeline of its own, unless the workspace has an equal one."""
    info, digest = contents.info, contents.context.digest
    hashes = prepared.content_hashes()
    known = artifacts.known_hashes(session, hashes)
    found = _equal_chain(session, digest, prepared)
    chain_id = found or _add(session, files, contents, prepared)
    there = " was here already" if found else ""
    session.tell(logger, "Chain %s%s: imported from %s, SHA-256 %s", chain_id, there, info.path.name, info.sha256)
    return ImportReport(
        chain_id=chain_id,
        digest=digest,
        already_there=found is not None,
        new_artifacts=0 if found else len(hashes) - known,
        known_artifacts=known,
        differences=differences,
        missing=missing,
        probe=None if probe is None else replace(probe, chain_id=chain_id),
    )


def _equal_chain(session: Session, digest: str | None, prepared: Prepared | None) -> str | None:
    """The first chain with this digest that has all that the bundle brings, if it brings it.

    One without limits does not stand for one with them, nor one that was trimmed, and keeps its digest, for a whole one.
    """
    rows = session.rows(
        "SELECT chain_id FROM chain_context JOIN chains USING (chain_id) "
        "WHERE digest = ? AND (NOT ? OR limits_artifact_id IS NOT NULL) ORDER BY created_at",
        [digest, prepared is not None and prepared.limits is not None],
    )
    brought = set() if prepared is None else {one.serialized.content_hash for one in prepared.artifacts.values()}
    for (chain_id,) in rows:
        held = session.rows(
            "SELECT content_hash FROM chain_artifacts JOIN artifacts USING (artifact_id) WHERE chain_id = ?", [chain_id]
        )
        if brought <= {content_hash for (content_hash,) in held}:
            return str(chain_id)
    return None


def _add(session: Session, files: ArtifactFiles, contents: BundleContents, prepared: Prepared) -> str:
    info, context, document = contents.info, contents.context, contents.document
    file = storable(info.path.name)
    source = {
        "file": file,
        "sha256": info.sha256,
        "origin": info.origin,
        "chain_id": info.chain_id,
        "exported_at": info.exported_at,
    }
    dataset = info.dataset_name or ""
    name = f"import of {file}"
    run_id = records.begin_run(session, name, {"imported_from": source}, [dataset] if dataset else [], None)
    pipeline_id = records.begin_pipeline(session, run_id, name, {"imported_from": source}, [], dataset, "")
    places = referenced_artifacts(*(document[key] for key in ("steps", "fold_artifacts", "shared_artifacts")))
    ids = {}
    for artifact_id, found in prepared.artifacts.items():
        # Once for each place in the chain that names it, which is how references are counted.
        for _ in range(places[artifact_id]):
            ids[artifact_id] = artifacts.save(session, files, found)
    row: dict[str, Any] = {
        **replace_artifacts(document, ids),
        "pipeline_id": pipeline_id,
        "model_class": info.model_class,
        "preprocessings": info.preprocessings,
        "fold_strategy": info.fold_strategy,
        "dataset_name": dataset,
    }
    chain_id = chains.save(
        session,
        row,
        axis=context.axis,
        signal=context.signal,
        x_range=context.x_range,
        target=context.target,
        task_type=context.task_type,
        probe_artifact_id=None if prepared.probe is None else artifacts.save(session, files, prepared.probe),
        limits_artifact_id=None if prepared.limits is None else artifacts.save(session, files, prepared.limits),
        parent_chain_id=_equal_chain(session, context.parent_digest, None),
        parent_digest=context.parent_digest,
        unit=context.unit,
    )
    records.end(session, "pipelines", pipeline_id, "completed")
    records.end(session, "runs", run_id, "completed", summary={"chain_id": chain_id, "digest": context.digest})
    return chain_id
