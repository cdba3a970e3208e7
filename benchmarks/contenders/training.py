"""200 pipelines on tecator: recorded, and by a plain scikit-learn loop that fits each separately and keeps nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from chemotools.derivative import SavitzkyGolay
from chemotools.scatter import MultiplicativeScatterCorrection, StandardNormalVariate
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.contenders.base import Clock
from n4a_flows.spectra import load_tecator
from n4a_flows.training import PipelineRunner, TrainingOptions


def derivative(order: int, window: int) -> SavitzkyGolay:
    return SavitzkyGolay(window_length=window, polyorder=2, deriv=order)


SNV, MSC = StandardNormalVariate(), MultiplicativeScatterCorrection()
PREPROCESSINGS: list[list[Any]] = [
    [],
    [SNV],
    [MSC],
    [derivative(1, 11)],
    [derivative(2, 11)],
    [SNV, derivative(1, 11)],
    [SNV, derivative(2, 11)],
    [derivative(1, 21), SNV],
    [MSC, derivative(1, 15)],
    [SNV, StandardScaler()],
]
SIZES = range(1, 21)


def plain_loop() -> None:
    """Cross-validate and refit each pipeline, score it, keep nothing."""
    spectra = load_tecator()
    test = spectra.metadata["split"] == "test"
    X, y = spectra.X[~test], spectra.targets["fat"][~test]
    folds = list(KFold(5, shuffle=True, random_state=42).split(X))
    for steps in PREPROCESSINGS:
        for size in SIZES:
            out_of_fold = np.empty_like(y)
            for inside, outside in folds:
                pipeline = make_pipeline(*map(clone, steps), PLSRegression(size)).fit(X[inside], y[inside])
                out_of_fold[outside] = pipeline.predict(X[outside])
                pipeline.predict(spectra.X[test])
            np.sqrt(np.mean((out_of_fold - y) ** 2))
            make_pipeline(*map(clone, steps), PLSRegression(size)).fit(X, y).predict(spectra.X[test])


def recorded(keep_fold_models: bool) -> None:
    """Train and record the same in a new workspace."""
    folder = Path(tempfile.mkdtemp())
    definition = [
        {"_or_": [steps or None for steps in PREPROCESSINGS]},
        {
            "model": {
                "class": "sklearn.cross_decomposition.PLSRegression",
                "params": {"n_components": {"_or_": list(SIZES)}},
            }
        },
    ]
    try:
        runner = PipelineRunner(folder / "workspace")
        runner.run(definition, "tecator", "fat", TrainingOptions(keep_fold_models=keep_fold_models))
        assert len(runner.last_recorded) == 200
        assert all(one.error is None for one in runner.last_recorded)
    finally:
        shutil.rmtree(folder)


class Contender:
    """Both ways in one process, for they share what they are made of."""

    def plain(self) -> float:
        """Seconds of the plain loop."""
        return _seconds(plain_loop)

    def recorded(self, keep_fold_models: bool) -> float:
        """Seconds of training and recording into a new workspace."""
        return _seconds(partial(recorded, keep_fold_models))


def _seconds(work: Callable[[], None]) -> float:
    clock = Clock()
    with clock.running():
        work()
    return clock.seconds
