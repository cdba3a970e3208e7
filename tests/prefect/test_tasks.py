from __future__ import annotations

import inspect
import threading
import time
from typing import Any

import pytest
from prefect import Task, flow
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from n4a_flows import WorkspaceStoreBlock, tasks
from n4a_flows.flows.chunks import MOST_CHUNKS, chunked
from n4a_flows.storage import ScoredFile, ScoredSample
from n4a_flows.storage.errors import StoreBusyError, UnknownIdError
from n4a_flows.training import PipelineRunner

WORKER_TASKS = {"score_files", "train_pipelines"}


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
        with get_client(sync_client=True) as client:
            assert client.read_task_run(state.state_details.task_run_id).run_count == 1


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
