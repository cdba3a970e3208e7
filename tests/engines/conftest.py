"""A workspace with a chain, files to score, and clusters. A test is skipped where the extra that it needs is not installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from clusters import PIPELINES, Dask, local_ray, need

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.spectra import load_tecator
from n4a_flows.training import PipelineRunner


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace, and the best chain in it."""
    workspace = tmp_path_factory.mktemp("recorded") / "ws"
    runner = PipelineRunner(workspace)
    runner.run(PIPELINES, "tecator", "fat")
    best = min(runner.last_recorded, key=lambda one: one.best_val or 0)
    return workspace, str(best.chain_id)


@pytest.fixture
def new_block(tmp_path: Path, recorded: tuple[Path, str]) -> Callable[[], WorkspaceStoreBlock]:
    """Makes a block of a fresh copy of that workspace."""

    def make() -> WorkspaceStoreBlock:
        number = len(list(tmp_path.glob("ws-*")))
        return WorkspaceStoreBlock(path=shutil.copytree(recorded[0], tmp_path / f"ws-{number}"), lock_timeout=10)

    return make


@pytest.fixture
def chain(recorded: tuple[Path, str]) -> str:
    return recorded[1]


@pytest.fixture
def write_files() -> Callable[[Path, int], Path]:
    """Writes so many files of one spectrum each, no two alike, and the first one broken."""

    def write(folder: Path, count: int) -> Path:
        spectra = load_tecator()
        noise = np.random.default_rng(5).normal(0, 1e-4, (count, spectra.n_points))
        header = "sample_id," + ",".join(map(repr, spectra.axis.values.tolist()))
        folder.mkdir()
        for number in range(count):
            values = (spectra.X[number % spectra.n_samples] + noise[number]).tolist()
            (folder / f"s{number:04}.csv").write_text(f"{header}\ns{number}," + ",".join(map(repr, values)) + "\n")
        (folder / "s0000.csv").write_text("no spectrum\n")
        return folder

    return write


@pytest.fixture
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    """A scheduler; workers are for the tests to start."""
    need("dask", "prefect_dask")
    cluster = Dask(tmp_path_factory.mktemp("dask"))
    try:
        yield cluster
    finally:
        cluster.end()


@pytest.fixture
def ray() -> Iterator[None]:
    need("ray", "prefect_ray")
    with local_ray():
        yield
