"""Workspaces of nirs4all are upgraded whole, or not at all."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import joblib
import numpy as np
import old_workspaces
import pytest
from old_workspaces import BEGUN, LATER, LAYOUTS, N_FOLDS, RELEASE, OldWorkspace

from n4a_flows.spectra import load_tecator
from n4a_flows.storage import SerializedArtifact, WorkspaceStore
from n4a_flows.storage.codecs import content_hash
from n4a_flows.storage.database import Database
from n4a_flows.storage.errors import MissingFileError, SchemaError, StoreBusyError, WorkspaceError
from n4a_flows.storage.upgrade import UpgradeReport, upgrade

TABLES = ("runs", "pipelines", "chains", "predictions", "prediction_arrays", "artifacts", "logs")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], OldWorkspace]:
    """Each layout, closed properly and with a write-ahead log left over."""
    spectra = load_tecator().take(np.arange(40))
    made = {}
    for layout in LAYOUTS:
        for logged in (False, True):
            folder = tmp_path_factory.mktemp("old") / "ws"
            made[layout, logged] = old_workspaces.make(folder, layout, spectra.X, spectra.targets["fat"])
            if logged:
                old_workspaces.kill_while_recording(made[layout, logged])
    return made


def _copied(original: OldWorkspace, folder: Path) -> OldWorkspace:
    shutil.copytree(original.folder, folder)
    return OldWorkspace(
        folder,
        original.layout,
        original.X,
        original.y,
        original.run_id,
        original.chain_ids,
        original.expected,
        original.objects,
    )


@pytest.fixture(params=LAYOUTS, ids=["release", "later"])
def old(request: pytest.FixtureRequest, originals: Any, tmp_path: Path) -> OldWorkspace:
    return _copied(originals[request.param, False], tmp_path / "ws")


@pytest.fixture
def release(originals: Any, tmp_path: Path) -> OldWorkspace:
    return _copied(originals[RELEASE, False], tmp_path / "ws")


@pytest.fixture(params=[False, True], ids=["closed", "killed"])
def closed_or_killed(request: pytest.FixtureRequest, originals: Any, tmp_path: Path) -> OldWorkspace:
    return _copied(originals[RELEASE, request.param], tmp_path / "ws")


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _rows(database: Path, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{database}' AS store (READ_ONLY)")
        return connection.execute(f"SELECT {', '.join(columns)} FROM store.{table} ORDER BY 1").fetchall()


def _derived(workspace: OldWorkspace, sql: str) -> list[tuple[Any, ...]]:
    with Database.at(workspace.folder).session(write=False, operation="test", timeout=5) as session:
        return session.rows(sql)


def _assert_whole(workspace: OldWorkspace, report: UpgradeReport) -> None:
    """Every value of the old tables is in the new ones."""
    assert report.kept is not None
    for table in report.rows:
        columns = [column for column in workspace.columns(table) if column != "content_hash"]
        found = _rows(workspace.database, table, columns)
        assert repr(found) == repr(_rows(report.kept, table, columns)), table
        assert report.rows[table] == len(found)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["release", "later"])
@pytest.mark.parametrize("logged", [False, True], ids=["closed", "killed"])
def test_an_old_workspace_is_refused_by_name_of_the_command_until_it_is_upgraded(
    originals: Any, tmp_path: Path, layout: str, logged: bool
) -> None:
    workspace = _copied(originals[layout, logged], tmp_path / "ws")
    before = _files(workspace.folder)
    with pytest.raises(SchemaError, match="n4a-flows upgrade"):
        WorkspaceStore(workspace.folder)

    report = upgrade(workspace.folder)

    assert report.upgraded
    assert report.layout == layout
    assert report.warnings == ()
    assert set(report.rows) == {*TABLES} | ({"projects"} if layout == LATER else set())
    _assert_whole(workspace, report)
    assert report.kept is not None
    assert report.kept.read_bytes() == before["store.duckdb"]
    if logged:
        assert report.kept.with_name(report.kept.name + ".wal").read_bytes() == before["store.duckdb.wal"]
    after = _files(workspace.folder)
    untouched = {name: data for name, data in before.items() if not name.startswith("store.duckdb")}
    assert untouched.items() <= after.items()
    assert {name for name in after if name not in untouched} == {
        "store.duckdb", "store.duckdb.gate", "store.duckdb.lock", report.kept.name,
        *([report.kept.name + ".wal"] if logged else []),
    }  # fmt: skip
    with WorkspaceStore(workspace.folder) as store:
        assert store.list_runs().height == 1 + logged
        assert (store.get_run("logged") is not None) == logged


def test_the_verbs_read_what_was_recorded(old: OldWorkspace) -> None:
    upgrade(old.folder)
    with WorkspaceStore(old.folder) as store:
        run = store.get_run("run")
        assert run is not None
        assert (run["name"], run["status"], run["created_at"]) == ("nightly", "completed", BEGUN)
        assert run["config"] == {"cv": 2, "limit": float("inf")}
        assert run["datasets"] == [{"name": "tecator"}]
        assert run["project_id"] == ("project" if old.layout == LATER else None)
        assert store.list_pipelines("run").height == 2
        chain = store.get_chain("chain-1")
        assert chain is not None
        assert chain["steps"] == old_workspaces.steps("config_1$a1:all", ["model-1-0", "model-1-1"])
        assert chain["dataset_name"] == "tecator"
        arrays = store.get_prediction("prediction-0-1-val", load_arrays=True)
        assert arrays is not None
        assert arrays["scores"] == {"val": {"rmse": 2.0}}
        np.testing.assert_array_equal(arrays["y_true"], [1.0, 2.0, np.nan])
        np.testing.assert_array_equal(arrays["sample_indices"], [4, 5, 6])
        assert arrays["weights"] is None
        assert store.get_pipeline_log("pipeline-0")["message"].to_list() == ["fitted"]


def test_summaries_are_computed_where_the_old_layout_had_none_and_kept_where_it_had(old: OldWorkspace) -> None:
    upgrade(old.folder)
    with WorkspaceStore(old.folder) as store:
        chain = store.get_chain("chain-0")
    assert chain is not None
    assert chain["task_type"] == "regression"
    assert chain["cv_val_score"] == (77.0 if old.layout == LATER else 1.5)
    assert chain["cv_fold_count"] == (0 if old.layout == LATER else N_FOLDS)


def test_chains_predict_as_before(old: OldWorkspace) -> None:
    upgrade(old.folder)
    with WorkspaceStore(old.folder) as store:
        for chain_id in old.chain_ids:
            np.testing.assert_array_equal(store.replay_chain(chain_id, old.X), old.expected[chain_id])


def test_a_chain_has_the_digest_that_the_same_steps_and_bytes_get_today(release: OldWorkspace, tmp_path: Path) -> None:
    upgrade(release.folder)
    with WorkspaceStore(tmp_path / "today") as store:
        run_id = store.begin_run("again", {}, [])
        pipeline_id = store.begin_pipeline(run_id, "again", [], {}, "tecator", "abc")
        as_they_were = [_dumped(obj) for obj in release.objects["chain-1"]]
        scaler, *models = (
            store.save_artifact(SerializedArtifact(data, content_hash(data), "any", "any", "joblib"))
            for data in as_they_were
        )
        chain_id = store.save_chain(
            pipeline_id, old_workspaces.steps(scaler, models), 3, "PLSRegression", "Std", "per_fold",
            {f"fold_{fold}": model for fold, model in enumerate(models)}, {"1": [scaler]},
            task_type="regression",
        )  # fmt: skip
        today = store.get_chain_context(chain_id)
    with WorkspaceStore(release.folder) as store:
        upgraded = store.get_chain_context("chain-1")
        assert upgraded.digest == today.digest
        assert upgraded.digest != store.get_chain_context("chain-0").digest
        assert upgraded.axis is None
        assert upgraded.task_type == "regression"


def _dumped(obj: Any) -> bytes:
    """An object as nirs4all wrote it."""
    buffer = io.BytesIO()
    joblib.dump(obj, buffer, compress=3)
    return buffer.getvalue()


def test_edges_and_times_of_saving_are_filled_in_and_counts_kept(release: OldWorkspace) -> None:
    upgrade(release.folder)
    edges = _derived(release, "SELECT artifact_id, count FROM chain_artifacts WHERE chain_id = 'chain-0' ORDER BY 1")
    assert edges == [("config_0$a1:all", 1), ("model-0-0", 1), ("model-0-1", 1)]
    assert _derived(release, "SELECT DISTINCT saved_at FROM artifact_saves") == [(BEGUN,)]
    assert _derived(release, "SELECT count(*), min(ref_count), max(ref_count) FROM artifacts") == [(6, 3, 3)]


def test_upgrading_twice_says_so_and_does_nothing(old: OldWorkspace) -> None:
    upgrade(old.folder)
    before = _files(old.folder)
    again = upgrade(old.folder)
    assert not again.upgraded
    assert again.kept is None
    assert {name for name, data in _files(old.folder).items() if before.get(name) != data} <= {"store.duckdb.lock"}


def test_a_workspace_of_ours_with_a_log_is_left_alone(tmp_path: Path) -> None:
    with WorkspaceStore(tmp_path) as store:
        store.begin_run("ours", {}, [])
    assert not upgrade(tmp_path).upgraded
    with WorkspaceStore(tmp_path) as store:
        assert store.list_runs().height == 1


def test_a_newer_schema_is_refused_with_both_versions(tmp_path: Path) -> None:
    WorkspaceStore(tmp_path).close()
    with Database.at(tmp_path).session(write=True, operation="test", timeout=5) as session:
        session.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(SchemaError, match=r"version 99.*version 2"):
        upgrade(tmp_path)


def test_what_is_no_workspace_is_refused_and_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = tmp_path / "store.duckdb"
    with pytest.raises(MissingFileError, match=r"no store\.duckdb"):
        upgrade(tmp_path)
    assert not any(tmp_path.iterdir())

    store.write_bytes(b"not a database" * 1000)
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        upgrade(tmp_path)
    assert store.read_bytes() == b"not a database" * 1000
    assert not caplog.records, "the error says all"

    store.unlink()
    with duckdb.connect(str(store)) as connection:
        connection.execute("CREATE TABLE spectra (x DOUBLE)")
    with pytest.raises(SchemaError, match="other tables"):
        upgrade(tmp_path)

    store.unlink()
    duckdb.connect(str(store)).close()
    with pytest.raises(SchemaError, match="no tables"):
        upgrade(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"store.duckdb", "store.duckdb.gate", "store.duckdb.lock"}


def test_a_linked_database_is_refused(release: OldWorkspace, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "store.duckdb").symlink_to(release.database)
    with pytest.raises(WorkspaceError, match="is a link"):
        upgrade(other)


def test_what_was_wrong_before_is_kept_and_reported(release: OldWorkspace) -> None:
    with release.opened() as connection:
        connection.execute("DELETE FROM artifacts WHERE artifact_id = 'model-0-1'")
        [(path,)] = connection.execute("SELECT artifact_path FROM artifacts WHERE artifact_id = 'model-1-0'").fetchall()
        connection.execute("UPDATE artifacts SET artifact_path = '../outside' WHERE artifact_id = 'model-1-1'")
        connection.execute("ALTER TABLE logs ADD COLUMN colour VARCHAR")
        connection.execute("CREATE TABLE notes (note VARCHAR)")
        for chain_id, steps, shared in (
            ("no steps", '{"a": "model-0-0"}', None),
            ("no map", "[]", '["model-0-0"]'),
            ("no ids", "[]", '{"1": {"deep": "model-0-0"}}'),
        ):
            connection.execute(
                "INSERT INTO chains (chain_id, pipeline_id, steps, model_step_idx, model_class, shared_artifacts) "
                "VALUES (?, 'pipeline-0', ?, 1, 'm', ?)",
                [chain_id, steps, shared],
            )
    (release.folder / "artifacts" / path).unlink()

    report = upgrade(release.folder)

    _assert_whole(release, report)
    said = "\n".join(report.warnings)
    assert len(report.warnings) == 8
    assert "The chain chain-0 names the artifact model-0-1, which this workspace does not have." in said
    assert f"The file {path} of the artifact model-1-0 is missing." in said
    assert "The artifact model-1-1 has no usable path." in said
    assert "The column colour of the table logs is not known here" in said
    assert "The table notes is not known here" in said
    for chain_id in ("no steps", "no map", "no ids"):
        assert f"The chain {chain_id} cannot be replayed" in said
    # Nothing that a chain mentions can be taken for garbage.
    edges = _derived(release, "SELECT chain_id, artifact_id FROM chain_artifacts")
    assert ("chain-0", "model-0-1") in edges
    assert {chain_id for chain_id, artifact_id in edges if artifact_id == "model-0-0"} == {
        "chain-0", "no steps", "no map", "no ids",
    }  # fmt: skip
    assert _derived(release, "SELECT count(DISTINCT digest) FROM chain_context") == [(5,)]


def test_ids_that_nirs4all_used_for_different_trainings_are_reported(release: OldWorkspace) -> None:
    release.execute(
        "UPDATE chains SET shared_artifacts = replace(CAST(shared_artifacts AS VARCHAR), 'config_1', 'config_0'), "
        "steps = replace(CAST(steps AS VARCHAR), 'config_1', 'config_0')"
    )
    [warning] = upgrade(release.folder).warnings
    assert "config_0$a1:all is named by chains of 2 pipelines" in warning


@pytest.mark.parametrize(
    ("damage", "said"),
    [("DROP TABLE logs", "has no logs"), ("ALTER TABLE logs DROP COLUMN event", "logs of this .* has no column event")],
)
def test_a_database_that_lacks_something_is_refused_and_nothing_left_behind(
    release: OldWorkspace, damage: str, said: str
) -> None:
    release.execute(damage)
    before = _files(release.folder)
    with pytest.raises(SchemaError, match=said):
        upgrade(release.folder)
    after = _files(release.folder)
    assert {name for name in after if not name.endswith((".gate", ".lock"))} == set(before)
    assert after["store.duckdb"] == before["store.duckdb"]


def test_a_full_disk_leaves_the_old_database(closed_or_killed: OldWorkspace) -> None:
    before = _files(closed_or_killed.folder)
    code = (
        "import resource, signal, sys; from n4a_flows.storage.upgrade import upgrade\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "upgrade(sys.argv[1])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, closed_or_killed.folder], check=False, capture_output=True, text=True
    )
    assert "WorkspaceError" in process.stderr
    assert "Traceback (most recent call last):" in process.stderr
    after = _files(closed_or_killed.folder)
    assert {name for name in after if not name.endswith((".gate", ".lock"))} == set(before)
    assert upgrade(closed_or_killed.folder).upgraded


def test_the_new_file_has_the_permissions_of_the_old(release: OldWorkspace) -> None:
    release.database.chmod(0o660)
    upgrade(release.folder)
    assert release.database.stat().st_mode & 0o777 == 0o660


def test_a_program_that_has_the_old_store_open_is_named(release: OldWorkspace) -> None:
    code = f"import duckdb; c = duckdb.connect({str(release.database)!r}); print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StoreBusyError, match=str(process.pid)):
            upgrade(release.folder, lock_timeout=0.2)
        process.communicate("\n")
    assert upgrade(release.folder).upgraded


def _state(folder: Path) -> str:
    """What opening the workspace finds: `"new"`, or `"old"` when it is refused by name of the command."""
    try:
        WorkspaceStore(folder).close()
    except SchemaError as error:
        return "old" if "n4a-flows upgrade" in str(error) else str(error)
    return "new"


_KILLED_AT_EVERY_STEP = """
import os, shutil, signal, sys
from pathlib import Path
from n4a_flows.storage.upgrade import upgrade

original, target = Path(sys.argv[1]), Path(sys.argv[2])
ON_FILES = {"link", "replace", "rename", "unlink", "remove", "fsync", "chmod", "open", "copyfileobj", "utime"}

def run(folder, deadline):
    seen = [0, 0]
    def watch(frame, event, function):
        callers = (frame.f_code.co_filename, frame.f_back.f_code.co_filename if frame.f_back else "")
        if event != "c_call" or not any("n4a_flows" in caller for caller in callers):
            return
        name = getattr(function, "__name__", "")
        if name == "execute":
            seen[1] += 1
            if seen[1] % EVERY:
                return
        elif name not in ON_FILES:
            return
        seen[0] += 1
        if seen[0] == deadline:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(watch)
    upgrade(folder)
    os._exit(0)

EVERY, number, status = int(sys.argv[3]), 0, signal.SIGKILL
while status == signal.SIGKILL:
    number += 1
    folder = target / str(number)
    shutil.copytree(original, folder)
    child = os.fork()
    if child == 0:
        run(folder, number)
    status = os.waitpid(child, 0)[1]
print(number, status)
"""


@pytest.mark.parametrize("logged", [False, True], ids=["closed", "killed"])
def test_killed_at_any_step_it_leaves_the_old_or_the_new_and_can_be_run_again(
    originals: Any, tmp_path: Path, logged: bool
) -> None:
    original: OldWorkspace = originals[RELEASE, logged]
    process = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            _KILLED_AT_EVERY_STEP,
            original.folder,
            tmp_path,
            "4" if os.environ.get("N4A_LONG") else "128",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    tried, status = map(int, process.stdout.split())
    assert status == 0, process.stderr
    assert tried > 10
    states = []
    for number in range(1, tried + 1):
        workspace = OldWorkspace(tmp_path / str(number), RELEASE, original.X, original.y)
        states.append(_state(workspace.folder))
        upgrade(workspace.folder)
        with WorkspaceStore(workspace.folder) as store:
            assert store.list_runs().height == 1 + logged
            assert store.query_predictions().height == 8
        names = set(os.listdir(workspace.folder))
        assert not [name for name in names if "upgrading" in name or name == "store.duckdb.wal"]
        kept = [name for name in names if ".nirs4all-" in name and not name.endswith(".wal")]
        assert any((workspace.folder / name).read_bytes() == original.database.read_bytes() for name in kept), (
            "the original is gone"
        )
    assert states == sorted(states, reverse=True)
    assert set(states) == {"old", "new"}
