"""Verify: whether rows, edges and files of a workspace still say the same.

Two sorts of things are found. Findings are damage: something recorded cannot be used, or something needed is not protected. Notes
are harmless and come with normal use: a file that a rolled back recording left, a chain whose artifacts were given up.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from n4a_flows.storage import schema
from n4a_flows.storage.artifact_files import ArtifactFiles
from n4a_flows.storage.chain_builder import referenced_artifacts
from n4a_flows.storage.durable_files import TEMPORARY_PREFIX
from n4a_flows.storage.errors import InvalidInputError, WorkspaceError
from n4a_flows.storage.json_values import from_json
from n4a_flows.storage.session import Session

CheckLevel = Literal["quick", "full", "replay"]

_WRITING = 3600.0
"""Seconds for which a temporary file may still be some process's that is writing it."""

JSON_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "runs": ("config", "datasets", "summary"),
    "pipelines": ("expanded_config", "generator_choices"),
    "chains": (
        "steps",
        "fold_artifacts",
        "shared_artifacts",
        "branch_path",
        "best_params",
        "cv_scores",
        "final_scores",
    ),
    "predictions": ("scores", "best_params"),
    "logs": ("details",),
    "prediction_labels": ("labels",),
    "scored_files": ("detail",),
    "scored_samples": ("reasons", "detail"),
    "scored_batches": ("reasons", "detail"),
    "limit_crossings": ("sample_ids",),
}
"""Columns that hold JSON, by table; the first column of a table names the row."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes
    ----------
    kind
        What sort of thing, for example `"missing_file"`, `"damaged_file"`, `"edges"` or `"arrays_without_prediction"`.
    subject
        What it is about: an id, an alias, or a file relative to `artifacts/`.
    message
        What is wrong and, where `repair` cannot mend it, what to do.
    mendable
        Whether `repair` can mend it.
    """

    kind: str
    subject: str
    message: str
    mendable: bool


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes
    ----------
    level
        `"quick"`, `"full"` or `"replay"`.
    checked
        Rows by table, `files` found below `artifacts/`, `hashed`: files whose SHA-256 was compared, and `replayed`: chains whose
        probe was predicted again.
    findings
        Damage. None in a workspace that is whole.
    notes
        What is harmless: `orphan_file` and `temporary_file` (nothing names them), `ref_count` (lower than the edges, which alone
        protect), `trimmed` (a chain whose artifacts were given up), `edges` (too few, but other chains keep the same artifacts),
        `no_probe` (a chain that cannot be replayed for comparison, for nothing was kept to compare with).
    """

    level: CheckLevel
    checked: dict[str, int]
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no damage; notes do not count."""
        return not self.findings

    def summary(self) -> str:
        """Text for people: what was checked, every finding, and the notes counted by kind."""
        rows = sum(count for name, count in self.checked.items() if name not in ("files", "hashed", "replayed"))
        replayed = f", {self.checked['replayed']} chains replayed" if self.level == "replay" else ""
        lines = [
            f"{self.level} check of {rows} rows and {self.checked['files']} files ({self.checked['hashed']} of them hashed)"
            f"{replayed}: {'whole' if self.ok else f'{len(self.findings)} findings'}"
        ]
        lines += listed(self.findings)
        lines += [f"note: {count} x {kind}" for kind, count in Counter(note.kind for note in self.notes).items()]
        return "\n".join(lines)


def listed(findings: Iterable[Finding]) -> list[str]:
    """A line of text for each finding."""
    return [f"{one.kind} {one.subject}: {one.message}" for one in findings]


@dataclass(frozen=True)
class Link:
    """Rows of a table that must have a parent. Those that are of no use without it are removed by a repair."""

    kind: str
    table: str
    column: str
    parent: str
    parent_column: str
    subject: str
    removable: bool = False


def _of_parent(kind: str, table: str, column: str, parent: str) -> Link:
    return Link(kind, table, column, parent, column, column, removable=True)


LINKS = (
    Link("pipeline_without_run", "pipelines", "run_id", "runs", "run_id", "pipeline_id"),
    Link("chain_without_pipeline", "chains", "pipeline_id", "pipelines", "pipeline_id", "chain_id"),
    Link("chain_without_context", "chains", "chain_id", "chain_context", "chain_id", "chain_id"),
    Link("prediction_without_pipeline", "predictions", "pipeline_id", "pipelines", "pipeline_id", "prediction_id"),
    Link("prediction_without_chain", "predictions", "chain_id", "chains", "chain_id", "prediction_id"),
    Link("samples_without_file", "scored_samples", "scoring_id", "scored_files", "scoring_id", "scoring_id"),
    _of_parent("arrays_without_prediction", "prediction_arrays", "prediction_id", "predictions"),
    _of_parent("labels_without_prediction", "prediction_labels", "prediction_id", "predictions"),
    _of_parent("logs_without_pipeline", "logs", "pipeline_id", "pipelines"),
    _of_parent("edges_without_chain", "chain_artifacts", "chain_id", "chains"),
    _of_parent("context_without_chain", "chain_context", "chain_id", "chains"),
    _of_parent("saves_without_artifact", "artifact_saves", "artifact_id", "artifacts"),
    _of_parent("origin_without_run", "run_origins", "run_id", "runs"),
)


def _dangling(session: Session) -> Iterator[Finding]:
    for link in LINKS:
        rows = session.rows(
            f"SELECT {link.subject}, any_value({link.column}), count(*) FROM {link.table} t WHERE {without_parent(link)} "
            "GROUP BY ALL ORDER BY ALL"
        )
        for subject, parent_id, count in rows:
            said = f"{count} {'row' if count == 1 else 'rows'} of {link.table}, but none of {link.parent}, for {parent_id}."
            said += "" if link.removable else " Restore the workspace from a backup."
            yield Finding(link.kind, str(subject), said, link.removable)


def without_parent(link: Link) -> str:
    """The condition under which a row of the table, called t, lacks its parent."""
    return (
        f"t.{link.column} IS NOT NULL AND NOT EXISTS "
        f"(SELECT 1 FROM {link.parent} p WHERE p.{link.parent_column} = t.{link.column})"
    )


def _aliases(session: Session) -> Iterator[Finding]:
    lost = session.rows(
        "SELECT alias, chain_id FROM aliases t WHERE ended_at IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM chains c WHERE c.chain_id = t.chain_id) ORDER BY ALL"
    )
    for alias, chain_id in lost:
        said = f"The alias names chain {chain_id}, which is gone. Set it to another chain, or remove it."
        yield Finding("alias_without_chain", alias, said, mendable=False)
    twice = session.rows(
        "SELECT alias FROM aliases WHERE ended_at IS NULL GROUP BY alias HAVING count(*) > 1 ORDER BY ALL"
    )
    for (alias,) in twice:
        said = "The alias names several chains at once. Set it to the one that is meant."
        yield Finding("alias_named_twice", alias, said, mendable=False)


def _unreadable_json(session: Session) -> Iterator[Finding]:
    for table, columns in JSON_COLUMNS.items():
        for column in columns:
            rows = session.rows(
                f"SELECT DISTINCT {schema.COLUMNS[table][0]} FROM {table} "
                f"WHERE {column} IS NOT NULL AND NOT json_valid({column}) ORDER BY ALL"
            )
            for (subject,) in rows:
                said = f"The column {column} of {table} holds no JSON. Restore the workspace from a backup."
                yield Finding("unreadable_json", subject, said, mendable=False)


def _edges(
    session: Session, unreadable: Collection[str], wanted: dict[str, Counter[str]]
) -> Iterator[tuple[Finding, bool]]:
    """Edges against documents, as (finding, whether it is a note); `wanted` gets the edges of the chains to be mended."""
    existing = {artifact_id for (artifact_id,) in session.rows("SELECT artifact_id FROM artifacts")}
    stored: dict[str, Counter[str]] = {}
    protected: Counter[str] = Counter()  # by how many chains
    for chain_id, artifact_id, count in session.rows("SELECT chain_id, artifact_id, count FROM chain_artifacts"):
        stored.setdefault(chain_id, Counter())[artifact_id] += count
        protected[artifact_id] += count > 0
    chains = session.rows(
        "SELECT chain_id, x.probe_artifact_id, x.limits_artifact_id, steps, fold_artifacts, shared_artifacts FROM chains c "
        "LEFT JOIN chain_context x USING (chain_id) ORDER BY chain_id"
    )
    for chain_id, probe, limits, *document in chains:
        if chain_id in unreadable:
            continue
        named = _named(*document)
        if named is None:
            said = "The steps and artifacts of the chain cannot be understood. Restore the workspace from a backup."
            yield Finding("unreadable_chain", chain_id, said, mendable=False), False
            continue
        named.update(companion for companion in (probe, limits) if companion is not None)
        edges = stored.get(chain_id, Counter())
        lost = sorted((named.keys() & edges.keys()) - existing)
        if lost:
            said = f"The chain needs {_several(lost, 'artifact')} without a row. Restore a backup, or train it again."
            yield Finding("chain_without_artifact", chain_id, said, mendable=False), False
        given_up = sorted(named.keys() - edges.keys() - existing)
        right = named
        if given_up:
            # Whoever gave up an artifact took the edges; more than the document says is wrong all the same.
            said = f"{_several(given_up, 'artifact')} of the chain were given up, so it cannot be replayed as a whole."
            yield Finding("trimmed", chain_id, said, mendable=False), True
            right = Counter({key: min(count, named[key]) for key, count in edges.items() if named[key] and count > 0})
        if edges != right or len(edges) != len(right):
            wanted[chain_id] = right
            different = sorted(key for key in edges.keys() | right.keys() if edges[key] != right[key])
            said = f"The edges of the chain differ from its document for {_several(different, 'artifact')}."
            # So it is after a trimming too, where another chain has the same artifact, and keeps it.
            kept = all(edges[key] < right[key] and protected[key] > (key in edges) for key in different)
            yield Finding("edges", chain_id, said, mendable=True), kept and all(edges.values())


def _several(ids: list[str], what: str) -> str:
    return f"{what} {ids[0]}" if len(ids) == 1 else f"{len(ids)} {what}s, the first is {ids[0]},"


def _named(steps: str, fold_artifacts: str | None, shared_artifacts: str | None) -> Counter[str] | None:
    """How often a chain document names each artifact, or None when it is no chain document."""
    decoded = from_json(steps)
    by_fold, shared = from_json(fold_artifacts), from_json(shared_artifacts)
    maps = [by_fold, shared]
    if not isinstance(decoded, list) or not all(isinstance(step, dict) for step in decoded):
        return None
    maps += [step.get("fold_artifact_ids") for step in decoded]
    if not all(value is None or isinstance(value, dict) for value in maps):
        return None
    try:
        return referenced_artifacts(decoded, by_fold, shared)
    except InvalidInputError:
        return None


def _ref_counts(session: Session) -> Iterator[tuple[Finding, bool]]:
    rows = session.rows(
        "SELECT artifact_id, ref_count, needed FROM (SELECT a.artifact_id, a.ref_count, coalesce(e.needed, 0) AS needed "
        "FROM artifacts a LEFT JOIN (SELECT artifact_id, sum(count) AS needed FROM chain_artifacts GROUP BY artifact_id) e "
        "USING (artifact_id)) WHERE ref_count IS NULL OR ref_count < greatest(needed, 0) ORDER BY artifact_id"
    )
    for artifact_id, ref_count, needed in rows:
        said = f"The ref_count is {ref_count}, but chains name the artifact {needed} times."
        # An artifact that was saved once and put into two chains has fewer than its edges: they alone protect it.
        yield Finding("ref_count", artifact_id, said, mendable=True), ref_count is not None and ref_count >= 0


def _on_disk(files: ArtifactFiles) -> dict[str, os.stat_result]:
    """Every file below `artifacts/` by its relative path."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # an empty folder may go meanwhile
            raise WorkspaceError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error

    found = {}
    for folder, _, names in os.walk(files.folder, onerror=refuse):
        for name in names:
            path = Path(folder, name)
            # What a recording was writing has its final name by now, or is gone.
            with contextlib.suppress(FileNotFoundError):
                found[path.relative_to(files.folder).as_posix()] = path.lstat()
    return found


def _files(
    session: Session, files: ArtifactFiles, found: Mapping[str, os.stat_result], hashes: dict[str, tuple[str, str]]
) -> Iterator[tuple[Finding, bool]]:
    """Rows against files both ways; `hashes` gets artifact id -> (path, SHA-256) of those that can be hashed."""
    recorded = set()
    rows = session.rows(
        "SELECT artifact_id, artifact_path, content_hash, size_bytes FROM artifacts ORDER BY artifact_id"
    )
    for artifact_id, recorded_path, digest, size in rows:
        try:
            relative = os.path.normpath(files.relative(recorded_path))
        except InvalidInputError as error:
            yield Finding("foreign_path", artifact_id, f"{error} Restore the workspace from a backup.", False), False
            continue
        recorded.add(relative)
        if relative not in found:
            yield missing(artifact_id, relative), False
        elif size is not None and found[relative].st_size != size:
            said = f"The file {relative} has {found[relative].st_size} bytes, not the recorded {size}. {RESTORE}"
            yield Finding("damaged_file", artifact_id, said, mendable=False), False
        else:
            hashes[artifact_id] = (relative, digest)
    for relative in sorted(found.keys() - recorded):
        if Path(relative).name.startswith(TEMPORARY_PREFIX):
            old = time.time() - found[relative].st_mtime > _WRITING
            said = (
                "No artifact: a killed process was writing it." if old else "No artifact yet: it may be being written."
            )
            yield Finding("temporary_file", relative, said, mendable=old), True
        else:
            said = "No artifact has this file: a recording was not finished, or is on its way."
            yield Finding("orphan_file", relative, said, mendable=True), True


RESTORE = "Restore it from a backup, or save the same object again."


def missing(artifact_id: str, relative: str) -> Finding:
    return Finding("missing_file", artifact_id, f"The file {relative} is missing. {RESTORE}", mendable=False)


def no_probe(chain_id: str) -> Finding:
    """The note about a chain that has nothing to compare with."""
    return Finding("no_probe", chain_id, "No probe was stored with the chain, so its replay was not compared.", False)


@dataclass
class Inspection:
    """What one look at the rows, and at the names and sizes of the files, has found."""

    findings: list[Finding]
    notes: list[Finding]
    checked: dict[str, int]
    edges: dict[str, Counter[str]]
    """The right edges of every chain whose edges are wrong."""
    probes: dict[str, str | None]
    """Chain id -> artifact id of its probe, of the chains whose artifacts were not given up."""
    hashes: dict[str, tuple[str, str]]
    """Artifact id -> (path, SHA-256) of the files that are there in their right size."""


def look(session: Session, files: ArtifactFiles) -> Inspection:
    """Look at everything but the bytes of files.

    Raises
    ------
    WorkspaceError
        When a folder of artifacts cannot be read.
    """
    seen = Inspection([], [], {}, {}, {}, {})
    for table in schema.COLUMNS:
        seen.checked[table] = session.rows(f"SELECT count(*) FROM {table}")[0][0]
    found = _on_disk(files)
    seen.checked |= {"files": len(found), "hashed": 0, "replayed": 0}
    seen.findings += [*_dangling(session), *_aliases(session), *_unreadable_json(session)]
    unreadable = {finding.subject for finding in seen.findings if finding.kind == "unreadable_json"}
    rows, counts = _edges(session, unreadable, seen.edges), _ref_counts(session)
    for looks in (rows, counts, _files(session, files, found, seen.hashes)):
        for finding, harmless in looks:
            (seen.notes if harmless else seen.findings).append(finding)
    trimmed = {note.subject for note in seen.notes if note.kind == "trimmed"}
    kept = session.rows(
        "SELECT chain_id, probe_artifact_id FROM chain_context JOIN chains USING (chain_id) ORDER BY ALL"
    )
    seen.probes = {chain_id: probe for chain_id, probe in kept if chain_id not in trimmed}
    return seen


def refuse_unknown(level: str, sample: float) -> None:
    """Raise `InvalidInputError` unless there is such a level, and the sample is a share."""
    if level not in get_args(CheckLevel):
        raise InvalidInputError(f"Unknown level {level!r} of a check: use one of {', '.join(get_args(CheckLevel))}.")
    if not 0 <= sample <= 1:
        raise InvalidInputError(f"sample is the share to hash and to replay, from 0 to 1, not {sample!r}.")


def still_recorded(session: Session, findings: Iterable[Finding]) -> list[Finding]:
    """Findings about artifacts and chains whose row is still there: a clean-up takes rows before files."""
    known = {
        identity
        for (identity,) in session.rows("SELECT artifact_id FROM artifacts UNION ALL SELECT chain_id FROM chains")
    }
    return [finding for finding in findings if finding.subject in known]
