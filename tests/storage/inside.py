"""A look into `store.duckdb` past the store: nobody has the file open between two operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

_instance = duckdb.connect()


@contextmanager
def opened(workspace: Path, *, write: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the database, for a moment."""
    connection = _instance.cursor()
    connection.execute(f"ATTACH '{workspace / 'store.duckdb'}' AS inside{'' if write else ' (READ_ONLY)'}")
    try:
        connection.execute("USE inside")
        yield connection
    finally:
        connection.execute("USE memory")
        connection.execute("DETACH inside")
        connection.close()


def look(workspace: Path, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with opened(workspace) as connection:
        return connection.execute(sql, parameters).fetchall()


def change(workspace: Path, *statements: str) -> None:
    """Change the database behind the store's back."""
    with opened(workspace, write=True) as connection:
        for statement in statements:
            connection.execute(statement).fetchall()


def artifact_files(workspace: Path) -> set[str]:
    """The files below `artifacts/`, as the rows name them."""
    folder = workspace / "artifacts"
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
