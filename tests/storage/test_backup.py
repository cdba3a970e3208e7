"""A backup is one moment of the workspace, whole; what is not whole is not restored."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from crashes import crashed
from inside import artifact_files, change, look
from processes import answer, record_pipeline, start

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.backup import holding_off_gc, refuse_during_backup
from n4a_flows.storage.errors import (
    ArtifactCorruptError,
    ArtifactMissingError,
    InvalidInputError,
    MissingFileError,
    N4AError,
    SchemaError,
    StoreBusyError,
    TransactionError,
    WorkspaceError,
)


def fill(store: WorkspaceStore, *names: str) -> None:
    run_id = store.begin_run("r", {}, [])
    for name in names:
        record_pipeline(store, run_id, name)


def names_in(workspace: Path) -> list[str]:
    """The pipelines of a workspace, after loading the model of each."""
    store = WorkspaceStore(workspace)
    names = []
    for pipeline_id, name in store.list_pipelines().select("pipeline_id", "name").iter_rows():
        [chain] = store.get_chains_for_pipeline(pipeline_id).iter_rows(named=True)
        assert store.load_artifact(json.loads(chain["fold_artifacts"])["fold_0"]) == {"name": name}
        assert store.query_predictions(pipeline_id=pipeline_id).height == 1
        names.append(name)
    return sorted(names)


def test_a_backup_comes_back(store: WorkspaceStore, tmp_path: Path) -> None:
    fill(store, "a", "b")
    report = store.backup(tmp_path / "deep" / "backup")
    assert (report.artifacts, report.copied_artifacts, report.rows["pipelines"]) == (2, 2, 2)
    fill(store, "after the backup")
    restored = WorkspaceStore.restore(tmp_path / "deep" / "backup", tmp_path / "new" / "ws")
    assert restored.created == report.created
    assert (restored.artifacts, restored.artifact_bytes, restored.rows) == (2, report.artifact_bytes, report.rows)
    assert names_in(tmp_path / "new" / "ws") == ["a", "b"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["ws"]
    fill(WorkspaceStore(tmp_path / "new" / "ws"), "c")
    assert names_in(tmp_path / "new" / "ws") == ["a", "b", "c"]
    assert names_in(store.workspace_path) == ["a", "after the backup", "b"]
    assert WorkspaceStore(tmp_path / "new" / "ws").backup(tmp_path / "deep" / "backup").copied_artifacts == 1, (
        "a restored workspace goes on with its backups"
    )


def test_while_others_record(store: WorkspaceStore, tmp_path: Path) -> None:
    writers = [start("record_many", store.workspace_path, tmp_path / "meeting", 2, 20, 0.01) for _ in range(2)]
    while store.list_pipelines().is_empty():
        time.sleep(0.05)
    amounts = []
    for number in range(3):
        before = store.list_pipelines().height
        store.backup(tmp_path / "backup")
        WorkspaceStore.restore(tmp_path / "backup", tmp_path / f"again-{number}")
        after = store.list_pipelines().height
        amounts.append(len(names_in(tmp_path / f"again-{number}")))
        assert before <= amounts[-1] <= after
    for writer in writers:
        answer(writer)
    assert amounts[0] < 40, "they were recording all the while"
    assert store.list_pipelines().height == 40


def test_what_is_there_is_not_copied_again(store: WorkspaceStore, tmp_path: Path) -> None:
    fill(store, "a", "b")
    store.backup(tmp_path / "backup")
    inodes = {
        path: (tmp_path / "backup/artifacts" / path).stat().st_ino for path in artifact_files(tmp_path / "backup")
    }
    run_id = store.begin_run("later", {}, [])
    record_pipeline(store, run_id, "c")
    report = store.backup(tmp_path / "backup")
    assert (report.artifacts, report.copied_artifacts) == (3, 1)
    assert 0 < report.copied_bytes < report.artifact_bytes
    assert {path: (tmp_path / "backup/artifacts" / path).stat().st_ino for path in inodes} == inodes
    store.delete_run(run_id)
    store.backup(tmp_path / "backup")
    assert artifact_files(tmp_path / "backup") == set(inodes), "what nothing needs any more is gone"
    assert sorted(path.name.split(".")[0] for path in (tmp_path / "backup").iterdir()) == [
        "artifacts", "backup", "backup", "store",
    ]  # fmt: skip


def test_an_artifact_that_rotted_in_the_backup_is_copied_again(store: WorkspaceStore, tmp_path: Path) -> None:
    fill(store, "a", "b")
    store.backup(tmp_path / "backup")
    _flip(tmp_path / "backup" / "artifacts" / min(artifact_files(tmp_path / "backup")))
    assert store.backup(tmp_path / "backup").copied_artifacts == 1
    WorkspaceStore.restore(tmp_path / "backup", tmp_path / "again")
    assert names_in(tmp_path / "again") == ["a", "b"]


def test_a_log_left_by_a_killed_process_is_in_the_backup(store: WorkspaceStore, tmp_path: Path) -> None:
    fill(store, "a")
    code = (
        "import os, duckdb\n"
        f"c = duckdb.connect({str(store.workspace_path / 'store.duckdb')!r})\n"
        "c.execute(\"PRAGMA disable_checkpoint_on_shutdown; INSERT INTO meta VALUES ('left', 'over')\")\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert (store.workspace_path / "store.duckdb.wal").exists()
    store.backup(tmp_path / "backup")
    WorkspaceStore.restore(tmp_path / "backup", tmp_path / "again")
    assert look(tmp_path / "again", "SELECT value FROM meta WHERE key = 'left'") == [("over",)]


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("target", ["ws", "ws/backup", "ws/artifacts/backup", "link/backup", ".", "other", "file"])
def test_where_a_backup_cannot_go(store: WorkspaceStore, tmp_path: Path, target: str) -> None:
    fill(store, "a")
    (tmp_path / "link").symlink_to(tmp_path / "ws")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidInputError, match="cannot go to"):
        store.backup(tmp_path / target)
    assert sorted(tmp_path.rglob("*")) == before
    assert names_in(tmp_path / "ws") == ["a"]


def test_a_folder_whose_name_is_no_utf8_is_refused(store: WorkspaceStore, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"m\xfcller")
    store.backup(tmp_path / "backup")
    for refused in (lambda: store.backup(odd), lambda: WorkspaceStore.restore(tmp_path / "backup", odd)):
        with pytest.raises(InvalidInputError, match=r"m\\udcfcller is no UTF-8"):
            refused()
    assert not odd.exists()


def test_another_workspace_never_replaces_a_backup(store: WorkspaceStore, tmp_path: Path) -> None:
    fill(store, "a")
    store.backup(tmp_path / "backup")
    shutil.move(tmp_path / "ws", tmp_path / "lost")
    with pytest.raises(InvalidInputError, match="another workspace"):
        WorkspaceStore(tmp_path / "ws").backup(tmp_path / "backup")
    WorkspaceStore.restore(tmp_path / "backup", tmp_path / "again")
    assert names_in(tmp_path / "again") == ["a"]
    assert WorkspaceStore(tmp_path / "lost").backup(tmp_path / "backup").copied_artifacts == 0, "moved, but the same"


def test_not_in_a_transaction_and_not_read_only(store: WorkspaceStore, tmp_path: Path) -> None:
    with pytest.raises(TransactionError, match="cannot be part"), store.transaction():
        store.backup(tmp_path / "backup")
    with pytest.raises(InvalidInputError, match="read-only"):
        WorkspaceStore(tmp_path / "ws", read_only=True).backup(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize(
    ("gone", "error", "word"), [(False, ArtifactCorruptError, "damaged"), (True, ArtifactMissingError, "missing")]
)
def test_an_artifact_that_is_not_whole_is_named(
    store: WorkspaceStore, tmp_path: Path, gone: bool, error: type[N4AError], word: str
) -> None:
    fill(store, "a")
    store.backup(tmp_path / "earlier")
    fill(store, "b")
    [late] = artifact_files(tmp_path / "ws") - artifact_files(tmp_path / "earlier")
    file = tmp_path / "ws" / "artifacts" / late
    whole = file.read_bytes()
    if gone:
        file.unlink()
    else:
        _flip(file)
    for target in ("first", "earlier"):
        with pytest.raises(error, match=f"{late}.*{word}"):
            store.backup(tmp_path / target)
    with pytest.raises(MissingFileError, match="no finished backup"):
        WorkspaceStore.restore(tmp_path / "first", tmp_path / "again")
    WorkspaceStore.restore(tmp_path / "earlier", tmp_path / "again")
    assert names_in(tmp_path / "again") == ["a"], "the one before it counts"
    file.write_bytes(whole)
    store.backup(tmp_path / "first")
    WorkspaceStore.restore(tmp_path / "first", tmp_path / "both")
    assert names_in(tmp_path / "both") == ["a", "b"]


def test_a_damaged_backup_is_not_restored(store: WorkspaceStore, tmp_path: Path) -> None:
    fill(store, "a", "b")
    store.backup(tmp_path / "backup")
    artifact = f"artifacts/{min(artifact_files(tmp_path / 'backup'))}"
    [database] = [path.name for path in (tmp_path / "backup").glob("store.*")]
    damages = [
        (artifact, _flip, ArtifactCorruptError, Path(artifact).name),
        (artifact, os.unlink, ArtifactMissingError, Path(artifact).name),
        (database, _flip, WorkspaceError, database),
        (database, os.unlink, WorkspaceError, database),
        ("backup.json", os.unlink, MissingFileError, "backup.json"),
        ("backup.json", lambda path: path.write_text("{"), WorkspaceError, "backup.json"),
        ("backup.json", lambda path: path.write_text("{}"), WorkspaceError, "backup.json"),
        ("backup.json", lambda path: _say(path, schema_version=99), SchemaError, "newer"),
        ("backup.json", lambda path: _say(path, database_sha256="../../etc"), WorkspaceError, "SHA-256"),
    ]
    for number, (name, damage, error, word) in enumerate(damages):
        damaged = shutil.copytree(tmp_path / "backup", tmp_path / f"damaged-{number}")
        damage(damaged / name)
        with pytest.raises(error, match=word):
            WorkspaceStore.restore(damaged, tmp_path / "out" / "again")
        assert not (tmp_path / "out").exists(), "nothing is written before everything is verified"


def test_a_restore_replaces_nothing(store: WorkspaceStore, tmp_path: Path) -> None:
    fill(store, "a")
    store.backup(tmp_path / "backup")
    for target in ("ws", "backup", "backup/inside", "backup/backup.json"):
        with pytest.raises(InvalidInputError):
            WorkspaceStore.restore(tmp_path / "backup", tmp_path / target)
    (tmp_path / "empty").mkdir()
    WorkspaceStore.restore(tmp_path / "backup", tmp_path / "empty")
    assert names_in(tmp_path / "empty") == ["a"]
    with pytest.raises(InvalidInputError, match="neither"):
        WorkspaceStore.restore(tmp_path / "backup", tmp_path / "empty")


# ---------------------------------------------------------------------- others meanwhile, and the end of the process


def test_removal_waits_for_the_artifacts_and_writers_do_not(store: WorkspaceStore, tmp_path: Path) -> None:
    """The copy of an artifact is a pipe that nobody fills: the backup stays in the middle for as long as the test likes."""
    fill(store, "a")
    [artifact] = artifact_files(tmp_path / "ws")
    file = tmp_path / "ws" / "artifacts" / artifact
    whole = file.read_bytes()
    file.unlink()
    os.mkfifo(file)
    reports = []
    copying = threading.Thread(target=lambda: reports.append(store.backup(tmp_path / "backup")))
    copying.start()
    with file.open("wb") as pipe:  # opens when the backup reads
        fill(WorkspaceStore(tmp_path / "ws", lock_timeout=5), "b")
        with pytest.raises(StoreBusyError, match="a backup of"):
            refuse_during_backup(tmp_path / "ws")
        with pytest.raises(StoreBusyError, match="uses the backup"):
            store.backup(tmp_path / "backup")
        pipe.write(whole)
    copying.join(30)
    assert reports[0].rows["pipelines"] == 1
    refuse_during_backup(tmp_path / "ws")


def test_two_backups_hold_a_clean_up_off_until_the_last_is_done(tmp_path: Path) -> None:
    refuse_during_backup(tmp_path)
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"
    with holding_off_gc(tmp_path):
        with holding_off_gc(tmp_path):
            pass
        with pytest.raises(StoreBusyError):
            refuse_during_backup(tmp_path)
    refuse_during_backup(tmp_path)


def test_killed_in_the_middle(store: WorkspaceStore, tmp_path: Path) -> None:
    fill(store, "a")
    store.backup(tmp_path / "earlier")
    fill(store, "b")
    target, again = tmp_path / "backup", tmp_path / "again"
    found = []
    for number, workspace in enumerate(crashed(tmp_path / "ws", lambda dying: _onto_the_earlier(dying, target), 2)):
        if target.exists():
            found.append(WorkspaceStore.restore(target, again).rows["pipelines"])
            shutil.rmtree(again)
        refuse_during_backup(workspace)
        WorkspaceStore(workspace, lock_timeout=5).backup(target)
        assert not [path for path in target.rglob("*") if ".tmp-" in path.name or "copying" in path.name]
        if number % 4 == 0:
            WorkspaceStore.restore(target, again)
            assert names_in(again) == names_in(workspace) == ["a", "b"]
            shutil.rmtree(again)
        shutil.rmtree(target)
    assert set(found) == {1, 2}, "the earlier backup until the new one is whole"


def _onto_the_earlier(store: WorkspaceStore, target: Path) -> None:
    # With another program: the moments of this copy are none of the backup.
    subprocess.run(["cp", "-r", target.with_name("earlier"), target], check=True)
    store.backup(target)


def test_a_full_disk(store: WorkspaceStore, tmp_path: Path) -> None:
    fill(store, "a")
    store.backup(tmp_path / "backup")
    fill(store, "b")
    code = (
        "import resource, sys\n"
        "from n4a_flows.storage import WorkspaceStore\n"
        "from n4a_flows.storage.errors import WorkspaceError\n"
        "store = WorkspaceStore(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    store.backup(sys.argv[2])\n"
        "except WorkspaceError as error:\n"
        "    print(error)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "ws"), str(tmp_path / "backup")]
    said = subprocess.run(arguments, check=True, timeout=60, capture_output=True, text=True).stdout
    assert "did not finish" in said
    assert not list((tmp_path / "backup").glob("*copying*"))
    WorkspaceStore.restore(tmp_path / "backup", tmp_path / "again")
    assert names_in(tmp_path / "again") == ["a"]
    store.backup(tmp_path / "backup")
    assert names_in(tmp_path / "ws") == ["a", "b"]


def test_a_database_from_elsewhere_is_not_backed_up_into_a_lie(store: WorkspaceStore, tmp_path: Path) -> None:
    change(tmp_path / "ws", "UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(SchemaError, match="newer"):
        store.backup(tmp_path / "backup")
    assert not (tmp_path / "backup" / "backup.json").exists()


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _say(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
