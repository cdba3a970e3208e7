"""The report of new predictions: can the batch be trusted, which samples cannot and why, and what they look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from n4a_flows.monitoring import CheckedSample
from n4a_flows.reports.document import Block, Bullets, Heading, Paragraph, Picture, Pictures, Table, to_markdown
from n4a_flows.reports.figures import predicted_against_measured
from n4a_flows.reports.prediction_figures import (
    MOST_SPECTRA,
    DrawnSpectrum,
    Envelope,
    beyond_the_picture,
    q_against_t2,
    spectra_on_envelope,
)
from n4a_flows.reports.prediction_rows import (
    clipped,
    decimals_for,
    interval_text,
    sample_table,
    statistics_of,
    value_text,
    verdict_counts,
    with_intervals,
    worst_first,
)
from n4a_flows.reports.score_text import number
from n4a_flows.training.metrics import rmse

_SHOWN = 50
_MOST_PICTURED = 4
"""Chains with pictures; of more the tables must do, so that the report stays small enough to be shown."""


@dataclass(frozen=True, eq=False)
class ChainPredictions:
    """What one chain said of the new samples.

    Attributes
    ----------
    chain_id, chain_digest, target, unit
        The chain, what it predicts, and in which unit (None when nobody said).
    samples
        Rows of the ledger as `scored_samples` gives them.
    verdict, reasons
        What is said of the batch, and why; None when the chain has no limits or there is no new sample.
    released
        Whether the batch may be used: not when a check sample is wrong or missing.
    checks
        The check samples.
    limits
        Warning and outlier limit by the name of a statistic; empty for a chain without limits.
    calibration
        Statistics of the training samples by name, (n_training_samples,) each.
    envelope
        Where the spectra of the calibration lie.
    spectra
        The worst of the new spectra, the worst first.
    measured
        Laboratory values by sample id, as far as they are known.
    facts
        What else to say of the chain, as (name, text).
    """

    chain_id: str
    chain_digest: str
    target: str
    unit: str | None
    samples: pl.DataFrame
    verdict: str | None = None
    reasons: Sequence[str] = ()
    released: bool = True
    checks: Sequence[CheckedSample] = ()
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    calibration: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    envelope: Envelope | None = None
    spectra: Sequence[DrawnSpectrum] = ()
    measured: Mapping[str, float] = field(default_factory=dict)
    facts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, eq=False)
class PredictionRun:
    """What one prediction of new files gave.

    Attributes
    ----------
    chains
        What each chain said.
    files
        Number of files by what became of them: scored, skipped, quarantined, postponed.
    quarantined
        Files that cannot be scored, as (path, reason).
    results
        Where all predictions are.
    notes
        What else the reader must know, a sentence each.
    """

    chains: Sequence[ChainPredictions]
    files: Mapping[str, int]
    quarantined: Sequence[tuple[str, str]] = ()
    results: str = ""
    notes: Sequence[str] = ()


def prediction_report(run: PredictionRun) -> str:
    """The report of a prediction as Markdown, with its pictures inside; its size does not grow with the number of samples."""
    blocks: list[Block] = [Heading(1, f"Prediction report: {', '.join(dict.fromkeys(c.target for c in run.chains))}")]
    several = len(run.chains) > 1
    for chain in run.chains:
        blocks += _outcome(chain, named=several)
    blocks += [Paragraph(note) for note in run.notes]
    for number_, chain in enumerate(run.chains):
        if several:
            blocks.append(Heading(2, f"{chain.target}, chain {chain.chain_id}"))
        blocks += _chain(chain, run.results, 3 if several else 2, pictured=number_ < _MOST_PICTURED)
    return to_markdown([*blocks, *_quarantined(run.quarantined), *_about(run)])


def _outcome(chain: ChainPredictions, *, named: bool) -> list[Block]:
    """The batch in words, and why."""
    name = f"{chain.target} by chain {chain.chain_id[:8]}: " if named else ""
    if chain.samples.is_empty():
        return [Paragraph(f"{name}no new sample was predicted.", strong=True)]
    judged = ", ".join(f"{count} {verdict}" for verdict, count in verdict_counts(chain.samples).items())
    said = f"{len(chain.samples)} new samples" + (f": {judged}" if judged else "")
    if chain.verdict is not None:
        said = f"batch {chain.verdict}. {said}"
    if not chain.released:
        said = f"NOT RELEASED, do not use these predictions. {said[0].upper()}{said[1:]}"
    said = name + said if name else said[0].upper() + said[1:]
    blocks: list[Block] = [Paragraph(f"{said}.", strong=True)]
    if chain.reasons:
        blocks.append(Bullets(chain.reasons))
    if not chain.limits:
        blocks.append(
            Paragraph(
                "The chain carries no limits, so nothing here says whether these predictions can be trusted. "
                "Train it again to get a chain that does."
            )
        )
    return blocks


def _chain(chain: ChainPredictions, results: str, level: int, *, pictured: bool) -> list[Block]:
    if chain.samples.is_empty():
        return []
    rows = worst_first(with_intervals(chain.samples), chain.limits)
    decimals = decimals_for(rows)
    blocks: list[Block] = []
    if chain.checks:
        blocks += [Heading(level, "Check samples"), _check_table(chain.checks, decimals, chain.unit)]
    blocks += [Heading(level, "Samples"), sample_table(rows.head(_SHOWN), decimals, chain.unit)]
    if len(rows) > _SHOWN:
        blocks.append(Paragraph(f"… and {len(rows) - _SHOWN} more: see {results}."))
    if chain.unit is None and rows["y"].is_not_null().any():
        blocks.append(Paragraph(f"The unit of {chain.target} is not known: values are in that of the training."))
    if not pictured:
        return blocks
    across, up = ("t2", "q") if "q" in chain.limits else ("shape_t2", "shape_q")
    if {across, up} <= chain.limits.keys() & chain.calibration.keys():
        blocks += [Heading(level, "Q against T²"), Pictures([_distances(chain, rows, across, up)])]
    if chain.envelope is not None and chain.spectra:
        blocks += [Heading(level, "Spectra that are not ok"), Pictures([_spectra(chain, chain.envelope, rows)])]
    measured = _measured(chain, rows)
    if measured is not None:
        blocks += [Heading(level, "Predicted against measured"), Pictures([measured])]
    return blocks


def _check_table(checks: Sequence[CheckedSample], decimals: int | None, unit: str | None) -> Table:
    rows = []
    for each in checks[:_SHOWN]:
        low, high = each.allowed or (None, None)
        rows.append(
            [
                clipped(each.sample_id, 40),
                value_text(each.known, None, unit),
                value_text(each.predicted, decimals, unit) or "none",
                interval_text(low, high, decimals),
                "passed" if each.passed else "FAILED",
            ]
        )
    return Table(["check sample", "known", "predicted", "allowed", "outcome"], rows)


def _distances(chain: ChainPredictions, rows: pl.DataFrame, across: str, up: str) -> Picture:
    statistics = statistics_of(rows, (across, up))
    t2, q = statistics[across], statistics[up]
    known = np.isfinite(t2) & np.isfinite(q)
    shown = rows.filter(pl.Series(known))
    beyond = (t2 > chain.limits[across][1]) | (q > chain.limits[up][1])
    of = "" if across == "t2" else " of the shape"
    return Picture(
        q_against_t2(
            t2[known],
            q[known],
            shown["verdict"].fill_null("").to_list(),
            shown["sample_id"].to_list(),
            calibration=(chain.calibration[across], chain.calibration[up]),
            limits=(chain.limits[across], chain.limits[up]),
            of=of,
        ),
        f"Q against T²{of}{' of the raw spectra' if of else ''}, both on logarithmic axes. Grey are the "
        f"{len(chain.calibration[across])} samples of the calibration, each judged by a model that was fitted without it. "
        f"{beyond.sum()} of {known.sum()} new samples lie beyond an outlier limit; one that is not ok inside the limits is so for "
        "another reason, which the table says. A large Q: something in the spectrum that the calibration does not have. A large "
        "T²: more of what it has.",
    )


def _spectra(chain: ChainPredictions, envelope: Envelope, rows: pl.DataFrame) -> Picture:
    shown = chain.spectra[:MOST_SPECTRA]
    bad = rows["verdict"].is_in(["warn", "outlier", "rejected"]).sum()
    said = (
        f"The {len(shown)} worst of {bad} spectra that are not ok"
        if bad > len(shown)
        else "The spectra that are not ok"
    )
    said += ", on the range of the calibration spectra; below, their difference from its mean."
    cut = [clipped(name, 40) for name in beyond_the_picture(envelope, shown)]
    if cut:
        said += f" So far away that the picture does not hold all of it: {', '.join(cut)}."
    return Picture(spectra_on_envelope(envelope, shown), said)


def _measured(chain: ChainPredictions, rows: pl.DataFrame) -> Picture | None:
    if not chain.measured:
        return None
    y = rows["sample_id"].replace_strict(dict(chain.measured), default=None, return_dtype=pl.Float64)
    both = rows.with_columns(y.alias("measured")).filter(
        pl.col("measured").is_not_null() & pl.col("y").is_not_null() & pl.col("y").is_finite()
    )
    if both.is_empty():
        return None
    measured, predicted = both["measured"].to_numpy(), both["y"].to_numpy()
    verdicts = both["verdict"].fill_null("").to_numpy()
    ok, far = verdicts == "ok", (verdicts == "outlier") & _far(measured, predicted)
    said = f"{len(both)} of {len(rows)} samples have a laboratory value."
    if ok.any() and not ok.all():
        unit = f" {chain.unit}" if chain.unit else ""
        said += f" RMSEP of the {ok.sum()} that are ok: {number(rmse(measured[ok], predicted[ok]))}{unit}."
    if far.all():
        return None
    if far.any():
        said += f" {far.sum()} outliers are left out: their predictions lie far beyond everything that was measured."
    picture = predicted_against_measured(
        measured[~far],
        predicted[~far],
        quantity=chain.target,
        unit=chain.unit,
        verdicts=verdicts[~far].tolist() if chain.limits else None,
    )
    return Picture(picture, said)


def _far(measured: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Predictions that would flatten everything else: further beyond the measured values than those are wide."""
    width = np.ptp(measured)
    return np.asarray((predicted < measured.min() - width) | (predicted > measured.max() + width))


def _quarantined(files: Sequence[tuple[str, str]]) -> list[Block]:
    if not files:
        return []
    rows = [[clipped(path, 200), clipped(reason, 400)] for path, reason in files[:_SHOWN]]
    blocks: list[Block] = [Heading(2, "Quarantined files"), Table(["file", "reason"], rows)]
    if len(files) > len(rows):
        blocks.append(Paragraph(f"… and {len(files) - len(rows)} more."))
    return blocks


def _about(run: PredictionRun) -> list[Block]:
    facts = [["files", ", ".join(f"{count} {what}" for what, count in run.files.items())]]
    for chain in run.chains:
        facts.append(["chain", f"{chain.chain_id} for {chain.target}, digest {chain.chain_digest[:12]}"])
        facts += [list(fact) for fact in chain.facts]
    return [Heading(2, "About"), Table(["", ""], [*facts, ["all predictions", run.results]])]
