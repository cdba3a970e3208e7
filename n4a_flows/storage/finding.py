"""Finding: what an id, a part of one or an alias names; chains with what they predict, listed and ranked."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from n4a_flows.storage import aliases
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.pages import checked_limit, checked_number
from n4a_flows.storage.queries import HIGHER_IS_BETTER, LOWER_IS_BETTER
from n4a_flows.storage.session import Session

Kind = Literal["run", "pipeline", "chain", "prediction"]
"""What an id may be of."""

_TABLES: dict[Kind, str] = {
    "run": "runs",
    "pipeline": "pipelines",
    "chain": "chains",
    "prediction": "predictions",
}
_SHOWN = 5


class Named(NamedTuple):
    """What a name stands for.

    Attributes
    ----------
    kind
        run, pipeline, chain or prediction.
    id
        Its whole id.
    """

    kind: Kind
    id: str


def identify(session: Session, name: str, kind: Kind | None) -> Named:
    """What an id, the beginning of one or an alias names.

    Raises
    ------
    UnknownIdError
        When it names nothing.
    InvalidInputError
        When several ids begin so.
    """
    chain_id = aliases.get(session, name) if kind in (None, "chain") else None
    if chain_id is not None:
        return Named("chain", chain_id)
    found = [
        Named(each, str(identity))
        for each, table in _TABLES.items()
        if name and kind in (None, each)
        for (identity,) in session.rows(
            f"SELECT {each}_id FROM {table} WHERE starts_with({each}_id, lower(?)) OR {each}_id = ? "
            f"ORDER BY created_at DESC, rowid DESC LIMIT {_SHOWN + 1}",
            [name, name],
        )
    ]
    exact = [each for each in found if each.id == name]
    if len(exact or found) == 1:
        return (exact or found)[0]
    what = kind or "run, pipeline, chain or prediction"
    if not found:
        raise UnknownIdError(f"No {what} has an id that begins with {name!r}, and no alias is called so.")
    said = ", ".join(f"{each.kind} {each.id}" for each in found[:_SHOWN])
    more = " and more" if len(found) > _SHOWN else ""
    raise InvalidInputError(f"Several ids begin with {name!r}: {said}{more}. Give more of it.")


_CHAINS = """
SELECT c.chain_id, p.pipeline_id, p.run_id, p.name, p.dataset_name, x.target, x.task_type, p.metric, p.best_val, p.best_test,
       p.status AS pipeline_status, x.digest,
       (SELECT list(a.alias ORDER BY a.alias) FROM aliases a WHERE a.chain_id = c.chain_id AND a.ended_at IS NULL) AS aliases,
       c.created_at, c.rowid AS place
FROM chains c JOIN pipelines p USING (pipeline_id) LEFT JOIN chain_context x USING (chain_id)
"""


def list_chains(session: Session, filters: dict[str, Any], limit: int, offset: int) -> pl.DataFrame:
    """Chains with their pipeline and what they predict, the newest first."""
    rows, parameters = _filtered(filters)
    return session.frame(
        f"SELECT * EXCLUDE (place) FROM ({rows}) ORDER BY created_at DESC, place DESC LIMIT ? OFFSET ?",
        [*parameters, checked_limit(limit), checked_number("offset", offset)],
    )


def rank_chains(session: Session, filters: dict[str, Any], n: int) -> pl.DataFrame:
    """The best chains of each dataset, target and metric by their pooled out-of-fold score."""
    rows, parameters = _filtered(filters)
    group = "dataset_name, target, lower(metric)"
    # The same training again gives the same digest; the first stands for all of them, as with `best_chain`.
    return session.frame(
        f"""
        WITH scored AS (
            SELECT *, CASE WHEN list_contains(?, lower(metric)) THEN -best_val ELSE best_val END AS badness FROM ({rows})
            WHERE pipeline_status = 'completed' AND isfinite(best_val) AND list_contains(?, lower(metric))
        ), distinct_ones AS (
            SELECT * FROM scored
            QUALIFY row_number() OVER (PARTITION BY {group}, coalesce(digest, chain_id) ORDER BY created_at, place) = 1
        )
        SELECT row_number() OVER (PARTITION BY {group} ORDER BY badness, created_at, place) AS rank,
               * EXCLUDE (badness, place)
        FROM distinct_ones QUALIFY rank <= ? ORDER BY {group}, rank
        """,
        [sorted(HIGHER_IS_BETTER), *parameters, sorted(HIGHER_IS_BETTER | LOWER_IS_BETTER), checked_number("n", n)],
    )


def _filtered(filters: dict[str, Any]) -> tuple[str, list[Any]]:
    columns = {"target": "x.target", "metric": "lower(p.metric)"}
    if filters.get("metric") is not None:
        filters = {**filters, "metric": filters["metric"].lower()}
    asked = {columns.get(name, f"p.{name}"): value for name, value in filters.items() if value is not None}
    where = f"WHERE {' AND '.join(f'{column} = ?' for column in asked)}" if asked else ""
    return f"{_CHAINS} {where}", list(asked.values())
