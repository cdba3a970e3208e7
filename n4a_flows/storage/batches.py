"""The ledger of scored batches: what was said of the spectra of one sitting together."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from n4a_flows.storage.chains import ChainContext
from n4a_flows.storage.clock import naive_utc, now
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.json_values import to_json
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.session import Session


@dataclass(frozen=True)
class ScoredBatch:
    """What a chain's predictions of one batch of spectra are worth together.

    Attributes
    ----------
    verdict, reasons
        How far they can be trusted, and why.
    n_samples
        How many spectra the batch has.
    released
        Whether they may be used: False when a check sample was outside its limits, for example.
    detail
        Anything more that JSON can hold.
    """

    verdict: str
    reasons: Sequence[str]
    n_samples: int
    released: bool
    detail: Mapping[str, Any] = field(default_factory=dict)


def record(session: Session, chain: ChainContext, batch: ScoredBatch, flow_run_id: str | None) -> str:
    """Add a batch to the ledger; returns its id.

    Raises
    ------
    InvalidInputError
        When the batch has no verdict, or what it holds cannot be kept.
    """
    if not batch.verdict:
        raise InvalidInputError("A batch needs a verdict: ok, warn, outlier or rejected.")
    batch_id = str(uuid.uuid4())
    session.append(
        "scored_batches",
        {
            "batch_id": batch_id,
            "chain_id": chain.chain_id,
            "chain_digest": chain.digest,
            "target": chain.target,
            "flow_run_id": flow_run_id,
            "verdict": batch.verdict,
            "released": bool(batch.released),
            "reasons": to_json(list(batch.reasons), "batch's reasons"),
            "n_samples": int(batch.n_samples),
            "detail": to_json(batch.detail, "batch's detail"),
            "scored_at": now(),
        },
    )
    return batch_id


def batches(
    session: Session, chain_id: str | None, since: datetime | None, flow_run_ids: Sequence[str] | None
) -> pl.DataFrame:
    """Batches in the order they were recorded."""
    return session.frame(
        "SELECT * FROM scored_batches WHERE (?::VARCHAR IS NULL OR chain_id = ?) AND (?::TIMESTAMP IS NULL OR scored_at >= ?) "
        "AND (?::VARCHAR[] IS NULL OR flow_run_id IN (SELECT unnest(?::VARCHAR[]))) ORDER BY rowid",
        [chain_id, chain_id, *[naive_utc(since)] * 2, *[None if flow_run_ids is None else list(flow_run_ids)] * 2],
    )
