from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.spectra import Spectra, load_tecator
from n4a_flows.training import PipelineRunner

SpectraWriter = Callable[[Path, Spectra], None]


@pytest.fixture(scope="session")
def two_pipelines() -> list[Any]:
    """A definition of two pipelines: PLS on raw and on scatter-corrected spectra, in three folds."""
    return [
        {"_or_": [None, {"class": "chemotools.scatter.StandardNormalVariate", "params": {}}]},
        {"class": "sklearn.model_selection.KFold", "params": {"n_splits": 3}},
        {"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 6}}},
    ]


@pytest.fixture
def block(tmp_path: Path) -> WorkspaceStoreBlock:
    return WorkspaceStoreBlock(path=tmp_path / "ws", lock_timeout=10)


class Trained(NamedTuple):
    """A run of `two_pipelines` on tecator's fat: its id, the best chain by target, and all chains, the best first."""

    run_id: str
    best: dict[str, str]
    chain_ids: list[str]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, two_pipelines: list[Any]) -> tuple[Path, Trained]:
    """A workspace with that run, trained once for all tests."""
    workspace = tmp_path_factory.mktemp("recorded") / "ws"
    runner = PipelineRunner(workspace)
    runner.run(two_pipelines, "tecator", "fat")
    ranked = [str(one.chain_id) for one in sorted(runner.last_recorded, key=lambda one: one.best_val or 0)]
    return workspace, Trained(str(runner.last_run_id), {"fat": ranked[0]}, ranked)


@pytest.fixture
def trained(block: WorkspaceStoreBlock, recorded: tuple[Path, Trained]) -> Trained:
    """That run in the block's workspace."""
    shutil.copytree(recorded[0], block.path)
    return recorded[1]


@pytest.fixture
def chain(trained: Trained) -> str:
    """Its best chain."""
    return trained.best["fat"]


@pytest.fixture(scope="session")
def new_spectra() -> Spectra:
    """The first five of tecator's test spectra, which training holds out."""
    spectra = load_tecator()
    return spectra.take((spectra.metadata["split"] == "test").nonzero()[0][:5])


@pytest.fixture(scope="session")
def write_csv() -> SpectraWriter:
    """Writes spectra into a CSV file, as an instrument would."""

    def write(path: Path, spectra: Spectra) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["sample_id", *map(repr, spectra.axis.values.tolist())])
            for sample_id, row in zip(spectra.sample_ids, spectra.X.tolist(), strict=True):
                writer.writerow([sample_id, *map(repr, row)])

    return write


@pytest.fixture
def incoming(tmp_path: Path, new_spectra: Spectra, write_csv: SpectraWriter) -> Path:
    """A folder with one file per new spectrum, and a broken one."""
    folder = tmp_path / "incoming"
    for number, sample_id in enumerate(new_spectra.sample_ids):
        write_csv(folder / f"{sample_id}.csv", new_spectra.take([number]))
    (folder / "broken.csv").write_bytes(b"\x93garbage\xff\n")
    return folder
