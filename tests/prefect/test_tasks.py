from __future__ import annotations

import inspect
import threading
import time
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from prefect import Task, flow
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import ObjectNotFound

from n4a_flows import WorkspaceStoreBlock, tasks
from n4a_flows.flows.chunks import MOST_CHUNKS, chunked
from n4a_flows.storage import PipelineLibrary, ScoredFile, ScoredSample, WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError, ProtectedError, StoreBusyError, UnknownIdError, UntrustedError
from n4a_flows.training import PipelineRunner


def task_run(state: State[Any]) -> TaskRun:
    """The task run of a state, as the server knows it; it hears of task runs by events, a moment later."""
    deadline = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while True:
            try:
                return client.read_task_run(state.state_details.task_run_id)
            except ObjectNotFound:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


WORKER_TASKS = {"read_reference_values", "score_files", "train_pipelines"}

WITHOUT_A_TASK = {
    "transaction": "belongs to one thread, and a task is a transaction of its own",
    "close": "every task opens the store and closes it",
    "prepare_artifact": "the slow part before a transaction; the task save_artifact does both",
    "prepare_artifacts": "as prepare_artifact",
    "save_artifacts": "takes what prepare_artifacts gives",
    "query_aggregated_predictions": "an older name of query_chain_summaries",
    "query_top_aggregated_predictions": "an older name of query_top_chains",
}


def test_every_verb_of_the_workspace_and_the_library_has_its_task() -> None:
    verbs = {
        name
        for room in (WorkspaceStore, PipelineLibrary)
        for name, found in inspect.getmembers(room, inspect.isfunction)
        if not name.startswith("_")
    }
    assert len(verbs) > 100
    assert verbs - set(tasks.__all__) == set(WITHOUT_A_TASK)


@pytest.mark.parametrize("name", tasks.__all__)
def test_names_of_task_runs_are_made_of_parameters_that_the_task_has(name: str) -> None:
    task = getattr(tasks, name)
    named = {field for _, field, _, _ in Formatter().parse(task.task_run_name) if field}
    parameters = inspect.signature(task.fn).parameters
    assert named <= set(parameters)
    assert not {field for field in named if parameters[field].default is None}, "it would read as None"


@pytest.mark.parametrize("name", tasks.__all__)
def test_no_task_is_cached_or_persisted_and_a_storage_task_takes_the_block_first(name: str) -> None:
    task = getattr(tasks, name)

    assert isinstance(task, Task)
    assert task.name == name
    assert task.fn.__doc__
    assert task.cache_policy == NO_CACHE
    assert task.persist_result is False
    first = next(iter(inspect.signature(task.fn, eval_str=True).parameters.values()))
    assert (first.annotation is WorkspaceStoreBlock) == (name not in WORKER_TASKS)
    assert (task.retries > 0) == (name not in WORKER_TASKS)


@pytest.mark.prefect
class TestAgainstAWorkspace:
    def test_users_build_flows_of_their_own_from_tasks(
        self, block: WorkspaceStoreBlock, two_pipelines: list[Any]
    ) -> None:
        with block.open() as store:
            PipelineRunner(store=store).run(two_pipelines, "tecator", "fat")

        @flow
        def best_of_each_model(store: WorkspaceStoreBlock) -> tuple[str, list[str]]:
            top = tasks.top_predictions(store, 1, group_by="preprocessings")
            everything = tasks.query_predictions(store, dataset_name="tecator", partition="val")
            assert len(everything) == 6
            return tasks.best_chain(store, "tecator", "fat"), top["chain_id"].to_list()

        best, each = best_of_each_model(block)
        assert best in each
        assert len(each) == 2

    def test_a_chain_is_named_taken_elsewhere_and_its_run_deleted(
        self, block: WorkspaceStoreBlock, trained: Any, tmp_path: Path
    ) -> None:
        chain = trained.best["fat"]
        other = WorkspaceStoreBlock(path=tmp_path / "other")
        state = tasks.set_alias(block, "tecator/fat/champion", chain, note="by hand", return_state=True)
        assert task_run(state).name == "set alias tecator/fat/champion"

        bundle = tasks.export_chain(block, "tecator/fat/champion", "fat.n4a")
        imported = tasks.import_bundle(other, bundle, replay=True)
        assert imported.probe is not None
        assert imported.probe.agrees
        assert tasks.identify(other, imported.chain_id[:8]).id == imported.chain_id
        assert tasks.rank_chains(block, 1)["chain_id"].to_list() == [chain]
        with pytest.raises(UntrustedError):
            tasks.import_bundle(other.model_copy(update={"trust": "none"}), bundle, replay=True)

        with pytest.raises(ProtectedError):
            tasks.delete_run(block, trained.run_id)
        assert tasks.delete_run(block, trained.run_id, force=True) > 0
        assert tasks.list_runs(block).is_empty()

    def test_a_workspace_is_backed_up_and_another_block_restores_it(
        self, block: WorkspaceStoreBlock, trained: Any, tmp_path: Path
    ) -> None:
        again = WorkspaceStoreBlock(path=tmp_path / "again")
        tasks.backup(block, tmp_path / "backup")

        assert tasks.restore(again, tmp_path / "backup").artifacts > 0

        assert tasks.check(again, "full").ok
        assert tasks.upgrade(again).kept is None

    def test_templates_are_kept_and_trained_pipelines_become_some(
        self, block: WorkspaceStoreBlock, trained: Any
    ) -> None:
        pipeline_id = tasks.list_pipelines(block, trained.run_id)["pipeline_id"][0]
        tasks.copy_from_pipeline(block, pipeline_id, "fat in meat", tags=["nir"])

        assert [template["name"] for template in tasks.list_templates(block, tags=["nir"])] == ["fat in meat"]
        written = tasks.export_template(block, "fat in meat", "template.json")
        tasks.delete_template(block, "fat in meat")
        assert tasks.import_template(block, written).name == "fat_in_meat.json"

    def test_a_read_only_block_can_be_looked_at_and_exported_from(
        self, block: WorkspaceStoreBlock, trained: Any, tmp_path: Path
    ) -> None:
        careful = block.model_copy(update={"read_only": True})

        assert tasks.get_run(careful, trained.run_id) is not None
        assert tasks.load_template(careful, "snv_pls")
        assert not (block.workspace_path / "library").exists()
        assert tasks.export_run(careful, trained.run_id, "run.yaml").is_file()
        for refused in (
            lambda: tasks.delete_run(careful, trained.run_id),
            lambda: tasks.save_template(careful, [], "x"),
            lambda: tasks.restore(careful, tmp_path),
            lambda: tasks.upgrade(careful),
        ):
            with pytest.raises(InvalidInputError, match=r"read-only"):
                refused()

    def test_runs_are_opened_completed_and_failed(self, block: WorkspaceStoreBlock) -> None:
        done = tasks.begin_run(block, "nightly", {"a": 1}, [{"name": "tecator"}])
        broken = tasks.begin_run(block, "nightly", {}, [])
        tasks.complete_run(block, done, {"pipelines": 3})
        tasks.fail_run(block, broken, "no light")

        with block.open() as store:
            assert store.get_run(done)["summary"] == {"pipelines": 3}
            assert store.get_run(broken)["error"] == "no light"

    def test_a_file_that_two_flow_runs_have_scored_is_recorded_once(
        self, block: WorkspaceStoreBlock, two_pipelines: list[Any]
    ) -> None:
        with block.open() as store:
            PipelineRunner(store=store).run(two_pipelines, "tecator", "fat")
        chain = tasks.best_chain(block, "tecator")
        one, other = (
            ScoredFile(f"{name}.csv", digest * 64, "scored", None, [ScoredSample("s", 1.0)], {})
            for name, digest in (("one", "1"), ("other", "2"))
        )

        assert tasks.record_scoring(block, chain, [one]) == [one]
        assert tasks.record_scoring(block, chain, [one, other]) == [other]

        assert tasks.scored_samples(block)["path"].to_list() == ["one.csv", "other.csv"]

    def test_a_busy_store_is_tried_again(self, block: WorkspaceStoreBlock) -> None:
        holding, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with block.open() as store, store.transaction():
                store.begin_run("holder", {}, [])
                holding.set()
                leave.wait(30)

        holder = threading.Thread(target=hold)
        holder.start()
        holding.wait(30)
        threading.Timer(1.0, leave.set).start()
        impatient = block.model_copy(update={"lock_timeout": 0.1})
        begin_run = tasks.begin_run.with_options(retries=20, retry_delay_seconds=0.2)
        with pytest.raises(StoreBusyError):
            tasks.begin_run.with_options(retries=0)(impatient, "refused", {}, [])

        run_id = begin_run(impatient, "patient", {}, [])

        holder.join()
        with block.open() as store:
            assert store.get_run(run_id)["name"] == "patient"
            assert sorted(store.list_runs()["name"]) == ["holder", "patient"]

    def test_any_other_failure_is_not_tried_again(self, block: WorkspaceStoreBlock) -> None:
        started = time.monotonic()
        state = tasks.complete_run(block, "no-such-run", {}, return_state=True)

        with pytest.raises(UnknownIdError, match="no-such-run"):
            state.result()
        assert time.monotonic() - started < 2
        assert task_run(state).run_count == 1


@pytest.mark.parametrize(
    ("items", "size", "expected"),
    [(0, 20, []), (1, 20, [1]), (2, 20, [1, 1]), (12, 20, [6, 6]), (45, 20, [15, 15, 15]), (5, 2, [2, 2, 1])],
)
def test_chunks_are_even_and_two_where_there_is_work_for_two(items: int, size: int, expected: list[int]) -> None:
    assert [len(chunk) for chunk in chunked(range(items), size)] == expected


@pytest.mark.parametrize("items", [1000, 10_000, 100_001])
def test_there_are_never_too_many_chunks_and_nothing_is_lost(items: int) -> None:
    chunks = chunked(range(items), 5)

    assert len(chunks) <= MOST_CHUNKS
    assert [item for chunk in chunks for item in chunk] == list(range(items))
