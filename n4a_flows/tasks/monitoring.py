"""Tasks about laboratory values that come in later: keeping them, monitoring, correcting."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.monitoring import Correction, MonitoringReport, save_corrected_chain
from n4a_flows.monitoring import monitor as compare
from n4a_flows.monitoring.correction import CorrectionKind
from n4a_flows.monitoring.reference_file import ReferenceFile
from n4a_flows.monitoring.reference_file import read_reference_values as read
from n4a_flows.storage import WorkspaceStore
from n4a_flows.tasks._task import storage_task, verb_task, worker_task

add_reference_values = verb_task(WorkspaceStore.add_reference_values, "add laboratory values of {target}")
reference_values = verb_task(WorkspaceStore.reference_values, "laboratory values")
reference_pairs = verb_task(WorkspaceStore.reference_pairs, "predictions with laboratory values")
record_crossings = verb_task(WorkspaceStore.record_crossings, "record crossed limits")
limit_crossings = verb_task(WorkspaceStore.limit_crossings, "crossed limits")


@worker_task("read laboratory values")
def read_reference_values(path: str, columns: Mapping[str, str], id_column: str | None = None) -> ReferenceFile:
    """The laboratory values in a file, by target and sample id."""
    return read(path, columns, id_column)


@storage_task("monitor")
def monitor(
    store: WorkspaceStoreBlock,
    chain: str | None = None,
    target: str | None = None,
    since: datetime | None = None,
    confidence: float = 0.95,
) -> MonitoringReport:
    """Compare predictions with the laboratory values that came in for the same samples, and draw up control charts."""
    with store.open() as workspace:
        return compare(workspace, chain, target, since, confidence=confidence)


@storage_task("correct chain {chain_id}")
def correct_chain(
    store: WorkspaceStoreBlock,
    chain_id: str,
    correction: Correction | CorrectionKind = "slope_bias",
    since: datetime | None = None,
    instrument: str | None = None,
    name: str | None = None,
) -> str:
    """Keep a corrected chain, by a correction that is given or fitted on samples with laboratory values; returns its id."""
    with store.open() as workspace:
        return save_corrected_chain(workspace, chain_id, correction, since=since, instrument=instrument, name=name)
