"""Real processes for tests: each runs a function of this module with its own interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from n4a_flows.storage import WorkspaceStore

TESTS = Path(__file__).resolve().parent


def start(function: str, *arguments: Any) -> subprocess.Popen[str]:
    """Start `function(*arguments)` in a new process; it prints one line of JSON."""
    code = (
        f"import json, processes; print(json.dumps(processes.{function}(*{list(map(str, arguments))!r})), flush=True)"
    )
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=TESTS,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def answer(process: subprocess.Popen[str], timeout: float = 120) -> Any:
    """What the process printed last; fails with what it said on its error stream."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def record_pipeline(store: WorkspaceStore, run_id: str, name: str, n_samples: int = 50, pause: float = 0.0) -> str:
    """One pipeline with a chain, an artifact, a prediction with arrays and a log line, as one unit."""
    prepared = store.prepare_artifact({"name": name}, "builtins.dict", "model")
    y = np.arange(n_samples, dtype=float)
    with store.transaction():
        pipeline_id = store.begin_pipeline(run_id, name, [{"model": name}], {}, "made up", "hash")
        model = store.save_artifact(prepared)
        chain_id = store.save_chain(
            pipeline_id,
            [{"step_idx": 1, "operator_class": "m", "params": {}}],
            1,
            "m",
            "",
            "per_fold",
            {"fold_0": model},
            {},
        )
        prediction_id = store.save_prediction(
            pipeline_id, chain_id, "made up", "m", "m", "fold_0", "val", 1.0, None, None, "rmse", "regression",
            n_samples, 2, {"val": {"rmse": 1.0}}, {}, None, None, 0, 0.0,
        )  # fmt: skip
        store.save_prediction_arrays(prediction_id, y, y + 1)
        store.log_step(pipeline_id, 1, "m", "end", 3)
        if pause:
            time.sleep(pause)
        store.complete_pipeline(pipeline_id, 1.0, None, "rmse", 5)
    return pipeline_id


def save_list(workspace: str, number: str) -> str:
    """Save `[number]` as an artifact and return its id."""
    with WorkspaceStore(workspace) as store:
        return str(store.save_artifact([int(number)], "list", "transformer"))


def record_many(workspace: str, meeting: str, others: str, count: str, pause: str) -> list[float]:
    """Record pipelines one after the other, once as many processes as that have met; returns when each was done."""
    store = WorkspaceStore(workspace)
    meet(meeting, others)
    run_id = store.begin_run(f"run of {os.getpid()}", {}, ["made up"])
    done = []
    for number in range(int(count)):
        record_pipeline(store, run_id, f"{os.getpid()}-{number}", pause=float(pause))
        done.append(time.time())
    store.complete_run(run_id, {})
    return done


def read_until(workspace: str, stop_file: str) -> int:
    """Query until a file appears; returns the number of queries. Counts may only grow."""
    store = WorkspaceStore(workspace)
    queries, seen = 0, 0
    while not Path(stop_file).exists():
        found = store.query_predictions().height
        assert found >= seen, f"{seen} predictions became {found}"
        assert store.list_pipelines().height >= found
        seen, queries = found, queries + 1
    return queries


def hold(workspace: str, ready_file: str, seconds: str) -> bool:
    """Hold the store inside a transaction for a while."""
    store = WorkspaceStore(workspace)
    with store.transaction():
        store.begin_run("held", {}, [])
        Path(ready_file).touch()
        time.sleep(float(seconds))
    return True


def stop_in_the_middle(workspace: str, ready_file: str) -> None:
    """Record half a pipeline inside a transaction, say so, and wait to be killed."""
    store = WorkspaceStore(workspace)
    run_id = store.begin_run("doomed", {}, [])
    with store.transaction():
        pipeline_id = store.begin_pipeline(run_id, "half", [], {}, "made up", "hash")
        store.list_pipelines()  # written, not committed
        store.log_step(pipeline_id, 1, "m", "start")
        Path(ready_file).touch()
        time.sleep(60)


def meet(folder: str | Path, number: str | int) -> None:
    """Wait until so many processes have come here, for starting one takes a second or more."""
    Path(folder).mkdir(exist_ok=True)
    Path(folder, str(os.getpid())).touch()
    until = time.monotonic() + 60
    while len(os.listdir(folder)) < int(number):
        assert time.monotonic() < until, f"not all came to {folder}"
        time.sleep(0.01)


def wait_for(path: Path, timeout: float = 30) -> None:
    """Wait until a file appears."""
    until = time.monotonic() + timeout
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.01)
