"""Spectra and stores for the tests of the storage room."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from n4a_flows.storage import Axis, WorkspaceStore


@pytest.fixture(scope="session")
def new_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("new") / "ws"
    WorkspaceStore(workspace).close()
    return workspace


@pytest.fixture
def store(tmp_path: Path, new_workspace: Path) -> WorkspaceStore:
    """A new workspace; copied, for making one waits for the disk, and hundreds of tests want one."""
    shutil.copytree(new_workspace, tmp_path / "ws")
    return WorkspaceStore(tmp_path / "ws")


@pytest.fixture
def pipeline_id(store: WorkspaceStore) -> str:
    run_id = store.begin_run("run", {}, [{"name": "tecator"}])
    return store.begin_pipeline(run_id, "snv", [{"model": "PLS"}], {"_or_": 1}, "tecator", "hash")


@pytest.fixture(scope="session")
def spectra() -> np.ndarray:
    """60 smooth spectra of two components, (60, 40)."""
    generator = np.random.default_rng(7)
    x = np.linspace(0, 1, 40)
    bands = np.stack([np.exp(-((x - centre) ** 2) / 0.02) for centre in (0.3, 0.7)])
    return generator.random((60, 2)) @ bands + 0.5 + generator.normal(0, 1e-3, (60, 40))


@pytest.fixture(scope="session")
def y(spectra: np.ndarray) -> np.ndarray:
    return 10 * spectra[:, 12] - 4 * spectra[:, 28]


@pytest.fixture(scope="session")
def axis() -> Axis:
    return Axis(np.linspace(1000.0, 1390.0, 40), "nm")
