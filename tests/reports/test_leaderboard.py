from __future__ import annotations

import pytest

from n4a_flows.reports import LeaderboardRow, leaderboard_cells, leaderboard_markdown, rank


def row(name: str, validation: float | None, test: float | None = None, error: str | None = None) -> LeaderboardRow:
    return LeaderboardRow(name, "fat", "rmse", validation, test, None if error else f"chain-{name}", error)


def test_the_smallest_error_comes_first_and_pipelines_without_a_score_last() -> None:
    rows = [row("a", 2.0), row("failed", None, error="no"), row("nan", float("nan")), row("b", 0.5), row("c", 1.0)]

    assert [r.name for r in rank(rows)][:3] == ["b", "c", "a"]
    assert {r.name for r in rank(rows)[3:]} == {"failed", "nan"}


def test_where_more_is_better_the_largest_score_comes_first() -> None:
    ranked = rank([row("a", 0.8), row("b", 0.95), row("none", None)], higher_is_better=True)

    assert [r.name for r in ranked] == ["b", "a", "none"]


def test_cells_hold_place_scores_and_chain_and_say_why_a_pipeline_failed() -> None:
    header, cells = leaderboard_cells([row("SNV > PLS", 1.23456, 2.0), row("bad", None, error="too many components")])

    assert header == ["#", "pipeline", "RMSECV", "RMSEP", "chain"]
    assert cells == [
        ["1", "SNV > PLS", "1.23", "2.00", "chain-SNV > PLS"],
        ["2", "bad: too many components", "failed", "", ""],
    ]


def test_the_target_is_a_column_when_there_are_several_and_other_metrics_go_by_their_name() -> None:
    rows = [LeaderboardRow("PLS", target, "r2", 0.9, None, "chain") for target in ("fat", "protein")]

    header, cells = leaderboard_cells(rows)

    assert header == ["#", "pipeline", "target", "R2 cross-validation", "R2 test", "chain"]
    assert [row[2] for row in cells] == ["fat", "protein"]


@pytest.mark.parametrize("name", ["a|b", "two\nlines"])
def test_markdown_stays_a_table_whatever_a_pipeline_is_called(name: str) -> None:
    lines = leaderboard_markdown([row(name, 1.0)]).splitlines()

    assert len(lines) == 3
    assert [line.replace("\\|", "").count("|") for line in lines] == [6, 6, 6]
