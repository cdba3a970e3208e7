"""Artifacts: one file per content, verified on every load, loaded only as far as the operator trusts."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from n4a_flows.storage import WorkspaceStore, serialize
from n4a_flows.storage.codecs import deserialize
from n4a_flows.storage.errors import (
    ArtifactCorruptError,
    ArtifactLoadError,
    ArtifactMissingError,
    InvalidInputError,
    UnknownIdError,
    UntrustedError,
)


def files_of(store: WorkspaceStore) -> list[Path]:
    return sorted(path for path in (store.workspace_path / "artifacts").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("format", "ending"), [("joblib", ".joblib"), ("pickle", ".pkl"), ("cloudpickle", ".pkl"), ("x", ".bin")]
)
def test_bytes_are_kept_once_under_their_hash(store: WorkspaceStore, format: str, ending: str) -> None:
    first = store.save_artifact({"a": np.arange(3)}, "builtins.dict", "model", format)
    assert store.save_artifact({"a": np.arange(3)}, "builtins.dict", "model", format) == first
    other = store.save_artifact({"a": np.arange(4)}, "builtins.dict", "model", format)
    assert other != first
    assert len(files_of(store)) == 2
    path = store.get_artifact_path(first)
    assert path.suffix == ending
    assert path.stem == serialize({"a": np.arange(3)}, "", "", format).content_hash
    assert path.parent.name == path.stem[:2]
    assert store.load_artifact(first)["a"].tolist() == [0, 1, 2]


def test_what_a_transaction_saves_is_whole_when_it_is_read_and_when_it_ends(store: WorkspaceStore) -> None:
    with store.transaction():
        ids = [store.save_artifact({"a": number}, "dict", "model") for number in range(300)]
        ids.append(store.save_artifact({"a": 0}, "dict", "model"))
        assert store.load_artifact(ids[-1]) == {"a": 0}, "read before the end"
        assert all(store.get_artifact_path(one).is_file() for one in ids)
        late = store.save_artifact({"a": -1}, "dict", "model")
    assert ids[0] == ids[-1]
    assert len(set(ids)) == 300 == len(files_of(store)) - 1
    assert store.load_artifact(late) == {"a": -1}
    damaged = store.get_artifact_path(late)
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    with store.transaction():
        again = [store.save_artifact({"a": number}, "dict", "model") for number in range(10)]
        assert store.save_artifact({"a": -1}, "dict", "model") == late
    assert again == ids[:10]
    assert store.load_artifact(late) == {"a": -1}, "saving again mends it"
    with pytest.raises(KeyError), store.transaction():
        store.save_artifact({"a": -2}, "dict", "model")
        raise KeyError
    assert len(files_of(store)) == 301, "what was rolled back is not written"


def test_a_class_of_a_script_needs_cloudpickle(store: WorkspaceStore) -> None:
    class Local:
        value = 3

    with pytest.raises(InvalidInputError, match="cloudpickle"):
        store.save_artifact(Local(), "Local", "model", "joblib")
    assert store.load_artifact(store.save_artifact(Local(), "Local", "model", "cloudpickle")).value == 3


def test_unknown_missing_and_damaged(store: WorkspaceStore) -> None:
    with pytest.raises(UnknownIdError):
        store.load_artifact("none")
    with pytest.raises(UnknownIdError):
        store.get_artifact_path("none")
    scaler = StandardScaler().fit(np.arange(6.0).reshape(3, 2))
    artifact_id = store.save_artifact(scaler, "StandardScaler", "scaler", "joblib")
    path = store.get_artifact_path(artifact_id)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ArtifactCorruptError, match="damaged"):
        store.load_artifact(artifact_id)
    assert store.save_artifact(scaler, "StandardScaler", "scaler", "joblib") == artifact_id, (
        "saving again mends the file"
    )
    assert path.read_bytes() == good
    path.unlink()
    with pytest.raises(ArtifactMissingError, match="backup"):
        store.load_artifact(artifact_id)


def test_trust_decides_what_is_unpickled(store: WorkspaceStore, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "pwned"),)

    ids = [
        store.save_artifact(Evil(), "Evil", "model", "pickle"),
        store.save_artifact(np.array([Evil()], dtype=object), "ndarray", "model", "joblib"),
        store.save_artifact({"exec": "print"}, "dict", "model", "joblib"),
    ]
    careful = WorkspaceStore(store.workspace_path, trust="modules")
    for artifact_id in ids[:2]:
        with pytest.raises(UntrustedError, match="mkdir"):
            careful.load_artifact(artifact_id)
    assert careful.load_artifact(ids[2]) == {"exec": "print"}
    with pytest.raises(UntrustedError, match="trust 'none'"):
        WorkspaceStore(store.workspace_path, trust="none").load_artifact(ids[2])
    assert not (tmp_path / "pwned").exists()
    with pytest.raises(InvalidInputError, match="Unknown trust"):
        WorkspaceStore(store.workspace_path, trust="some")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["numpy.testing._private.utils.runstring", "sklearn.utils.os.system", "numpy.os.system"]
)
def test_functions_and_reexports_of_allowed_modules_are_refused(name: str) -> None:
    module = name.partition(".")[0]
    data = f"c{name.rpartition('.')[0]}\n{name.rpartition('.')[2]}\n.".encode()
    with pytest.raises((UntrustedError, ArtifactLoadError)):
        deserialize(data, "pickle", "modules")
    dotted = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
    rest = name.removeprefix(module + ".").encode()
    with pytest.raises((UntrustedError, ArtifactLoadError)):
        deserialize(dotted + b"\x8c" + bytes([len(rest)]) + rest + b"\x93.", "pickle", "modules")


@pytest.mark.parametrize("format", ["joblib", "pickle"])
def test_real_estimators_load_with_trust_in_modules(spectra: np.ndarray, y: np.ndarray, format: str) -> None:
    for model in (PLSRegression(2), KNeighborsRegressor()):
        artifact = serialize(model.fit(spectra, y), "model", "model", format)
        loaded = deserialize(artifact.data, format, "modules")
        np.testing.assert_array_equal(loaded.predict(spectra), model.predict(spectra))


def test_skops_files_are_audited_before_they_are_loaded(
    store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray
) -> None:
    pytest.importorskip("skops", reason="the extra 'skops' is not installed")
    model = PLSRegression(2).fit(spectra, y)
    snv = StandardNormalVariate().fit(spectra)
    ids = [store.save_artifact(obj, type(obj).__name__, "operator", "skops") for obj in (model, snv)]
    assert {store.get_artifact_path(artifact_id).suffix for artifact_id in ids} == {".skops"}
    careful = WorkspaceStore(store.workspace_path, trust="modules")
    np.testing.assert_array_equal(careful.load_artifact(ids[0]).predict(spectra), model.predict(spectra))
    np.testing.assert_array_equal(careful.load_artifact(ids[1]).transform(spectra), snv.transform(spectra))
    narrow = WorkspaceStore(store.workspace_path, trust="modules", allowed_modules=["sklearn"])
    with pytest.raises(UntrustedError, match="StandardNormalVariate"):
        narrow.load_artifact(ids[1])


def test_a_bundle_predicts_by_hand(store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray) -> None:
    scaler = StandardScaler().fit(spectra)
    model = PLSRegression(2).fit(scaler.transform(spectra), y)
    ids = [store.save_artifact(obj, f"sklearn.{type(obj).__name__}", "operator", "joblib") for obj in (scaler, model)]
    steps = [
        {
            "step_idx": 1,
            "operator_class": "sklearn.StandardScaler",
            "params": {},
            "fold_artifact_ids": {"fold_final": ids[0]},
        },
        {"step_idx": 2, "operator_class": "sklearn.PLSRegression", "params": {}, "operator_type": "model"},
    ]
    chain_id = store.save_chain(
        pipeline_id, steps, 2, "sklearn.PLSRegression", "", "per_fold", {"fold_final": ids[1]}, {}
    )
    path = store.export_chain(chain_id, store.workspace_path / "exports" / "chain")
    assert path.name == "chain.n4a"
    with zipfile.ZipFile(path) as bundle:
        members = [name for name in bundle.namelist() if name.startswith("artifacts/")]
        assert members == [
            "artifacts/step_1_0_StandardScaler.joblib",
            "artifacts/step_2_foldfinal_PLSRegression.joblib",
        ]
        loaded = [joblib.load(bundle.open(name)) for name in members]
        assert bundle.read(members[1]) == store.get_artifact_path(ids[1]).read_bytes(), "bytes are copied"
    np.testing.assert_array_equal(
        loaded[1].predict(loaded[0].transform(spectra)), store.replay_chain(chain_id, spectra)
    )

    steps[0]["fold_artifact_ids"] = {"fold_0": ids[0], "fold_1": ids[0]}
    folds = store.save_chain(pipeline_id, steps, 2, "m", "", "per_fold", {"fold_0": ids[1], "fold_1": ids[1]}, {})
    store.export_chain(folds, store.workspace_path / "exports" / "folds")
    with pytest.raises(InvalidInputError, match="format"):
        store.export_chain(chain_id, store.workspace_path / "exports" / "x", format="zip")
    assert sorted(path.name for path in (store.workspace_path / "exports").iterdir()) == ["chain.n4a", "folds.n4a"]
