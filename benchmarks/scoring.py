"""Score single-spectrum CSV files with the flow, against a plain loop that reads each and predicts with the chain in memory.

    python benchmarks/scoring.py [FILES]

The flow also keeps the ledger, so it may be killed and started again; the loop keeps nothing. Prefect's temporary server is started
before anything is timed. Prints seconds, the ratio of the speeds, task runs, and memory of the process.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")

import numpy as np
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import predict_new_spectra
from n4a_flows.spectra import load_tecator, read_spectra
from n4a_flows.training import PipelineRunner


def write_files(folder: Path, count: int) -> None:
    """Files of one spectrum each, no two alike."""
    spectra = load_tecator()
    noise = np.random.default_rng(0).normal(0, 1e-4, (count, spectra.n_points))
    header = "sample_id," + ",".join(map(repr, spectra.axis.values.tolist()))
    folder.mkdir()
    yesterday = time.time() - 86_400
    for number in range(count):
        row = (spectra.X[number % spectra.n_samples] + noise[number]).tolist()
        file = folder / f"s{number:06}.csv"
        file.write_text(f"{header}\ns{number:06}," + ",".join(map(repr, row)) + "\n")
        os.utime(file, (yesterday, yesterday))  # complete since long, so nobody waits for it to settle


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder / "incoming", count)
        runner = PipelineRunner(folder / "ws")
        steps = ["chemotools.scatter.StandardNormalVariate"]
        model = {"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 10}}}
        runner.run([*steps, model], "tecator", "fat")
        chain = str(runner.last_recorded[0].chain_id)
        block = WorkspaceStoreBlock(path=folder / "ws")
        with block.open() as store:
            predictor = store.load_predictor(chain)
        files = sorted((folder / "incoming").iterdir())

        began = time.perf_counter()
        for file in files:
            spectra = read_spectra(file)
            predictor.predict(spectra.X, spectra.axis)
        plain = time.perf_counter() - began
        print(f"plain loop      {plain:7.2f} s, {count / plain:6.0f} files/s, {megabytes():.0f} MB")

        with get_client(sync_client=True) as client:
            client.api_healthcheck()
            began = time.perf_counter()
            state = predict_new_spectra(block, chain, str(folder / "incoming"), return_state=True)
            flow = time.perf_counter() - began
            assert state.result().scored == count
            mine = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
            runs = len(client.read_task_runs(flow_run_filter=mine))
            print(f"flow            {flow:7.2f} s, {count / flow:6.0f} files/s, {megabytes():.0f} MB, {runs} task runs")
            began = time.perf_counter()
            assert predict_new_spectra(block, chain, str(folder / "incoming")).skipped == count
            print(f"nothing new     {time.perf_counter() - began:7.2f} s")
        print(f"speed of the flow against the plain loop: {plain / flow:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
