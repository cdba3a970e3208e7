"""Whoever computes, the same is recorded, and each file once: threads, processes, a Dask cluster and a Ray, all of them real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from clusters import PIPELINES, Dask, kill, need, pool_processes, ray_workers, wait_for

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import PredictionOptions, predict_new_spectra, train_and_record
from n4a_flows.flows.progress import listening
from n4a_flows.storage.errors import WorkerError
from n4a_flows.training import TrainingOptions

pytestmark = pytest.mark.prefect

ROOT = Path(__file__).resolve().parents[2]
OTHER_PYTHON = ROOT / ".engines" / "other-scikit-learn" / "bin" / "python"
SETTLED = PredictionOptions(settle_seconds=0, files_per_task=10)

NewBlock = Callable[[], WorkspaceStoreBlock]
WriteFiles = Callable[[Path, int], Path]


def trained(block: WorkspaceStoreBlock, runner: str) -> list[tuple[Any, ...]]:
    """What a training recorded: scores, and digests of chains, which are made of the bytes of what was fitted."""
    options = TrainingOptions(chunk_size=1, replay_sample=0)
    summary = train_and_record(block, "tecator", ["fat", "protein"], PIPELINES, options, runner=runner)
    with block.open() as store:
        return [
            (row.target, row.name, row.validation, row.test, store.get_chain_context(str(row.chain_id)).digest)
            for row in sorted(summary.leaderboard, key=lambda row: (row.target, row.name))
        ]


def scored(block: WorkspaceStoreBlock, chain: str, incoming: Path, runner: str) -> pl.DataFrame:
    """What a scoring recorded, of each sample."""
    summary = predict_new_spectra(block, chain, incoming, SETTLED, runner=runner)
    assert summary.quarantined == 1
    return ledger(block)


def ledger(block: WorkspaceStoreBlock) -> pl.DataFrame:
    with block.open() as store:
        assert store.check("full").ok
        return store.scored_samples().select("sample_id", "y", "verdict", "reasons", "detail").sort("sample_id")


def once(block: WorkspaceStoreBlock, files: int) -> None:
    """Every file is in the ledger, exactly once."""
    with block.open() as store:
        rows, samples = store.scored_files(), store.scored_samples()
    assert rows.height == rows["path"].n_unique() == files
    assert rows["status"].value_counts().sort("status").rows() == [("quarantined", 1), ("scored", files - 1)]
    assert samples.height == samples["sample_id"].n_unique() == files - 1


@pytest.fixture
def same_as_threads(tmp_path: Path, new_block: NewBlock, chain: str, write_files: WriteFiles) -> Callable[[str], None]:
    """Trains and scores by a runner, and compares with threads to the last bit."""
    incoming = write_files(tmp_path / "incoming", 60)

    def compare(runner: str) -> None:
        threads, others = new_block(), new_block()
        assert trained(others, runner) == trained(threads, "threads")
        found = scored(others, chain, incoming, runner)
        assert found.equals(scored(threads, chain, incoming, "threads"))
        assert found.height == 59
        once(others, 60)
        assert predict_new_spectra(others, chain, incoming, SETTLED, runner=runner).skipped == 60

    return compare


def test_a_dask_cluster_trains_and_predicts_as_threads_do(dask: Dask, same_as_threads: Callable[[str], None]) -> None:
    dask.worker(), dask.worker()
    same_as_threads(f"dask={dask.address}")


def test_ray_trains_and_predicts_as_threads_do(ray: None, same_as_threads: Callable[[str], None]) -> None:
    same_as_threads("ray")


def test_processes_train_and_predict_as_threads_do(same_as_threads: Callable[[str], None]) -> None:
    same_as_threads("processes")


def test_when_a_dask_worker_is_killed_every_file_is_scored_once(
    tmp_path: Path, dask: Dask, new_block: NewBlock, chain: str, write_files: WriteFiles
) -> None:
    block, incoming = new_block(), write_files(tmp_path / "incoming", 400)
    victim, _other = dask.worker(), dask.worker()

    def strike(_what: str, done: int, total: int) -> None:
        if 0 < done < total / 2 and victim.poll() is None:
            kill(victim.pid)
            victim.wait()

    with listening(strike):
        summary = predict_new_spectra(block, chain, incoming, SETTLED, runner=f"dask={dask.address}")
    assert victim.poll() is not None, "it was killed in the middle"
    assert (summary.scored, summary.quarantined, summary.postponed) == (399, 1, 0)
    once(block, 400)
    other = new_block()
    assert ledger(block).equals(scored(other, chain, incoming, "threads"))


def test_when_a_ray_worker_is_killed_every_file_is_scored_once(
    tmp_path: Path, ray: None, new_block: NewBlock, chain: str, write_files: WriteFiles
) -> None:
    block, incoming = new_block(), write_files(tmp_path / "incoming", 400)
    killed: list[int] = []

    def strike(_what: str, done: int, total: int) -> None:
        if 0 < done < total / 2 and not killed:
            killed.extend(wait_for("a worker that computes", ray_workers)[:1])
            kill(killed[0])

    with listening(strike):
        summary = predict_new_spectra(block, chain, incoming, SETTLED, runner="ray")
    assert killed, "it was killed in the middle"
    assert (summary.scored, summary.quarantined, summary.postponed) == (399, 1, 0)
    once(block, 400)


def test_when_one_of_the_processes_is_killed_the_flow_says_so_and_the_next_one_scores_the_rest(
    tmp_path: Path, new_block: NewBlock, chain: str, write_files: WriteFiles
) -> None:
    block, incoming = new_block(), write_files(tmp_path / "incoming", 400)
    killed: list[int] = []

    def strike(_what: str, done: int, total: int) -> None:
        if 0 < done < total / 2 and not killed:
            killed.extend(pool_processes()[:1])
            kill(killed[0])

    with listening(strike), pytest.raises(WorkerError, match=r"A process .* died"):
        predict_new_spectra(block, chain, incoming, SETTLED, runner="processes")
    with block.open() as store:
        recorded = store.scored_files().height
    assert 0 < recorded < 400, "what had been recorded stays"
    summary = predict_new_spectra(block, chain, incoming, SETTLED, runner="processes")
    assert summary.scored + summary.quarantined + summary.skipped == 400
    assert summary.skipped == recorded
    once(block, 400)


def test_a_worker_that_comes_later_is_sent_the_chain(
    tmp_path: Path, dask: Dask, new_block: NewBlock, chain: str, write_files: WriteFiles
) -> None:
    block, incoming = new_block(), write_files(tmp_path / "incoming", 200)
    first = dask.worker()

    def replace(_what: str, done: int, total: int) -> None:
        if 0 < done < total / 2 and len(dask.workers) == 1:
            dask.worker()
            kill(first.pid)

    with listening(replace):
        assert predict_new_spectra(block, chain, incoming, SETTLED, runner=f"dask={dask.address}").scored == 199
    assert len(dask.workers) == 2
    once(block, 200)


def test_a_worker_with_another_scikit_learn_is_refused(
    tmp_path: Path, dask: Dask, new_block: NewBlock, chain: str, write_files: WriteFiles
) -> None:
    if not OTHER_PYTHON.exists():
        pytest.skip("make engines makes the environment with another scikit-learn")
    block, incoming = new_block(), write_files(tmp_path / "incoming", 20)
    other = subprocess.check_output(
        [OTHER_PYTHON, "-c", "import sklearn; print(sklearn.__version__)"], text=True
    ).strip()
    dask.worker(str(OTHER_PYTHON))
    with pytest.raises(WorkerError, match=f"has scikit-learn {other} in place of"):
        predict_new_spectra(block, chain, incoming, SETTLED, runner=f"dask={dask.address}")
    with pytest.raises(WorkerError, match=f"has scikit-learn {other} in place of"):
        train_and_record(block, "tecator", "fat", PIPELINES, runner=f"dask={dask.address}")
    with block.open() as store:
        assert store.scored_files().is_empty()
        assert store.list_runs(status="failed").height == 1
        assert store.list_chains().height == 6, "those that were there before"


def test_a_scheduler_that_is_not_there_is_told(
    new_block: NewBlock, chain: str, tmp_path: Path, write_files: WriteFiles
) -> None:
    need("dask", "prefect_dask")
    import dask as settings

    incoming = write_files(tmp_path / "incoming", 2)
    with (
        settings.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(WorkerError, match=r"'dask=tcp://127\.0\.0\.1:9' cannot be started"),
    ):
        predict_new_spectra(new_block(), chain, incoming, SETTLED, runner="dask=tcp://127.0.0.1:9")


def test_the_command_line_predicts_by_a_runner_without_a_server(
    tmp_path: Path, new_block: NewBlock, chain: str, write_files: WriteFiles, tmp_path_factory: pytest.TempPathFactory
) -> None:
    block, incoming = new_block(), write_files(tmp_path / "incoming", 20)
    command = ["predict", chain, str(incoming), "--workspace", str(block.path), "--runner", "processes", "--json"]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path_factory.mktemp("home"))}
    environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"
    environment.pop("PREFECT_API_URL", None)
    run = subprocess.run(
        [Path(sys.executable).with_name("n4a-flows"), *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["scored"] == 19
    once(block, 20)
