"""Backups at URLs: what came back is the workspace, and a half copy never counts. `memory://` stands for an object store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from processes import record_pipeline

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import (
    ArtifactCorruptError,
    ArtifactMissingError,
    InvalidInputError,
    MissingFileError,
    PlaceError,
)
from n4a_flows.storage.places import Place

URL = "memory://lab/backups/ws"


@pytest.fixture(autouse=True)
def _empty_memory() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def fill(store: WorkspaceStore, *names: str) -> str:
    run_id = store.begin_run("r", {}, [])
    for name in names:
        record_pipeline(store, run_id, name)
    return run_id


def names_in(workspace: Path) -> list[str]:
    """The pipelines of a workspace, after loading the model of each."""
    store = WorkspaceStore(workspace)
    names = []
    for pipeline_id, name in store.list_pipelines().select("pipeline_id", "name").iter_rows():
        [chain] = store.get_chains_for_pipeline(pipeline_id).iter_rows(named=True)
        assert store.load_artifact(json.loads(chain["fold_artifacts"])["fold_0"]) == {"name": name}
        names.append(name)
    return sorted(names)


@pytest.mark.parametrize("scheme", ["memory", "local"])
def test_a_backup_at_a_url_comes_back_and_is_brought_up_to_date(
    store: WorkspaceStore, tmp_path: Path, scheme: str
) -> None:
    url = URL if scheme == "memory" else f"local://{tmp_path}/elsewhere/ws"
    # A path that is written as a URL is a path; asked for directly, it is a file system without object stores' promises.
    target: Any = url if scheme == "memory" else Place(url)
    fill(store, "a", "b")
    report = store.backup(target)
    assert (str(report.target), report.artifacts, report.copied_artifacts) == (url, 2, 2)
    later = fill(store, "c")
    assert store.backup(target).copied_artifacts == 1
    store.delete_run(later)
    last = store.backup(target)
    assert (last.artifacts, last.copied_artifacts) == (2, 0)
    fill(store, "after the backup")
    assert len([name for name in Place(url).sizes() if name.startswith("store.")]) == 1, "earlier copies are gone"
    assert WorkspaceStore.restore(target, tmp_path / "tried", dry_run=True).artifacts == 2
    restored = WorkspaceStore.restore(target, tmp_path / "new" / "ws")
    assert (restored.created, restored.rows) == (last.created, last.rows)
    assert names_in(tmp_path / "new" / "ws") == ["a", "b"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["ws"]
    assert not (tmp_path / "tried").exists()
    assert not list(store.workspace_path.glob(".tmp-*"))
    assert WorkspaceStore(tmp_path / "new" / "ws").backup(target).copied_artifacts == 0, "it goes on with its backups"


def test_a_backup_replaces_nothing_of_others(store: WorkspaceStore, tmp_path: Path) -> None:
    fill(store, "a")
    Place("memory://lab/other/file.txt").write(b"x")
    with pytest.raises(InvalidInputError, match="holds something else"):
        store.backup("memory://lab/other")
    store.backup(URL)
    with pytest.raises(InvalidInputError, match="another workspace"):
        WorkspaceStore(tmp_path / "second").backup(URL)
    with pytest.raises(MissingFileError, match="no finished backup"):
        WorkspaceStore.restore("memory://lab/other", tmp_path / "new")


class Failing(MemoryFileSystem):
    """A place that is full after so many files."""

    protocol = "failing"
    room = 0

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        Failing.room -= 1
        if Failing.room < 0:
            raise OSError(28, "No space left")
        super().pipe_file(path, value, mode, **kwargs)


def test_until_a_backup_is_whole_the_one_before_it_counts(store: WorkspaceStore, tmp_path: Path) -> None:
    fsspec.register_implementation("failing", Failing, clobber=True)
    url = "failing://lab/ws"
    fill(store, "a")
    Failing.room = 1000
    store.backup(url)
    fill(store, *"bcdefgh")
    for number, room in enumerate([1] * 7 + [0]):  # the last time only backup.json is missing
        Failing.room = room
        with pytest.raises(PlaceError, match="No space left"):
            store.backup(url)
        WorkspaceStore.restore(url, tmp_path / f"after-{number}")
        assert names_in(tmp_path / f"after-{number}") == ["a"]
    Failing.room = 1000
    store.backup(url)
    WorkspaceStore.restore(url, tmp_path / "whole")
    assert names_in(tmp_path / "whole") == list("abcdefgh")


def test_a_damaged_backup_is_not_restored(store: WorkspaceStore, tmp_path: Path) -> None:
    fill(store, "a")
    store.backup(URL)
    [artifact] = [name for name in Place(URL).sizes() if name.startswith("artifacts/")]
    file = Place(URL) / artifact
    data = file.read()
    file.write(data[:-1] + b"?")
    with pytest.raises(ArtifactCorruptError):
        WorkspaceStore.restore(URL, tmp_path / "new")
    file.remove()
    with pytest.raises(ArtifactMissingError):
        WorkspaceStore.restore(URL, tmp_path / "new")
    file.write(data)
    Place(f"{URL}/artifacts/../../evil").write(b"x")
    if any(".." in name for name in Place(URL).sizes()):
        with pytest.raises(PlaceError, match="no name of a backup"):
            WorkspaceStore.restore(URL, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "evil").exists()
