"""Processes that use a workspace until they are killed, and what each wrote down, outside and on disk, before and after it did.

They are forked from a server that has imported everything, so that starting one takes no second.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from processes import record_pipeline
from small_operators import Times

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import StoreBusyError

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["n4a_flows.storage.workspace_store"])

FOLDS = 3
STEPS = [{"step_idx": 1, "operator_class": "Times", "params": {}}]


def started(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process that runs `function(*arguments)`."""
    process = _processes.Process(target=function, args=arguments)
    process.start()
    return process


class Journal:
    """Lines on disk: what is about to be done, and that it was done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, kind: str, **content: Any) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps({"kind": kind, **content}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def lines(self) -> Iterator[dict[str, Any]]:
        if self.path.exists():
            for line in self.path.read_bytes().splitlines():
                yield json.loads(line)

    def count(self) -> int:
        """How many lines; also while they are being written."""
        return self.path.read_bytes().count(b"\n") if self.path.exists() else 0


class Victim:
    """What one process does, at random, until somebody kills it. Its runs are nobody else's."""

    def __init__(self, folder: Path, name: str, seed: int) -> None:
        self.store = WorkspaceStore(folder / "ws")
        self.journal = Journal(folder / f"{name}.journal")
        self.backups = folder / f"backup-{name}"
        self.random = random.Random(seed)
        self.runs: list[str] = []

    def live(self) -> None:
        actions = 8 * [self.record] + 2 * [self.begin_run, self.delete_run, self.collect]
        actions += [self.vacuum, self.back_up]
        while True:
            try:
                self.random.choice(actions)()
            except StoreBusyError as error:
                # Clean-ups are refused while another victim makes a backup, and two backups at once by the third.
                if "backup" not in str(error):
                    raise

    def begin_run(self) -> str:
        token = str(uuid.uuid4())
        self.journal.write("begin run", token=token)
        run_id = self.store.begin_run(token, {}, ["made up"])
        self.journal.write("began run", token=token, run_id=run_id)
        self.runs.append(run_id)
        return run_id

    def record(self) -> None:
        """One to three pipelines as training records them: one unit of work, files first."""
        run_id = self.random.choice(self.runs) if self.runs else self.begin_run()
        pipelines = {
            str(uuid.uuid4()): [self.random.choice([0.5, self.random.random()]) for _ in range(FOLDS)]
            for _ in range(self.random.randint(1, 3))
        }
        self.journal.write("record", run_id=run_id, pipelines=pipelines)
        prepared = {
            factor: self.store.prepare_artifact(Times(factor), "Times", "model")
            for factors in pipelines.values()
            for factor in factors
        }
        with self.store.transaction():
            for token, factors in pipelines.items():
                self._record(run_id, token, factors, prepared)
        self.journal.write("recorded", run_id=run_id, pipelines=pipelines)

    def _record(self, run_id: str, token: str, factors: list[float], prepared: dict[float, Any]) -> None:
        pipeline_id = self.store.begin_pipeline(run_id, token, [], {}, "made up", "hash")
        models = {f"fold_{number}": self.store.save_artifact(prepared[factor]) for number, factor in enumerate(factors)}
        chain_id = self.store.save_chain(pipeline_id, STEPS, 1, "Times", "", "per_fold", models, {})
        for number, factor in enumerate(factors):
            prediction_id = self.store.save_prediction(
                pipeline_id, chain_id, "made up", "m", "m", f"fold_{number}", "val", factor, None, None, "rmse",
                "regression", 2, 2, {"val": {"rmse": factor}}, {}, None, None, 0, 0.0,
            )  # fmt: skip
            self.store.save_prediction_arrays(prediction_id, [1.0, 2.0], [factor, factor])
        self.store.complete_pipeline(pipeline_id, min(factors), None, "rmse", 1)

    def delete_run(self) -> None:
        if len(self.runs) > 2:
            run_id = self.runs.pop(self.random.randrange(len(self.runs)))
            self.journal.write("delete", run_id=run_id)
            self.store.delete_run(run_id)
            self.journal.write("deleted", run_id=run_id)

    def collect(self) -> None:
        self.store.apply_gc(self.store.plan_gc(timedelta(0)))

    def vacuum(self) -> None:
        self.store.compact(self.random.choice([0.0, 0.3]))

    def back_up(self) -> None:
        self.store.backup(self.backups)


def live(folder: Path, name: str, seed: int) -> None:
    """Be a victim; a file says that it ended by itself, which it must not."""
    try:
        Victim(folder, name, seed).live()
    except BaseException as error:
        (folder / f"{name}.failed").write_text(repr(error))
        raise


def record_until(workspace: Path, stop: Path, said: Path) -> None:
    """Record pipelines until a file appears; how many is written down."""
    store = WorkspaceStore(workspace)
    run_id, count = store.begin_run(said.name, {}, ["made up"]), 0
    said.touch()
    while not stop.exists():
        record_pipeline(store, run_id, f"{said.name}-{count}")
        count += 1
    said.write_text(str(count))


def read_until(workspace: Path, stop: Path, said: Path) -> None:
    """Query until a file appears; counts may only grow."""
    store = WorkspaceStore(workspace)
    seen, count = 0, 0
    said.touch()
    while not stop.exists():
        found = len(store.top_predictions(10_000))
        assert found >= seen, f"{seen} predictions became {found}"
        seen, count = found, count + 1
    said.write_text(str(count))


def clean_up_until(workspace: Path, stop: Path, said: Path) -> None:
    """Collect garbage until a file appears."""
    store, count = WorkspaceStore(workspace), 0
    said.touch()
    while not stop.exists():
        report = store.apply_gc(store.plan_gc(timedelta(0)))
        assert not report.removed_artifacts, "all that is recorded here is named by chains at once"
        time.sleep(0.05)
        count += 1
    said.write_text(str(count))


def vacuum_until(workspace: Path, stop: Path, said: Path) -> None:
    """Rewrite the file until a file appears."""
    store, count = WorkspaceStore(workspace), 0
    said.touch()
    while not stop.exists():
        assert store.compact(0.0).compacted
        time.sleep(0.2)
        count += 1
    said.write_text(str(count))
