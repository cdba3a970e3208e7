"""Runs whose flow run has ended without ending them: the hook for their own flow, and what the reaper asks the server."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow

from n4a_flows.block import WorkspaceStoreBlock


def end_dead_runs(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Hook: mark the runs of a flow run as failed when it failed, crashed or was cancelled.

    A worker may call it in another process, long after the flow's own process was killed, so it opens the store itself. It
    does nothing to a run that has ended.
    """
    store: WorkspaceStoreBlock = flow.validate_parameters(flow_run.parameters)["store"]
    if not (store.workspace_path / "store.duckdb").is_file():
        return  # It died before it recorded anything, or on another machine.
    with store.open() as workspace:
        for origin in workspace.running_runs():
            if origin.flow_run_id == str(flow_run.id):
                workspace.reap_run(
                    origin.run_id, f"The flow run ended as {state.name}: {state.message or ''}".rstrip(": ")
                )


def flow_run_is_over(flow_run_id: str) -> bool | None:
    """Whether a flow run has ended, as the server says; None when the server does not know it.

    What a server that cannot be reached raises is passed on: nothing is known of any flow run then.
    """
    try:
        identity = UUID(flow_run_id)
    except ValueError:
        return None
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(identity).state
    except ObjectNotFound:
        return None
    return state is not None and state.is_final()
