"""The block and the deployments of the example, as the scripts in `blocks/` and `deployments/` make them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from n4a_flows import WorkspaceStoreBlock

pytestmark = pytest.mark.prefect

ROOT = Path(__file__).parents[2]


def script(path: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / path))


def test_the_block_of_the_example_is_saved_and_updated(tmp_path: Path) -> None:
    save = script("blocks/workspace_store.py")["save"]

    assert save(tmp_path / "first") == "workspace-store/local"
    assert save(tmp_path / "second") == "workspace-store/local"

    block = WorkspaceStoreBlock.load("local")
    assert block.workspace_path == tmp_path / "second"
    assert block.trust == "modules"


def test_the_flows_are_deployed_with_the_block_as_their_store(tmp_path: Path) -> None:
    script("blocks/workspace_store.py")["save"](tmp_path / "ws")
    deployments = script("deployments/serve.py")["deployments"]()

    with get_client(sync_client=True) as client:
        applied = [client.read_deployment(deployment.apply()) for deployment in deployments]

    assert [deployment.name for deployment in applied] == ["train", "predict", "maintain", "export"]
    assert {deployment.parameters["store"]["$ref"]["block_document_slug"] for deployment in applied} == {
        "workspace-store/local"
    }
    assert applied[1].parameters["files"] == str(tmp_path / "ws" / "incoming")
    assert (tmp_path / "ws" / "incoming").is_dir()
