"""Rule 2: a unit of work is one transaction."""

from __future__ import annotations

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
