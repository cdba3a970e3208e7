"""Processes that record, delete and clean up at random at once: nothing is lost, nothing is double.

Each keeps its own account of what it committed; together the accounts are what the workspace holds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from inside import artifact_files, look
from ledger import FACTORS
from processes import TESTS, answer
from small_operators import Times

from n4a_flows.storage import WorkspaceStore, serialize

SECONDS = 20 if os.environ.get("N4A_LONG") else 3


@pytest.fixture
def shared_pipeline(tmp_path: Path) -> str:
    store = WorkspaceStore(tmp_path / "ws")
    return store.begin_pipeline(store.begin_run("shared", {}, []), "shared", [], {}, "made up", "hash")


def started(function: str, *arguments: Any) -> subprocess.Popen[str]:
    code = f"import json, ledger; print(json.dumps(ledger.{function}(*{list(map(str, arguments))!r})), flush=True)"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=TESTS, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_two_processes_lose_nothing(tmp_path: Path, shared_pipeline: str) -> None:
    workspace, meeting = tmp_path / "ws", tmp_path / "meeting"
    patient = started("work", workspace, shared_pipeline, meeting, SECONDS, "patient", 60)
    hasty = started("work", workspace, shared_pipeline, meeting, SECONDS, "hasty", 0.01)
    ledgers = [*answer(patient), *answer(hasty)]
    done = [Counter(ledger["done"]) for ledger in ledgers]
    print(*(dict(counted) for counted in done), sep="\n")
    assert done[0]["busy"] == 0, "who waits gets the store"
    assert done[1]["busy"] > 0, "who does not wait is told so, and nothing of it is stored"
    assert done[0]["record"] > 0
    assert done[1].total() > done[1]["busy"], "now and then the store is free at once"
    compare(workspace, ledgers)


def test_threads_and_forked_children_lose_nothing(tmp_path: Path, shared_pipeline: str) -> None:
    workspace, meeting = tmp_path / "ws", tmp_path / "meeting"
    mixed = started(
        "work_with_threads_and_a_fork", workspace, shared_pipeline, meeting, SECONDS, "mixed", tmp_path / "child"
    )
    alone = started("work", workspace, shared_pipeline, meeting, SECONDS, "alone", 60)
    ledgers = [*answer(mixed), *answer(alone)]
    assert len(ledgers) == 4
    print(*(dict(ledger["done"]) for ledger in ledgers), sep="\n")
    assert all(ledger["done"] for ledger in ledgers)
    assert not any("busy" in ledger["done"] for ledger in ledgers)
    compare(workspace, ledgers)


def compare(workspace: Path, ledgers: list[dict[str, Any]]) -> None:
    """The workspace holds what the ledgers say together, row by row, and nothing else."""
    store = WorkspaceStore(workspace)
    store.gc_artifacts()

    def together(name: str) -> dict[str, Any]:
        return {key: value for ledger in ledgers for key, value in ledger[name].items()}

    runs = look(workspace, "SELECT run_id, status FROM runs WHERE name <> 'shared'")
    assert sorted(runs) == sorted(together("runs").items())
    pipelines = look(workspace, "SELECT pipeline_id, status FROM pipelines WHERE name <> 'shared'")
    assert sorted(pipelines) == sorted(together("pipelines").items())
    assert sorted(key for (key,) in look(workspace, "SELECT chain_id FROM chains")) == sorted(together("chains"))

    of_all = "SELECT prediction_id, val_score FROM predictions WHERE fold_id {} LIKE 'shared%'"
    assert sorted(look(workspace, of_all.format("NOT"))) == sorted(together("predictions").items())
    arrays = look(
        workspace,
        "SELECT p.val_score, a.y_pred[1] FROM predictions p LEFT JOIN prediction_arrays a USING (prediction_id)",
    )
    assert all(score == stored for score, stored in arrays), "every prediction has its own arrays"
    for fold, score, prediction_id in look(
        workspace, "SELECT fold_id, val_score, prediction_id FROM predictions WHERE fold_id LIKE 'shared%'"
    ):
        written = [ledger["shared"][fold] for ledger in ledgers if fold in ledger["shared"]]
        assert {key for key, _ in written} == {prediction_id}, "everybody was given the same id"
        assert score in [last for _, last in written], "the last one to save it won"
    shared = [fold for (fold,) in look(workspace, "SELECT fold_id FROM predictions WHERE fold_id LIKE 'shared%'")]
    assert sorted(shared) == sorted({fold for ledger in ledgers for fold in ledger["shared"]}), "one row each"

    logs = look(workspace, "SELECT pipeline_id, count(*) FROM logs GROUP BY pipeline_id")
    assert dict(logs) == {key: count for key, count in together("logs").items() if count}

    aliased = sum((Counter(ledger["aliased"]) for ledger in ledgers), Counter())
    assert dict(look(workspace, "SELECT alias, count(*) FROM aliases GROUP BY alias")) == aliased, (
        "no move is forgotten"
    )
    current = look(workspace, "SELECT alias, count(*) FROM aliases WHERE ended_at IS NULL GROUP BY alias")
    assert all(count == 1 for _, count in current), "an alias names one chain"

    references: Counter[str] = Counter()
    for ledger in ledgers:
        references.update(ledger["saves"])
    expected = {
        serialize(Times(float(factor)), "Times", "model").content_hash: references[str(factor)]
        for factor in range(FACTORS)
        if references[str(factor)]
    }
    artifacts = look(workspace, "SELECT content_hash, ref_count, artifact_path FROM artifacts")
    assert sorted((digest, count) for digest, count, _ in artifacts) == sorted(expected.items()), "one row a content"
    assert {path for *_, path in artifacts} <= artifact_files(workspace)
    for chain_id in together("chains"):
        store.load_predictor(chain_id)
