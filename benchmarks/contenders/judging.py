"""Predict 10,000 x 700 simulated spectra with a stored chain, with verdicts and without."""

from __future__ import annotations

import tempfile

import numpy as np

from benchmarks.contenders.base import Clock
from n4a_flows.monitoring import Judge, Limits
from n4a_flows.spectra import Axis, Spectra
from n4a_flows.storage import WorkspaceStore
from n4a_flows.training.definition import expand
from n4a_flows.training.engine import train_pipeline
from n4a_flows.training.record import record_pipelines

TRAINING, SAMPLES, WIDTH = 600, 10_000, 700
DEFINITION = [
    "chemotools.scatter.StandardNormalVariate",
    {"class": "chemotools.derivative.SavitzkyGolay", "params": {"window_length": 11, "polyorder": 2, "deriv": 1}},
    "sklearn.preprocessing.StandardScaler",
    {"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 12}}},
]


class Contender:
    """Both ways in one process; the chain is made once."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        bands = np.cumsum(np.cumsum(random.standard_normal((12, WIDTH)), axis=1), axis=1)
        bands /= np.abs(bands).max(axis=1, keepdims=True)

        def spectra(n: int) -> tuple[np.ndarray, np.ndarray]:
            amounts = random.standard_normal((n, 12))
            return 0.5 + 0.1 * amounts @ bands + 1e-4 * random.standard_normal((n, WIDTH)), amounts[:, 0]

        X, y = spectra(TRAINING)
        axis = Axis(np.linspace(1100.0, 2498.0, WIDTH), "nm")
        training = Spectra(X, axis, [f"s{i}" for i in range(TRAINING)], {"y": y}, signal="absorbance", name="simulated")
        [planned] = expand(DEFINITION)
        with tempfile.TemporaryDirectory() as folder, WorkspaceStore(folder) as store:
            run_id = store.begin_run("benchmark", {}, ["simulated"])
            [recorded] = record_pipelines(store, run_id, [train_pipeline(planned, training, "y")])
            self.predictor = store.load_predictor(str(recorded.chain_id))
            limits = store.get_limits(str(recorded.chain_id))
        assert limits is not None
        self.judge = Judge(self.predictor, Limits.from_bytes(limits))
        self.X, _ = spectra(SAMPLES)

    def predict(self) -> float:
        """Seconds without verdicts."""
        clock = Clock()
        with clock.running():
            self.predictor.predict(self.X)
        return clock.seconds

    def judged(self) -> float:
        """Seconds with verdicts, intervals and reasons."""
        clock = Clock()
        with clock.running():
            self.judge.predict(self.X)
        return clock.seconds
