"""What leads from an older schema version to the present one, step by step. Steps only add; what is there stays as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from n4a_flows.storage import schema
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)

# What brings a database of this version to the next one. A step that was published stays as it is, whatever the tables become.
_STEPS: Mapping[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE chain_context ADD COLUMN parent_chain_id VARCHAR",
        "ALTER TABLE chain_context ADD COLUMN parent_digest VARCHAR",
        "ALTER TABLE chain_context ADD COLUMN unit VARCHAR",
        "CREATE TABLE scored_batches (batch_id VARCHAR PRIMARY KEY, chain_id VARCHAR NOT NULL, chain_digest VARCHAR NOT NULL, "
        "target VARCHAR, flow_run_id VARCHAR, verdict VARCHAR NOT NULL, released BOOLEAN NOT NULL, reasons JSON, "
        "n_samples INTEGER NOT NULL, detail JSON, scored_at TIMESTAMP NOT NULL)",
        "CREATE TABLE limit_crossings (crossing_id VARCHAR PRIMARY KEY, chain_id VARCHAR NOT NULL, chain_digest VARCHAR NOT NULL, "
        "target VARCHAR, instrument VARCHAR, product VARCHAR, rule VARCHAR NOT NULL, said VARCHAR NOT NULL, sample_ids JSON, "
        "began_at TIMESTAMP NOT NULL, flow_run_id VARCHAR, found_at TIMESTAMP NOT NULL)",
    ),
}


def migrate(session: Session) -> None:
    """Bring the attached database to the present version, within this transaction; nothing to do when it has it already."""
    version = schema.version_of(session)
    if version is None or version >= schema.SCHEMA_VERSION:
        return
    for step in range(version, schema.SCHEMA_VERSION):
        for statement in _STEPS[step]:
            session.execute(statement)
    session.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", [str(schema.SCHEMA_VERSION)])
    said = (
        f"The workspace was brought from schema version {version} to {schema.SCHEMA_VERSION}; nothing else was changed."
    )
    session.after_commit.append(lambda: logger.info(said))


@contextmanager
def shown_as_current(session: Session) -> Iterator[None]:
    """Let queries of an older database, which may not be changed, find the tables and columns that it lacks: empty."""
    if schema.version_of(session) == schema.SCHEMA_VERSION:
        yield
        return
    present: dict[str, set[str]] = {}
    for table, column in session.rows(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'ws'"
    ):
        present.setdefault(table, set()).add(column)
    stand_ins = []
    for table, types in schema.COLUMN_TYPES.items():
        lacking = {name: kind for name, kind in types.items() if name not in present.get(table, ())}
        if table not in present:
            body = ", ".join(f"{name} {kind}" for name, kind in lacking.items())
            session.execute(f"CREATE TEMP TABLE {table} ({body})")
            stand_ins.append(f"TABLE temp.{table}")
        elif lacking:
            body = ", ".join(f"NULL::{kind} AS {name}" for name, kind in lacking.items())
            session.execute(f"CREATE TEMP VIEW {table} AS SELECT *, {body} FROM ws.{table}")
            stand_ins.append(f"VIEW temp.{table}")
    # When an exception leaves, they go with the transaction.
    yield
    for stand_in in stand_ins:
        session.execute(f"DROP {stand_in}")
