"""Train 200 pipelines on tecator, recorded, against a plain scikit-learn loop that fits each separately and keeps nothing.

    python benchmarks/training.py [REPEATS]

Prints the median and spread of each in seconds and the ratios to the plain loop; the runs take turns.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
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


def main(repeats: int) -> None:
    contenders: dict[str, Callable[[], None]] = {
        "plain loop, keeps nothing": plain_loop,
        "recorded, all fold models": lambda: recorded(True),
        "recorded, the refit alone": lambda: recorded(False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            if repeat:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
    plain = statistics.median(seconds["plain loop, keeps nothing"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"{name:<28} {median:6.2f} s ({min(values):.2f} to {max(values):.2f}), {median / plain:.2f} times the plain loop"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
