"""Small clusters for the tests, all of them real: schedulers and workers are processes of their own."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

PIPELINES: list[Any] = [
    {"_or_": [None, "chemotools.scatter.StandardNormalVariate"]},
    {"class": "sklearn.model_selection.KFold", "params": {"n_splits": 3}},
    {
        "model": {
            "class": "sklearn.cross_decomposition.PLSRegression",
            "params": {"n_components": {"_or_": [4, 6, 8]}},
        }
    },
]


def need(extra: str, *modules: str) -> None:
    """Skip the test where one of these cannot be imported."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed: pip install 'n4a-flows[{extra}]'")


_ADDRESS = re.compile(r"tcp://[\d.]+:\d+")


def wait_for(what: str, look: Callable[[], Any], timeout: float = 60) -> Any:
    """Look again and again until there is something, and give it."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.05)
    return found


class Dask:
    """A scheduler, and workers of one thread that stay dead when they are killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", sys.executable, "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = str(wait_for("the scheduler", lambda: self._said("scheduler")))

    def worker(self, python: str = sys.executable) -> subprocess.Popen[bytes]:
        """Start one more worker, by whatever Python, and wait until the scheduler has it."""
        name = f"worker-{len(self.workers)}"
        once = ["--nworkers", "1", "--nthreads", "1", "--memory-limit", "1GB", "--no-nanny", "--no-dashboard"]
        here = ["--local-directory", str(self.folder), "--name", name]
        process = self._start("worker", python, self.address, *once, *here, log=name)
        self.workers.append(process)
        log = self.folder / f"{name}.log"
        wait_for(name, lambda: "Registered to" in log.read_text(), 120)
        return process

    def end(self) -> None:
        """Kill all of it."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def _start(self, kind: str, python: str, *options: str, log: str | None = None) -> subprocess.Popen[bytes]:
        command = [python, "-W", "ignore", "-m", f"distributed.cli.dask_{kind}", *options]
        with (self.folder / f"{log or kind}.log").open("wb") as stream:
            process = subprocess.Popen(command, cwd=self.folder, stdout=stream, stderr=stream)
        self._processes.append(process)
        return process

    def _said(self, name: str) -> str | None:
        found = _ADDRESS.search((self.folder / f"{name}.log").read_text())
        return found[0] if found else None


@contextmanager
def local_ray() -> Iterator[None]:
    """A Ray of two processes on this machine, which flows with the runner `ray` use; it is ended with all its processes."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        logging_level="error",
        namespace="prefect",
    )
    started = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    try:
        yield
    finally:
        ray.shutdown()
        for child in started:
            with suppress(psutil.NoSuchProcess):
                child.kill()


def ray_workers() -> list[int]:
    """Process ids of the workers of this process's Ray that score files at the moment; Ray names them by what they do."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if " ".join(child.cmdline()).startswith("ray::score_files"):
                found.append(child.pid)
    return found


def pool_processes() -> list[int]:
    """Process ids of the workers of this process's pool of processes."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if any("spawn_main" in text for text in child.cmdline()):
                found.append(child.pid)
    return found


def kill(pid: int) -> None:
    """As the system does when memory runs out."""
    os.kill(pid, signal.SIGKILL)
