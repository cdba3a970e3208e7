"""`.n4a.py`: one script that predicts what the workspace predicts, and needs nothing of this package."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from bundle_chains import ONLY_OURS, PORTABLE, make_chain
from sklearn.preprocessing import StandardScaler
from small_operators import AddWavelengths, Times

from n4a_flows.storage import Axis, WorkspaceStore
from n4a_flows.storage.errors import BundleError

KINDS = {**PORTABLE, **{name: kind for name, (kind, _) in ONLY_OURS.items() if "does not read" not in name}}


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_it_predicts_what_the_workspace_predicts(
    kind: str, store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    chain_id = KINDS[kind](store, pipeline_id, spectra, y)
    path = store.export_chain(chain_id, tmp_path / "model", format="n4a.py")
    assert path.read_bytes() == store.export_chain(chain_id, tmp_path / "again", format="n4a.py").read_bytes()
    assert not re.search(r"^(import|from) n4a_flows", path.read_text(), re.MULTILINE)
    np.testing.assert_array_equal(imported(path).predict(spectra), store.replay_chain(chain_id, spectra))


def test_it_tells_operators_the_wavelengths(
    store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, tmp_path: Path
) -> None:
    axis = Axis(np.arange(40) + 1.0)
    ids = [store.save_artifact(operator, "x", "operator") for operator in (AddWavelengths(), Times(2.0))]
    steps = [
        {"step_idx": 0, "operator_class": "x", "params": {}, "artifact_ids": ids[:1]},
        {"step_idx": 1, "operator_class": "x", "params": {}, "operator_type": "model"},
    ]
    chain_id = store.save_chain(pipeline_id, steps, 1, "x", "", "per_fold", {"fold_0": ids[1]}, {}, axis=axis)
    script = imported(store.export_chain(chain_id, tmp_path / "model.n4a.py", format="n4a.py"))
    np.testing.assert_array_equal(script.predict(spectra), store.replay_chain(chain_id, spectra))
    with pytest.raises(ValueError, match="39 points, the chain was trained on 40"):
        script.predict(spectra[:, 1:])
    with pytest.raises(ValueError, match="two dimensions"):
        script.predict(spectra[0])
    with pytest.raises(ValueError, match="finite"):
        script.predict(np.full((1, 40), np.nan))


def test_from_the_command_line(
    store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    chain_id = make_chain(store, pipeline_id, spectra, y, transformers=[StandardScaler()])
    path = store.export_chain(chain_id, tmp_path / "fat.n4a", format="n4a.py")
    assert path.name == "fat.n4a.py"
    expected = store.replay_chain(chain_id, spectra)
    np.savetxt(tmp_path / "in.csv", spectra, delimiter=",", header=",".join(f"w{i}" for i in range(40)), comments="")
    done = run(path, "in.csv", "out.csv", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "out.csv"), expected)
    shown = run(path, "in.csv", folder=tmp_path)
    assert shown.returncode == 0
    assert shown.stdout.startswith("Predictions:\n[")
    usage = run(path, folder=tmp_path)
    assert usage.returncode == 1
    assert "model.n4a.py input.csv [output.csv]" in usage.stdout
    missing = run(path, "none.csv", folder=tmp_path)
    assert missing.returncode == 1
    assert missing.stderr.startswith("Error: ")
    assert len(missing.stderr.splitlines()) == 1
    script = imported(path)
    np.testing.assert_array_equal(script.predict_from_file(tmp_path / "in.csv"), expected)
    assert script.MODEL_STEP_INDEX == 2
    assert set(script.FOLD_WEIGHTS) == {"fold_final"}


def test_digests_are_compared_before_anything_is_loaded(
    store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    path = store.export_chain(make_chain(store, pipeline_id, spectra, y), tmp_path / "model", format="n4a.py")
    script = imported(path)
    key = next(iter(script.ARTIFACTS))
    script.ARTIFACTS[key] = script.ARTIFACTS[key][:-8] + "AAAAAAA="
    with pytest.raises(ValueError, match="damaged"):
        script.predict(spectra)


def test_what_a_script_cannot_hold_is_refused(
    store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    kept_otherwise = make_chain(store, pipeline_id, spectra, y, format="skops")
    with pytest.raises(BundleError, match="skops"):
        store.export_chain(kept_otherwise, tmp_path / "model", format="n4a.py")
    model = store.save_artifact(Times(1.0), "Times", "model")
    steps = [
        {"step_idx": 1, "operator_class": "chemotools.scatter.StandardNormalVariate", "params": {}, "stateless": True},
        {"step_idx": 2, "operator_class": "Times", "params": {}},
    ]
    rebuilt = store.save_chain(pipeline_id, steps, 2, "Times", "", "per_fold", {"fold_final": model}, {})
    with pytest.raises(BundleError, match="rebuilt"):
        store.export_chain(rebuilt, tmp_path / "model", format="n4a.py")
    assert not list(tmp_path.glob("model*"))
