"""The flow that looks after a workspace, and the hook that ends runs whose flow run died."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Crashed, Running

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import MaintenanceOptions, RetentionOptions, maintain, train_and_record
from n4a_flows.flows.dead_runs import end_dead_runs
from n4a_flows.storage import WorkspaceStore
from n4a_flows.training import PipelineRunner

pytestmark = pytest.mark.prefect

PLS = "sklearn.cross_decomposition.PLSRegression"


@pytest.fixture
def trained(block: WorkspaceStoreBlock) -> list[str]:
    """Three runs of one pipeline each, the oldest first."""
    runs = []
    for n_components in (2, 3, 4):
        runner = PipelineRunner(workspace=block.path)
        runner.run([{"model": {"class": PLS, "params": {"n_components": n_components}}}], "tecator", "fat")
        runs.append(str(runner.last_run_id))
    return runs


def files(block: WorkspaceStoreBlock) -> set[Path]:
    return {path for path in (block.path / "artifacts").rglob("*") if path.is_file()}


def report() -> str:
    artifact = Artifact.get("n4a-maintenance")
    assert artifact is not None
    return str(artifact.data)


def test_a_dry_run_shows_the_plans_and_changes_nothing(block: WorkspaceStoreBlock, trained: list[str]) -> None:
    before = files(block)
    options = MaintenanceOptions(dry_run=True, retention=RetentionOptions(last_runs=1), grace_hours=0)
    summary = maintain(block, options)
    assert (summary.dry_run, summary.checks_ok, summary.removed_runs, summary.removed_pipelines) == (True, True, 2, 2)
    assert files(block) == before
    with block.open() as store:
        assert store.list_runs().height == 3
    assert "what would be done" in report()
    assert trained[0] in report()


def test_what_no_rule_keeps_goes_and_the_file_shrinks(block: WorkspaceStoreBlock, trained: list[str]) -> None:
    with block.open() as store:
        lost = store.begin_run("lost", {}, [], flow_run_id=str(uuid.uuid4()))
        store.save_artifact("loose", "str", "model", "joblib")
    options = MaintenanceOptions(retention=RetentionOptions(last_runs=1), grace_hours=0, verify_share=1)
    summary = maintain(block, options)
    assert (summary.checks_ok, summary.removed_runs, summary.reaped_runs) == (True, 2, [])
    # Of two runs five fold models, a refit, a probe and the limits each; and the loose one.
    assert summary.removed_files == 2 * 8 + 1
    assert summary.freed_bytes > 0
    assert summary.database_bytes_after < summary.database_bytes_before
    assert (summary.verified_files, summary.replayed_chains) == (8, 1)
    with block.open() as store:
        assert {run["run_id"] for run in store.list_runs().iter_rows(named=True)} == {trained[-1], lost}
        assert store.check("replay").ok
    assert maintain(block).removed_files == 0, "there is nothing more to do"


def test_nothing_is_deleted_from_a_damaged_workspace(block: WorkspaceStoreBlock, trained: list[str]) -> None:
    with block.open() as store:
        store.save_artifact("loose", "str", "model", "joblib")
        [chain_id] = store.query_chain_summaries(run_id=trained[-1])["chain_id"]
        chain = store.get_chain(chain_id)
        assert chain is not None
        store.get_artifact_path(chain["fold_artifacts"]["fold_0"]).unlink()
    before = files(block)
    state = maintain(
        block, MaintenanceOptions(retention=RetentionOptions(last_runs=1), grace_hours=0), return_state=True
    )
    assert state.name == "DamageFound"
    summary: Any = state.result()
    assert (summary.checks_ok, summary.removed_files, summary.removed_runs) == (False, 0, 0)
    assert "missing_file" in summary.findings[0]
    assert files(block) == before
    assert "nothing is deleted from a damaged workspace" in report()


def test_what_no_longer_predicts_as_recorded_is_told_at_the_end(block: WorkspaceStoreBlock, trained: list[str]) -> None:
    with block.open() as store:
        probe = store.get_probe(store.query_chain_summaries(run_id=trained[0])["chain_id"].item())
        assert probe is not None
        # The bytes are whole, but another chain's probe is not what this one predicts.
        first, second = (
            store.get_chain_context(store.query_chain_summaries(run_id=run)["chain_id"].item()) for run in trained[:2]
        )
    from n4a_flows.storage.database import Database

    with Database.at(block.path).session(write=True, operation="test", timeout=5) as session:
        for table, column in (("chain_context", "probe_artifact_id"), ("chain_artifacts", "artifact_id")):
            session.execute(
                f"UPDATE {table} SET {column} = ? WHERE chain_id = ? AND {column} = ?",
                [second.probe_artifact_id, first.chain_id, first.probe_artifact_id],
            )
    summary = maintain(block, MaintenanceOptions(verify_share=1))
    assert not summary.checks_ok
    assert "differ from those recorded" in summary.findings[0]


def test_the_server_tells_which_runs_are_dead(block: WorkspaceStoreBlock) -> None:
    @flow
    def nothing() -> None:
        pass

    with get_client(sync_client=True) as client:
        over, alive = (client.create_flow_run(nothing, state=Running()).id for _ in range(2))
        client.set_flow_run_state(over, Crashed(message="killed"), force=True)
    with block.open() as store:
        runs = {name: store.begin_run("r", {}, [], flow_run_id=str(name)) for name in (over, alive)}
    assert maintain(block, MaintenanceOptions(dry_run=True)).reaped_runs == [runs[over]]
    with block.open() as store:
        assert len(store.running_runs()) == 2, "a dry run only names it"
    assert maintain(block).reaped_runs == [runs[over]]
    with block.open() as store:
        assert [origin.run_id for origin in store.running_runs()] == [runs[alive]]


@pytest.mark.parametrize("state", [Crashed(message="process killed"), Cancelled()])
def test_the_hook_ends_the_runs_of_its_flow_run_and_no_others(block: WorkspaceStoreBlock, state: Any) -> None:
    block.save("hooked", overwrite=True)
    [document_id] = [block._block_document_id]
    parameters = {"store": {"$ref": {"block_document_id": str(document_id)}}, "dataset": "tecator"}
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(train_and_record, parameters=parameters, state=Running())
    with block.open() as store:
        mine, other = (store.begin_run("r", {}, [], flow_run_id=str(i)) for i in (flow_run.id, uuid.uuid4()))
    for _ in range(2):
        end_dead_runs(flow=train_and_record, flow_run=flow_run, state=state)
    with block.open() as store:
        run = store.get_run(mine)
        assert run is not None
        assert run["status"] == "failed"
        assert state.name in run["error"]
        assert [origin.run_id for origin in store.running_runs()] == [other]


def test_the_hook_makes_no_workspace(tmp_path: Path) -> None:
    store = WorkspaceStoreBlock(path=tmp_path / "never")
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(
            train_and_record, parameters={"store": store, "dataset": "d"}, state=Running()
        )
    end_dead_runs(train_and_record, flow_run, Crashed())
    assert not (tmp_path / "never").exists()


def test_the_training_flow_has_the_hook_for_every_way_to_die() -> None:
    hooks = (
        train_and_record.on_failure_hooks,
        train_and_record.on_crashed_hooks,
        train_and_record.on_cancellation_hooks,
    )
    assert all(hook == [end_dead_runs] for hook in hooks)


ASKED = MaintenanceOptions(
    approval=True, approval_timeout=10 / 3600, retention=RetentionOptions(last_runs=1), grace_hours=0
)


@contextmanager
def answering(delete: bool, meanwhile: Callable[[], object] = lambda: None) -> Iterator[list[str]]:
    """Answer the flow run that pauses inside this block, as somebody in the UI would; gives the reports that were shown then."""
    shown: list[str] = []

    def answer() -> None:
        paused = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
        with get_client(sync_client=True) as client:
            while not (found := client.read_flow_runs(flow_run_filter=paused)):
                time.sleep(0.1)
            shown.append(report())
            meanwhile()
            client.resume_flow_run(found[0].id, run_input={"delete": delete})

    thread = threading.Thread(target=answer)
    thread.start()
    yield shown
    thread.join()


def test_a_plan_goes_when_somebody_says_yes(block: WorkspaceStoreBlock, trained: list[str]) -> None:
    with answering(True) as shown:
        summary = maintain(block, ASKED)
    assert (summary.removed_runs, summary.removed_files, summary.not_deleted) == (2, 16, None)
    assert "waits for approval" in shown[0]
    assert "16 files" in shown[0], "what the runs release is counted"
    assert trained[0] in shown[0]
    assert "waits for approval" not in report()
    assert maintain(block, ASKED).not_deleted is None, "nobody is asked about nothing"


def test_a_no_deletes_nothing(block: WorkspaceStoreBlock, trained: list[str]) -> None:
    before = files(block)
    with answering(False):
        state = maintain(block, ASKED, return_state=True)
    assert (state.name, state.message) == ("NotDeleted", "Nothing was deleted: the answer was no")
    assert files(block) == before
    assert "| deletions | none: the answer was no |" in report()
    with block.open() as store:
        assert store.list_runs().height == 3


def test_no_answer_deletes_nothing(block: WorkspaceStoreBlock, trained: list[str]) -> None:
    before = files(block)
    state = maintain(block, ASKED.model_copy(update={"approval_timeout": 1 / 3600}), return_state=True)
    assert state.name == "NotDeleted"
    assert "nobody answered within" in report()
    assert files(block) == before


def test_a_plan_that_is_not_true_any_more_is_not_applied(block: WorkspaceStoreBlock, trained: list[str]) -> None:
    def promote() -> None:
        with block.open() as store:
            store.set_alias("tecator/fat/champion", store.query_chain_summaries(run_id=trained[0])["chain_id"].item())

    before = files(block)
    with answering(True, promote):
        state = maintain(block, ASKED, return_state=True)
    assert state.name == "NotDeleted"
    assert "came to be needed since it was made" in report()
    assert files(block) == before


@pytest.mark.parametrize("hours", [float("inf"), float("nan"), 1e12, -1])
def test_a_grace_that_is_no_time_is_refused_by_the_form(hours: float) -> None:
    with pytest.raises(ValueError, match="grace_hours"):
        MaintenanceOptions(grace_hours=hours)


def test_a_policy_that_keeps_nothing_fails_before_anything_goes(block: WorkspaceStoreBlock, trained: list[str]) -> None:
    for rules, said in ((RetentionOptions(), "no rule"), (RetentionOptions(last_runs=0), "would remove every run")):
        with pytest.raises(ValueError, match=said):
            maintain(block, MaintenanceOptions(retention=rules))
    with WorkspaceStore(block.path) as store:
        assert store.list_runs().height == len(trained)
