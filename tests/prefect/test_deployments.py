"""The deployments of the example, as `deployments/` makes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import EventTrigger

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.deploy import automations
from n4a_flows.deploy.deployments import deployments

pytestmark = pytest.mark.prefect

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def on_the_server(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the server knows after `prefect deploy --all`."""
    WorkspaceStoreBlock(path=tmp_path_factory.mktemp("deployed") / "ws").save("local", overwrite=True)
    environment = {**os.environ, "PREFECT_API_URL": prefect_server}
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="n4a", type="process"), overwrite=True)
    command = ["--no-prompt", "deploy", "--prefect-file", "deployments/prefect.yaml", "--all"]
    subprocess.run([sys.executable, "-m", "prefect", *command], cwd=ROOT, env=environment, check=True)
    return described()


def described() -> dict[str, dict[str, Any]]:
    """The deployments that the server knows, by flow and name: all that does not say who runs them."""
    with get_client(sync_client=True) as client:
        found = [one for one in client.read_deployments() if "n4a-flows" in one.tags]
        return {f"{client.read_flow(one.flow_id).name}/{one.name}": _described(client, one) for one in found}


def _described(client: SyncPrefectClient, deployment: Any) -> dict[str, Any]:
    assert deployment.global_concurrency_limit is not None
    return {
        "entrypoint": deployment.entrypoint,
        "description": deployment.description,
        "tags": deployment.tags,
        "parameters": deployment.parameters | _store_by_slug(client, deployment.parameters),
        "form": deployment.parameter_openapi_schema,
        "schedules": [(one.schedule.model_dump(exclude={"anchor_date"}), one.active) for one in deployment.schedules],
        "limit": (deployment.global_concurrency_limit.limit, deployment.concurrency_options.collision_strategy),
        "triggers": sorted(
            (
                one.model_dump(exclude={"id": True, "trigger": {"id"}}, exclude_none=True)
                for one in client.read_resource_related_automations(f"prefect.deployment.{deployment.id}")
            ),
            key=lambda one: str(one["name"]),
        ),
    }


def _store_by_slug(client: SyncPrefectClient, parameters: dict[str, Any]) -> dict[str, Any]:
    """The block by its slug, as `prefect deploy` keeps it, where it is given by its id."""
    identity = parameters.get("store", {}).get("$ref", {}).get("block_document_id")
    if identity is None:
        return {}
    block = client.read_block_document(identity)
    return {"store": {"$ref": {"block_document_slug": f"{block.block_type.slug}/{block.name}"}}}


def test_a_lab_and_a_first_try_have_the_same_deployments(on_the_server: dict[str, dict[str, Any]]) -> None:
    for deployment in deployments():
        deployment.apply()
    assert described() == on_the_server


def test_each_job_has_its_schedule_and_what_happens_when_it_still_runs(
    on_the_server: dict[str, dict[str, Any]],
) -> None:
    said = {
        name: (
            [schedule.get("cron") or schedule["interval"].total_seconds() for schedule, _ in one["schedules"]],
            one["limit"][1].value,
        )
        for name, one in on_the_server.items()
    }
    assert said == {
        "train-and-record/nightly": (["0 2 * * *"], "ENQUEUE"),
        "predict-new-spectra/incoming": ([300.0], "CANCEL_NEW"),
        "monitor/laboratory": (["0 7 * * *"], "ENQUEUE"),
        "maintain/gc": (["30 4 * * *"], "ENQUEUE"),
        "maintain/vacuum-and-check": (["0 6 * * 0"], "ENQUEUE"),
        "maintain/old-runs": (["0 8 * * 1"], "ENQUEUE"),
        "export/by-hand": ([], "ENQUEUE"),
        "tell/notices": ([], "ENQUEUE"),
    }
    assert {one["limit"][0] for one in on_the_server.values()} == {1}
    assert all("n4a-flows" in one["tags"] and one["description"] for one in on_the_server.values())


def test_the_store_is_the_block_and_every_flow_has_a_form(on_the_server: dict[str, dict[str, Any]]) -> None:
    stores = {
        name: one["parameters"]["store"]["$ref"]["block_document_slug"]
        for name, one in on_the_server.items()
        if name != "tell/notices"
    }
    assert set(stores.values()) == {"workspace-store/local"}
    for name, one in on_the_server.items():
        assert set(one["parameters"]) <= set(one["form"]["properties"]), name


def test_lost_heartbeats_are_noticed_by_one_automation(on_the_server: dict[str, dict[str, Any]]) -> None:
    for _ in range(2):
        assert automations.save() == [automations.LOST_HEARTBEATS]
    saved = Automation.read(name=automations.LOST_HEARTBEATS)
    assert isinstance(saved.trigger, EventTrigger)
    assert saved.trigger.within.total_seconds() == 540
    with get_client(sync_client=True) as client:
        assert len(client.read_automations_by_name(automations.LOST_HEARTBEATS)) == 1
