"""Databases of nirs4all, and how their rows become ours.

Two layouts are known: release 0.7.1 has seven tables, and chains without summary columns; later ones have `projects` and the
summary columns too. Here the old database is attached as `old`, the new one as `ws`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n4a_flows.storage import chains, summaries
from n4a_flows.storage.artifact_files import ArtifactFiles
from n4a_flows.storage.chain_builder import referenced_artifacts
from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import InvalidInputError, SchemaError, WorkspaceError
from n4a_flows.storage.json_values import canonical_json
from n4a_flows.storage.records import note_new
from n4a_flows.storage.session import Session

_NEEDED = ("runs", "pipelines", "chains", "predictions", "prediction_arrays", "artifacts", "logs")
_TABLES = (*_NEEDED, "projects")
# Artifacts that nirs4all recorded while training carry the name of the hash in front of it.
_EXPRESSIONS = {("artifacts", "content_hash"): "regexp_replace(content_hash, '^sha256:', '')"}
_CHUNK = 500


@dataclass(frozen=True)
class Copied:
    """What was copied.

    Attributes
    ----------
    layout
        The old layout, for people.
    columns
        Columns copied, by table.
    rows
        Rows copied, by table.
    warnings
        What is wrong with the old workspace, one sentence each.
    """

    layout: str
    columns: Mapping[str, Sequence[str]]
    rows: Mapping[str, int]
    warnings: Sequence[str]


def recognised(tables: Set[str]) -> bool:
    """Whether these are the tables of a nirs4all workspace."""
    return {"runs", "pipelines", "chains"} <= tables


def copy(session: Session, artifacts_folder: Path) -> Copied:
    """Copy every row from `old` into the new database, and derive what only the new one has.

    Raises
    ------
    SchemaError
        When the old database lacks a table or column that cannot be left empty.
    """
    warnings: list[str] = []
    columns = _common_columns(session, warnings)
    rows = {
        table: session.changed(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {_expressions(table, names)} FROM old.{table}"
        )
        for table, names in columns.items()
    }
    session.execute(
        "INSERT INTO artifact_saves SELECT artifact_id, coalesce(created_at, CAST(? AS TIMESTAMP)) FROM artifacts",
        [now()],
    )
    has_summaries = "cv_val_score" in columns["chains"]
    if "dataset_name" not in columns["chains"]:
        session.execute(
            "UPDATE chains SET dataset_name = pipelines.dataset_name FROM pipelines "
            "WHERE pipelines.pipeline_id = chains.pipeline_id"
        )
    if not has_summaries:
        _summarise(session)
    _derive_edges_and_contexts(session, warnings)
    warnings += _reused_names(session)
    warnings += _missing_files(session, ArtifactFiles(artifacts_folder))
    layout = "nirs4all after 0.7.1" if has_summaries else "nirs4all 0.7.1"
    return Copied(layout, columns, rows, warnings)


def compare(session: Session, copied: Copied) -> None:
    """Read both databases and compare the number of rows and a checksum over every copied value.

    Raises
    ------
    WorkspaceError
        When a table differs.
    """
    for table, names in copied.columns.items():
        old, new = (
            session.rows(f"SELECT count(*), sum(hash({values})) FROM {database}.{table}")
            for database, values in (("old", _expressions(table, names)), ("ws", ", ".join(names)))
        )
        if old != new:
            raise WorkspaceError(
                f"The copy of the table {table} differs from the original (rows and checksum {new[0]}, not {old[0]}), so the "
                "database was not upgraded and is in place as it was. Check the disk, then try again."
            )


def _common_columns(session: Session, warnings: list[str]) -> dict[str, list[str]]:
    found = _columns_of(session, "old")
    missing = [table for table in _NEEDED if table not in found]
    if missing:
        raise SchemaError(
            f"This database of nirs4all has no {' and no '.join(missing)}: open it once with nirs4all 0.7.1, then upgrade it."
        )
    ours = _columns_of(session, "ws")
    common: dict[str, list[str]] = {}
    for table in _TABLES:
        if table not in found:
            continue
        common[table] = [column for column in ours[table] if column in found[table]]
        for column, nullable in ours[table].items():
            if not nullable and column not in found[table]:
                raise SchemaError(
                    f"The table {table} of this nirs4all database has no column {column}: open it once with nirs4all 0.7.1, "
                    "then upgrade it."
                )
        warnings.extend(
            f"The column {column} of the table {table} is not known here and stays in the kept database only."
            for column in found[table]
            if column not in ours[table]
        )
    warnings.extend(
        f"The table {table} is not known here and stays in the kept database only."
        for table in found
        if table not in _TABLES
    )
    return common


def _columns_of(session: Session, database: str) -> dict[str, dict[str, bool]]:
    """Table -> column -> whether it may be NULL."""
    tables: dict[str, dict[str, bool]] = {}
    for table, column, nullable in session.rows(
        "SELECT table_name, column_name, is_nullable FROM duckdb_columns() JOIN duckdb_tables() USING (database_name, table_name) "
        "WHERE database_name = ? ORDER BY table_name, column_index",
        [database],
    ):
        tables.setdefault(table, {})[column] = nullable
    return tables


def _expressions(table: str, columns: Sequence[str]) -> str:
    return ", ".join(_EXPRESSIONS.get((table, column), column) for column in columns)


def _summarise(session: Session) -> None:
    chain_ids = [chain_id for (chain_id,) in session.rows("SELECT chain_id FROM chains")]
    for start in range(0, len(chain_ids), _CHUNK):
        for chain_id in chain_ids[start : start + _CHUNK]:
            note_new(session, "chains", chain_id)
            summaries.update(session, chain_id)
        session.flush()


def _derive_edges_and_contexts(session: Session, warnings: list[str]) -> None:
    hashes = dict(session.rows("SELECT artifact_id, content_hash FROM artifacts"))
    for row in _chain_rows(session):
        chain_id = row["chain_id"]
        document = {key: row[key] for key in chains.DOCUMENT_KEYS}
        try:
            edges = _edges(document)
            content_hashes = {artifact_id: hashes.get(artifact_id, artifact_id) for artifact_id in edges}
            digest = chains.digest(document, content_hashes, axis=None, signal=None, task_type=row["task_type"])
        except InvalidInputError as error:
            edges, digest = _edges_of_unreadable(document, hashes)
            warnings.append(f"The chain {chain_id} cannot be replayed, its document is not a chain's. {error}")
        warnings.extend(
            f"The chain {chain_id} names the artifact {artifact_id}, which this workspace does not have."
            for artifact_id in edges
            if artifact_id not in hashes
        )
        for artifact_id, count in edges.items():
            session.append("chain_artifacts", {"chain_id": chain_id, "artifact_id": artifact_id, "count": count})
        session.append("chain_context", {"chain_id": chain_id, "digest": digest, "task_type": row["task_type"]})


def _chain_rows(session: Session) -> Iterator[dict[str, Any]]:
    # Rows of a transaction that has not been committed are numbered from somewhere far above 0.
    [(first, end)] = session.rows("SELECT coalesce(min(rowid), 0), coalesce(max(rowid) + 1, 0) FROM chains")
    columns = ", ".join(("chain_id", "task_type", *chains.DOCUMENT_KEYS))
    for start in range(first, end, _CHUNK):
        sql = f"SELECT {columns} FROM chains WHERE rowid >= ? AND rowid < ?"
        for row in session.dicts(sql, [start, start + _CHUNK]):
            yield chains.decoded(row)


def _edges(document: Mapping[str, Any]) -> Counter[str]:
    steps, *maps = (document[key] for key in ("steps", "fold_artifacts", "shared_artifacts"))
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise InvalidInputError("Its steps are no list of steps.")
    if not all(artifacts is None or isinstance(artifacts, dict) for artifacts in maps):
        raise InvalidInputError("Its artifacts are not listed by fold and step.")
    return referenced_artifacts(steps, *maps)


def _edges_of_unreadable(document: Mapping[str, Any], known: Mapping[str, str]) -> tuple[Counter[str], str]:
    """An edge to every artifact that the document mentions anywhere, so that none is taken for garbage."""
    mentioned: Counter[str] = Counter()

    def note(value: Any) -> None:
        if isinstance(value, str) and value in known:
            mentioned[value] += 1
        elif isinstance(value, list | dict):
            for item in value.values() if isinstance(value, dict) else value:
                note(item)

    note(dict(document))
    return mentioned, hashlib.sha256(canonical_json(document, "chain").encode()).hexdigest()


def _reused_names(session: Session) -> list[str]:
    """nirs4all made some ids from the pipeline's definition, and ignored what was saved under an id that it had already."""
    return [
        f"The artifact {artifact_id} is named by chains of {count} pipelines. nirs4all 0.7.1 kept the first object saved under "
        "this id only, so chains of later pipelines may predict with a model that was trained on other data."
        for artifact_id, count in session.rows(
            "SELECT artifact_id, count(DISTINCT pipeline_id) AS pipelines FROM chain_artifacts JOIN chains USING (chain_id) "
            "WHERE contains(artifact_id, '$') GROUP BY artifact_id HAVING pipelines > 1 ORDER BY artifact_id"
        )
    ]


def _missing_files(session: Session, files: ArtifactFiles) -> Iterator[str]:
    for artifact_id, path in session.rows(
        "SELECT artifact_id, artifact_path FROM artifacts ORDER BY created_at, rowid"
    ):
        try:
            if not files.path(path).is_file():
                yield f"The file {path} of the artifact {artifact_id} is missing."
        except InvalidInputError as error:
            yield f"The artifact {artifact_id} has no usable path. {error}"
