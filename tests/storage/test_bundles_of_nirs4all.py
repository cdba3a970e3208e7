"""Bundles that nirs4all wrote come in and predict what its loader predicts with them; `make interop` asks the loader itself."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from foreign_bundles import foreign_members

from n4a_flows.storage import WorkspaceStore, inspect_bundle, verify_bundle
from n4a_flows.storage.errors import BundleError

Members = dict[str, bytes]


def written(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def by_hand(members: Members, X: np.ndarray) -> np.ndarray:
    loaded = {
        name.removeprefix("artifacts/").removesuffix(".joblib"): joblib.load(io.BytesIO(data))
        for name, data in members.items()
        if name.startswith("artifacts/")
    }
    treated = loaded["step_1_sub1"].transform(loaded["step_1_sub0"].transform(X))
    models = {name: operator for name, operator in loaded.items() if "_fold" in name}
    weights = json.loads(members.get("fold_weights.json", b"{}"))
    y = np.average(
        [model.predict(treated) for model in models.values()],
        axis=0,
        weights=[weights.get(name.rpartition("fold")[2], 1.0) for name in models],
    )
    return loaded["step_2_sub0"].inverse_transform(y[:, None]).ravel() if "step_2_sub0" in loaded else y


@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "plain"])
@pytest.mark.parametrize("trace", [True, False], ids=["trace", "pipeline"])
@pytest.mark.parametrize("refit", [True, False], ids=["refit", "folds"])
def test_it_predicts_as_by_hand(
    refit: bool, trace: bool, scaled: bool, store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    members = foreign_members(spectra, y, refit=refit, trace=trace, scaled=scaled)
    path = written(tmp_path / "theirs.n4a", members)
    info = inspect_bundle(path)
    assert (info.origin, info.chain_id, info.axis, info.digest) == ("nirs4all", "c0ffee", None, None)
    assert info.folds == (("fold_final",) if refit else ("fold_0", "fold_1"))
    report = store.import_bundle(path, trust="modules")
    assert report.probe is None
    np.testing.assert_allclose(store.replay_chain(report.chain_id, spectra), by_hand(members, spectra), rtol=1e-12)
    assert store.import_bundle(path).already_there
    assert store.get_chain_context(report.chain_id).axis is None
    # And on it goes, as a bundle of ours.
    ours = store.export_chain(report.chain_id, tmp_path / "ours")
    other = WorkspaceStore(tmp_path / "other")
    assert other.import_bundle(ours).digest == report.digest


def test_a_trace_decides_the_order_and_what_was_skipped(
    store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    members = foreign_members(spectra, y, refit=True, trace=True)
    trace = json.loads(members["trace.json"])
    trace["steps"][1]["execution_mode"] = "skip"
    path = written(tmp_path / "theirs.n4a", members | {"trace.json": json.dumps(trace).encode()})
    report = store.import_bundle(path)
    del members["artifacts/step_2_sub0.joblib"]
    np.testing.assert_allclose(store.replay_chain(report.chain_id, spectra), by_hand(members, spectra), rtol=1e-12)


def _amended(name: str, change: Callable[[Any], Any]) -> Callable[[Members], Members]:
    def amend(members: Members) -> Members:
        document = json.loads(members[name])
        change(document)
        return members | {name: json.dumps(document).encode()}

    return amend


def _renamed(old: str, new: str) -> Callable[[Members], Members]:
    return lambda members: {name.replace(old, new): data for name, data in members.items()}


def _step(number: int, **content: Any) -> Callable[[Members], Members]:
    return _amended("pipeline.json", lambda document: document["steps"].__setitem__(number - 1, content))


REFUSED: dict[str, tuple[Callable[[Members], Members], str]] = {
    "a newer format": (_amended("manifest.json", lambda m: m.update(bundle_format_version="1.1")), "'1.1'"),
    "no model step": (_amended("manifest.json", lambda m: m.pop("model_step_index")), "which step is its model"),
    "no file of the model": (
        _amended("manifest.json", lambda m: m.update(model_step_index=7)),
        "no file for its model",
    ),
    "names by hash, as the store of 0.7 wrote them": (
        _renamed("artifacts/step_", "artifacts/"),
        "no file for its model",
    ),
    "views side by side": (_step(1, feature_augmentation=[]), "feature_augmentation"),
    "models on models": (_step(1, meta_model={}), "meta_model"),
    "a model before the model": (_step(1, model={}), "model step before"),
    "two scalers of y": (_step(1, y_processing={}), "several parts"),
    "scalers of y in two steps": (
        lambda members: _step(1, y_processing={})({name: data for name, data in members.items() if "sub1" not in name}),
        "several steps",
    ),
    "two files for a fold": (
        lambda members: members | {"artifacts/step_4_fold0_PLS.joblib": members["artifacts/step_4_fold0.joblib"]},
        "two files for fold 0",
    ),
    "folds of a transformer": (_renamed("step_1_sub0", "step_1_fold0"), "not its model"),
    "no word of what the steps do": (
        lambda members: {name: data for name, data in members.items() if name != "pipeline.json"},
        "says what step 1 does",
    ),
    "weights of some folds only": (lambda members: members | {"fold_weights.json": b'{"0": 1.0}'}, "weights"),
    "weights that are no numbers": (lambda members: members | {"fold_weights.json": b'{"0": "1"}'}, "no numbers"),
    "an artifact that is a ZIP file": (lambda members: members | {"artifacts/step_4_fold0.joblib": b"PK"}, "format"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_be_half_done_or_guessed_is_refused(
    what: str, store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    spoil, why = REFUSED[what]
    path = written(tmp_path / "theirs.n4a", spoil(foreign_members(spectra, y)))
    with pytest.raises(BundleError, match=why):
        store.import_bundle(path)
    with pytest.raises(BundleError, match=why):
        verify_bundle(path)
    assert store.list_runs().is_empty()


def test_versions_that_are_not_known_can_be_refused(
    store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    path = written(tmp_path / "theirs.n4a", foreign_members(spectra, y))
    with pytest.raises(BundleError, match="does not say which package versions"):
        store.import_bundle(path, versions="refuse")
