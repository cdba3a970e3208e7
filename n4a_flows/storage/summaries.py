"""Chain summaries: the averages over a chain's predictions, kept in its row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from n4a_flows.storage.json_values import from_json, to_json
from n4a_flows.storage.records import require
from n4a_flows.storage.schema import ARROW_SCHEMAS
from n4a_flows.storage.session import Session

_PARTITIONS = ("val", "test")
_NAMED = ("model_name", "metric", "task_type", "best_params")
_SCORES = ("val_score", "test_score", "train_score")
_READ = ("chain_id", "fold_id", "partition", "refit_context", "scores", *_NAMED, *_SCORES)
_WRITTEN = (
    *(f"cv_{score}" for score in _SCORES),
    *("cv_fold_count", "cv_scores", "final_test_score", "final_train_score", "final_scores"),
)  # What a chain without predictions was given by other means stays.
_ASSIGNMENTS = (
    *(f"{column} = coalesce(collected.{column}, chains.{column})" for column in _NAMED),
    *(f"{column} = collected.{column}" for column in _WRITTEN),
)

Row = dict[str, Any]


def update(session: Session, chain_id: str) -> None:
    """Recompute the summary columns of a chain from its predictions, once those of this transaction are written."""
    require(session, "chains", chain_id)
    due: dict[str, None] = session.memo.setdefault("summaries due", {})
    due[chain_id] = None
    session.defer("summaries", lambda: _update_all(session, due))


def _update_all(session: Session, due: dict[str, None]) -> None:
    rows = session.dicts(
        f"SELECT {', '.join(_READ)} FROM predictions WHERE list_contains(?, chain_id) ORDER BY created_at, rowid",
        [list(due)],
    )
    by_chain: dict[str, list[Row]] = {chain_id: [] for chain_id in due}
    due.clear()
    for row in rows:
        by_chain[row["chain_id"]].append(row)
    session.execute_with(
        f"UPDATE chains SET {', '.join(_ASSIGNMENTS)} FROM collected WHERE chains.chain_id = collected.chain_id",
        [{"chain_id": chain_id, **_summary(rows)} for chain_id, rows in by_chain.items()],
        ARROW_SCHEMAS["chains"],
    )


def _summary(rows: Sequence[Row]) -> Row:
    folds = [row for row in rows if row["refit_context"] is None]
    return {
        **_first(folds or rows),
        **{f"cv_{score}": _mean(folds, score) for score in _SCORES},
        "cv_fold_count": len({row["fold_id"] for row in folds}),
        "cv_scores": to_json(_averages(folds) or None),
        **_final(rows),
    }


def _first(rows: Sequence[Row]) -> Row:
    return {name: rows[0][name] for name in _NAMED} if rows else {}


def _mean(rows: Sequence[Row], column: str) -> float | None:
    values = [row[column] for row in rows if row[column] is not None]
    return sum(values) / len(values) if values else None


def _averages(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Every metric averaged by partition, from scores that are nested by partition or plain."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        scores = from_json(row["scores"])
        if not isinstance(scores, dict):
            continue
        nested = any(isinstance(scores.get(part), dict) for part in ("train", *_PARTITIONS))
        for part in _PARTITIONS:
            of_part = scores.get(part) if nested else scores if part == row["partition"] else None
            for name, value in (of_part or {}).items():
                if isinstance(value, int | float):
                    values[part][name].append(float(value))
    return {part: {name: round(sum(v) / len(v), 6) for name, v in named.items()} for part, named in values.items()}


def _final(rows: Sequence[Row]) -> Row:
    refits = (
        row
        for row in rows
        if row["refit_context"] is not None and row["fold_id"] == "final" and row["partition"] == "test"
    )
    row = next(refits, {})
    return {
        "final_test_score": row.get("test_score"),
        "final_train_score": row.get("train_score"),
        "final_scores": row.get("scores"),
    }
