"""What predictions are judged by lives with its chain: beside it in the store and the bundle, and gone when it is gone."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_chains import make_chain
from inside import change, look

from n4a_flows.storage import WorkspaceStore, inspect_bundle, serialize, verify_bundle
from n4a_flows.storage.codecs import content_hash
from n4a_flows.storage.errors import ArtifactCorruptError, BundleError, UnknownIdError, UntrustedError

LIMITS = serialize({"t2": np.linspace(0, 9, 50), "version": np.array(1)}, "m.Limits", "limits", "npz")


def judged(store: WorkspaceStore, chain_id: str, pipeline_id: str, limits: Any = LIMITS, **context: Any) -> str:
    """The same chain once more, with limits."""
    chain, kept = store.get_chain(chain_id), store.get_chain_context(chain_id)
    assert chain is not None
    with store.transaction():
        if limits is not None:
            context["limits_artifact_id"] = store.save_artifact(store.prepare_artifact(limits))
        return store.save_chain(
            pipeline_id, chain["steps"], chain["model_step_idx"], chain["model_class"], "SNV", "per_fold",
            chain["fold_artifacts"], chain["shared_artifacts"], target="fat", task_type=kept.task_type,
            probe_artifact_id=kept.probe_artifact_id, **context,
        )  # fmt: skip


@pytest.fixture
def plain(store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray) -> str:
    return make_chain(store, pipeline_id, spectra, y, keys=("fold_0", "fold_final"))


@pytest.fixture
def chain_id(store: WorkspaceStore, plain: str, pipeline_id: str) -> str:
    return judged(store, plain, pipeline_id, unit="% (m/m)", parent_chain_id=plain)


@pytest.fixture
def other(tmp_path: Path) -> WorkspaceStore:
    return WorkspaceStore(tmp_path / "other")


def limits_file(store: WorkspaceStore) -> Path:
    return store.workspace_path / "artifacts" / LIMITS.content_hash[:2] / f"{LIMITS.content_hash}.npz"


def test_limits_parent_and_unit_are_kept_and_are_no_part_of_the_digest(
    store: WorkspaceStore, plain: str, chain_id: str, pipeline_id: str
) -> None:
    context, before = store.get_chain_context(chain_id), store.get_chain_context(plain)
    assert (context.unit, context.parent_chain_id, context.parent_digest) == ("% (m/m)", plain, before.digest)
    assert context.digest == before.digest
    assert (before.unit, before.parent_chain_id, before.parent_digest) == (None, None, None)
    assert store.get_limits(chain_id) == LIMITS.data
    assert store.get_limits(plain) is None

    store.set_alias("fat", chain_id)
    assert store.get_limits("fat") == LIMITS.data
    assert store.get_chain_context(judged(store, plain, pipeline_id, parent_chain_id="fat")).parent_chain_id == chain_id
    careful = WorkspaceStore(store.workspace_path, trust="none")
    assert careful.get_limits("fat") == LIMITS.data, "they are read without unpickling"


def test_what_does_not_exist_is_refused(store: WorkspaceStore, plain: str, pipeline_id: str) -> None:
    for wrong in ({"limits_artifact_id": "nothing"}, {"parent_chain_id": "nothing"}):
        with pytest.raises(UnknownIdError, match="nothing"):
            judged(store, plain, pipeline_id, None, **wrong)
    with pytest.raises(UnknownIdError):
        store.get_limits("nothing")


def test_a_worker_is_given_the_limits(store: WorkspaceStore, plain: str, chain_id: str, spectra: np.ndarray) -> None:
    package = pickle.loads(pickle.dumps(store.chain_package(chain_id)))  # noqa: S301 - on its way to a worker
    assert package.limits == LIMITS.data
    assert store.chain_package(plain).limits is None
    np.testing.assert_array_equal(package.load().predict(spectra), store.replay_chain(plain, spectra))
    limits_file(store).write_bytes(b"something else")
    for look_at in (store.chain_package, store.get_limits):
        with pytest.raises(ArtifactCorruptError):
            look_at(chain_id)
    assert store.load_predictor(chain_id).predict(spectra).shape == (60,), "predicting needs none"


def test_limits_stay_as_long_as_their_chain(store: WorkspaceStore, chain_id: str, pipeline_id: str, plain: str) -> None:
    change(store.workspace_path, "UPDATE artifacts SET ref_count = 0")
    assert store.gc_artifacts() == 0, "the edge protects them"
    report = store.check("full")
    assert report.ok
    assert not [note for note in report.notes if note.kind == "edges"]
    change(store.workspace_path, f"DELETE FROM chain_artifacts WHERE chain_id = '{chain_id}' AND artifact_id = (SELECT "
           f"limits_artifact_id FROM chain_context WHERE chain_id = '{chain_id}')")  # fmt: skip
    assert [found.kind for found in store.check().findings] == ["edges"]
    store.repair(store.check())
    assert store.check().ok
    run_id = look(store.workspace_path, "SELECT run_id FROM runs")[0][0]
    store.cleanup_transient_artifacts(run_id, "tecator", [pipeline_id])
    assert store.get_limits(chain_id) == LIMITS.data, "a winner keeps them"
    assert store.check("full").ok
    store.delete_run(run_id)
    store.gc_artifacts()
    assert not limits_file(store).exists()


def test_a_loser_gives_its_limits_up(store: WorkspaceStore, chain_id: str, plain: str) -> None:
    run_id = look(store.workspace_path, "SELECT run_id FROM runs")[0][0]
    store.cleanup_transient_artifacts(run_id, "tecator", [])
    assert not limits_file(store).exists()
    assert store.check().ok


def test_a_child_outlives_its_parent(store: WorkspaceStore, plain: str, spectra: np.ndarray) -> None:
    expected, digest = store.replay_chain(plain, spectra), store.get_chain_context(plain).digest
    run_id = store.begin_run("corrected", {}, [])
    child = judged(store, plain, store.begin_pipeline(run_id, "bias", [], {}, "tecator", "h"), parent_chain_id=plain)
    [first] = store.list_runs(status="running").filter(store.list_runs()["name"] == "run")["run_id"].to_list()
    store.delete_run(first)
    assert store.get_chain(plain) is None
    np.testing.assert_array_equal(store.replay_chain(child, spectra), expected)
    assert store.get_chain_context(child).parent_digest == digest
    assert store.check("replay").ok


# ---------------------------------------------------------------------- bundles


def test_limits_travel_in_the_bundle_as_they_are(
    store: WorkspaceStore, plain: str, chain_id: str, tmp_path: Path, other: WorkspaceStore
) -> None:
    digest = store.get_chain_context(plain).digest
    path = store.export_chain(chain_id, tmp_path / "fat")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("limits.npz") == LIMITS.data
    for info in (inspect_bundle(path), verify_bundle(path)):
        assert (info.has_limits, info.unit, info.parent_digest) == (True, "% (m/m)", digest)
    report = other.import_bundle(path, trust="modules")
    context = other.get_chain_context(report.chain_id)
    assert other.get_limits(report.chain_id) == LIMITS.data
    assert (context.unit, context.parent_chain_id, context.parent_digest) == ("% (m/m)", None, digest)
    assert limits_file(other).read_bytes() == LIMITS.data
    assert report.new_artifacts == 4, "two folds, the probe and the limits"
    assert other.check("full").ok
    assert other.import_bundle(path).already_there
    other.delete_run(other.list_runs()["run_id"].item())
    assert not list((other.workspace_path / "artifacts").rglob("*.npz"))


def test_a_bundle_without_limits_comes_in_and_one_with_limits_after_it(
    store: WorkspaceStore, plain: str, chain_id: str, tmp_path: Path, other: WorkspaceStore
) -> None:
    bare = store.export_chain(plain, tmp_path / "bare")

    def as_version_1_wrote_it(manifest: dict[str, Any]) -> None:
        for key in ("limits", "unit", "parent_digest"):
            del manifest[key]

    amended(bare, as_version_1_wrote_it)
    info = verify_bundle(bare)
    assert (info.has_limits, info.unit, info.parent_digest) == (False, None, None)
    first = other.import_bundle(bare)
    assert other.get_limits(first.chain_id) is None
    second = other.import_bundle(store.export_chain(chain_id, tmp_path / "full"))
    assert (second.already_there, second.digest) == (False, first.digest)
    assert other.get_limits(second.chain_id) == LIMITS.data
    assert other.get_chain_context(second.chain_id).parent_chain_id == first.chain_id, (
        "the parent is here by its digest"
    )
    assert other.import_bundle(bare).already_there


def amended(path: Path, change_it: Callable[[dict[str, Any]], None], limits: bytes | None = None) -> None:
    """Write a bundle anew with another manifest, and perhaps other limits under their right digest."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    if limits is not None:
        members["limits.npz"] = limits
        manifest["members"]["limits.npz"] = {"sha256": content_hash(limits), "size": len(limits)}
    change_it(manifest)
    members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def npz(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def array(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(value), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("limits", "manifest", "why"),
    [
        (b"no limits", {}, "limits.* cannot be read"),
        (LIMITS.data[:-40], {}, "limits.* cannot be read"),
        (npz(t2=array([{"a": 1}])), {}, "limits.* cannot be read"),
        (npz(t2=array(np.array([1j]))), {}, "no arrays of numbers: t2"),
        (npz(t2=array(np.array(["high"]))), {}, "no arrays of numbers: t2"),
        (npz(t2=array(np.zeros(1, dtype="datetime64[s]"))), {}, "no arrays of numbers: t2"),
        (npz(), {}, "no arrays of numbers: none"),
        (npz(t2=bytes(300 * 1024**2)), {}, "more than 256 MiB"),
        (None, {"limits": "limit.npz"}, "no limit.npz"),
        (None, {"limits": 3}, "limits"),
        (None, {"unit": ["%"]}, "unit"),
        (None, {"parent_digest": "../x"}, "no digest"),
    ],
)
def test_limits_that_are_none_are_refused_and_nothing_is_written(
    store: WorkspaceStore, chain_id: str, tmp_path: Path, other: WorkspaceStore,
    limits: bytes | None, manifest: dict[str, Any], why: str,
) -> None:  # fmt: skip
    path = store.export_chain(chain_id, tmp_path / "fat")
    amended(path, lambda document: document.update(manifest), limits)
    with pytest.raises(BundleError, match=why):
        other.import_bundle(path)
    with pytest.raises(BundleError, match=why):
        verify_bundle(path)
    assert other.list_runs().is_empty()
    assert not any((other.workspace_path / "artifacts").rglob("*.*"))


def test_limits_that_are_no_arrays_cannot_leave_the_workspace(
    store: WorkspaceStore, plain: str, pipeline_id: str, tmp_path: Path
) -> None:
    wrong = judged(store, plain, pipeline_id, serialize({"t2": 3.0}, "builtins.dict", "limits", "joblib"))
    with pytest.raises(BundleError, match="limits"):
        store.export_chain(wrong, tmp_path / "wrong")
    assert not list(tmp_path.glob("wrong*"))
    with pytest.raises(UntrustedError):
        WorkspaceStore(store.workspace_path, trust="none").load_predictor(wrong)
