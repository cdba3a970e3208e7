"""Tasks that record training runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.tasks._task import storage_task
from n4a_flows.training import RecordedPipeline, TrainedPipeline
from n4a_flows.training import record_pipelines as record


@storage_task("begin run {name}")
def begin_run(
    store: WorkspaceStoreBlock,
    name: str,
    config: Any,
    datasets: list[dict[str, Any]],
    flow_run_id: str | None = None,
) -> str:
    """Open a run; returns its id. `flow_run_id` ties it to the flow run that records it."""
    with store.open() as workspace:
        return workspace.begin_run(name, config, datasets, flow_run_id=flow_run_id)


@storage_task("get run {run_id}")
def get_run(store: WorkspaceStoreBlock, run_id: str) -> dict[str, Any] | None:
    """The row of a run with its JSON decoded, None for an unknown one."""
    with store.open() as workspace:
        return workspace.get_run(run_id)


@storage_task("complete run {run_id}")
def complete_run(store: WorkspaceStoreBlock, run_id: str, summary: dict[str, Any]) -> None:
    """Mark a run completed, with its summary."""
    with store.open() as workspace:
        workspace.complete_run(run_id, summary)


@storage_task("fail run {run_id}")
def fail_run(store: WorkspaceStoreBlock, run_id: str, error: str) -> None:
    """Mark a run failed, with what went wrong."""
    with store.open() as workspace:
        workspace.fail_run(run_id, error)


@storage_task("record pipelines of run {run_id}")
def record_pipelines(
    store: WorkspaceStoreBlock, run_id: str, trained: Sequence[TrainedPipeline]
) -> list[RecordedPipeline]:
    """Record trained pipelines in one transaction: artifacts, chains, predictions and logs."""
    with store.open() as workspace:
        return record(workspace, run_id, trained)
