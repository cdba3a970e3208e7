"""A write-ahead log of nirs4all that is torn or damaged: what was committed whole comes over, or nothing is touched."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import old_workspaces
import pytest
from old_workspaces import RELEASE, OldWorkspace

from n4a_flows.spectra import load_tecator
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import WorkspaceError
from n4a_flows.storage.upgrade import upgrade

LOG = "store.duckdb.wal"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> OldWorkspace:
    """One run in the database, and one that stands in the log only."""
    spectra = load_tecator().take(np.arange(40))
    workspace = old_workspaces.make(
        tmp_path_factory.mktemp("old") / "ws", RELEASE, spectra.X, spectra.targets["fat"], n_pipelines=1
    )
    old_workspaces.kill_while_recording(workspace)
    return workspace


def _with_log(killed: OldWorkspace, folder: Path, damage: Callable[[bytes], bytes]) -> tuple[Path, bytes]:
    shutil.copytree(killed.folder, folder)
    log = damage((folder / LOG).read_bytes())
    (folder / LOG).write_bytes(log)
    return folder, log


@pytest.mark.parametrize(
    ("damage", "runs"),
    [
        (lambda log: log[:-1], ["run"]),
        (lambda log: log[: len(log) // 2], ["run"]),
        (lambda log: log[:10], ["run"]),
        (lambda log: b"", ["run"]),
        (lambda log: log + bytes(100), ["logged", "run"]),
    ],
    ids=["last byte", "half", "header", "empty", "zeros behind"],
)
def test_what_was_committed_whole_comes_over_and_the_log_is_kept(
    killed: OldWorkspace, tmp_path: Path, damage: Callable[[bytes], bytes], runs: list[str]
) -> None:
    folder, log = _with_log(killed, tmp_path / "ws", damage)
    kept = upgrade(folder).kept
    with WorkspaceStore(folder) as store:
        assert sorted(store.list_runs()["run_id"]) == runs
        assert store.query_predictions().height == 4
    assert kept is not None
    assert kept.read_bytes() == killed.database.read_bytes()
    assert kept.with_name(kept.name + ".wal").read_bytes() == log
    assert not (folder / LOG).exists()


@pytest.mark.parametrize("place", [0.25, 0.5, 0.97])
def test_a_damaged_log_is_refused_and_nothing_is_touched(killed: OldWorkspace, tmp_path: Path, place: float) -> None:
    def damage(log: bytes) -> bytes:
        at = int(place * len(log))
        return log[:at] + bytes([log[at] ^ 0xFF]) + log[at + 1 :]

    folder, log = _with_log(killed, tmp_path / "ws", damage)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(WorkspaceError, match=r"log .* is damaged") as refused:
        upgrade(folder)
    assert LOG in str(refused.value)
    assert (folder / LOG).read_bytes() == log
    assert (folder / "store.duckdb").read_bytes() == killed.database.read_bytes()
    assert {path.name for path in folder.iterdir()} - set(before) <= {"store.duckdb.lock", "store.duckdb.gate"}

    # What the message offers.
    (folder / LOG).rename(tmp_path / "damaged.wal")
    upgrade(folder)
    with WorkspaceStore(folder) as store:
        assert list(store.list_runs()["run_id"]) == ["run"]
