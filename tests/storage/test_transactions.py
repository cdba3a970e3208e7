"""Rule 2: a unit of work is one transaction."""

from __future__ import annotations

import asyncio
import signal
import time

import numpy as np
import pytest
from processes import record_pipeline

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError, StoreClosedError, TransactionError, UnknownIdError


def names(store: WorkspaceStore) -> list[str]:
    return sorted(store.list_runs()["name"])


def test_verbs_commit_together_or_not_at_all(store: WorkspaceStore) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), store.transaction():
        run_id = store.begin_run("gone", {}, [])
        record_pipeline(store, run_id, "gone too")
        assert names(store) == ["gone"], "a transaction sees its own writes"
        raise RuntimeError("on purpose")
    assert names(store) == []
    assert store.list_pipelines().height == 0
    with store.transaction():
        record_pipeline(store, store.begin_run("kept", {}, []), "kept too")
    assert store.list_pipelines()["name"].to_list() == ["kept too"]


def test_what_was_rolled_back_is_not_logged(store: WorkspaceStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "n4a_flows")
    with pytest.raises(RuntimeError), store.transaction():
        store.begin_run("gone", {}, [])
        raise RuntimeError("on purpose")
    with store.transaction():
        run_id = store.begin_run("kept", {}, [])
        assert caplog.messages == []
    store.complete_run(run_id, {})
    assert caplog.messages == [f"Run {run_id} began: kept", f"Run {run_id} completed"]


def test_an_inner_failure_that_is_caught_dooms_the_outer(store: WorkspaceStore) -> None:
    with pytest.raises(TransactionError, match="ValueError: inner"), store.transaction():
        store.begin_run("outer", {}, [])
        try:
            with store.transaction():
                store.begin_run("inner", {}, [])
                raise ValueError("inner")
        except ValueError:
            pass
    assert names(store) == []


def test_a_doomed_transaction_refuses_further_verbs(store: WorkspaceStore) -> None:
    with pytest.raises(TransactionError), store.transaction():
        try:
            with store.transaction():
                store.begin_run("inner", {}, [])
                raise ValueError("inner")
        except ValueError:
            pass
        store.begin_run("after", {}, [])
    assert names(store) == []


def test_a_verb_refused_before_it_wrote_leaves_the_transaction_whole(store: WorkspaceStore) -> None:
    with store.transaction():
        store.begin_run("kept", {}, [])
        with pytest.raises(UnknownIdError):
            store.complete_run("no such run", {})
        with pytest.raises(InvalidInputError, match="config"):
            store.begin_run("refused", {"what": object()}, [])
    assert names(store) == ["kept"]


def test_keyboard_interrupt_rolls_back_and_frees_the_store(store: WorkspaceStore) -> None:
    with pytest.raises(KeyboardInterrupt), store.transaction():
        store.begin_run("gone", {}, [])
        raise KeyboardInterrupt
    store.begin_run("next", {}, [])
    assert names(store) == ["next"]


def test_files_prepared_before_and_removed_meanwhile_are_written_again(store: WorkspaceStore) -> None:
    prepared = store.prepare_artifact(np.arange(5), "numpy.ndarray", "array")
    path = store.workspace_path / "artifacts" / prepared.relative_path
    path.unlink()
    path.parent.rmdir()
    with store.transaction():
        artifact_id = store.save_artifact(prepared)
    np.testing.assert_array_equal(store.load_artifact(artifact_id), np.arange(5))


def test_a_store_that_is_closed_or_read_only_says_so(store: WorkspaceStore) -> None:
    reader = WorkspaceStore(store.workspace_path, read_only=True)
    assert reader.list_runs().height == 0
    for refused in (
        lambda: reader.begin_run("x", {}, []),
        reader.transaction,
        lambda: reader.prepare_artifact(1, "a", "b"),
    ):
        with pytest.raises(InvalidInputError, match="read-only"):
            refused()
    store.close()
    store.close()
    with pytest.raises(StoreClosedError, match="WorkspaceStore is closed"):
        store.begin_run("x", {}, [])
    with pytest.raises(StoreClosedError):
        store.transaction()


def test_a_value_that_cannot_be_stored_dooms_what_was_collected_with_it(store: WorkspaceStore) -> None:
    with pytest.raises(TransactionError), store.transaction():
        good = store.begin_run("good", {}, [])
        store.begin_run("caf\udce9", {}, [])  # a latin-1 name, as the operating system hands it out
        with pytest.raises(InvalidInputError, match="cannot be stored"):
            store.get_run(good)
        store.begin_run("later", {}, [])
    assert names(store) == []
    with pytest.raises(InvalidInputError):
        store.begin_run(None, {}, [])  # type: ignore[arg-type]


def test_bytes_saved_again_after_their_run_was_deleted_stay(store: WorkspaceStore) -> None:
    run_id = store.begin_run("monday", {}, [])
    record_pipeline(store, run_id, "equal")
    with store.transaction():
        store.delete_run(run_id)
        record_pipeline(store, store.begin_run("tuesday", {}, []), "equal")
    chain_id = store.get_chains_for_pipeline(store.list_pipelines()["pipeline_id"][0])["chain_id"][0]
    assert len(store.chain_package(chain_id).artifacts) == 1


def test_a_transaction_belongs_to_the_task_that_began_it(store: WorkspaceStore) -> None:
    async def one() -> None:
        with store.transaction():
            store.begin_run("one", {}, [])
            await asyncio.sleep(0.05)

    async def two() -> None:
        await asyncio.sleep(0.01)
        with pytest.raises(TransactionError, match="another"):
            store.begin_run("two", {}, [])

    async def both() -> None:
        await asyncio.gather(one(), two())

    asyncio.run(both())
    assert names(store) == ["one"]


def test_a_signal_in_the_middle_of_a_query_frees_the_store(store: WorkspaceStore) -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        for round_ in range(60):
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.0001 * round_)
            try:
                record_pipeline(store, store.begin_run(f"round {round_}", {}, []), "p")
                time.sleep(0.02)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert interrupted == 60
    record_pipeline(store, store.begin_run("afterwards", {}, []), "p")
    for run_id in store.list_runs()["run_id"]:
        for pipeline_id in store.list_pipelines(run_id=run_id)["pipeline_id"]:
            assert store.query_predictions(pipeline_id=pipeline_id).height == 1, "no half pipeline"
