"""A workspace of an older schema version keeps all it has, and is whole in one version or the other, whatever happens."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from bundle_chains import make_chain
from crashes import crashed
from inside import change, look

from n4a_flows.storage import ScoredBatch, ScoredFile, ScoredSample, WorkspaceStore, migrations
from n4a_flows.storage.errors import InvalidInputError, SchemaError

SCHEMA_1 = Path(__file__).with_name("schema_1.sql")
COLUMNS = (
    "SELECT table_name, column_index, column_name, data_type, is_nullable FROM duckdb_columns() "
    "WHERE NOT internal ORDER BY ALL"
)


@pytest.fixture
def old(store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray) -> Path:
    """A workspace of version 1 with a chain that an alias names, a scored file and a laboratory value."""
    chain_id = make_chain(store, pipeline_id, spectra, y)
    store.set_alias("fat", chain_id)
    store.record_scoring(chain_id, [ScoredFile("a.csv", "0" * 64, "scored", samples=[ScoredSample("a", 12.3)])])
    store.add_reference_values({"a": 12.5}, "fat")
    return _as_version_1(store.workspace_path)


def _as_version_1(workspace: Path) -> Path:
    """Move the rows of a workspace into tables of version 1."""
    here, there = workspace / "store.duckdb", workspace / "now.duckdb"
    here.rename(there)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{here}' AS old (BLOCK_SIZE 65536); ATTACH '{there}' AS new; USE old")
        for statement in SCHEMA_1.read_text().split(";\n")[:-1]:
            connection.execute(statement)
        for table, columns in _columns_of_1().items():
            said = "" if table != "meta" else " WHERE key <> 'schema_version'"
            connection.execute(f"INSERT INTO old.{table} SELECT {', '.join(columns)} FROM new.{table}{said}")
        connection.execute("USE memory; DETACH old; DETACH new")
    there.unlink()
    return workspace


def rows(workspace: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What the tables of version 1 hold, column by column of version 1."""
    return {
        table: look(workspace, f"SELECT {', '.join(names)} FROM {table} ORDER BY ALL")
        for table, names in _columns_of_1().items()
        if table != "meta"
    }


@functools.cache
def _columns_of_1() -> dict[str, list[str]]:
    with duckdb.connect() as connection:
        for statement in SCHEMA_1.read_text().split(";\n")[:-1]:
            connection.execute(statement)
        tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        return {table: [name for name, *_ in connection.execute(f"DESCRIBE {table}").fetchall()] for (table,) in tables}


def version(workspace: Path) -> str:
    return str(look(workspace, "SELECT value FROM meta WHERE key = 'schema_version'")[0][0])


def test_it_opens_with_all_it_has_and_takes_what_is_new(
    old: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = rows(old)
    assert version(old) == "1"
    with caplog.at_level(logging.INFO, "n4a_flows"):
        store = WorkspaceStore(old)
    assert version(old) == "2"
    assert "from schema version 1 to 2" in caplog.text
    assert rows(old) == before
    WorkspaceStore(tmp_path / "fresh").close()
    assert look(old, COLUMNS) == look(tmp_path / "fresh", COLUMNS), "a migrated workspace is like a new one"

    context = store.get_chain_context("fat")
    assert (context.target, context.unit, context.parent_chain_id, context.limits_artifact_id) == (
        "fat", None, None, None,
    )  # fmt: skip
    assert store.replay_probe("fat").agrees
    store.record_batch("fat", ScoredBatch("ok", [], 1, True))
    assert store.reference_pairs("fat")["reference"].to_list() == [12.5]
    assert store.check("full").ok
    store.close()
    with WorkspaceStore(old) as again:
        assert again.scored_batches().height == 1


def test_opened_to_read_it_stays_as_it_is(old: Path) -> None:
    content = (old / "store.duckdb").read_bytes()
    reader = WorkspaceStore(old, read_only=True)
    assert reader.get_chain_context("fat").unit is None
    assert reader.get_limits("fat") is None
    assert reader.scored_batches().columns[0] == "batch_id"
    assert reader.scored_batches().is_empty()
    assert reader.reference_pairs()["y"].to_list() == [12.3]
    assert reader.check("replay").ok
    with pytest.raises(InvalidInputError, match="read-only"):
        reader.record_batch("fat", ScoredBatch("ok", [], 1, True))
    assert (old / "store.duckdb").read_bytes() == content

    with WorkspaceStore(old) as writer:
        writer.record_batch("fat", ScoredBatch("ok", [], 1, True))
    assert reader.scored_batches().height == 1, "it goes on when somebody else has migrated it"


def test_a_process_that_dies_leaves_one_version_or_the_other(old: Path) -> None:
    before, seen = rows(old), set()
    for workspace in crashed(old, WorkspaceStore, opened=Path):
        found = version(workspace)
        seen.add(found)
        assert rows(workspace) == before
        columns = look(workspace, COLUMNS)
        assert ("scored_batches" in {table for table, *_ in columns}) is (found == "2")
        assert ("unit" in {name for _, _, name, *_ in columns}) is (found == "2")
        with WorkspaceStore(workspace) as store:
            assert store.scored_batches().is_empty()
    assert seen == {"1", "2"}


def test_an_error_in_the_middle_leaves_version_1(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, columns = rows(old), look(old, COLUMNS)
    steps = {1: (*migrations._STEPS[1], "CREATE TABLE runs (no VARCHAR)")}
    with monkeypatch.context() as patched, pytest.raises(OSError, match="already exists"):
        patched.setattr(migrations, "_STEPS", steps)
        WorkspaceStore(old)
    assert (version(old), rows(old), look(old, COLUMNS)) == ("1", before, columns)
    with WorkspaceStore(old) as store:
        assert store.check().ok


def test_a_backup_of_version_1_is_restored_and_migrates(old: Path, tmp_path: Path) -> None:
    with WorkspaceStore(old) as store:
        store.backup(tmp_path / "backup")
    # As a backup of version 1 was: the copied database, and its digest in the summary.
    [database] = (tmp_path / "backup").glob("store.*.duckdb")
    shutil.move(database, tmp_path / "backup" / "store.duckdb")
    _as_version_1(tmp_path / "backup")
    _said_again(tmp_path / "backup")
    report = WorkspaceStore.restore(tmp_path / "backup", tmp_path / "restored")
    assert (report.rows["chains"], report.rows["scored_batches"]) == (2, 0)
    assert version(tmp_path / "restored") == "1"
    with WorkspaceStore(tmp_path / "restored") as restored:
        assert restored.check("full").ok
    assert version(tmp_path / "restored") == "2"


def _said_again(backup: Path) -> None:
    digest = hashlib.sha256((backup / "store.duckdb").read_bytes()).hexdigest()
    (backup / "store.duckdb").rename(backup / f"store.{digest[:16]}.duckdb")
    summary = json.loads((backup / "backup.json").read_text())
    (backup / "backup.json").write_text(json.dumps({**summary, "schema_version": 1, "database_sha256": digest}))


def test_a_newer_version_is_refused(old: Path) -> None:
    change(old, "UPDATE meta SET value = '3' WHERE key = 'schema_version'")
    content = (old / "store.duckdb").read_bytes()
    for read_only in (False, True):
        with pytest.raises(SchemaError, match=r"version 3.*version 2.*newer n4a_flows"):
            WorkspaceStore(old, read_only=read_only)
    assert (old / "store.duckdb").read_bytes() == content
