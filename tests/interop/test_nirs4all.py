"""Bundles between n4a_flows and nirs4all, each in an environment of its own: `make interop` makes them and runs this."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from bundle_chains import ONLY_OURS, PORTABLE

from n4a_flows.spectra import Spectra, load_tecator
from n4a_flows.storage import WorkspaceStore
from n4a_flows.training import PipelineRunner

ENVIRONMENTS = Path(__file__).resolve().parents[2] / ".interop"
HERE = Path(__file__).resolve().parent
VERSIONS = ("1.4.10", "0.7.1")
TOLERANCE = 1e-9

KINDS = [*PORTABLE, *ONLY_OURS]
TRAINED = {
    "scatter correction, scaled y": [
        "chemotools.scatter.MultiplicativeScatterCorrection",
        {"y_processing": "sklearn.preprocessing.StandardScaler"},
        {"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 8}}},
    ],
    "normal variate, derivative, forest": [
        "chemotools.scatter.StandardNormalVariate",
        {"class": "chemotools.derivative.SavitzkyGolay", "params": {"window_length": 11, "deriv": 1}},
        {
            "model": {
                "class": "sklearn.ensemble.RandomForestRegressor",
                "params": {"n_estimators": 10, "random_state": 0},
            }
        },
    ],
}


def python_of(version: str) -> Path:
    python = ENVIRONMENTS / f"nirs4all-{version}" / "bin" / "python"
    if not python.is_file():
        pytest.skip(f"there is no environment with nirs4all {version}: make interop")
    return python


def run(python: Path, *arguments: str | Path, folder: Path) -> None:
    command = [str(python), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def tecator() -> Spectra:
    return load_tecator()


@pytest.fixture(scope="module")
def exported(tecator: Spectra, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with a bundle and a script of each kind, named by its number, and what the workspace predicts."""
    folder = tmp_path_factory.mktemp("bundles")
    X, y = tecator.X, tecator.targets["fat"]
    np.save(folder / "X.npy", X)
    np.savetxt(folder / "X.csv", X, delimiter=",", header=",".join(map(str, tecator.axis.values)), comments="")
    runner = PipelineRunner(folder / "workspace")
    chains = {}
    for kind, definition in TRAINED.items():
        runner.run(definition, "tecator", target="fat")
        chains[kind] = runner.last_recorded[0].chain_id
    store = WorkspaceStore(folder / "workspace")
    pipeline_id = store.list_pipelines()["pipeline_id"][0]
    kinds = {**PORTABLE, **{kind: make for kind, (make, _) in ONLY_OURS.items()}}
    chains |= {kind: make(store, pipeline_id, X, y) for kind, make in kinds.items()}
    for number, (kind, chain_id) in enumerate(chains.items()):
        store.export_chain(chain_id, folder / f"{number}.n4a")
        if "does not read" not in kind:
            store.export_chain(chain_id, folder / f"{number}.n4a.py", format="n4a.py")
    return folder, {kind: store.replay_chain(chain_id, X) for kind, chain_id in chains.items()}


@pytest.fixture(scope="module", params=VERSIONS)
def results(
    request: pytest.FixtureRequest,
    exported: tuple[Path, dict[str, np.ndarray]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """What BundleLoader of one version predicts with them, by number."""
    python = python_of(request.param)
    folder = tmp_path_factory.mktemp("results")
    run(python, HERE / "predict_bundles.py", exported[0], folder, folder=folder)
    return folder


@pytest.mark.parametrize("kind", [*TRAINED, *PORTABLE])
def test_its_loader_predicts_what_the_workspace_predicts(
    kind: str, results: Path, exported: tuple[Path, dict[str, np.ndarray]]
) -> None:
    _, expected = exported
    number = list(expected).index(kind)
    failed = results / f"{number}.txt"
    assert not failed.exists(), failed.read_text()
    predicted = np.load(results / f"{number}.npy", allow_pickle=True)
    assert predicted.shape == expected[kind].shape
    if predicted.dtype.kind == "f":
        np.testing.assert_allclose(predicted, expected[kind], rtol=0, atol=TOLERANCE)
    else:
        np.testing.assert_array_equal(predicted, expected[kind])


@pytest.mark.parametrize("kind", ONLY_OURS)
def test_its_loader_refuses_what_it_would_predict_otherwise(
    kind: str, results: Path, exported: tuple[Path, dict[str, np.ndarray]]
) -> None:
    number = list(exported[1]).index(kind)
    assert not (results / f"{number}.npy").exists()
    said = (results / f"{number}.txt").read_text()
    assert ONLY_OURS[kind][1] in said or "No model step found" in said


@pytest.mark.parametrize("kind", TRAINED)
@pytest.mark.parametrize("version", VERSIONS)
def test_scripts_predict_where_n4a_flows_is_not(
    version: str, kind: str, exported: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    folder, expected = exported
    number = list(expected).index(kind)
    run(python_of(version), folder / f"{number}.n4a.py", folder / "X.csv", tmp_path / "y.csv", folder=tmp_path)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "y.csv"), expected[kind], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["folds", "refit"])
def test_bundles_that_its_store_exports_come_in_and_predict_the_same(
    name: str, tecator: Spectra, tmp_path: Path
) -> None:
    python = python_of("1.4.10")
    np.save(tmp_path / "X.npy", tecator.X)
    np.save(tmp_path / "y.npy", tecator.targets["fat"])
    run(python, HERE / "export_bundles.py", tmp_path, folder=tmp_path)
    store = WorkspaceStore(tmp_path / "ours")
    report = store.import_bundle(tmp_path / f"{name}.n4a", trust="modules")
    predicted = store.replay_chain(report.chain_id, tecator.X)
    np.testing.assert_allclose(predicted, np.load(tmp_path / f"{name}.npy"), rtol=0, atol=TOLERANCE)
