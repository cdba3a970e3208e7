"""Aliases: names for chains that can be moved, with their history."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import InvalidInputError, ProtectedError, UnknownIdError
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.records import require
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)

KEPT = 3
"""How many former chains of an alias are kept safe from deletion besides the current one."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def check_name(alias: str) -> None:
    """Raise `InvalidInputError` for what cannot be an alias."""
    if not _NAME.fullmatch(alias) or _UUID.fullmatch(alias) or alias == "best":
        raise InvalidInputError(
            f"{alias!r} cannot be an alias: use letters, digits, '.', '-' and '_', with '/' between parts, for example "
            "'tecator/fat/champion'."
        )


def set_to(session: Session, alias: str, chain: str, note: str | None) -> None:
    """Let an alias name a chain from now on."""
    check_name(alias)
    chain_id = resolve(session, chain)
    require(session, "chains", chain_id)
    before = get(session, alias)
    moment = now()
    _end(session, alias, moment)
    row = {"alias": alias, "chain_id": chain_id, "set_at": moment, "note": note}
    session.insert("aliases", [row])
    session.changes += 1
    if chain_id != before:
        session.tell(
            logger, "Alias %s names chain %s now%s", alias, chain_id, f", before it {before}" if before else ""
        )


def remove(session: Session, alias: str) -> None:
    """Let an alias name nothing from now on."""
    if get(session, alias) is None:
        raise UnknownIdError(f"No alias {alias!r} names a chain in this workspace.")
    _end(session, alias, now())
    session.tell(logger, "Alias %s names nothing now", alias)


def _end(session: Session, alias: str, moment: object) -> None:
    session.execute("UPDATE aliases SET ended_at = ? WHERE alias = ? AND ended_at IS NULL", [moment, alias])


def get(session: Session, alias: str) -> str | None:
    """The chain that an alias names now, or None."""
    rows = session.rows("SELECT chain_id FROM aliases WHERE alias = ? AND ended_at IS NULL", [alias])
    return str(rows[0][0]) if rows else None


def resolve(session: Session, chain: str) -> str:
    """The chain id that a chain id or an alias stands for; what is neither comes back as it is."""
    if _UUID.fullmatch(chain):
        return chain
    return get(session, chain) or chain


def resolved(session: Session, chain: str | None) -> str | None:
    """`resolve` for a filter that may be left out."""
    return None if chain is None else resolve(session, chain)


def current(session: Session) -> pl.DataFrame:
    """Every alias with the chain that it names now."""
    return session.frame("SELECT alias, chain_id, set_at, note FROM aliases WHERE ended_at IS NULL ORDER BY alias")


def history(session: Session, alias: str) -> pl.DataFrame:
    """Every chain that an alias has named, the latest first."""
    return session.frame(
        "SELECT alias, chain_id, set_at, ended_at, note FROM aliases WHERE alias = ? ORDER BY set_at DESC, rowid DESC",
        [alias],
    )


def protected(session: Session) -> list[tuple[str, str, bool]]:
    """Chains that aliases need, as (alias, chain id, whether the alias names it now): the current one and those before."""
    # Chains are counted, not moves: naming the same chain again does not push the former ones out.
    rows = session.rows(
        "SELECT alias, chain_id, active FROM (SELECT alias, chain_id, bool_or(ended_at IS NULL) AS active, "
        "row_number() OVER (PARTITION BY alias ORDER BY max(set_at) DESC, max(rowid) DESC) AS age FROM aliases "
        "GROUP BY alias, chain_id) WHERE active OR age <= ? ORDER BY alias, age",
        [KEPT + 1],
    )
    return [(alias, chain_id, active) for alias, chain_id, active in rows]


def refuse_protected(session: Session, chain_ids: Sequence[str]) -> None:
    """Raise `ProtectedError` when an alias names one of the chains, or did so lately."""
    asked = set(chain_ids)
    said = ", ".join(
        f"{alias} ({'names' if active else 'lately named'} {chain_id})"
        for alias, chain_id, active in protected(session)
        if chain_id in asked
    )
    if said:
        raise ProtectedError(
            f"Nothing was deleted, for aliases need chains of it: {said}. "
            "An alias keeps its chain and the three before safe; pass force=True to delete them all the same."
        )


def end_for(session: Session, chain_ids: Sequence[str]) -> None:
    """End the aliases that name chains which are deleted by force; their history stays."""
    session.execute(
        "UPDATE aliases SET ended_at = ?, note = 'chain deleted' WHERE ended_at IS NULL AND list_contains(?, chain_id)",
        [now(), list(chain_ids)],
    )
