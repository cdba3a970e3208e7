from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.task_runners import ProcessPoolTaskRunner

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import TrainingOptions, train_and_record
from n4a_flows.flows.progress import listening
from n4a_flows.spectra import load_tecator
from n4a_flows.storage import PipelineLibrary
from n4a_flows.storage.errors import (
    DefinitionError,
    InvalidInputError,
    MissingFileError,
    SpectraError,
    UntrustedError,
    WorkspaceError,
)
from n4a_flows.training import TrainingError

pytestmark = pytest.mark.prefect


def pls(n_components: Any) -> dict[str, Any]:
    return {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": n_components}}


def test_a_run_is_recorded_with_all_its_pipelines_and_the_best_chain_predicts(
    block: WorkspaceStoreBlock, two_pipelines: list[Any]
) -> None:
    summary = train_and_record(block, "tecator", "fat", two_pipelines)

    assert summary.failed == 0
    assert set(summary.best) == {"fat"}
    assert summary.best_chain_id == summary.best["fat"] == summary.chain_ids[0]
    assert [row.chain_id for row in summary.leaderboard] == summary.chain_ids
    spectra = load_tecator()
    test = spectra.take(spectra.metadata["split"] == "test")
    with block.open() as store:
        run = store.get_run(summary.run_id)
        assert run["status"] == "completed"
        assert run["summary"]["best"]["fat"]["chain_id"] == summary.best_chain_id
        assert [dataset["name"] for dataset in run["datasets"]] == ["tecator"]
        pipelines = store.list_pipelines(run_id=summary.run_id)
        assert pipelines["status"].to_list() == ["completed", "completed"]
        assert min(pipelines["best_val"]) == summary.leaderboard[0].validation
        predicted = store.replay_chain(summary.best_chain_id, test.X, test.axis)
    rmsep = float(np.sqrt(np.mean((predicted - test.targets["fat"]) ** 2)))
    assert rmsep == pytest.approx(summary.leaderboard[0].test)
    assert rmsep < 2.5


def test_the_flow_run_is_noted_with_the_run_and_its_report_is_in_prefect(
    block: WorkspaceStoreBlock, two_pipelines: list[Any]
) -> None:
    state = train_and_record(block, "tecator", "fat", two_pipelines, return_state=True)
    summary = state.result()

    flow_run_id = str(state.state_details.flow_run_id)
    with duckdb.connect(str(block.workspace_path / "store.duckdb"), read_only=True) as database:
        origin = database.execute("SELECT flow_run_id FROM run_origins WHERE run_id = ?", [summary.run_id]).fetchone()
    assert origin == (flow_run_id,)
    with get_client(sync_client=True) as client:
        # Unasked, the server gives 200 reports of all flow runs, in no order that means anything.
        of_the_run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
        reports = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=of_the_run))
    by_key = {report.key: report.data for report in reports}
    assert "data:image/png;base64," in by_key["n4a-training"]
    assert summary.best_chain_id in by_key["n4a-training"]
    assert len(json.loads(by_key["n4a-leaderboard"])) == 2


def test_a_fresh_process_replays_and_the_champion_and_the_report_file_are_made_on_request(
    block: WorkspaceStoreBlock, two_pipelines: list[Any]
) -> None:
    options = TrainingOptions(champion=True, report_file="fat.html", units={"fat": "%"}, replay_sample=1)
    summary = train_and_record(block, "tecator", "fat", two_pipelines, options)
    assert summary.replayed == 2
    assert summary.champions["fat"].promoted
    assert summary.report_path == block.path / "exports" / "fat.html"
    assert "RMSECV" in summary.report_path.read_text()
    with block.open() as store:
        assert store.get_alias("tecator/fat/champion") == summary.best_chain_id
        run = store.get_run(summary.run_id)
        assert run is not None
        assert run["summary"]["replayed"] == {"chains": 2, "failed": 0}
    again = train_and_record(block, "tecator", "fat", two_pipelines, options)
    assert again.champions["fat"].reason == "It is the champion already."


def test_a_report_that_cannot_be_drawn_leaves_the_run_complete(
    block: WorkspaceStoreBlock, two_pipelines: list[Any]
) -> None:
    careful = block.model_copy(update={"trust": "none"})
    summary = train_and_record(careful, "tecator", "fat", two_pipelines)
    assert summary.replayed == 0, "nothing may be unpickled"
    with block.open() as store:
        run = store.get_run(summary.run_id)
        assert run is not None
        assert run["status"] == "completed"


def test_the_same_training_twice_adds_a_run_and_no_artifact_file(
    block: WorkspaceStoreBlock, two_pipelines: list[Any]
) -> None:
    first = train_and_record(block, "tecator", "fat", two_pipelines)
    files = sorted((block.workspace_path / "artifacts").rglob("*"))
    second = train_and_record(block, "tecator", "fat", two_pipelines)

    assert sorted((block.workspace_path / "artifacts").rglob("*")) == files
    assert first.run_id != second.run_id
    assert [row.validation for row in first.leaderboard] == [row.validation for row in second.leaderboard]


def test_a_template_is_trained_by_its_name(block: WorkspaceStoreBlock, two_pipelines: list[Any]) -> None:
    shipped = train_and_record(block, "tecator", "fat", "SNV PLS")
    assert (len(shipped.chain_ids), shipped.failed) == (8, 0)
    PipelineLibrary(block.workspace_path).save_template(two_pipelines, "SNV PLS")
    assert len(train_and_record(block, "tecator", "fat", "snv_pls").chain_ids) == 2


def test_several_targets_are_trained_in_one_run(block: WorkspaceStoreBlock) -> None:
    summary = train_and_record(block, "tecator", ["fat", "protein"], [{"model": pls(6)}])

    assert set(summary.best) == {"fat", "protein"}
    assert summary.best_chain_id is None
    assert len(summary.chain_ids) == 2


@pytest.mark.skipif(not os.environ.get("N4A_LONG"), reason="starts processes with Prefect in them; run by make torture")
def test_processes_train_as_threads_do(block: WorkspaceStoreBlock, two_pipelines: list[Any]) -> None:
    threads = train_and_record(block, "tecator", "fat", two_pipelines)
    in_processes = train_and_record.with_options(task_runner=ProcessPoolTaskRunner(max_workers=2))

    processes = in_processes(block, "tecator", "fat", two_pipelines)

    assert [row.validation for row in processes.leaderboard] == [row.validation for row in threads.leaderboard]


def test_a_pipeline_that_fails_is_recorded_while_the_others_go_on(block: WorkspaceStoreBlock) -> None:
    too_many = pls({"_or_": [6, 1000]})

    summary = train_and_record(block, "tecator", "fat", [{"model": too_many}])

    assert summary.failed == 1
    assert len(summary.chain_ids) == 1
    assert summary.leaderboard[-1].error
    with block.open() as store:
        assert sorted(store.list_pipelines(run_id=summary.run_id)["status"]) == ["completed", "failed"]
        assert store.get_run(summary.run_id)["status"] == "completed"


def test_a_run_in_which_nothing_can_be_trained_fails_and_says_why(block: WorkspaceStoreBlock) -> None:
    too_many = pls(1000)

    with pytest.raises(TrainingError, match="All 1 pipelines failed"):
        train_and_record(block, "tecator", "fat", [{"model": too_many}])

    with block.open() as store:
        (run,) = store.list_runs().to_dicts()
    assert run["status"] == "failed"
    assert "All 1 pipelines failed" in run["error"]


def test_a_run_that_is_interrupted_is_marked_failed_and_keeps_its_whole_chunks(
    block: WorkspaceStoreBlock, two_pipelines: list[Any]
) -> None:
    def interrupt(_what: str, done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening(interrupt):
        train_and_record(block, "tecator", "fat", two_pipelines, TrainingOptions(chunk_size=1))

    with block.open() as store:
        (run,) = store.list_runs().to_dicts()
        assert run["status"] == "failed"
        assert run["error"].startswith("KeyboardInterrupt")
        assert store.list_pipelines(run_id=run["run_id"])["status"].to_list() == ["completed"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dataset": "nowhere.csv"}, MissingFileError, "nowhere.csv"),
        ({"target": "sugar"}, SpectraError, "sugar"),
        ({"target": None}, InvalidInputError, "moisture, fat, protein"),
        ({"pipeline": None}, DefinitionError, "No pipeline"),
        ({"pipeline": "../pls"}, InvalidInputError, "name of a template"),
        ({"pipeline": "pls"}, MissingFileError, "snv_pls"),
        ({"pipeline": "pls-da"}, InvalidInputError, "no classes"),
        ({"pipeline": [{"class": "os.system"}, {"model": pls(6)}]}, DefinitionError, "os"),
        ({"pipeline": [{"model": {"class": "sklearn.nothing.PLS"}}]}, DefinitionError, "sklearn.nothing"),
        ({"options": TrainingOptions(allowed_modules=("os",))}, UntrustedError, "allowed modules"),
        ({"options": TrainingOptions(report_file="../report.html")}, InvalidInputError, "no place for an export"),
    ],
)
def test_what_is_wrong_from_the_start_is_refused_before_anything_is_written(
    block: WorkspaceStoreBlock,
    two_pipelines: list[Any],
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    right: dict[str, Any] = {"dataset": "tecator", "target": "fat", "pipeline": two_pipelines}

    with pytest.raises(error, match=message):
        train_and_record(block, **{**right, **arguments})

    assert not block.workspace_path.exists()


def test_a_workspace_that_cannot_be_written_is_an_error(tmp_path: Path, two_pipelines: list[Any]) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(WorkspaceError):
        train_and_record(WorkspaceStoreBlock(path=tmp_path / "file" / "ws"), "tecator", "fat", two_pipelines)
