"""What the examples of the documentation stand on: one recorded run, copied anew for each example."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import n4a_flows.monitoring
import n4a_flows.spectra
import n4a_flows.storage
import n4a_flows.training
import n4a_flows.training.metrics
from n4a_flows.spectra import load_tecator
from n4a_flows.storage import WorkspaceStore
from n4a_flows.training import PipelineRunner

SNV_PLS = [
    "chemotools.scatter.StandardNormalVariate",
    {"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 8}}},
]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A workspace with one run on tecator, and the names that examples may use."""
    workspace = tmp_path_factory.mktemp("recorded") / "workspace"
    runner = PipelineRunner(workspace)
    predictions = runner.run(SNV_PLS, "tecator", target="fat")
    [pipeline] = runner.last_recorded
    fold = predictions.row(by_predicate=(pl.col("fold_id") == "fold_0") & (pl.col("partition") == "val"), named=True)
    names: dict[str, Any] = {}
    for room in (n4a_flows.storage, n4a_flows.spectra, n4a_flows.monitoring, n4a_flows.training):
        names |= {name: getattr(room, name) for name in room.__all__}
    metrics = n4a_flows.training.metrics
    names |= {name: found for name, found in vars(metrics).items() if inspect.isfunction(found) and name[0] != "_"}
    names |= {"np": np, "pl": pl, "spectra": load_tecator(), "run_id": runner.last_run_id}
    names |= {
        "pipeline_id": pipeline.pipeline_id,
        "chain_id": pipeline.chain_id,
        "prediction_id": fold["prediction_id"],
    }
    return workspace, names


@pytest.fixture
def names(recorded: tuple[Path, dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    """The names of one example, with a copy of the workspace: nothing that another example did is seen."""
    workspace, shared = recorded
    shutil.copytree(workspace, tmp_path / "workspace")
    folder = tmp_path / "folder"
    folder.mkdir()
    return {**shared, "store": WorkspaceStore(tmp_path / "workspace"), "folder": folder}
