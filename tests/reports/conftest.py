"""Recorded runs that the tests of reports share: numbers with everything that can be left out, and classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from n4a_flows.reports import TrainingReport, training_report
from n4a_flows.spectra import RejectedRow, Spectra, load_tecator
from n4a_flows.storage import WorkspaceStore
from n4a_flows.training import PipelineRunner, TrainingOptions

PLS = "sklearn.cross_decomposition.PLSRegression"
SNV = "chemotools.scatter.StandardNormalVariate"


@dataclass(frozen=True)
class Reported:
    """A run, what it was trained on, and its report."""

    workspace: Path
    run_id: str
    spectra: Spectra
    report: TrainingReport


def reported(workspace: Path, definition: object, spectra: Spectra, target: object, **more: object) -> Reported:
    """Train, and make the report in a store of its own."""
    runner = PipelineRunner(workspace)
    runner.run(definition, spectra, target, more.get("options"), name=more.get("name"))
    with WorkspaceStore(workspace, read_only=True) as store:
        report = training_report(store, runner.last_run_id, spectra, units=more.get("units"))
    return Reported(workspace, runner.last_run_id, spectra, report)


@pytest.fixture(scope="session")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """Fat of tecator: four samples without a value, `monitor` marked for neither side, two rejected rows, one size too large."""
    tecator = load_tecator()
    fat = tecator.targets["fat"].copy()
    fat[[0, 3, 180, 200]] = np.nan
    rejected = [RejectedRow(7, 8, "column '1010' has no value"), RejectedRow(9, 10, "column '<b>' has no value")]
    spectra = replace(tecator, targets={"fat": fat}, rejected=rejected)
    model = {"class": PLS, "params": {"n_components": {"_or_": [2, 5, 8, 150]}}}
    return reported(
        tmp_path_factory.mktemp("numbers"),
        [{"_or_": [None, SNV]}, {"model": model, "name": "<b>PLS</b> | *mine* $x$"}],
        spectra,
        "fat",
        options=TrainingOptions(train_values=("train",)),
        name="fat <i>of</i> meat",
        units={"fat": "%"},
    )


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """Lean and fat meat of tecator, by PLS in front of a discriminant analysis."""
    tecator = load_tecator()
    kind = np.where(tecator.targets["fat"] > 20, "fat", "lean & fair")
    return reported(
        tmp_path_factory.mktemp("classes"),
        [
            SNV,
            {"class": PLS, "params": {"n_components": {"_or_": [1, 2, 4]}}},
            {"model": "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"},
        ],
        replace(tecator, targets={"kind": kind}),
        "kind",
    )


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """Two targets, one with its unit in its name, without a test set; one pipeline of each fails."""
    tecator = load_tecator()
    targets = {"fat (%)": tecator.targets["fat"], "protein": tecator.targets["protein"]}
    return reported(
        tmp_path_factory.mktemp("several"),
        [{"model": {"class": PLS, "params": {"n_components": {"_or_": [4, 150]}}}}],
        replace(tecator, targets=targets, signal=None),
        ["fat (%)", "protein"],
        options=TrainingOptions(split_column=None),
    )


@pytest.fixture
def record() -> Callable[..., Reported]:
    """Trains and reports; see `reported`."""
    return reported
