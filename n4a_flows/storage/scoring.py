"""The ledger of scored files: which file was scored by which chain, and what came out."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from n4a_flows.storage.chain_replay import REPLAY_VERSION
from n4a_flows.storage.chains import ChainContext
from n4a_flows.storage.clock import naive_utc, now
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.identity import new_id
from n4a_flows.storage.json_values import to_json
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)

Status = Literal["scored", "quarantined"]


@dataclass(frozen=True)
class ScoredSample:
    """What a chain said of one spectrum.

    Attributes
    ----------
    sample_id
        Name of the sample.
    y
        The predicted value in the unit of the target, a finite number, or a class label; None when the spectrum was rejected.
    verdict, reasons
        How far the prediction can be trusted, and why.
    detail
        Anything more that JSON can hold.
    """

    sample_id: str
    y: float | str | None
    verdict: str | None = None
    reasons: Sequence[str] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoredFile:
    """What became of one file.

    Attributes
    ----------
    path
        Where it lay.
    file_digest
        SHA-256 of its bytes, 64 hexadecimal digits.
    status
        `"scored"`, or `"quarantined"` with a `reason`.
    samples
        Its spectra, in the order of the file.
    detail
        Anything more that JSON can hold.
    """

    path: str
    file_digest: str
    status: Status
    reason: str | None = None
    samples: Sequence[ScoredSample] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


def record(session: Session, chain: ChainContext, files: Sequence[ScoredFile], flow_run_id: str | None) -> None:
    """Add files and their samples to the ledger; one whose bytes have changed under its name notes which ones it revises.

    Raises
    ------
    InvalidInputError
        When what is predicted for a sample is neither one finite number nor a label, or a text or detail cannot be kept.
    """
    scored_at = now()
    revised = _earlier(session, chain.digest, files)
    for file in files:
        scoring_id = new_id()
        session.append(
            "scored_files",
            {
                "scoring_id": scoring_id,
                "file_digest": file.file_digest,
                "chain_digest": chain.digest,
                "chain_id": chain.chain_id,
                "target": chain.target,
                "replay_version": REPLAY_VERSION,
                "path": file.path,
                "status": file.status,
                "reason": file.reason,
                "n_samples": len(file.samples),
                "detail": to_json({**file.detail, **revised.get(file.path, {})}, "file's detail"),
                "flow_run_id": flow_run_id,
                "scored_at": scored_at,
            },
        )
        for position, sample in enumerate(file.samples):
            label = sample.y if isinstance(sample.y, str) else None
            session.append(
                "scored_samples",
                {
                    "scoring_id": scoring_id,
                    "position": position,
                    "sample_id": sample.sample_id,
                    "y": None if label is not None or sample.y is None else _number(sample),
                    "label": label,
                    "verdict": sample.verdict,
                    "reasons": to_json(list(sample.reasons), "sample's reasons"),
                    "detail": to_json(sample.detail, "sample's detail"),
                },
            )
    quarantined = sum(file.status == "quarantined" for file in files)
    samples = sum(len(file.samples) for file in files)
    session.tell(
        logger,
        "Chain %s: %d files with %d samples recorded, %d quarantined",
        chain.chain_id,
        len(files) - quarantined,
        samples,
        quarantined,
    )


def _number(sample: ScoredSample) -> float:
    try:
        number = float(sample.y)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInputError(
            f"What is predicted for sample {sample.sample_id!r} must be one finite number, a label, or None for a rejected "
            f"spectrum, not {sample.y!r}."
        )
    return number


def _earlier(session: Session, chain_digest: str, files: Sequence[ScoredFile]) -> dict[str, dict[str, str]]:
    """Of files that the chain has seen under the same path with other bytes, the digest of those."""
    rows = session.rows(
        "SELECT path, arg_max(file_digest, rowid) FROM scored_files WHERE chain_digest = ? "
        "AND path IN (SELECT unnest(?::VARCHAR[])) GROUP BY path",
        [chain_digest, [file.path for file in files]],
    )
    before = dict(rows)
    return {
        file.path: {"revises": before[file.path]}
        for file in files
        if before.get(file.path, file.file_digest) != file.file_digest
    }


def digests(
    session: Session, chain_digest: str, file_digests: Sequence[str] | None, readers: str | None
) -> dict[str, str]:
    """Status of files that a chain digest has seen, by file digest; the latest one counts."""
    asked = "" if file_digests is None else " AND file_digest IN (SELECT unnest(?::VARCHAR[]))"
    rows = session.rows(
        "SELECT file_digest, arg_max(status, rowid), bool_or(status = 'quarantined' AND "
        "coalesce(json_extract_string(detail, '$.readers') = ?, true)) "
        f"FROM scored_files WHERE chain_digest = ? AND replay_version = ?{asked} GROUP BY file_digest",
        [readers, chain_digest, REPLAY_VERSION, *([] if file_digests is None else [list(file_digests)])],
    )
    return {digest: status for digest, status, by_these in rows if status != "quarantined" or by_these}


def put_back(session: Session, chain_digest: str, by_path: Mapping[str, str]) -> set[str]:
    """Paths that hold bytes that were scored there before others were; `by_path` is the digest of what lies there now."""
    rows = session.rows(
        "SELECT path, arg_max(file_digest, rowid), list(DISTINCT file_digest) FROM scored_files "
        "WHERE chain_digest = ? AND status = 'scored' "
        "AND path IN (SELECT unnest(?::VARCHAR[])) GROUP BY path",
        [chain_digest, list(by_path)],
    )
    return {path for path, last, every in rows if by_path[path] != last and by_path[path] in every}


def files(session: Session, chain_id: str | None, status: str | None, since: datetime | None) -> pl.DataFrame:
    """Scored files in the order they were recorded."""
    where, parameters = _conditions(chain_id=chain_id, status=status, since=since)
    return session.frame(f"SELECT * FROM scored_files f{where} ORDER BY f.rowid", parameters)


def samples(
    session: Session, chain_id: str | None, since: datetime | None, file_digests: Sequence[str] | None
) -> pl.DataFrame:
    """Scored samples with the file they came from, in the order they were recorded."""
    where, parameters = _conditions(chain_id=chain_id, since=since)
    if file_digests is not None:
        where += (" AND " if where else " WHERE ") + "f.file_digest IN (SELECT unnest(?::VARCHAR[]))"
        parameters.append(list(file_digests))
    return session.frame(
        "SELECT f.path, f.file_digest, f.chain_id, f.chain_digest, s.position, s.sample_id, f.target, s.y, s.label, s.verdict, "
        "s.reasons, s.detail, f.flow_run_id, f.scored_at, f.scoring_id "
        "FROM scored_samples s JOIN scored_files f USING (scoring_id) "
        f"{where} ORDER BY f.rowid, s.position",
        parameters,
    )


def _conditions(
    chain_id: str | None = None, status: str | None = None, since: datetime | None = None
) -> tuple[str, list[Any]]:
    terms = {"f.chain_id = ?": chain_id, "f.status = ?": status, "f.scored_at >= ?": naive_utc(since)}
    asked = {term: value for term, value in terms.items() if value is not None}
    return (f" WHERE {' AND '.join(asked)}" if asked else ""), list(asked.values())
