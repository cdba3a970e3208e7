"""What one process does to a workspace for a while, at random, and its own account of what it committed."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from processes import meet
from small_operators import Times

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import ProtectedError, StoreBusyError

X = np.array([[1.0, 2.0], [0.5, -4.0]])
SHARED_FOLDS = 4
FACTORS = 6


@dataclass
class Ledger:
    """What was committed, and nothing else."""

    runs: dict[str, str] = field(default_factory=dict)
    pipelines: dict[str, str] = field(default_factory=dict)
    chains: dict[str, list[int]] = field(default_factory=dict)
    """Chain id -> the factors of its fold models."""
    predictions: dict[str, float] = field(default_factory=dict)
    logs: Counter[str] = field(default_factory=Counter)
    deleted: list[str] = field(default_factory=list)
    saves: Counter[str] = field(default_factory=Counter)
    """References to each factor: one a save, less what went with chains."""
    aliased: Counter[str] = field(default_factory=Counter)
    shared: dict[str, list[Any]] = field(default_factory=dict)
    """Fold of a prediction that all processes save -> its id, and the last score from here."""
    done: Counter[str] = field(default_factory=Counter)


class OnPurposeError(Exception):
    pass


class Worker:
    """One thread's random work. Each run, with all it holds, is one worker's own."""

    def __init__(self, store: WorkspaceStore, shared_pipeline: str, seed: str) -> None:
        self.store, self.shared_pipeline, self.seed = store, shared_pipeline, seed
        self.random = random.Random(seed)
        self.ledger = Ledger()
        self.of_run: dict[str, list[str]] = {}
        self.of_pipeline: dict[str, dict[str, list[str]]] = {}

    def work(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        actions = [self.begin_run] + 4 * [self.record] + 2 * [self.upsert, self.look, self.name, self.undo, self.log]
        actions += [self.delete_run, self.delete_prediction, self.fail_pipeline, self.collect]
        while time.monotonic() < until:
            action = self.random.choice(actions)
            try:
                action()
                self.ledger.done[action.__name__] += 1
            except StoreBusyError:
                self.ledger.done["busy"] += 1

    def any_of(self, ids: Any) -> str | None:
        return self.random.choice(sorted(ids)) if ids else None

    def begin_run(self) -> str:
        run_id = self.store.begin_run(self.seed, {}, ["made up"])
        self.ledger.runs[run_id] = "running"
        self.of_run[run_id] = []
        return run_id

    def record(self) -> None:
        """A pipeline as training records it: one unit of work."""
        run_id = self.any_of(self.ledger.runs) or self.begin_run()
        factors = [self.random.randrange(FACTORS) for _ in range(self.random.randint(1, 3))]
        prepared = [self.store.prepare_artifact(Times(float(factor)), "Times", "model") for factor in factors]
        predictions = {}
        with self.store.transaction():
            pipeline_id = self.store.begin_pipeline(run_id, self.seed, [], {}, "made up", "hash")
            models = {f"fold_{number}": self.store.save_artifact(item) for number, item in enumerate(prepared)}
            steps = [{"step_idx": 1, "operator_class": "Times", "params": {}}]
            chain_id = self.store.save_chain(pipeline_id, steps, 1, "Times", "", "per_fold", models, {})
            for number in range(3):
                score = self.random.random()
                prediction_id = self.save(pipeline_id, chain_id, f"fold_{number}", score)
                self.store.save_prediction_arrays(prediction_id, [1.0, 2.0], [score, score])
                predictions[prediction_id] = score
            self.store.update_chain_summary(chain_id)
            self.store.complete_pipeline(pipeline_id, min(predictions.values()), None, "rmse", 1)
        self.of_run[run_id].append(pipeline_id)
        self.of_pipeline[pipeline_id] = {"chains": [chain_id], "predictions": list(predictions)}
        self.ledger.pipelines[pipeline_id] = "completed"
        self.ledger.chains[chain_id] = factors
        self.ledger.predictions.update(predictions)
        self.ledger.saves.update(map(str, factors))

    def save(self, pipeline_id: str, chain_id: str | None, fold: str, score: float) -> str:
        return self.store.save_prediction(
            pipeline_id, chain_id, "made up", "m", "m", fold, "val", score, None, None, "rmse", "regression", 2, 2,
            {"val": {"rmse": score}}, {}, None, None, 0, 0.0,
        )  # fmt: skip

    def undo(self) -> None:
        """A unit of work that fails at its end."""
        run_id = self.any_of(self.ledger.runs)
        if run_id is None:
            return
        try:
            with self.store.transaction():
                pipeline_id = self.store.begin_pipeline(run_id, "undone", [], {}, "made up", "hash")
                self.store.save_artifact(Times(float(self.random.randrange(FACTORS))), "Times", "model", "joblib")
                self.save(pipeline_id, None, "fold_0", 0.0)
                self.store.complete_run(run_id, {})
                raise OnPurposeError
        except OnPurposeError:
            pass

    def upsert(self) -> None:
        """The same prediction that everybody saves."""
        fold, score = f"shared_{self.random.randrange(SHARED_FOLDS)}", self.random.random()
        with self.store.transaction():
            prediction_id = self.save(self.shared_pipeline, None, fold, score)
            self.store.save_prediction_arrays(prediction_id, [0.0], [score])
        known, _ = self.ledger.shared.get(fold, (prediction_id, score))
        assert prediction_id == known, "a prediction that is saved again keeps its id"
        self.ledger.shared[fold] = [prediction_id, score]

    def log(self) -> None:
        pipeline_id = self.any_of(self.ledger.pipelines)
        if pipeline_id is not None:
            self.store.log_step(pipeline_id, 1, "Times", "end", 1)
            self.ledger.logs[pipeline_id] += 1

    def name(self) -> None:
        """Move an alias, of its own or everybody's."""
        chain_id = self.any_of(self.ledger.chains)
        if chain_id is not None:
            alias = self.random.choice([f"own/{self.seed}", "everybody"])
            self.store.set_alias(alias, chain_id)
            self.ledger.aliased[alias] += 1

    def look(self) -> None:
        """What was committed here is seen here, whatever the others do."""
        run_id, chain_id = self.any_of(self.ledger.runs), self.any_of(self.ledger.chains)
        if run_id is not None:
            run = self.store.get_run(run_id)
            assert run is not None
            assert run["status"] == self.ledger.runs[run_id]
            assert sorted(self.store.list_pipelines(run_id=run_id)["pipeline_id"]) == sorted(self.of_run[run_id])
        if chain_id is not None:
            expected = np.mean(self.ledger.chains[chain_id]) * X.sum(axis=1)
            np.testing.assert_allclose(self.store.replay_chain(chain_id, X), expected)

    def collect(self) -> None:
        self.store.gc_artifacts()

    def delete_prediction(self) -> None:
        prediction_id = self.any_of(self.ledger.predictions)
        if prediction_id is not None:
            assert self.store.delete_prediction(prediction_id), "nobody else deletes it"
            self._forget([prediction_id])

    def fail_pipeline(self) -> None:
        pipeline_id = self.any_of([key for key, status in self.ledger.pipelines.items() if status == "completed"])
        if pipeline_id is None:
            return
        try:
            self.store.fail_pipeline(pipeline_id, "on purpose")
        except ProtectedError:
            return
        self.ledger.pipelines[pipeline_id] = "failed"
        self._emptied(pipeline_id)

    def delete_run(self) -> None:
        run_id = self.any_of(self.ledger.runs)
        if run_id is None:
            return
        try:
            assert self.store.delete_run(run_id, force=self.random.random() < 0.3) > 0, "nobody else deletes it"
        except ProtectedError:
            return
        for pipeline_id in self.of_run.pop(run_id):
            self._emptied(pipeline_id)
            del self.ledger.pipelines[pipeline_id]
            self.ledger.deleted.append(pipeline_id)
        del self.ledger.runs[run_id]
        self.ledger.deleted.append(run_id)

    def _emptied(self, pipeline_id: str) -> None:
        """Chains, predictions and logs of a pipeline are gone."""
        held = self.of_pipeline.pop(pipeline_id, {"chains": [], "predictions": []})
        for chain_id in held["chains"]:
            self.ledger.saves.subtract(map(str, self.ledger.chains.pop(chain_id)))
            self.ledger.deleted.append(chain_id)
        self._forget([key for key in held["predictions"] if key in self.ledger.predictions])
        del self.ledger.logs[pipeline_id]

    def _forget(self, prediction_ids: list[str]) -> None:
        for prediction_id in prediction_ids:
            del self.ledger.predictions[prediction_id]
            self.ledger.deleted.append(prediction_id)


def work(workspace: str, shared_pipeline: str, meeting: str, seconds: str, seed: str, timeout: str) -> Any:
    """One process, one thread; returns its ledger."""
    store = WorkspaceStore(workspace, lock_timeout=60)
    worker = Worker(WorkspaceStore(workspace, lock_timeout=float(timeout)), shared_pipeline, seed)
    meet(meeting, 2)
    worker.work(float(seconds))
    assert store.get_pipeline(shared_pipeline) is not None
    return [vars(worker.ledger)]


def work_with_threads_and_a_fork(
    workspace: str, shared_pipeline: str, meeting: str, seconds: str, seed: str, report: str
) -> Any:
    """Two threads share a store object; while they are at it, the process forks a child that uses it too. All ledgers."""
    store = WorkspaceStore(workspace, lock_timeout=60)
    workers = [Worker(store, shared_pipeline, f"{seed}-thread-{number}") for number in range(2)]
    failed: list[BaseException] = []

    def run(worker: Worker) -> None:
        try:
            worker.work(float(seconds))
        except BaseException as error:
            failed.append(error)
            raise

    meet(meeting, 2)
    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    time.sleep(float(seconds) / 3)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            own = Worker(store, shared_pipeline, f"{seed}-child")
            own.work(float(seconds) / 3)
            Path(report).write_text(json.dumps(vars(own.ledger)))
            code = 0
        except BaseException:  # noqa: BLE001 - shown, and the parent fails
            traceback.print_exc()
        finally:
            os._exit(code)
    for thread in threads:
        thread.join()
    _, status = os.waitpid(child, 0)
    assert status == 0, "the child failed; its traceback stands above"
    assert not failed
    return [*(vars(worker.ledger) for worker in workers), json.loads(Path(report).read_text())]
