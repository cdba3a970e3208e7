"""Compare predictions with the laboratory values that came in, and tell which limits were crossed."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from n4a_flows import tasks
from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.flows import events
from n4a_flows.flows.chunks import whole
from n4a_flows.flows.options import MonitoringOptions
from n4a_flows.flows.summaries import AgreementSummary, MonitoringSummary
from n4a_flows.monitoring import MonitoringReport
from n4a_flows.reports import monitoring_markdown
from n4a_flows.storage.clock import days_ago
from n4a_flows.storage.places import located
from n4a_flows.tasks.files import still_growing

_SETTLE = 1.0
"""Seconds between two looks at a file of laboratory values that was changed lately."""


@flow(persist_result=False)
def monitor(
    store: WorkspaceStoreBlock,
    options: MonitoringOptions = MonitoringOptions(),  # noqa: B008 - an instance, so that the form shows the defaults
) -> MonitoringSummary:
    """Compare predictions with laboratory values, draw up a control chart for each chain, instrument and product.

    Laboratory values are taken from a file first, where one is named; those that are known already add nothing. Each limit that
    was crossed is recorded once, and then sends the event `n4a.control.limit_crossed`.

    Args:
        store: The workspace. Where the form names none, it is the block of the deployment.
        options: What is looked at, and where laboratory values come from.

    Raises:
        MissingFileError, SpectraError, InvalidInputError: When the file of laboratory values is not there, cannot be read, or does
            not have the columns; nothing was recorded then.
        UnknownIdError: When there is no such chain.
    """
    added, rejected, unmatched = _take_in(store, options)
    report = tasks.monitor(store, options.chain, options.target, days_ago(options.days), options.confidence)
    new = set(tasks.record_crossings(store, whole(report.crossings), flow_run.id))
    found = [crossing for crossing in report.crossings if crossing.crossing_id in new]
    for crossing in found:
        events.limit_crossed(store, crossing)
        get_run_logger().warning(crossing.said)
    title = f"Laboratory values against predictions in {store.workspace_path.name}"
    create_markdown_artifact(key="n4a-monitoring", description=title, markdown=monitoring_markdown(report))
    return MonitoringSummary(
        agreement=agreement_summaries(report),
        crossings=[crossing.said for crossing in report.crossings],
        new_crossings=[crossing.said for crossing in found],
        values_added=added,
        values_rejected=rejected,
        values_unmatched=unmatched,
    )


def _take_in(store: WorkspaceStoreBlock, options: MonitoringOptions) -> tuple[int, list[str], int]:
    """Add the laboratory values of the file: how many were new, what could not be used, and how many have no prediction."""
    if options.reference_file is None:
        return 0, [], 0
    columns = options.reference_columns
    if not columns and options.target is not None:
        columns = {options.target: options.target}
    where = located(options.reference_file)
    if still_growing([where], _SETTLE):
        # Half a number is a number: 1 of 12.5.
        get_run_logger().warning("%s is still being written, and left for the next run.", where)
        return 0, ["the file is still being written; it is left for the next run"], 0
    file = tasks.read_reference_values(options.reference_file, columns, options.id_column)
    for reason in file.rejected:
        get_run_logger().warning("%s: %s", where, reason)
    added = unmatched = 0
    for target, values in file.values.items():
        added += tasks.add_reference_values(store, whole(values), target, where.name)
        predicted = set(tasks.reference_pairs(store, target=target)["sample_id"])
        without = [sample_id for sample_id in values if sample_id not in predicted]
        unmatched += len(without)
        if without and len(without) == len(values):
            get_run_logger().warning(
                "None of the %d samples in %s has a prediction of %s, the first is %r: are they called as in the spectra files?",
                len(values),
                where,
                target,
                without[0],
            )
    return added, list(file.rejected), unmatched


def agreement_summaries(report: MonitoringReport) -> list[AgreementSummary]:
    """An entry for each chart, by chain."""
    return [
        AgreementSummary(
            target=chain.target,
            unit=chain.unit,
            chain_id=chain.chain_id,
            chain_digest=chain.chain_digest,
            instrument=group.instrument,
            product=group.product,
            rmsecv=chain.error,
            crossings=len(group.chart.crossings),
            bias_differs=group.chart.agreement.bias_differs,
            slope_differs=group.chart.agreement.slope_differs,
            **{
                name: getattr(group.chart.agreement, name)
                for name in ("n", "bias", "bias_limit", "sep", "rmsep", "slope", "slope_limit", "intercept", "r2")
            },
        )
        for chain in report.chains
        for group in chain.groups
    ]
