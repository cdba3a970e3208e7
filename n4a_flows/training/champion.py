"""The champion of a dataset and target: an alias that moves to a better chain, and why it did or did not."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

import numpy as np

from n4a_flows.monitoring.agreement import Scores, score
from n4a_flows.storage import WorkspaceStore
from n4a_flows.training.metrics import higher_is_better, score_classes


@dataclass(frozen=True)
class ChampionDecision:
    """How a chain compares with the champion.

    Attributes
    ----------
    alias
        `<dataset>/<target>/champion`.
    promoted
        Whether the alias names the chain now.
    chain_id, score
        The chain, and its pooled out-of-fold score.
    former_chain_id, former_score
        The champion before, and its score by the same metric; None when there was none, or it cannot be had.
    metric, margin
        What was compared, and by how much it had to be better, in units of the metric.
    reason
        The decision in words.
    """

    alias: str
    promoted: bool
    chain_id: str
    score: float
    former_chain_id: str | None
    former_score: float | None
    metric: str
    margin: float
    reason: str


def champion_alias(dataset_name: str, target: str) -> str:
    """The alias of the champion; what an alias cannot hold becomes a dash. A name in another script is told apart by a digest.

    Examples
    --------
    >>> champion_alias("meat 2024", "fat %")
    'meat-2024/fat/champion'
    >>> champion_alias("зерно", "белок")
    'xda06a5fc/x381741a5/champion'
    """
    return "/".join([_part(dataset_name), _part(target), "champion"])


def _part(name: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")
    # Accents only make a name ugly; without its letters of another script it would be any name.
    lost = any(not one.isascii() and one.isalnum() and "LATIN" not in unicodedata.name(one, "") for one in name)
    if readable and not lost:
        return readable
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{readable}-x{digest}" if readable else f"x{digest}"


def challenge(
    store: WorkspaceStore, dataset_name: str, target: str, chain_id: str, score: float, metric: str, margin: float = 0.0
) -> ChampionDecision:
    """Let a chain take the champion's alias if its pooled out-of-fold score is better by more than a margin.

    The comparison and the move are one transaction. The same chain, trained again, takes nothing.

    Parameters
    ----------
    score
        Of the chain, by the metric.
    margin
        At least 0, in units of the metric.

    Raises
    ------
    UnknownIdError
        When there is no such chain.

    Examples
    --------
    >>> decision = challenge(store, "tecator", "fat", chain_id, 1.9, "rmse")
    >>> decision.promoted, store.get_alias("tecator/fat/champion") == chain_id
    (True, True)
    >>> challenge(store, "tecator", "fat", chain_id, 1.9, "rmse").reason
    'It is the champion already.'
    """
    alias = champion_alias(dataset_name, target)
    with store.transaction():
        former = store.get_alias(alias)
        held = None if former is None else pooled_scores(store, former).get(metric)
        promoted, reason = _decide(store, chain_id, former, score, held, metric, margin)
        if promoted:
            store.set_alias(alias, chain_id, note=reason)
    return ChampionDecision(alias, promoted, chain_id, score, former, held, metric, margin, reason)


def _decide(
    store: WorkspaceStore,
    chain_id: str,
    former: str | None,
    score: float,
    held: float | None,
    metric: str,
    margin: float,
) -> tuple[bool, str]:
    if former is None:
        return True, f"There was no champion; {metric} {score:.6g}."
    theirs, ours = (store.get_chain_context(one).target for one in (former, chain_id))
    if theirs is not None and theirs != ours:
        return False, (
            f"The champion of that name predicts {theirs!r}, not {ours!r}: give the column or the file another name, or set an "
            "alias of your own."
        )
    if former == chain_id or store.get_chain_context(former).digest == store.get_chain_context(chain_id).digest:
        return False, "It is the champion already."
    if held is None:
        return (
            False,
            f"The champion has no {metric} to compare with; set the alias by hand if the new chain shall take it.",
        )
    gain = score - held if higher_is_better(metric) else held - score
    compared = f"{metric} {score:.6g} against the champion's {held:.6g}, margin {margin:g}"
    return (True, f"Better: {compared}.") if gain > margin else (False, f"Not better by enough: {compared}.")


def pooled_scores(store: WorkspaceStore, chain_id: str) -> Scores:
    """Every score of a chain's out-of-fold predictions together, from what is stored; empty when there is none."""
    frame = store.get_chain_predictions(chain_id, partition="val")
    rows = [
        arrays
        for row in frame.iter_rows(named=True)
        if row["refit_context"] is None and (arrays := store.get_prediction_arrays(row["prediction_id"])) is not None
    ]
    if not rows:
        return {}
    y_true, y_pred = (np.concatenate([np.asarray(row[name]) for row in rows]) for name in ("y_true", "y_pred"))
    if store.get_chain_context(chain_id).task_type == "classification":
        classes = np.unique(y_true)
        probabilities = [np.asarray(row["y_proba"]) for row in rows if row["y_proba"] is not None]
        told = len(probabilities) == len(rows) and all(p.shape[1:] == classes.shape for p in probabilities)
        return score_classes(y_true, y_pred, np.concatenate(probabilities) if told else None, classes.tolist())
    return score(y_true, y_pred)
