"""The flow that compares predictions with laboratory values and tells which limits were crossed."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client

from n4a_flows import WorkspaceStoreBlock, tasks
from n4a_flows.flows import MonitoringOptions, PredictionOptions, monitor, predict_new_spectra
from n4a_flows.spectra import Spectra, load_tecator
from n4a_flows.storage.errors import InvalidInputError

pytestmark = pytest.mark.prefect

EVENT = "n4a.control.limit_crossed"


@pytest.fixture
def scored(block: WorkspaceStoreBlock, chain: str, tmp_path: Path, write_csv: Any) -> Spectra:
    """Forty spectra that the chain has predicted, of one instrument and product."""
    tecator = load_tecator()
    new = tecator.take(np.flatnonzero(tecator.metadata["split"] == "test")[:40])
    write_csv(tmp_path / "incoming" / "new.csv", new)
    options = PredictionOptions(settle_seconds=0, instrument="NIR-1", product="pork")
    predict_new_spectra(block, chain, tmp_path / "incoming", options)
    return new


def lab_file(path: Path, spectra: Spectra, more: float = 0.0, n: int = 40) -> Path:
    fat = spectra.targets["fat"] + more
    rows = [
        f"{name};{value:.4f}".replace(".", ",")
        for name, value in zip(spectra.sample_ids[:n], fat.tolist(), strict=False)
    ]
    path.write_text("\n".join(["Probe;Fett", *rows, "none;n. d."]) + "\n")
    return path


def events(expected: int) -> list[dict[str, Any]]:
    """The events that the server has, once there are as many; they are sent in the background."""
    asked = {"filter": {"event": {"name": [EVENT]}, "occurred": {"since": "2020-01-01T00:00:00Z"}}, "limit": 50}
    with get_client(sync_client=True) as client:
        for _ in range(100):
            found: list[dict[str, Any]] = client._client.post("/events/filter", json=asked).json()["events"]
            if len(found) >= expected:
                break
            time.sleep(0.1)
    return found


def test_laboratory_values_come_in_by_a_file_and_each_crossing_is_told_once(
    block: WorkspaceStoreBlock, chain: str, scored: Spectra, tmp_path: Path
) -> None:
    options = MonitoringOptions(
        reference_file=lab_file(tmp_path / "lab.csv", scored, more=8.0),
        reference_columns={"fat": "Fett"},
        id_column="Probe",
    )
    summary = monitor(block, options)
    assert (summary.values_added, len(summary.values_rejected), summary.values_unmatched) == (40, 1, 0)
    [found] = summary.agreement
    assert (found.chain_id, found.target, found.n, found.instrument, found.product) == (
        chain,
        "fat",
        40,
        "NIR-1",
        "pork",
    )
    assert found.bias_differs
    assert found.bias == pytest.approx(-8, abs=2)
    assert summary.new_crossings == summary.crossings != []

    told = events(len(summary.crossings))
    assert len(told) == len(summary.crossings) == found.crossings
    assert {event["payload"]["message"] for event in told} == set(summary.crossings)
    assert {event["resource"]["n4a.rule"] for event in told} <= {"action", "warning", "bias"}
    assert told[0]["payload"]["instrument"] == "NIR-1"
    roles = {related.get("prefect.resource.role") for related in told[0]["related"]}
    assert {"flow-run", "workspace", "chain"} <= roles

    again = monitor(block, options)
    assert (again.values_added, again.new_crossings, again.crossings) == (0, [], summary.crossings)
    time.sleep(0.5)
    assert len(events(0)) == len(told)
    assert tasks.limit_crossings(block).height == len(told)

    report = Artifact.get("n4a-monitoring")
    assert report is not None
    shown = str(report.data)
    assert shown.startswith("# Monitoring: fat")
    assert summary.crossings[0].partition(": ")[2][:20] in shown
    assert shown.count("data:image/png;base64,") == 2


def test_what_agrees_crosses_nothing_and_nothing_at_all_is_said_so(
    block: WorkspaceStoreBlock, chain: str, scored: Spectra
) -> None:
    assert monitor(block).agreement == []
    assert "No laboratory value has come in" in str(Artifact.get("n4a-monitoring").data)  # type: ignore[union-attr]
    with block.open() as store:
        predicted = store.reference_pairs()
        assert predicted.is_empty()
        y = store.replay_chain(chain, scored.X)
        noise = np.random.default_rng(4).normal(0, 0.5, 40)
        store.add_reference_values(dict(zip(scored.sample_ids, (y + noise).tolist(), strict=True)), "fat")
    summary = monitor(block, MonitoringOptions(chain=chain, days=1))
    assert (summary.agreement[0].n, summary.crossings) == (40, [])
    assert summary.agreement[0].rmsep == pytest.approx(float(np.sqrt(np.mean(noise**2))))


def test_a_file_without_the_columns_fails_before_anything_is_recorded(
    block: WorkspaceStoreBlock, scored: Spectra, tmp_path: Path
) -> None:
    file = lab_file(tmp_path / "lab.csv", scored)
    with pytest.raises(InvalidInputError, match="Say which column"):
        monitor(block, MonitoringOptions(reference_file=file))
    with pytest.raises(InvalidInputError, match="no table with the columns 'fat'"):
        monitor(block, MonitoringOptions(reference_file=file, target="fat"))
    assert tasks.reference_values(block).is_empty()


def test_ids_that_no_prediction_has_are_told(
    block: WorkspaceStoreBlock, chain: str, scored: Spectra, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = lab_file(tmp_path / "lab.csv", scored, more=0.0)
    options = MonitoringOptions(reference_file=file, reference_columns={"fat": "Fett"}, id_column="Probe")
    file.write_text(file.read_text().replace(scored.sample_ids[0], "elsewhere"))
    assert monitor(block, options).values_unmatched == 1
    assert "has a prediction" not in caplog.text
    file.write_text(f"Probe;Fett\n{scored.sample_ids[1].upper()};12,5\n")
    assert monitor(block, options).values_unmatched == 1
    assert f"the first is {scored.sample_ids[1].upper()!r}" in caplog.text


def test_a_chain_is_corrected_by_a_task(block: WorkspaceStoreBlock, chain: str, scored: Spectra) -> None:
    fat = dict(zip(scored.sample_ids, (scored.targets["fat"] + 3.0).tolist(), strict=True))
    assert tasks.add_reference_values(block, fat, "fat") == 40
    corrected = tasks.correct_chain(block, chain, "bias", instrument="NIR-1")
    before, after = (tasks.replay_chain(block, each, scored.X) for each in (chain, corrected))
    assert np.allclose(after - before, after[0] - before[0])
    assert after[0] - before[0] == pytest.approx(3.0, abs=1.5)


def test_a_file_that_somebody_is_writing_is_left_for_the_next_run(
    block: WorkspaceStoreBlock, chain: str, scored: Spectra, tmp_path: Path
) -> None:
    file = lab_file(tmp_path / "lab.csv", scored)
    whole = file.read_text()
    options = MonitoringOptions(reference_file=file, reference_columns={"fat": "Fett"}, id_column="Probe")
    done = threading.Event()

    def write() -> None:
        for end in range(30, len(whole)):
            file.write_text(whole[:end])
            if done.wait(0.1):
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        summary = monitor(block, options)
    finally:
        done.set()
        writer.join()
    assert summary.values_added == 0
    assert "still being written" in summary.values_rejected[0]
    file.write_text(whole)
    assert monitor(block, options).values_added == 40
