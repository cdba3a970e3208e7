"""The report of a monitoring and its control chart."""

from __future__ import annotations

import io
from datetime import datetime, timedelta

import matplotlib.image
import numpy as np
import pytest

from n4a_flows.monitoring import (
    ControlChart,
    MonitoredChain,
    MonitoredGroup,
    MonitoringReport,
    agreement,
    control_chart,
)
from n4a_flows.reports import agreement_cells, monitoring_html, monitoring_markdown
from n4a_flows.reports.control_chart import control_chart_picture


def chart(n: int, more: float = 0.0, error: float | None = 0.8, unit: str | None = "%") -> ControlChart:
    rng = np.random.default_rng(n)
    measured = rng.uniform(5, 50, n)
    times = [datetime(2026, 1, 5) + timedelta(hours=9 * i) for i in range(n)]
    predicted = measured + np.clip(rng.normal(0, 0.8, n), -1.5, 1.5) + more
    return control_chart([f"S{i:04d}" for i in range(n)], times, measured, predicted, error, unit=unit)


def report(*groups: tuple[str | None, ControlChart]) -> MonitoringReport:
    made = tuple(MonitoredGroup(instrument, None, {"ok": 3, "warn": 1}, each) for instrument, each in groups)
    first = groups[0][1]
    together = agreement(
        *(np.concatenate([getattr(each, name) for _, each in groups]) for name in ("measured", "predicted"))
    )
    return MonitoringReport(
        (MonitoredChain("0a1b2c3d-x", "d" * 64, "fat", first.unit, first.error, "c", 0.016, together, made),)
    )


@pytest.mark.parametrize(
    "drawn",
    [
        pytest.param(chart(60), id="in control"),
        pytest.param(chart(60, more=2.0), id="biased"),
        pytest.param(chart(1), id="one sample"),
        pytest.param(chart(3, more=90.0), id="far away"),
        pytest.param(chart(12, more=1.0, error=None, unit=None), id="without limits"),
        pytest.param(chart(2000, more=0.5), id="many"),
    ],
)
def test_every_chart_can_be_drawn_and_its_size_does_not_grow(drawn: ControlChart) -> None:
    picture = control_chart_picture(drawn, quantity="fat")
    pixels = matplotlib.image.imread(io.BytesIO(picture), format="png")
    assert pixels.shape[:2] == (630, 750)
    assert len(picture) < 60_000
    assert control_chart_picture(drawn, quantity="fat") == picture


def test_the_report_says_what_was_crossed_first() -> None:
    markdown = monitoring_markdown(report(("NIR-1", chart(60)), ("NIR-2", chart(30, more=1.5))))
    lines = [line for line in markdown.splitlines() if line]
    assert lines[0] == "# Monitoring: fat"
    assert lines[1] == "**Limits were crossed 3 times by 90 samples.**"
    assert "fat, chain 0a1b2c3d, NIR-2: The 20 samples from" in markdown
    headings = [line for line in lines if line.startswith("## ")]
    assert headings == [
        "## Agreement with the laboratory",
        "## fat, chain 0a1b2c3d, NIR-2",
        "## fat, chain 0a1b2c3d, NIR-1",
    ]
    assert (
        "they were called 3 ok, 1 warn. In cross-validation 1.6% of the samples lay beyond the action limits."
        in markdown
    )
    assert markdown.count("data:image/png;base64,") == 4
    assert len(markdown) < 300_000
    html = monitoring_html(report((None, chart(60))))
    assert html.startswith("<!doctype html>")
    assert "<strong>No limit was crossed by 60 samples.</strong>" in html


def test_the_table_marks_what_differs_by_more_than_chance() -> None:
    header, rows = agreement_cells(report(("NIR-1", chart(40, more=1.5))))
    row = dict(zip(header, rows[0], strict=True))
    assert (row["target"], row["chain"], row["instrument"], row["n"]) == ("fat (%)", "0a1b2c3d", "NIR-1", "40")
    assert row["bias"].endswith(" *")
    assert not row["slope"].endswith("*")
    assert row["RMSECV"] == "0.800"
    assert len(agreement_cells(report(("A", chart(20)), ("B", chart(21))))[1]) == 3


def test_what_is_not_known_is_said() -> None:
    without = monitoring_markdown(report((None, chart(10, error=None))))
    assert "have no limits and only the bias is tested" in without
    assert "not known" in without
    assert "No laboratory value has come in" in monitoring_markdown(MonitoringReport(()))
