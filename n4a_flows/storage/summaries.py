"""Chain summaries: the averages over a chain's predictions, kept in its row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from n4a_flows.storage.database import Session
from n4a_flows.storage.json_values import from_json, to_json
from n4a_flows.storage.records import require

_PARTITIONS = ("val", "test")

Row = dict[str, Any]


def update(session: Session, chain_id: str) -> None:
    """Recompute the summary columns of one chain from its predictions."""
    require(session, "chains", chain_id)
    rows = session.dicts("SELECT * FROM predictions WHERE chain_id = ? ORDER BY created_at, rowid", [chain_id])
    folds = [row for row in rows if row["refit_context"] is None]
    columns = {
        **_first(folds or rows),
        **{f"cv_{part}_score": _mean(folds, f"{part}_score") for part in ("val", "test", "train")},
        "cv_fold_count": len({row["fold_id"] for row in folds}),
        "cv_scores": to_json(_averages(folds) or None),
        **_final(rows),
    }
    assignments = ", ".join(f"{column} = ?" for column in columns)
    session.execute(f"UPDATE chains SET {assignments} WHERE chain_id = ?", [*columns.values(), chain_id])


def _first(rows: Sequence[Row]) -> Row:
    return {name: rows[0][name] for name in ("model_name", "metric", "task_type", "best_params")} if rows else {}


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
