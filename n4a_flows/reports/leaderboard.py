"""Which pipeline did best: one row per pipeline, as text cells for tables and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SCORE_NAMES = {"rmse": ("RMSECV", "RMSEP")}


@dataclass(frozen=True)
class LeaderboardRow:
    """What a pipeline reached.

    `validation` is the pooled out-of-fold score (all validation predictions of cross-validation together), `test` the
    score of the refitted chain on the test set; both in the metric of the run, None where there is none.
    """

    name: str
    target: str
    metric: str
    validation: float | None
    test: float | None
    chain_id: str | None
    error: str | None = None


def rank(rows: Iterable[LeaderboardRow], *, higher_is_better: bool = False) -> list[LeaderboardRow]:
    """Rows by validation score, best first; those without a score last."""

    def key(row: LeaderboardRow) -> tuple[bool, float]:
        score = row.validation
        if row.error is not None or score is None or math.isnan(score):
            return (True, 0.0)
        return (False, -score if higher_is_better else score)

    return sorted(rows, key=key)


def leaderboard_cells(rows: Sequence[LeaderboardRow]) -> tuple[list[str], list[list[str]]]:
    """Header and text cells of a leaderboard, in the order of the rows; the last column is the chain."""
    metrics = {row.metric for row in rows}
    metric = metrics.pop() if len(metrics) == 1 else "score"
    scores = _SCORE_NAMES.get(metric, (f"{metric.upper()} cross-validation", f"{metric.upper()} test"))
    several_targets = len({row.target for row in rows}) > 1
    header = ["#", "pipeline", *(["target"] if several_targets else []), *scores, "chain"]
    cells = [
        [
            str(place),
            row.name if row.error is None else f"{row.name}: {row.error}",
            *([row.target] if several_targets else []),
            _number(row.validation) if row.error is None else "failed",
            _number(row.test),
            row.chain_id or "",
        ]
        for place, row in enumerate(rows, start=1)
    ]
    return header, cells


def leaderboard_markdown(rows: Sequence[LeaderboardRow]) -> str:
    """A leaderboard as a Markdown table."""
    return markdown_table(*leaderboard_cells(rows))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars and line breaks in the cells are made harmless."""
    lines = [_line(header), "|" + " --- |" * len(header), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:#.3g}".rstrip(".")
