"""Automations that belong to no deployment. Those that start a deployment stand with it, as its triggers."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from prefect.automations import Automation
from prefect.client.schemas.objects import StateType
from prefect.events import EventTrigger, Posture, ResourceSpecification
from prefect.events.actions import ChangeFlowRunState
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

LOST_HEARTBEATS = "n4a - flow runs whose process died"
_MISSED = 3
_ENDS = ("Completed", "Failed", "Crashed", "Cancelled", "Suspended")


def automations() -> list[Automation]:
    """The automations as they should be; `save` puts them on the server."""
    # Prefect's default, where heartbeats are switched off here but perhaps not where the flows run.
    heartbeat = PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() or 180
    return [
        Automation(
            name=LOST_HEARTBEATS,
            description="Marks flow runs as crashed whose process sends no heartbeats any more.",
            trigger=EventTrigger(
                posture=Posture.Proactive,
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in _ENDS)},
                match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
                for_each={"prefect.resource.id"},
                threshold=1,
                within=timedelta(seconds=_MISSED * heartbeat),
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"No heartbeat came for {_MISSED * heartbeat} s: the process of this flow run died.",
                )
            ],
        )
    ]


def save() -> list[str]:
    """Create the automations on the server, or update those of the same name; returns their names."""
    saved = []
    for automation in automations():
        try:
            automation.id = cast(Automation, Automation.read(name=automation.name)).id
        except ValueError:  # there is none
            automation.create()
        else:
            automation.update()
        saved.append(automation.name)
    return saved
