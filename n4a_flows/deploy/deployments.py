"""The deployments of `deployments/prefect.yaml`, to be served from one process instead of by a worker."""

from __future__ import annotations

from datetime import timedelta
from importlib.resources import files
from typing import Any, cast

import yaml
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentTriggerTypes
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.schedules import Schedule
from prefect.types.entrypoint import EntrypointType
from pydantic import TypeAdapter

_TRIGGER: TypeAdapter[DeploymentTriggerTypes] = TypeAdapter(DeploymentTriggerTypes)


def deployments() -> list[RunnerDeployment]:
    """The deployments, each as `prefect deploy` would make it, but without a work pool."""
    # In the repository this file is a link, so that a lab finds the one that counts where Prefect users look for it.
    document = yaml.safe_load((files("n4a_flows") / "data" / "prefect.yaml").read_text(encoding="utf-8"))
    return [_deployment(entry) for entry in document["deployments"]]


def _deployment(entry: dict[str, Any]) -> RunnerDeployment:
    flow: Flow[..., Any] = load_flow_from_entrypoint(entry["entrypoint"])
    made = flow.to_deployment(
        name=entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        parameters=entry["parameters"],
        schedules=[_schedule(**said) for said in entry.get("schedules", ())],
        concurrency_limit=ConcurrencyLimitConfig(**entry["concurrency_limit"]),
        triggers=[_TRIGGER.validate_python(said) for said in entry.get("triggers", ())],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return cast(RunnerDeployment, made)  # outside of async code, which its type does not say


def _schedule(interval: float | None = None, **said: Any) -> Schedule:
    return Schedule(interval=None if interval is None else timedelta(seconds=interval), **said)
