"""Single-spectrum CSV files: scored by the flow, and by a plain loop that reads each and predicts with the chain in memory.

The flow also keeps the ledger, so it may be killed and started again; the loop keeps nothing. Prefect's temporary server is started
before anything is timed.
"""

from __future__ import annotations

import os
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

from benchmarks.contenders.base import Clock
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


class Contender:
    """Both ways in one process, for they share the chain."""

    def score(self, files: int) -> dict[str, float]:
        """Seconds of the loop, of the flow, and of the flow when nothing is new; how many task runs the flow had."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_files(folder / "incoming", files)
            chain = _trained(folder / "ws")
            block = WorkspaceStoreBlock(path=folder / "ws")
            with block.open() as store:
                predictor = store.load_predictor(chain)
            plain, flow, again = Clock(), Clock(), Clock()
            with plain.running():
                for file in sorted((folder / "incoming").iterdir()):
                    spectra = read_spectra(file)
                    predictor.predict(spectra.X, spectra.axis)
            with get_client(sync_client=True) as client:
                client.api_healthcheck()
                with flow.running():
                    state = predict_new_spectra(block, chain, str(folder / "incoming"), return_state=True)
                assert state.result().scored == files
                mine = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
                runs = len(client.read_task_runs(flow_run_filter=mine))
                with again.running():
                    assert predict_new_spectra(block, chain, str(folder / "incoming")).skipped == files
        return {"plain": plain.seconds, "flow": flow.seconds, "again": again.seconds, "task runs": runs}


def _trained(workspace: Path) -> str:
    runner = PipelineRunner(workspace)
    steps = ["chemotools.scatter.StandardNormalVariate"]
    model = {"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 10}}}
    runner.run([*steps, model], "tecator", "fat")
    return str(runner.last_recorded[0].chain_id)
