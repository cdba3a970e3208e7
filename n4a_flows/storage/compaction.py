"""Giving back the space of deleted rows: DuckDB reuses it, but never makes the file smaller by itself.

The live rows are copied into a new file beside the old one, compared with it, and only then the new file takes the old one's name.
Whenever the process dies, `store.duckdb` is either the old file or the new one, whole. Processes that wait for the store
meanwhile go on with the new file, for nobody keeps the file open between operations.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from n4a_flows.storage import schema
from n4a_flows.storage.database import LARGE, LARGE_BLOCKS, SMALL_BLOCKS, Database
from n4a_flows.storage.durable_files import sync_folder
from n4a_flows.storage.errors import InvalidInputError, WorkspaceError
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)

_SUFFIX = ".compacting"


@dataclass(frozen=True)
class CompactReport:
    """What a compaction did.

    Attributes
    ----------
    compacted
        False when it would not have paid, or for a dry run: nothing was done then.
    bytes_before, bytes_after
        Size of the database file.
    dead_share
        Share of the rows' places in the file that held no row any more (0 to 1), before.
    rows
        Live rows by table.
    outgrown
        Whether the database had become too large for the small blocks that every new one has. Then it pays, whatever is dead.
    """

    compacted: bool
    bytes_before: int
    bytes_after: int
    dead_share: float
    rows: dict[str, int]
    outgrown: bool


def compact(database: Database, timeout: float, min_dead_share: float, *, dry_run: bool = False) -> CompactReport:
    """Rewrite the database file if at least this share of its row places is dead, or it has outgrown its blocks.

    With `dry_run` only look.

    Raises
    ------
    StoreBusyError
        When the store stays held until `timeout` seconds from now.
    WorkspaceError
        When the disk has no room for the new file, or the copy is not the original; the old file is in place then.
    """
    if not 0 <= min_dead_share <= 1:
        raise InvalidInputError(f"min_dead_share must lie between 0 and 1, not {min_dead_share!r}.")
    new = database.path.with_name(database.path.name + _SUFFIX)
    with database.held(operation="vacuum", timeout=timeout):
        try:
            _remove(new)
            # Opened to write, for that works off a write-ahead log that a killed process left.
            with database.opened(database.path, write=True, operation="vacuum", timeout=timeout) as session:
                rows = _rows(session)
                dead_share, block_size = _dead_share(session, rows)
            before = database.path.stat().st_size
            # One of 2.8 GB is opened and closed in 6 ms with large blocks, in 17 with small ones.
            large = before * (1 - dead_share) >= LARGE
            outgrown = large and block_size < LARGE_BLOCKS
            if dry_run or (dead_share < min_dead_share and not outgrown):
                return CompactReport(False, before, before, dead_share, rows, outgrown)
            _refuse_full_disk(database.path, before)
            with database.opened(database.path, write=False, name="old", operation="vacuum", timeout=timeout):
                _copy(database, new, timeout, LARGE_BLOCKS if large else SMALL_BLOCKS)
                _swap(new, database.path)
        except WorkspaceError:
            raise
        except OSError as error:
            raise WorkspaceError(f"The database was not made smaller, nothing is lost: {error}") from error
        finally:
            _remove(new)
    after = database.path.stat().st_size
    logger.info("The database %s was made smaller: %d bytes before, %d after", database.path, before, after)
    return CompactReport(True, before, after, dead_share, rows, outgrown)


def _copy(database: Database, new: Path, timeout: float, block_size: int) -> None:
    with database.opened(new, write=True, operation="vacuum", timeout=timeout, block_size=block_size) as session:
        schema.create(session)
        session.execute("DELETE FROM meta")
        for table, columns in schema.COLUMNS.items():
            names = ", ".join(columns)
            # In their old order: rows of one pipeline lie side by side, and ties keep theirs.
            session.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM old.{table} ORDER BY rowid")
    with database.opened(new, write=False, operation="vacuum", timeout=timeout) as session:
        for table, columns in schema.COLUMNS.items():
            sums = ", ".join(["count(*)", *(f"sum(hash({column}))" for column in columns)])
            copied, original = (session.rows(f"SELECT {sums} FROM {name}.{table}") for name in ("ws", "old"))
            if copied != original:
                raise WorkspaceError(f"The copy of the table {table} differs from the original, so it was not used.")


def _swap(new: Path, old: Path) -> None:
    if [*old.parent.glob(f"{old.name}.wal*"), *old.parent.glob(f"{new.name}.wal*")]:
        raise WorkspaceError("A write-ahead log appeared beside the database, so it was not replaced. Try again.")
    new.chmod(old.stat().st_mode & 0o777)
    sync_folder(new)
    new.replace(old)
    sync_folder(old.parent)


def _rows(session: Session) -> dict[str, int]:
    return {table: int(session.rows(f"SELECT count(*) FROM {table}")[0][0]) for table in schema.COLUMNS}


def _dead_share(session: Session, rows: dict[str, int]) -> tuple[float, int]:
    """Share of row places that hold no row any more, or of free blocks, whichever is larger; and the size of a block."""
    # What DuckDB calls the estimated size counts the places, those of deleted rows too.
    places = session.rows("SELECT sum(estimated_size) FROM duckdb_tables() WHERE database_name = 'ws'")[0][0]
    dead_rows = 1 - sum(rows.values()) / places if places else 0.0
    free, total, block_size = session.rows(
        "SELECT free_blocks, total_blocks, block_size FROM pragma_database_size() WHERE database_name = 'ws'"
    )[0]
    return max(dead_rows, free / total if total else 0.0), int(block_size)


def _refuse_full_disk(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise WorkspaceError(
            f"Making the database smaller needs up to {needed} bytes of free disk, and {path.parent} has {free}. Nothing was "
            "changed."
        )


def _remove(new: Path) -> None:
    for path in new.parent.glob(new.name + "*"):
        os.unlink(path)
