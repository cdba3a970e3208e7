"""A chain for tecator's fat, and laboratory values of the samples that it was not trained on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from n4a_flows.spectra import Spectra, load_tecator
from n4a_flows.storage import ScoredFile, ScoredSample, WorkspaceStore
from n4a_flows.training import PipelineRunner, TrainingOptions

PIPELINE = [
    {"class": "chemotools.derivative.SavitzkyGolay", "params": {"window_length": 11, "polyorder": 2, "deriv": 2}},
    "chemotools.scatter.StandardNormalVariate",
    {"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 8}}},
]

Score = Callable[..., None]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace with that chain, and its id."""
    workspace = tmp_path_factory.mktemp("trained") / "ws"
    runner = PipelineRunner(workspace)
    runner.run(PIPELINE, "tecator", "fat", TrainingOptions(units={"fat": "%"}))
    [recorded] = runner.last_recorded
    return workspace, str(recorded.chain_id)


@pytest.fixture
def store(trained: tuple[Path, str], tmp_path: Path) -> WorkspaceStore:
    shutil.copytree(trained[0], tmp_path / "ws")
    return WorkspaceStore(tmp_path / "ws")


@pytest.fixture
def chain(trained: tuple[Path, str]) -> str:
    return trained[1]


@pytest.fixture(scope="session")
def new() -> Spectra:
    """The 86 spectra of tecator that training holds out."""
    tecator = load_tecator()
    return tecator.take(np.flatnonzero(tecator.metadata["split"] != "train"))


@pytest.fixture
def score() -> Score:
    """Predicts spectra with a chain and notes them in the ledger, as the flow does with a file."""

    def call(
        store: WorkspaceStore,
        chain: str,
        X: np.ndarray,
        sample_ids: Sequence[str],
        name: str = "new.csv",
        **detail: str,
    ) -> None:
        y = store.replay_chain(chain, X)
        samples = [ScoredSample(sample_id, value) for sample_id, value in zip(sample_ids, y.tolist(), strict=True)]
        digest = hashlib.sha256(name.encode()).hexdigest()
        store.record_scoring(chain, [ScoredFile(name, digest, "scored", samples=samples, detail=detail)])

    return call


@pytest.fixture(scope="session")
def second_instrument() -> Callable[[Spectra], np.ndarray]:
    """The same samples on an instrument whose wavelengths are 3 nm off, whose signal is 5 % too large and has an offset."""

    def measured(spectra: Spectra) -> np.ndarray:
        nm = spectra.axis.values
        shifted = CubicSpline(nm, spectra.X, axis=1)(nm + 3.0)
        return np.asarray(1.05 * shifted + 0.02)

    return measured
