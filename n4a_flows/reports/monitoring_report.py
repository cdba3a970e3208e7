"""The report of a monitoring: which limits were crossed, how predictions agree with laboratory values, and the control charts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from n4a_flows.monitoring.agreement import Agreement
from n4a_flows.monitoring.chart import ControlChart
from n4a_flows.monitoring.control import MonitoredChain, MonitoredGroup, MonitoringReport, chart_name
from n4a_flows.reports.control_chart import MOST_SAMPLES, control_chart_picture
from n4a_flows.reports.document import Block, Bullets, Heading, Paragraph, Picture, Pictures, Table, to_markdown
from n4a_flows.reports.figures import predicted_against_measured
from n4a_flows.reports.html import to_html
from n4a_flows.reports.score_text import number

_SHOWN = 30
_MOST_PICTURED = 6
"""Charts with pictures, those with the latest crossings first, so that the report stays small enough to be shown."""

_HEADER = (
    "target", "chain", "instrument", "product", "n", "bias", "SEP", "RMSEP", "RMSECV", "slope", "intercept", "R²", "crossings",
)  # fmt: skip


def monitoring_markdown(report: MonitoringReport) -> str:
    """The report as Markdown, with its pictures inside; its size does not grow with the number of samples."""
    return to_markdown(_blocks(report))


def monitoring_html(report: MonitoringReport) -> str:
    """The same as one HTML file that needs nothing else."""
    return to_html(_title(report), _blocks(report))


def _title(report: MonitoringReport) -> str:
    targets = ", ".join(dict.fromkeys(chain.target or "no target" for chain in report.chains))
    return f"Monitoring: {targets}" if targets else "Monitoring"


def _blocks(report: MonitoringReport) -> list[Block]:
    title = Heading(1, _title(report))
    if not report.chains:
        nothing = (
            "No laboratory value has come in for a sample that was predicted. Add some with n4a-flows reference add."
        )
        return [title, Paragraph(nothing, strong=True)]
    blocks: list[Block] = [
        title,
        *_outcome(report),
        Heading(2, "Agreement with the laboratory"),
        Table(*agreement_cells(report)),
        Paragraph(
            "The bias is predicted less measured. Beside bias and slope stands what they may differ from 0 and 1 by chance; * "
            "marks what differs more. The limits of the charts lie at 2 and 3 times the RMSECV."
        ),
    ]
    charts = [(chain, group) for chain in report.chains for group in chain.groups]
    charts.sort(key=lambda one: _latest(one[1].chart), reverse=True)
    for chain, group in charts[:_MOST_PICTURED]:
        blocks += [Heading(2, chart_name(chain, group)), Pictures(list(_pictures(chain, group)))]
    if len(charts) > _MOST_PICTURED:
        blocks.append(Paragraph(f"… and {len(charts) - _MOST_PICTURED} more charts, which are not drawn."))
    return blocks


def _latest(chart: ControlChart) -> tuple[bool, datetime]:
    """Whether a limit was crossed, and when for the last time."""
    last = max((crossing.members[-1] for crossing in chart.crossings), default=None)
    return last is not None, chart.scored_at[-1 if last is None else last]


def agreement_cells(report: MonitoringReport) -> tuple[list[str], list[list[str]]]:
    """Header and text cells: a row for each chain, and one for each of its instruments and products where there are several."""
    rows = []
    for chain in report.chains:
        crossings = sum(len(group.chart.crossings) for group in chain.groups)
        if len(chain.groups) == 1:
            rows.append(_row(chain, chain.groups[0].instrument, chain.groups[0].product, chain.agreement, crossings))
            continue
        rows.append(_row(chain, "all", "all", chain.agreement, crossings))
        for group in chain.groups:
            found = group.chart.agreement
            rows.append(_row(chain, group.instrument or "–", group.product or "–", found, len(group.chart.crossings)))
    return list(_HEADER), rows


def _row(
    chain: MonitoredChain, instrument: str | None, product: str | None, found: Agreement, crossings: int
) -> list[str]:
    return [
        (chain.target or "") + (f" ({chain.unit})" if chain.unit else ""),
        chain.chain_id[:8],
        instrument or "",
        product or "",
        str(found.n),
        _tested(found.bias, found.bias_limit, found.bias_differs),
        number(found.sep),
        number(found.rmsep),
        number(chain.error) or "not known",
        _tested(found.slope, found.slope_limit, found.slope_differs),
        number(found.intercept),
        number(found.r2),
        str(crossings),
    ]


def _tested(value: float | None, limit: float | None, differs: bool) -> str:
    """A value with what may be chance, marked where it is more."""
    if value is None:
        return ""
    value = 0.0 if limit is not None and abs(value) < 1e-9 * limit else value
    return number(value) + ("" if limit is None else f" ± {number(limit)}") + (" *" if differs else "")


def _outcome(report: MonitoringReport) -> Iterator[Block]:
    crossings = report.crossings
    samples = sum(chain.agreement.n for chain in report.chains)
    if not crossings:
        yield Paragraph(f"No limit was crossed by {samples} samples.", strong=True)
    else:
        times = "A limit was crossed once" if len(crossings) == 1 else f"Limits were crossed {len(crossings)} times"
        yield Paragraph(f"{times} by {samples} samples.", strong=True)
        yield Bullets([f"{found.began_at:%Y-%m-%d} {found.said}" for found in crossings[:_SHOWN]])
        if len(crossings) > _SHOWN:
            yield Paragraph(f"… and {len(crossings) - _SHOWN} earlier ones.")
    for chain in report.chains:
        if chain.error is None:
            yield Paragraph(
                f"No cross-validation of chain {chain.chain_id[:8]} is recorded in this workspace, so its charts have no limits "
                "and only the bias is tested."
            )


def _pictures(chain: MonitoredChain, group: MonitoredGroup) -> Iterator[Picture]:
    chart, quantity = group.chart, chain.target or "value"
    said = f"Control chart of {len(chart.differences)} samples"
    if len(chart.differences) > MOST_SAMPLES:
        said += f", the last {MOST_SAMPLES} of them drawn"
    called = ", ".join(f"{count} {verdict}" for verdict, count in group.verdicts.items())
    said += f"; when they were predicted, they were called {called}." if called else "."
    if chain.beyond_action is not None:
        said += f" In cross-validation {chain.beyond_action:.1%} of the samples lay beyond the action limits."
    yield Picture(control_chart_picture(chart, quantity=quantity), said)
    found = chart.agreement
    line = "predictions are all the same, there is no line"
    if found.slope is not None and found.intercept is not None:
        sign = "+" if found.intercept >= 0 else "\N{MINUS SIGN}"
        line = f"the line is measured = {number(found.slope)} × predicted {sign} {number(abs(found.intercept))}"
    yield Picture(
        predicted_against_measured(chart.measured, chart.predicted, quantity=quantity, unit=chain.unit, line=True),
        f"Predicted against measured; {line}.",
    )
