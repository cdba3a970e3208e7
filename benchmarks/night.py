"""One night of the example deployments on a real Prefect server, and how long it works on when they have ended.

    python -m benchmarks.night [--files 10000] [--port 4570]

`n4a-flows up` starts the server (on SQLite) and serves the deployments; the night is a training of 100 pipelines, the scoring of
the files by its champion, and the maintenances of a Sunday. Target: a backlog under 10 s.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import httpx
import numpy as np

from n4a_flows.cli.demo import write_incoming
from n4a_flows.spectra import Spectra, load_tecator
from n4a_flows.storage import WorkspaceStore

TARGET = 10.0  # seconds

SNV = {"class": "chemotools.scatter.StandardNormalVariate", "params": {}}
DERIVATIVES = [
    {"class": "chemotools.derivative.SavitzkyGolay", "params": {"window_length": 11, "polyorder": 2, "deriv": order}}
    for order in (1, 2)
]
PLS = "sklearn.cross_decomposition.PLSRegression"
HUNDRED = [
    {"_or_": [None, SNV, *DERIVATIVES, [DERIVATIVES[1], SNV]]},
    {"model": {"class": PLS, "params": {"n_components": {"_range_": [1, 20]}}}},
]
LAST_EVENT = "n4a.night.over"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Server:
    """The API, asked as the UI asks it."""

    def __init__(self, api: str) -> None:
        self._client = httpx.Client(base_url=f"{api}/", timeout=60)
        self.refused = 0

    def ask(self, path: str, **body: Any) -> Any:
        return self._asked(path, body).json()

    def _asked(self, path: str, body: Any) -> httpx.Response:
        """The answer; asked again, as Prefect's own client does, when SQLite was busy with something else."""
        for _ in range(10):
            answer = self._client.post(path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            self.refused += 1
            time.sleep(1)
        answer.raise_for_status()
        return answer

    def get(self, path: str) -> Any:
        answer = self._client.get(path)
        answer.raise_for_status()
        return answer.json()

    def start(self, deployment: str, **parameters: Any) -> str:
        identity = self.get(f"deployments/name/{deployment}")["id"]
        made = self.ask(f"deployments/{identity}/create_flow_run", parameters=parameters)
        return str(made["id"])

    def flow_runs(self) -> list[dict[str, Any]]:
        """All that have begun; the schedules have made others."""
        runs: list[dict[str, Any]] = self.ask("flow_runs/filter", limit=200, sort="EXPECTED_START_TIME_ASC")
        return [run for run in runs if run["state_type"] != "SCHEDULED"]

    def send_last_event(self) -> None:
        """Events wait in line, task runs among them: when this one is known, those before it are."""
        event = {"occurred": _now(), "event": LAST_EVENT, "resource": {"prefect.resource.id": "n4a.night"}}
        self._asked("events", [{**event, "id": str(uuid4())}])

    def knows_last_event(self) -> bool:
        wanted = {"event": {"name": [LAST_EVENT]}, "occurred": {"since": "2020-01-01T00:00:00Z", "until": _now()}}
        return bool(self.ask("events/filter", filter=wanted, limit=1)["events"])

    def task_runs_under_way(self) -> int:
        """Task runs that the server does not know the end of."""
        kinds = {"any_": ["PENDING", "RUNNING", "SCHEDULED"]}
        return int(self.ask("task_runs/count", task_runs={"state": {"type": kinds}}))


def _now() -> str:
    return datetime.now(UTC).isoformat()


def until(look: Callable[[], Any], timeout: float, every: float = 0.25) -> Any:
    """Look again and again until there is something."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing within {timeout:g} s")
        time.sleep(every)
    return found


@contextmanager
def up(workspace: Path, port: int) -> Iterator[Server]:
    command = [sys.executable, "-c", "from n4a_flows.cli import main; main()", "up", "--json"]
    process = subprocess.Popen(
        [*command, "--workspace", str(workspace), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=(workspace.parent / "flows.log").open("wb"),
        text=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        while not said.endswith("}\n"):
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("n4a-flows up has ended by itself")
            said += line
        yield Server(json.loads(said)["api"])
    finally:
        process.terminate()
        process.wait(90)


@contextmanager
def watched(server: Server, latencies: list[float]) -> Iterator[None]:
    """Ask for the flow runs each second, as a page of the UI does, and note how long the answer takes."""
    over = Event()

    def watch() -> None:
        while not over.wait(1.0):
            begun = time.perf_counter()
            server.flow_runs()
            latencies.append(time.perf_counter() - begun)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def write_files(folder: Path, count: int) -> None:
    """New spectra, one a file: those of tecator, each a little brighter or darker. They arrive all at once."""
    spectra = load_tecator()
    rows = np.arange(count) % len(spectra.X)
    light = np.random.default_rng(0).normal(1, 1e-3, (count, 1))
    ids = [f"night{number:05d}" for number in range(count)]
    arriving = folder.parent / "arriving"
    write_incoming(Spectra(spectra.X[rows] * light, spectra.axis, ids, signal=spectra.signal), arriving)
    arriving.rename(folder / "night")


def night(server: Server, workspace: Path, files: int) -> None:
    """Train, score, look after the workspace; each when the one before has ended."""

    def ended(flow_run_id: str) -> None:
        until(lambda: server.get(f"flow_runs/{flow_run_id}")["state_type"] in FINAL, 1800)

    def quiet() -> bool:
        time.sleep(4)  # an automation that starts something has its time
        return all(run["state_type"] in FINAL for run in server.flow_runs())

    until(quiet, 300)  # the first training, which `up` starts, and the look into an empty folder
    write_files(workspace / "incoming", files)
    ended(server.start("train-and-record/nightly", pipeline=HUNDRED))
    until(quiet, 1800)  # a new champion has the files scored
    ended(server.start("predict-new-spectra/incoming"))
    for deployment in ("maintain/gc", "maintain/vacuum-and-check", "monitor/laboratory"):
        ended(server.start(deployment))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.night", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--port", type=int, default=4570)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="n4a-night-") as folder:
        workspace = Path(folder) / "workspace"
        latencies: list[float] = []
        with up(workspace, options.port) as server:
            with watched(server, latencies):
                night(server, workspace, options.files)
            over = time.perf_counter()
            server.send_last_event()
            until(lambda: server.knows_last_event() and server.task_runs_under_way() == 0, 1800)
            backlog = time.perf_counter() - over
            report(server, workspace, options.files, backlog, latencies)
    sys.exit(backlog > TARGET)


def report(server: Server, workspace: Path, files: int, backlog: float, latencies: list[float]) -> None:
    names = {flow["id"]: flow["name"] for flow in server.ask("flows/filter")}
    for run in server.flow_runs():
        tasks = server.ask("task_runs/count", flow_runs={"id": {"any_": [run["id"]]}})
        print(
            f"{names[run['flow_id']]:<22} {run['state_name']:<12} {run['total_run_time']:7.1f} s {tasks:>5} task runs"
        )
    with WorkspaceStore(workspace, read_only=True) as store:
        found = Counter(store.scored_files()["status"].to_list())
        pipelines = store.list_pipelines().height
    answers = np.asarray(latencies)
    print(f"{pipelines} pipelines, {dict(found)} of {files} files")
    print(
        f"the question of a page for flow runs: median {np.median(answers):.3f} s, 99 % {np.quantile(answers, 0.99):.3f} s, "
        f"worst {answers.max():.3f} s; {server.refused} questions of all had to be asked again (503)"
    )
    print(f"backlog after the last flow run: {backlog:.1f} s (target: under {TARGET:g} s)")


if __name__ == "__main__":
    main()
