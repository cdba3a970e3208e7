"""Tasks that record trainings, and make their report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.reports import TrainingReport
from n4a_flows.reports import training_report as make_report
from n4a_flows.spectra import Spectra
from n4a_flows.storage import ProbeReport
from n4a_flows.tasks._task import storage_task
from n4a_flows.training import RecordedPipeline, TrainedPipeline, TrainingOptions
from n4a_flows.training import conclude_run as conclude
from n4a_flows.training import record_pipelines as record
from n4a_flows.training import replay_afresh as replay
from n4a_flows.training.metrics import Metric


@storage_task("record pipelines of run {run_id}")
def record_pipelines(
    store: WorkspaceStoreBlock, run_id: str, trained: Sequence[TrainedPipeline]
) -> list[RecordedPipeline]:
    """Record trained pipelines in one transaction: artifacts, chains, predictions and logs."""
    with store.open() as workspace:
        return record(workspace, run_id, trained)


@storage_task("replay chains in a fresh process")
def replay_afresh(store: WorkspaceStoreBlock, chain_ids: Sequence[str]) -> list[ProbeReport]:
    """Replay the spectra kept with chains in another process, and compare with what training predicted."""
    with store.open() as workspace:
        return replay(workspace, chain_ids)


@storage_task("conclude run {run_id}")
def conclude_run(
    store: WorkspaceStoreBlock,
    run_id: str,
    recorded: Sequence[RecordedPipeline],
    metric: Metric,
    options: TrainingOptions,
    replayed: Sequence[ProbeReport] = (),
) -> tuple[list[RecordedPipeline], dict[str, Any]]:
    """Complete a run: fail what a replay did not confirm, find the best, challenge the champions."""
    with store.open() as workspace:
        return conclude(workspace, run_id, recorded, metric, options, replayed)


@storage_task("report of run {run_id}")
def training_report(
    store: WorkspaceStoreBlock, run_id: str, spectra: Spectra, units: Mapping[str, str] | None = None
) -> TrainingReport:
    """The report of a run that was trained on these spectra, made from what is recorded."""
    with store.open() as workspace:
        return make_report(workspace, run_id, spectra, units=units)
