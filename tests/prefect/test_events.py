"""What happens in a workspace is told to the Prefect server, in the words that docs/events.md gives and automations match."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import MaintenanceOptions, PredictionOptions, TrainingOptions, maintain, predict_new_spectra
from n4a_flows.flows import train_and_record as train

pytestmark = pytest.mark.prefect


def events(since: datetime, expected: int) -> dict[str, Any]:
    """Our events, by name; they are sent in the background, so it waits for as many as are expected."""
    deadline = time.monotonic() + 20
    found: list[Any] = []
    with get_client(sync_client=True) as client:
        while len(found) < expected and time.monotonic() < deadline:
            time.sleep(0.2)
            wanted = EventFilter(event=EventNameFilter(prefix=["n4a."]), occurred=EventOccurredFilter(since=since))
            found = client.read_events(wanted, limit=50).events
    assert len(found) == expected
    return {event.event: event for event in found}


def roles(event: Any) -> dict[str, str]:
    return {resource.role: resource.id for resource in event.related}


def test_training_and_prediction(block: WorkspaceStoreBlock, two_pipelines: list[Any], incoming: Path) -> None:
    begun = datetime.now(UTC)
    block.save("told", overwrite=True)
    trained = train(block, "tecator", "fat", two_pipelines, TrainingOptions(champion=True))
    predict_new_spectra(
        block, "tecator/fat/champion", incoming, PredictionOptions(most_quarantined=0.1), return_state=True
    )
    told = events(begun, 4)
    chain = f"n4a.chain.{trained.best_chain_id}"

    completed = told["n4a.run.completed"]
    assert completed.resource.id == f"n4a.run.{trained.run_id}"
    assert completed.payload["message"] == "Trained fat on tecator: 2 chains, 0 failed."
    assert roles(completed)["best-chain"] == chain
    assert roles(completed)["workspace"] == f"n4a.workspace.{block.path}"
    assert roles(completed)["block-document"] == f"prefect.block-document.{block._block_document_id}"
    assert roles(completed)["flow-run"].startswith("prefect.flow-run."), "which Prefect adds"

    promoted = told["n4a.chain.promoted"]
    assert promoted.resource.id == "n4a.alias.tecator/fat/champion"
    assert roles(promoted)["champion"] == chain

    quarantined = told["n4a.files.quarantined"]
    assert quarantined.resource.id == f"n4a.workspace.{block.path}"
    assert quarantined.resource["n4a.too-many"] == "true"
    assert quarantined.payload["files"][0]["path"].endswith("broken.csv")

    judged = told["n4a.batch.judged"]
    assert judged.resource["n4a.verdict"] == judged.payload["verdict"]
    assert judged.payload["samples"] == 5
    assert roles(judged)["chain"] == chain


def test_a_maintenance_that_finds_damage_or_fails(block: WorkspaceStoreBlock, chain: str) -> None:
    with block.open() as store:
        document = store.get_chain(chain)
        assert document is not None
        lost = store.get_artifact_path(document["fold_artifacts"]["fold_0"])
    whole = lost.read_bytes()
    lost.unlink()
    begun = datetime.now(UTC)
    maintain(block, return_state=True)
    assert "missing_file" in events(begun, 1)["n4a.maintenance.failed"].payload["message"]

    lost.write_bytes(whole)
    begun = datetime.now(UTC)
    maintain(block, MaintenanceOptions(retention={"last_runs": 0}), return_state=True)
    failed = events(begun, 1)["n4a.maintenance.failed"]
    assert "would remove every run" in failed.payload["message"]
    assert failed.resource.id == f"n4a.workspace.{block.path}"
