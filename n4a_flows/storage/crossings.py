"""The ledger of limits that laboratory values showed to be crossed: each crossing once, with when it was first found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from n4a_flows.storage.clock import naive_utc, now
from n4a_flows.storage.json_values import to_json
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.session import Session


@dataclass(frozen=True)
class LimitCrossing:
    """A limit of a control chart that was crossed.

    Attributes
    ----------
    crossing_id
        Names it: the same whenever the same crossing is found again.
    chain_id, chain_digest, target, instrument, product
        Which chart; instrument and product are None where the files do not name them.
    rule
        Which rule says so, for example `"action"`.
    said
        What was crossed, in words.
    sample_ids
        The samples.
    began_at
        When the first of them was predicted; naive UTC.
    """

    crossing_id: str
    chain_id: str
    chain_digest: str
    target: str | None
    instrument: str | None
    product: str | None
    rule: str
    said: str
    sample_ids: tuple[str, ...]
    began_at: datetime


def record(session: Session, crossings: Sequence[LimitCrossing], flow_run_id: str | None) -> list[str]:
    """Add those that are not known; returns their ids."""
    ids = [crossing.crossing_id for crossing in crossings]
    known = {
        row[0]
        for row in session.rows(
            "SELECT crossing_id FROM limit_crossings WHERE crossing_id IN (SELECT unnest(?::VARCHAR[]))", [ids]
        )
    }
    found_at = now()
    new = {crossing.crossing_id: crossing for crossing in crossings if crossing.crossing_id not in known}
    for crossing in new.values():
        session.append(
            "limit_crossings",
            {
                **asdict(crossing),
                "sample_ids": to_json(list(crossing.sample_ids), "crossing's samples"),
                "flow_run_id": flow_run_id,
                "found_at": found_at,
            },
        )
    return list(new)


def crossings(session: Session, chain_id: str | None, since: datetime | None) -> pl.DataFrame:
    """Crossings in the order they were found."""
    return session.frame(
        "SELECT * FROM limit_crossings WHERE (?::VARCHAR IS NULL OR chain_id = ?) AND (?::TIMESTAMP IS NULL OR found_at >= ?) "
        "ORDER BY found_at, began_at, rowid",
        [chain_id, chain_id, naive_utc(since), naive_utc(since)],
    )
