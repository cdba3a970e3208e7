"""The rows that describe artifacts: which bytes there are, what they are, how often they were saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from n4a_flows.storage.artifact_files import ArtifactFiles, NeededFiles, PreparedArtifact
from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import UnknownIdError
from n4a_flows.storage.identity import new_id
from n4a_flows.storage.recorded_hashes import RecordedHashes
from n4a_flows.storage.session import Session


@dataclass(frozen=True)
class StoredArtifact:
    """The verified bytes of one artifact, and what is needed to load them. Picklable, for workers."""

    artifact_id: str
    data: bytes
    content_hash: str
    format: str
    operator_class: str
    artifact_type: str


def save(session: Session, files: ArtifactFiles, prepared: PreparedArtifact, *, unwritten: bool = False) -> str:
    """Record a prepared artifact: a new row, or one more reference to the row that has the same bytes.

    A file that is `unwritten` is written together with others of this transaction, before its commit and before anything is read.
    """
    artifact = prepared.serialized
    found = _by_hash(session, artifact.content_hash)
    if found is None:
        found = _known(session)[artifact.content_hash] = _added(session, prepared)
    artifact_id, relative_path = found
    _count_save(session, artifact_id)
    needed = session.before_commit.setdefault("artifact files", NeededFiles(files))
    assert isinstance(needed, NeededFiles)
    needed.need(relative_path, artifact, unwritten=unwritten)
    if unwritten:
        session.defer("artifact files", needed.write)
    return artifact_id


def _added(session: Session, prepared: PreparedArtifact) -> tuple[str, str]:
    artifact, artifact_id, moment = prepared.serialized, new_id(), now()
    row: dict[str, Any] = {
        "artifact_id": artifact_id,
        "artifact_path": prepared.relative_path,
        "content_hash": artifact.content_hash,
        "operator_class": artifact.operator_class,
        "artifact_type": artifact.artifact_type,
        "format": artifact.format,
        "size_bytes": len(artifact.data),
        "ref_count": 0,
        "created_at": moment,
    }
    session.append("artifacts", row)
    session.append("artifact_saves", {"artifact_id": artifact_id, "saved_at": moment})
    RecordedHashes.of(session).add(artifact.content_hash)
    added: dict[str, dict[str, Any]] = session.memo.setdefault("artifacts not written", {})
    added[artifact_id] = row
    session.defer("artifacts not written", added.clear)
    return artifact_id, prepared.relative_path


def _count_save(session: Session, artifact_id: str) -> None:
    row = session.memo.get("artifacts not written", {}).get(artifact_id)
    if row is not None:
        row["ref_count"] += 1
        return
    saves: Counter[str] = session.memo.setdefault("saves", Counter())
    saves[artifact_id] += 1
    session.defer("count saves", lambda: _count_saves(session, saves))


def save_many(session: Session, files: ArtifactFiles, prepared: Sequence[PreparedArtifact]) -> list[str]:
    """`save` for many, which are looked up together."""
    known = _known(session)
    wanted = list({item.serialized.content_hash for item in prepared} - known.keys())
    known.update(dict.fromkeys(wanted))
    if wanted and (wanted := RecordedHashes.of(session).possible(session, wanted)):
        sql = (
            "SELECT content_hash, artifact_id, artifact_path FROM artifacts WHERE content_hash IN (SELECT unnest(?)) "
            "ORDER BY created_at DESC"
        )
        # Of several rows with the same bytes the first one counts.
        known.update({digest: (artifact_id, path) for digest, artifact_id, path in session.written(sql, [wanted])})
    return [save(session, files, item) for item in prepared]


def _known(session: Session) -> dict[str, tuple[str, str] | None]:
    """Id and path of artifacts by content hash, of those looked up in this transaction; None for what has no row."""
    known: dict[str, tuple[str, str] | None] = session.memo.setdefault("artifact of hash", {})
    return known


def _by_hash(session: Session, digest: str) -> tuple[str, str] | None:
    known = _known(session)
    if digest not in known:
        sql = "SELECT artifact_id, artifact_path FROM artifacts WHERE content_hash = ? ORDER BY created_at LIMIT 1"
        possible = RecordedHashes.of(session).possible(session, [digest])
        known[digest] = next(iter(session.written(sql, possible)), None) if possible else None
    return known[digest]


_SAVES = pa.schema([("artifact_id", pa.string()), ("saves", pa.int32()), ("saved_at", pa.timestamp("us"))])


def _count_saves(session: Session, saves: Counter[str]) -> None:
    saved_at = now()
    rows = [{"artifact_id": key, "saves": count, "saved_at": saved_at} for key, count in saves.items()]
    saves.clear()
    session.execute_with(
        "UPDATE artifacts SET ref_count = ref_count + saves FROM collected WHERE artifacts.artifact_id = collected.artifact_id",
        rows,
        _SAVES,
    )
    session.execute_with(
        "DELETE FROM artifact_saves USING collected WHERE artifact_saves.artifact_id = collected.artifact_id",
        rows,
        _SAVES,
    )
    session.execute_with("INSERT INTO artifact_saves SELECT artifact_id, saved_at FROM collected", rows, _SAVES)


def row_of(session: Session, artifact_id: str) -> dict[str, object]:
    """The row of an artifact; `UnknownIdError` when there is none."""
    row = session.one("SELECT * FROM artifacts WHERE artifact_id = ?", [artifact_id])
    if row is None:
        raise UnknownIdError(f"No artifact has the id {artifact_id!r} in this workspace.")
    return row


def existing(session: Session, artifact_ids: Iterable[str]) -> set[str]:
    """Those of the ids that have a row."""
    sql = "SELECT artifact_id FROM artifacts WHERE list_contains(?, artifact_id)"
    return {str(row[0]) for row in session.rows(sql, [list(artifact_ids)])}


def known_hashes(session: Session, content_hashes: Iterable[str]) -> int:
    """How many of these bytes are recorded."""
    sql = "SELECT count(DISTINCT content_hash) FROM artifacts WHERE content_hash IN (SELECT unnest(?))"
    return int(session.rows(sql, [list(content_hashes)])[0][0])


def hashes_of(session: Session, artifact_ids: Iterable[str]) -> dict[str, str]:
    """Content hashes of artifacts by id; `UnknownIdError` names those that do not exist."""
    known = {found[0]: digest for digest, found in _known(session).items() if found is not None}
    wanted = dict.fromkeys(artifact_ids)
    others = [artifact_id for artifact_id in wanted if artifact_id not in known]
    if others:
        sql = "SELECT artifact_id, content_hash FROM artifacts WHERE list_contains(?, artifact_id)"
        known.update(session.rows(sql, [others]))
    _refuse_unknown(artifact_id for artifact_id in wanted if artifact_id not in known)
    return {artifact_id: known[artifact_id] for artifact_id in wanted}


def _refuse_unknown(artifact_ids: Iterable[str]) -> None:
    unknown = ", ".join(map(repr, artifact_ids))
    if unknown:
        raise UnknownIdError(f"No artifact has the id {unknown} in this workspace.")


def stored(session: Session, files: ArtifactFiles, artifact_ids: Iterable[str]) -> dict[str, StoredArtifact]:
    """The verified bytes of artifacts by id.

    They are read while the store is held, so that no clean-up takes a file between its row and its bytes.
    """
    wanted = list(dict.fromkeys(artifact_ids))
    # These columns only: each one more takes some 0.05 ms.
    sql = (
        "SELECT artifact_id, artifact_path, content_hash, format, operator_class, artifact_type FROM artifacts "
        "WHERE list_contains(?, artifact_id)"
    )
    found = {row[0]: row for row in session.rows(sql, [wanted])} if wanted else {}
    _refuse_unknown(artifact_id for artifact_id in wanted if artifact_id not in found)
    return {
        artifact_id: StoredArtifact(
            artifact_id=artifact_id,
            data=files.read(str(path), str(content_hash)),
            content_hash=str(content_hash),
            format=str(format),
            operator_class=str(operator_class or ""),
            artifact_type=str(artifact_type or ""),
        )
        for artifact_id, path, content_hash, format, operator_class, artifact_type in found.values()
    }


def register(session: Session, **row: object) -> None:
    """Add the row of an artifact whose file is there already, with one reference; a known id is left as it is."""
    if not session.rows("SELECT 1 FROM artifacts WHERE artifact_id = ?", [row["artifact_id"]]):
        moment, digest = now(), str(row["content_hash"])
        if _by_hash(session, digest) is None:
            _known(session)[digest] = (str(row["artifact_id"]), str(row["artifact_path"]))
        session.append("artifacts", {**row, "ref_count": 1, "created_at": moment})
        session.append("artifact_saves", {"artifact_id": row["artifact_id"], "saved_at": moment})
        RecordedHashes.of(session).add(digest)


def set_cache_key(
    session: Session,
    artifact_id: str,
    chain_path_hash: str | None,
    input_data_hash: str | None,
    dataset_hash: str | None,
) -> None:
    """Note what an artifact was fitted by and on."""
    row_of(session, artifact_id)
    session.execute(
        "UPDATE artifacts SET chain_path_hash = ?, input_data_hash = ?, dataset_hash = ? WHERE artifact_id = ?",
        [chain_path_hash, input_data_hash, dataset_hash, artifact_id],
    )


def cached(session: Session, chain_path_hash: str, input_data_hash: str) -> str | None:
    """The latest artifact with this cache key that has a reference, or None."""
    rows = session.rows(
        "SELECT artifact_id FROM artifacts WHERE chain_path_hash = ? AND input_data_hash = ? AND ref_count > 0 "
        "ORDER BY created_at DESC, rowid DESC LIMIT 1",
        [chain_path_hash, input_data_hash],
    )
    return str(rows[0][0]) if rows else None


def forget_dataset(session: Session, dataset_hash: str) -> int:
    """Remove the cache keys of artifacts that were fitted on a dataset; returns how many had one."""
    return session.changed(
        "UPDATE artifacts SET chain_path_hash = NULL, input_data_hash = NULL "
        "WHERE dataset_hash = ? AND chain_path_hash IS NOT NULL",
        [dataset_hash],
    )
