"""Processes that record, delete, collect, vacuum and back up are killed at random moments: nothing committed is lost.

`make torture` runs the long forms.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import victims
from inside import look
from processes import wait_for
from victims import Journal, started

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.database import FILE_NAME

LONG = bool(os.environ.get("N4A_LONG"))
KILLS = 200 if LONG else 20
AT_ONCE = 4
STEPS = 16 if LONG else 4
SECONDS = 30 if LONG else 3

X = np.array([[1.0, 2.0], [0.5, -4.0]])


class Account:
    """What the journals say together: committed runs and pipelines, and what was under way when the killing came."""

    def __init__(self) -> None:
        self.runs: set[str] = set()
        self.pipelines: dict[str, dict[str, list[float]]] = {}
        self.seen = 0

    def settle(self, store: WorkspaceStore, journals: list[Journal]) -> None:
        """Take over what was committed; what was under way is either whole or not there at all."""
        for journal in journals:
            under_way: dict[str, Any] = {"kind": "nothing"}
            for line in journal.lines():
                self.seen += 1
                under_way = line if line["kind"] in ("begin run", "record", "delete") else {"kind": "nothing"}
                if line["kind"] == "began run":
                    self._began(line["run_id"])
                elif line["kind"] == "recorded":
                    self.pipelines[line["run_id"]].update(line["pipelines"])
                elif line["kind"] == "deleted":
                    self._deleted(line["run_id"])
            journal.path.unlink(missing_ok=True)
            if under_way["kind"] == "begin run":
                for (run_id,) in look(
                    store.workspace_path, "SELECT run_id FROM runs WHERE name = ?", under_way["token"]
                ):
                    self._began(run_id)
            elif under_way["kind"] == "record":
                names = set(store.list_pipelines(run_id=under_way["run_id"])["name"])
                there = names & under_way["pipelines"].keys()
                assert there in (set(), set(under_way["pipelines"])), "a unit of work is all there or not at all"
                self.pipelines[under_way["run_id"]].update(under_way["pipelines"] if there else {})
            elif under_way["kind"] == "delete" and store.get_run(under_way["run_id"]) is None:
                self._deleted(under_way["run_id"])

    def _began(self, run_id: str) -> None:
        self.runs.add(run_id)
        self.pipelines[run_id] = {}

    def _deleted(self, run_id: str) -> None:
        self.runs.discard(run_id)
        del self.pipelines[run_id]

    def compare(self, store: WorkspaceStore) -> None:
        """The workspace holds this and nothing else, and every chain predicts what it must."""
        path = store.workspace_path
        assert {run_id for (run_id,) in look(path, "SELECT run_id FROM runs")} == self.runs
        expected = {token: (run_id, f) for run_id, of_run in self.pipelines.items() for token, f in of_run.items()}
        stored = look(path, "SELECT name, run_id, status, pipeline_id FROM pipelines")
        assert {(name, run_id) for name, run_id, _, _ in stored} == {(t, run_id) for t, (run_id, _) in expected.items()}
        assert all(status == "completed" for _, _, status, _ in stored)
        scores: dict[str, list[float]] = {}
        for name, score, arrays in look(
            path,
            "SELECT l.name, p.val_score, a.y_pred FROM predictions p JOIN pipelines l USING (pipeline_id) "
            "LEFT JOIN prediction_arrays a USING (prediction_id) ORDER BY p.fold_id",
        ):
            assert arrays == [score, score], "every prediction has its arrays"
            scores.setdefault(name, []).append(score)
        assert scores == {token: factors for token, (_, factors) in expected.items()}
        chains = look(path, "SELECT l.name, c.chain_id FROM chains c JOIN pipelines l USING (pipeline_id)")
        assert sorted(name for name, _ in chains) == sorted(expected)
        for name, chain_id in chains:
            y = np.mean(expected[name][1]) * X.sum(axis=1)
            np.testing.assert_allclose(store.replay_chain(chain_id, X), y)


@pytest.mark.parametrize("seed", [int(os.environ.get("N4A_SEED", "1"))])
def test_killed_at_random_moments_nothing_committed_is_lost(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = WorkspaceStore(tmp_path / "ws")
    account, kills, backups = Account(), 0, 0
    while kills < KILLS:
        names = [f"v{kills + number}" for number in range(AT_ONCE)]
        processes = [started(victims.live, tmp_path, name, chance.randrange(2**32)) for name in names]
        journals = [Journal(tmp_path / f"{name}.journal") for name in names]
        for process, journal in zip(processes, journals, strict=True):
            # After so many steps, not seconds: a busy machine is given the time for as many.
            steps = chance.randint(1, STEPS)
            while process.is_alive() and journal.count() < steps:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.1))
            process.kill()
        for process in processes:
            process.join()
        assert not [path.read_text() for path in tmp_path.glob("*.failed")]
        kills += AT_ONCE

        account.settle(store, journals)
        account.compare(store)
        store.apply_gc(store.plan_gc(timedelta(0)))
        report = store.check("full")
        assert report.ok, report.summary()
        assert not report.notes, "what the killed left behind is gone after one collection"
        for backup in tmp_path.glob("backup-*/backup.json"):
            restored = WorkspaceStore.restore(backup.parent, tmp_path / f"restored-{backups}")
            assert WorkspaceStore(restored.workspace).check("full").ok
            backups += 1
        for folder in (*tmp_path.glob("backup-*"), *tmp_path.glob("restored-*")):
            shutil.rmtree(folder)
    account.compare(store)
    size = sum(map(len, account.pipelines.values()))
    print(f"{kills} kills, {account.seen} journal lines, {size} pipelines alive at the end, {backups} backups restored")
    assert account.seen > 2 * kills
    assert account.pipelines, "there was something to lose"


def test_writers_readers_and_clean_ups_at_once(tmp_path: Path) -> None:
    stop, workspace = tmp_path / "stop", tmp_path / "ws"
    WorkspaceStore(workspace)
    functions = 4 * [victims.record_until] + 2 * [victims.read_until] + [victims.clean_up_until, victims.vacuum_until]
    said = [tmp_path / f"{number}-{function.__name__}" for number, function in enumerate(functions)]
    processes = [started(function, workspace, stop, path) for function, path in zip(functions, said, strict=True)]
    for path in said:
        wait_for(path)
    time.sleep(SECONDS)
    stop.touch()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    counts = [int(path.read_text()) for path in said]
    print(dict(zip((path.name for path in said), counts, strict=True)))
    assert min(counts) > 0
    written = counts[:4]
    # In a few seconds the start of the processes weighs too much for more.
    assert min(written) >= (0.5 if LONG else 0.2) * max(written), "each writer gets its share"
    store = WorkspaceStore(workspace)
    recorded = dict(look(workspace, "SELECT r.name, count(*) FROM runs r JOIN pipelines USING (run_id) GROUP BY ALL"))
    assert recorded == {path.name: count for path, count in zip(said[:4], written, strict=True)}
    assert store.query_predictions().height == sum(written)
    assert store.check("full").ok


@pytest.mark.skipif(not LONG, reason="takes a minute; run by make torture")
def test_a_big_workspace_shrinks_to_the_size_of_a_fresh_copy(tmp_path: Path) -> None:
    store = WorkspaceStore(tmp_path / "ws")
    values = np.random.default_rng(0)
    runs = [store.begin_run(f"r{number}", {}, []) for number in range(10)]
    for run_id in runs:
        for _ in range(10):
            with store.transaction():
                pipeline_id = store.begin_pipeline(run_id, "p", [], {}, "d", "h")
                for number in range(1000):
                    prediction_id = store.save_prediction(
                        pipeline_id, None, "d", "m", "m", f"fold_{number}", "val", 1.0, None, None, "rmse",
                        "regression", 100, 2, {}, {}, None, None, 0, 0.0,
                    )  # fmt: skip
                    store.save_prediction_arrays(prediction_id, values.random(100), values.random(100))
    full = (tmp_path / "ws" / FILE_NAME).stat().st_size
    for run_id in runs[1:]:
        store.delete_run(run_id)
    began = time.perf_counter()
    store.vacuum()
    took = time.perf_counter() - began
    left = (tmp_path / "ws" / FILE_NAME).stat().st_size
    fresh = tmp_path / "fresh.duckdb"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{tmp_path / 'ws' / FILE_NAME}' AS old (READ_ONLY)")
        connection.execute(f"ATTACH '{fresh}' AS fresh (BLOCK_SIZE 65536)")
        connection.execute("COPY FROM DATABASE old TO fresh")
    ratio = left / fresh.stat().st_size
    print(f"{full:,} bytes, {left:,} after the vacuum in {took:.2f} s, {ratio:.2f} times a fresh copy")
    assert ratio <= 1.2
    assert left < 0.15 * full
    assert store.query_predictions().height == 10_000
