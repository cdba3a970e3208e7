"""What control charts say of differences that are in control, and of those that are not."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from n4a_flows.monitoring import ControlChart, control_chart
from n4a_flows.storage.errors import InvalidInputError

START = datetime(2026, 1, 5)


def chart(differences: np.ndarray | list[float], error: float | None = 1.0, unit: str | None = "%") -> ControlChart:
    measured = np.linspace(20.0, 30.0, len(differences))
    times = [START + timedelta(hours=3 * i) for i in range(len(differences))]
    ids = [f"S{i}" for i in range(len(differences))]
    return control_chart(ids, times, measured, measured + np.asarray(differences), error, unit=unit)


def found(differences: np.ndarray | list[float], error: float | None = 1.0) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.rule, one.side, one.sample_ids) for one in chart(differences, error).crossings]


def test_a_sample_beyond_an_action_limit() -> None:
    assert found([0.1, -0.2, 3.01, 0.3, -2.99, 0.0]) == [("action", "high", ("S2",))]
    assert found([0.1, -3.2, -3.4, -0.1]) == [
        ("action", "low", ("S1", "S2")),
        ("warning", "low", ("S1", "S2")),
    ]


def test_two_of_three_beyond_the_same_warning_limit() -> None:
    assert found([0.0, 2.1, 0.0, 2.2, 0.0]) == [("warning", "high", ("S1", "S3"))]
    assert found([0.0, 2.1, 0.0, 0.0, 2.2, 0.0]) == [], "two of four"
    assert found([0.0, 2.1, -2.1, 0.0]) == [], "on both sides"
    assert found([2.1, 0.5, 2.1, 0.5, 2.1, 0.0, 0.0, 0.0, -0.4]) == [("warning", "high", ("S0", "S2", "S4"))]


def test_a_lasting_bias_is_one_crossing_with_its_words() -> None:
    rng = np.random.default_rng(2)
    differences = np.concatenate([rng.normal(0, 1, 40), rng.normal(1.2, 1, 40)]).clip(-1.9, 1.9)
    [crossing] = chart(differences).crossings
    assert (crossing.rule, crossing.side) == ("bias", "high")
    assert 44 <= crossing.members[0] <= 60, "after the fortieth, within a window"
    assert crossing.members[-1] == 79
    assert crossing.said.startswith("The 20 samples from S")
    assert "too high on average; by chance it would be at most" in crossing.said


def test_while_a_bias_lasts_its_samples_are_told_once_and_what_comes_on_top_of_it_too() -> None:
    rng = np.random.default_rng(0)
    differences = 2.5 + rng.normal(0, 0.8, 40)
    differences[30] = 7.0
    crossings = [one for one in chart(differences).crossings if one.members[-1] >= 10]
    rules = [one.rule for one in crossings]
    assert sorted(rules) == ["action", "action", "bias", "warning"]
    alone, together = sorted((one for one in crossings if one.rule == "action"), key=lambda one: len(one.members))
    assert alone.sample_ids == ("S30",)
    assert set(together.members) == {i for i in range(5, 40) if differences[i] > 3} - {30}
    assert together.said.startswith(f"{', '.join(together.sample_ids[:3])} and {len(together.members) - 3} more are")


def test_words_name_the_samples_the_unit_and_the_limit() -> None:
    said = [one.said for one in chart([0.0, -4.0, 0.0, -2.5, 0.0]).crossings]
    assert said == [
        "S1 is predicted 4 % too low, beyond the action limit of 3 %.",
        "S1, S3: two of three consecutive samples are predicted too low, by more than the warning limit of 2 %.",
    ]


def test_without_a_known_error_only_the_bias_is_tested() -> None:
    without = chart([0.0, 9.0, 0.1, -8.0, 0.2, 0.0], error=None)
    assert (without.warning_limit, without.action_limit, without.crossings) == (None, None, ())
    assert found([1.0, 1.1, 0.9, 1.0, 1.2, 1.1], error=None)[0][0] == "bias"


def test_false_alarms_in_control_are_as_rare_as_the_page_says() -> None:
    """Of 20 samples in control about one chart in ten says something; docs/monitoring.md has the figures."""
    rng = np.random.default_rng(0)
    rules = [{one.rule for one in chart(rng.normal(0, 1, 20)).crossings} for _ in range(500)]
    share = {rule: np.mean([rule in one for one in rules]) for rule in ("action", "warning", "bias")}
    assert share["action"] < 0.08
    assert share["warning"] < 0.06
    assert share["bias"] < 0.03
    assert np.mean([bool(one) for one in rules]) < 0.13


@pytest.mark.parametrize(("bias", "most"), [(2.0, 7), (1.0, 25)])
def test_a_bias_is_noticed_soon(bias: float, most: int) -> None:
    """Nine of ten times within 7 samples for 2 s, within 25 for 1 s."""
    rng = np.random.default_rng(1)
    firsts = []
    for _ in range(150):
        crossings = chart(rng.normal(bias, 1, 60)).crossings
        # When the rule could say so: of two of three at the second.
        said = [one.members[one.rule == "warning"] for one in crossings if one.side == "high"]
        firsts.append(min(said, default=60) + 1)
    assert np.quantile(firsts, 0.9) <= most


def test_what_is_no_chart_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="order of time"):
        control_chart(["a", "b"], [START, START - timedelta(days=1)], [1.0, 2.0], [1.0, 2.0], 1.0)
    with pytest.raises(InvalidInputError, match="error above zero"):
        chart([0.1, 0.2], error=0.0)
    with pytest.raises(InvalidInputError, match="sample id and a time"):
        control_chart(["a"], [START], [1.0, 2.0], [1.0, 2.0], 1.0)


def test_a_chart_may_begin_at_a_moment_with_a_time_zone() -> None:
    noon = datetime(2026, 3, 1, 12)
    times = [noon + timedelta(hours=hour) for hour in range(6)]
    y = np.arange(6.0)
    since = datetime(2026, 3, 1, 17, tzinfo=timezone(timedelta(hours=2)))  # 15:00 UTC
    chart = control_chart(list("abcdef"), times, y, y + 0.1, 1.0, since=since)
    assert chart.agreement.n == 3
