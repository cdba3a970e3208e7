"""Scoring by the task runners that flows have: how long until the first chunk of files is recorded, and each one after it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from benchmarks.contenders.scoring import _trained, write_files  # sets Prefect up
from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import PredictionOptions, predict_new_spectra
from n4a_flows.flows.progress import listening

CHUNKS, CORES = 24, 2


class Contender:
    """One runner; a cluster that was started stays until the process ends."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self._folder = Path(self._temporary.name)
        self._block = WorkspaceStoreBlock(path=self._folder / "ws")
        self._chain = _trained(self._block.path)
        self._cluster: Any = None
        self.score("threads", 1, 2)  # starts Prefect's temporary server

    def score(self, runner: str, files: int, chunks: int = CHUNKS) -> dict[str, float]:
        """Seconds until the first of the chunks of so many files is recorded; for each after it; and of this process's CPU."""
        incoming = self._folder / f"{files}x{chunks}"
        if not incoming.exists():
            write_files(incoming, files * chunks)
        options = PredictionOptions(files_per_task=files, rescore=True)
        seen: list[tuple[float, float]] = []

        def recorded(_what: str, done: int, _total: int) -> None:
            if done:
                seen.append((time.perf_counter(), time.process_time()))

        began = time.perf_counter()
        with listening(recorded):
            predict_new_spectra(self._block, self._chain, str(incoming), options, runner=self._text(runner))
        assert len(seen) == chunks
        (first, cpu_first), (last, cpu_last) = seen[0], seen[-1]
        each = chunks - 1
        return {"first": first - began, "chunk": (last - first) / each, "cpu": (cpu_last - cpu_first) / each}

    def keep(self, runner: str) -> float:
        """Start a cluster of two processes that the following calls use; seconds that it took."""
        began = time.perf_counter()
        if runner == "dask":
            from distributed import LocalCluster

            self._cluster = LocalCluster(
                n_workers=CORES, threads_per_worker=1, memory_limit="1GB", dashboard_address=None
            )
        elif runner == "ray":
            import ray

            ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, namespace="prefect")
        return time.perf_counter() - began

    def _text(self, runner: str) -> str:
        return runner if self._cluster is None else f"{runner}={self._cluster.scheduler_address}"
