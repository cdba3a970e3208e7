"""The new samples of a flow run as one batch: judged together, held back when a check sample is wrong, and reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from n4a_flows import tasks
from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.flows import events
from n4a_flows.flows.chunks import whole
from n4a_flows.flows.options import PredictionOptions
from n4a_flows.flows.quarantine import Listed
from n4a_flows.flows.summaries import BatchSummary, PredictionSummary
from n4a_flows.monitoring import BatchTally, CheckedSample, Limits, checked_samples, judge_batch
from n4a_flows.reports.names import quantity_and_unit, signal_label
from n4a_flows.reports.prediction_figures import Envelope
from n4a_flows.reports.prediction_report import ChainPredictions, PredictionRun, prediction_report
from n4a_flows.reports.prediction_rows import verdict_counts
from n4a_flows.storage import ChainContext, ChainPackage, ScoredBatch
from n4a_flows.storage.errors import BatchNotReleasedError, InvalidInputError
from n4a_flows.storage.json_values import from_json
from n4a_flows.storage.texts import storable
from n4a_flows.tasks.scoring import Together

_MOST_ROWS = 20
"""So many rows that hold no spectrum are named in the report; the summary and the ledger have all."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What one chain said of the new samples, and what is said of them together.

    Attributes
    ----------
    package
        The chain.
    samples
        The new samples as the ledger has them, with their intervals.
    together
        What scoring found out of their spectra together.
    limits
        Those of the chain, None without.
    checks
        The check samples.
    recorded
        What the ledger has of the batch; None when there are no new samples, or neither limits nor check samples to judge by.
    """

    package: ChainPackage
    samples: pl.DataFrame
    together: Together
    limits: Limits | None
    checks: Sequence[CheckedSample] = ()
    recorded: ScoredBatch | None = None

    @property
    def released(self) -> bool:
        """Whether nothing stands against using the predictions."""
        return self.recorded is None or self.recorded.released

    @property
    def summary(self) -> BatchSummary:
        """The batch in the summary of the flow."""
        context, said = self.package.context, self.recorded
        return BatchSummary(
            chain_id=context.chain_id,
            target=context.target or "",
            verdict=None if said is None else said.verdict,
            reasons=[] if said is None else list(said.reasons),
            released=self.released,
            samples=len(self.samples),
        )


def unit_of(context: ChainContext) -> str | None:
    """The unit of what a chain predicts: as it was stored, else as the name of the target says it."""
    return context.unit or quantity_and_unit(context.target or "")[1]


def refuse_checks_without_meaning(packages: Iterable[ChainPackage], options: PredictionOptions) -> None:
    """Raise `InvalidInputError` when the known values of check samples cannot be compared with what the chains predict."""
    if not options.check_samples:
        return
    targets = {package.context.target for package in packages}
    if len(targets) > 1:
        raise InvalidInputError(
            f"The known values of the check samples are of one property, and the chains predict {len(targets)}: "
            "start a flow run for each."
        )
    for package in packages:
        context = package.context
        if (context.task_type or "").endswith("classification"):
            raise InvalidInputError(f"The chain {context.chain_id} predicts classes: check samples need numbers.")
        if package.limits is None and options.check_tolerance is None:
            raise InvalidInputError(
                f"The chain {context.chain_id} has no limits, so its predictions have no intervals: say with check_tolerance how "
                "far a check sample may be from its known value."
            )


def judge_new_samples(
    store: WorkspaceStoreBlock,
    packages: Mapping[str, ChainPackage],
    together: Mapping[str, Together],
    samples: pl.DataFrame,
    options: PredictionOptions,
    flow_run_id: str | None,
) -> list[Batch]:
    """Judge and record what each chain said of the new samples of a flow run.

    Parameters
    ----------
    packages, together
        The chains, and what scoring found out of all spectra together, by the digest of the chain.
    samples
        Those samples as the ledger has them, with their intervals.
    """
    batches = []
    for digest, package in packages.items():
        mine = samples.filter(pl.col("chain_digest") == digest)
        new = together.get(digest, Together())
        batch = _judged(package, new, mine, _earlier_attempts(store, digest, mine, new, flow_run_id), options)
        earlier = None if new.digests else _recorded_before(store, digest, mine, flow_run_id)
        if earlier is not None:
            batch = replace(batch, recorded=earlier)
        elif batch.recorded is not None:
            chain_id = package.context.chain_id
            batch_id = tasks.record_batch(store, chain_id, batch.recorded, flow_run_id)
            events.batch_judged(store, batch_id, chain_id, batch.recorded)
        batches.append(batch)
    return batches


def _recorded_before(
    store: WorkspaceStoreBlock, chain_digest: str, samples: pl.DataFrame, flow_run_id: str | None
) -> ScoredBatch | None:
    """The batch of these samples as an earlier attempt of the flow run has recorded it."""
    if samples.is_empty() or flow_run_id is None:
        return None
    for row in reversed(tasks.scored_batches(store, flow_run_ids=[flow_run_id]).to_dicts()):
        if (row["chain_digest"], row["n_samples"]) == (chain_digest, len(samples)):
            reasons, detail = from_json(row["reasons"]), from_json(row["detail"])
            return ScoredBatch(row["verdict"], reasons, row["n_samples"], row["released"], detail)
    return None


def _earlier_attempts(
    store: WorkspaceStoreBlock, chain_digest: str, samples: pl.DataFrame, new: Together, flow_run_id: str | None
) -> BatchTally:
    """What earlier attempts of the flow run scored: of that no more is known than what the ledger has."""
    before = samples.filter(~pl.col("file_digest").is_in(list(new.digests)))
    if before.is_empty():
        return BatchTally({})
    files = tasks.scored_files(store, status="scored").filter(
        (pl.col("flow_run_id") == flow_run_id)
        & (pl.col("chain_digest") == chain_digest)
        & pl.col("file_digest").is_in(before["file_digest"].unique().to_list())
    )
    counts = Counter(verdict_counts(before))
    counts["rejected"] += sum(len(from_json(detail).get("rejected", ())) for detail in files["detail"])
    return BatchTally(dict(+counts))


def _judged(
    package: ChainPackage, together: Together, samples: pl.DataFrame, earlier: BatchTally, options: PredictionOptions
) -> Batch:
    limits = None if package.limits is None else Limits.from_bytes(package.limits)
    if samples.is_empty() or (limits is None and not options.check_samples):
        return Batch(package, samples, together, limits)
    of_interest = samples.filter(pl.col("sample_id").is_in(list(options.check_samples)))
    checks = checked_samples(
        options.check_samples,
        of_interest.select("sample_id", "y", "lower", "upper").iter_rows(),
        options.check_tolerance,
    )
    failed = [each.reason for each in checks if each.reason is not None]
    verdict, reasons = "ok", list[str]()
    detail: dict[str, Any] = {}
    if limits is not None:
        judged = judge_batch(earlier + (together.tally or BatchTally({})), limits, options.false_alarms)
        verdict, reasons = str(judged.verdict), judged.reasons
        detail = {**judged.detail, "false_alarms": options.false_alarms, "coverage": options.coverage}
    if checks:
        detail |= {"spectra": verdict, "check_samples": [asdict(each) for each in checks]}
    batch = ScoredBatch(
        "rejected" if failed else verdict, [*failed, *reasons], len(samples), released=not failed, detail=detail
    )
    return Batch(package, samples, together, limits, checks, batch)


def refuse_release(batches: Iterable[Batch]) -> None:
    """Raise `BatchNotReleasedError` when a batch must not be used."""
    for batch in batches:
        if batch.recorded is not None and not batch.recorded.released:
            raise BatchNotReleasedError(
                f"The batch of {len(batch.samples)} samples is not released: {batch.recorded.reasons[0]}. All of it is recorded, "
                "and nothing was written for the LIMS. Find out what is wrong, take away the files of wrong measurements, then "
                "predict with rescore."
            )


def report_of(
    store: WorkspaceStoreBlock,
    batches: Sequence[Batch],
    summary: PredictionSummary,
    options: PredictionOptions,
    held: int,
    left: Sequence[Listed],
) -> str:
    """The report of the flow run.

    Parameters
    ----------
    held
        Number of earlier predictions that the CSV files do not have, since they were not released.
    left
        Files that earlier flow runs quarantined.
    """
    notes = [f"{held} predictions of batches that were not released are not in the CSV files."] if held else []
    if left:
        notes.append(
            f"{len(left)} of the files were quarantined by earlier flow runs, the first is {storable(str(left[0][0]))}."
        )
    rows = summary.rejected_rows
    if rows:
        more = f"; and {len(rows) - _MOST_ROWS} more" if len(rows) > _MOST_ROWS else ""
        notes.append(f"{len(rows)} rows of these files hold no spectrum: {'; '.join(rows[:_MOST_ROWS])}{more}.")
    counts = {name: getattr(summary, name) for name in ("scored", "skipped", "quarantined", "postponed")}
    run = PredictionRun(
        [_chain_predictions(store, batch, options) for batch in batches],
        counts,
        [(file.path, file.reason) for file in summary.quarantined_files],
        str(summary.predictions_path),
        notes,
    )
    return prediction_report(run)


def _chain_predictions(store: WorkspaceStoreBlock, batch: Batch, options: PredictionOptions) -> ChainPredictions:
    context, limits, said = batch.package.context, batch.limits, batch.recorded
    facts: list[tuple[str, str]] = []
    envelope, measured = None, dict[str, float]()
    if limits is not None:
        range_ = limits.envelope
        envelope = Envelope(range_["mean"], range_["low"], range_["high"], context.axis, signal_label(context.signal))
        facts = [
            ("interval", f"{options.coverage:.3g} coverage: {limits.interval_method}"),
            (
                "false alarms",
                f"{options.false_alarms:.3g} of normal samples are not called ok, by all statistics together",
            ),
        ]
    if context.target is not None and not batch.samples.is_empty():
        ids = batch.samples["sample_id"].unique(maintain_order=True).to_list()
        known = tasks.reference_values(store, context.target, whole(ids))
        measured = dict(known.select("sample_id", "value").iter_rows())
    return ChainPredictions(
        context.chain_id,
        batch.package.digest,
        quantity_and_unit(context.target or "unnamed target")[0],
        unit_of(context),
        batch.samples,
        None if said is None else said.verdict,
        () if said is None else said.reasons,
        batch.released,
        batch.checks,
        batch.together.limits,
        {} if limits is None else limits.calibration,
        envelope,
        batch.together.odd,
        measured,
        facts,
    )
