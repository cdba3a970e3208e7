"""A person's yes to what a flow run is about to delete: asked for in the Prefect UI, by pausing the flow run."""

from __future__ import annotations

from prefect import pause_flow_run
from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.states import Running
from pydantic import Field

_LOOK_EVERY = 5  # seconds


class Approval(RunInput):
    """The answer; Prefect shows it as a form where the flow run is resumed."""

    delete: bool = Field(default=False, description="Delete what the plan names. Off: delete nothing.")


def why_not(plan: str, hours: float) -> str | None:
    """Pause this flow run until somebody answers; None for a yes, else why there is none.

    Nothing may be held meanwhile, and a worker is busy with the flow run until it is answered.

    Parameters
    ----------
    plan
        What would be deleted, as Markdown; the form shows it.
    hours
        How long to wait.
    """
    form = Approval.with_initial_data(description=plan)
    try:
        answer = pause_flow_run(form, timeout=max(1, round(hours * 3600)), poll_interval=_LOOK_EVERY)
    except FlowPauseTimeout:
        # For the server a pause that ran out can only fail, but nothing failed here.
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Running(), force=True)
        return f"nobody answered within {hours:g} h"
    return None if answer.delete else "the answer was no"
