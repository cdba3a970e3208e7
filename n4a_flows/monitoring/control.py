"""Laboratory values that came in against what was predicted: how they agree, and a control chart per instrument and product."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from n4a_flows.monitoring.agreement import Agreement, Values, agreement
from n4a_flows.monitoring.chart import ACTION, ControlChart, Crossing, control_chart
from n4a_flows.monitoring.limits import Limits
from n4a_flows.storage import ChainContext, LimitCrossing, WorkspaceStore, normalize_fold_key
from n4a_flows.storage.chain_replay import AVERAGES, FINAL
from n4a_flows.storage.clock import naive_utc
from n4a_flows.storage.errors import UnknownIdError
from n4a_flows.storage.json_values import canonical_json


@dataclass(frozen=True)
class MonitoredGroup:
    """The samples of a chain that were measured on one instrument and are of one product.

    Attributes
    ----------
    instrument, product
        As the files name them; None where they do not.
    verdicts
        How many of the samples were called what when they were predicted; those that nothing was said of are left out.
    chart
        The samples in the order of time, with limits.
    """

    instrument: str | None
    product: str | None
    verdicts: Mapping[str, int]
    chart: ControlChart


@dataclass(frozen=True)
class MonitoredChain:
    """All samples that a chain has predicted and that laboratory values came in for.

    A chain that was trained again to the same result is the same chain: it is known by its digest.

    Attributes
    ----------
    chain_id
        Of the latest chain with this digest that predicted one of the samples.
    target, unit
        What it predicts, and in which unit, as far as that is known.
    error
        RMSECV, the s of the limits, in the unit of the target; None when it is not known.
    error_from
        The chain whose cross-validation that is: itself, or of a corrected chain the one that was corrected.
    beyond_action
        Share of the cross-validated errors that lie beyond the action limits, and of samples that will while nothing changes. Of
        normal errors it is 0.27 %.
    agreement
        Of all samples together.
    groups
        By instrument and product.
    """

    chain_id: str
    chain_digest: str
    target: str | None
    unit: str | None
    error: float | None
    error_from: str | None
    beyond_action: float | None
    agreement: Agreement
    groups: tuple[MonitoredGroup, ...]


@dataclass(frozen=True)
class MonitoringReport:
    """How the predictions of chains agree with the laboratory values that came in.

    Attributes
    ----------
    chains
        By target, the chain that predicted last first.
    """

    chains: tuple[MonitoredChain, ...]

    @property
    def crossings(self) -> list[LimitCrossing]:
        """All limits that were crossed, the latest first."""
        found = [
            _named(chain, group, crossing)
            for chain in self.chains
            for group in chain.groups
            for crossing in group.chart.crossings
        ]
        return sorted(found, key=lambda one: one.began_at, reverse=True)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it, without the single samples."""
        return {
            "chains": [_chain_dict(chain) for chain in self.chains],
            "crossings": [{**asdict(found), "began_at": found.began_at.isoformat()} for found in self.crossings],
        }


def monitor(
    store: WorkspaceStore,
    chain: str | None = None,
    target: str | None = None,
    since: datetime | None = None,
    *,
    confidence: float = 0.95,
) -> MonitoringReport:
    """Compare predictions with the laboratory values that came in for the same samples.

    Parameters
    ----------
    chain
        Only this chain (id or alias), and those that were trained again to the same result; all when left out.
    target
        Only this property.
    since
        Only samples that were predicted then or later; naive UTC, or with a time zone. What was crossed before and goes on is
        the same crossing still.
    confidence
        Of the limits of bias and slope.

    Returns
    -------
    One entry for each chain and target; there is none where no laboratory values have come in. Predicted classes are left out.

    Raises
    ------
    UnknownIdError
        When there is no such chain.
    InvalidInputError
        When the confidence does not lie between 0 and 1.

    Examples
    --------
    >>> new = spectra.take(range(172, 215))
    >>> predicted = store.replay_chain(chain_id, new.X)
    >>> samples = [ScoredSample(name, y) for name, y in zip(new.sample_ids, predicted.tolist())]
    >>> store.record_scoring(chain_id, [ScoredFile("today.csv", "0" * 64, "scored", samples=samples)])
    >>> store.add_reference_values(dict(zip(new.sample_ids, new.targets["fat"].tolist())), "fat")
    43
    >>> [monitored] = monitor(store, chain_id).chains
    >>> monitored.agreement.n, round(monitored.agreement.rmsep, 1), round(monitored.error, 1)
    (43, 2.0, 2.1)
    """
    pairs = store.reference_pairs(chain, target).filter(pl.col("y").is_finite())
    if chain is not None and pairs.is_empty():
        store.get_chain_context(chain)
    since = naive_utc(since) or datetime.min
    # Charts with recent samples, but all of their samples.
    pairs = pairs.filter(pl.col("scored_at").max().over("chain_digest", "target", "instrument", "product") >= since)
    chains = [_chain(store, frame, confidence, since) for frame in pairs.partition_by("chain_digest", "target")]
    chains.sort(key=lambda one: max(max(group.chart.scored_at) for group in one.groups), reverse=True)
    chains.sort(key=lambda one: one.target or "")
    return MonitoringReport(tuple(chains))


def _chain(store: WorkspaceStore, frame: pl.DataFrame, confidence: float, since: datetime) -> MonitoredChain:
    ids = frame["chain_id"].unique(maintain_order=True).to_list()[::-1]
    errors, error_from = next(filter(None, (_cross_validated(store, chain_id) for chain_id in ids)), (None, None))
    error = None if errors is None else float(np.sqrt(np.mean(errors**2)))
    unit = next((context.unit for context in map(partial(_context, store), ids) if context and context.unit), None)
    recent = pl.col("scored_at") >= since
    groups = [
        MonitoredGroup(
            part["instrument"][0],
            part["product"][0],
            dict(part.filter(recent)["verdict"].drop_nulls().value_counts(sort=True).iter_rows()),
            control_chart(
                part["sample_id"].to_list(),
                part["scored_at"].to_list(),
                part["reference"].to_numpy(),
                part["y"].to_numpy(),
                error,
                unit=unit,
                confidence=confidence,
                since=since,
            ),
        )
        for part in frame.partition_by("instrument", "product", maintain_order=True)
    ]
    compared = frame.filter(recent)
    return MonitoredChain(
        ids[0],
        frame["chain_digest"][0],
        frame["target"][0],
        unit,
        error,
        error_from,
        None if errors is None or error is None else float(np.mean(np.abs(errors) > ACTION * error)),
        agreement(compared["reference"].to_numpy(), compared["y"].to_numpy(), confidence),
        tuple(sorted(groups, key=lambda one: (one.instrument or "", one.product or ""))),
    )


def _cross_validated(store: WorkspaceStore, chain_id: str) -> tuple[Values, str] | None:
    """Errors of a chain in cross-validation, of a corrected one those of its parent, and whose they are; None when not known.

    The error of a corrected chain is that of its parent: a correction brings predictions back to where those of the parent lay.
    """
    at: str | None = chain_id
    while at is not None and (context := _context(store, at)) is not None:
        errors = _out_of_fold(store, at)
        if errors is not None:
            return errors, at
        at = context.parent_chain_id
    # An imported chain brings its residuals along in its limits.
    limits = None if _context(store, chain_id) is None else store.get_limits(chain_id)
    errors = None if limits is None else Limits.from_bytes(limits).residuals
    return None if errors is None else (errors, chain_id)


def _out_of_fold(store: WorkspaceStore, chain_id: str) -> Values | None:
    """Errors of all out-of-fold predictions together."""
    rows = store.get_chain_predictions(chain_id, "val").to_dicts()
    folds = [row for row in rows if normalize_fold_key(row["fold_id"]) not in (FINAL, *AVERAGES)]
    errors = []
    for row in folds:
        found = store.get_prediction_arrays(row["prediction_id"]) or {}
        y_true, y_pred = found.get("y_true"), found.get("y_pred")
        if y_true is not None and y_pred is not None:
            errors.append(y_pred - y_true)
    together = np.concatenate(errors) if errors else np.zeros(0)
    return together if together.any() and np.isfinite(together).all() else None


def _context(store: WorkspaceStore, chain_id: str) -> ChainContext | None:
    """What a chain was trained on; None when it is gone: what it predicted outlives it."""
    try:
        return store.get_chain_context(chain_id)
    except UnknownIdError:
        return None


def _named(chain: MonitoredChain, group: MonitoredGroup, crossing: Crossing) -> LimitCrossing:
    chart = [chain.chain_digest, chain.target, group.instrument, group.product]
    identity = [*chart, crossing.rule, crossing.side, crossing.sample_ids[0], crossing.began_at.isoformat()]
    return LimitCrossing(
        hashlib.sha256(canonical_json(identity, "crossing").encode()).hexdigest(),
        chain.chain_id,
        chain.chain_digest,
        chain.target,
        group.instrument,
        group.product,
        crossing.rule,
        f"{chart_name(chain, group)}: {crossing.said}",
        crossing.sample_ids,
        crossing.began_at,
    )


def chart_name(chain: MonitoredChain, group: MonitoredGroup) -> str:
    """A chart in words."""
    parts = [chain.target or "no target", f"chain {chain.chain_id[:8]}", group.instrument, group.product]
    return ", ".join(part for part in parts if part)


def _chain_dict(chain: MonitoredChain) -> dict[str, Any]:
    return {
        "chain_id": chain.chain_id,
        "chain_digest": chain.chain_digest,
        "target": chain.target,
        "unit": chain.unit,
        "error": chain.error,
        "error_from": chain.error_from,
        "beyond_action": chain.beyond_action,
        **_agreement_dict(chain.agreement),
        "groups": [_group_dict(group) for group in chain.groups],
    }


def _group_dict(group: MonitoredGroup) -> dict[str, Any]:
    return {
        "instrument": group.instrument,
        "product": group.product,
        "verdicts": dict(group.verdicts),
        "warning_limit": group.chart.warning_limit,
        "action_limit": group.chart.action_limit,
        **_agreement_dict(group.chart.agreement),
        "crossings": len(group.chart.crossings),
    }


def _agreement_dict(found: Agreement) -> dict[str, Any]:
    return {**asdict(found), "bias_differs": found.bias_differs, "slope_differs": found.slope_differs}
