"""The table of a run, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from benchmarks.contenders import FLOOR, OURS, PEERS
from benchmarks.operations import OPERATIONS
from benchmarks.results import Measured, Results

COLUMNS = (OURS, *PEERS, FLOOR)

_FOLDERS = re.compile(r"(?<=[\s\"])/[^\s\"]*/")
"""Of this machine, in messages of contenders."""


def table(results: Results, about: dict[str, Any]) -> str:
    """Everything: the machine, a table for each operation, the targets."""
    lines = [*_about(about)]
    for name, operation in OPERATIONS.items():
        found = [one for one in results.measured if one.operation == name]
        if found:
            lines += ["", f"## {name}: {operation.ABOUT}", "", *_figures(found, results)]
    return "\n".join([*lines, "", "## Targets", "", *_targets(results)])


def _about(about: dict[str, Any]) -> Iterator[str]:
    machine = about["machine"]
    yield ", ".join(f"{key} {value}" for key, value in machine.items())
    yield ""
    yield f"Medians of {about['repeats']} rounds in turn (smallest to largest)."
    yield "In brackets our figure divided by theirs, round by round."
    yield ""
    for name, said in about["contenders"].items():
        versions = ", ".join(f"{package} {version}" for package, version in said["versions"].items())
        yield f"* **{name}**: {versions}. Safe when a verb returns: {said['durability']}."


def _figures(measured: list[Measured], results: Results) -> Iterator[str]:
    columns = [name for name in COLUMNS if any(one.contender == name for one in measured)]
    columns += [name for name in dict.fromkeys(one.contender for one in measured) if name not in COLUMNS]
    yield "| | " + " | ".join(columns) + " |"
    yield "|---|" + "---|" * len(columns)
    notes: dict[str, None] = {}
    for case in dict.fromkeys(one.case for one in measured):
        cells = {one.contender: one for one in measured if one.case == case}
        unit = next((one.unit for one in cells.values() if one.unit), "")
        row = [_cell(cells[name], results) if name in cells else "" for name in columns]
        notes |= {f"{one.contender}: {_FOLDERS.sub('', one.note)}": None for one in cells.values() if one.note}
        yield f"| {case}{f' ({unit})' if unit else ''} | " + " | ".join(row) + " |"
    if notes:
        yield ""
        yield from (f"* {note}" for note in notes)


def _cell(one: Measured, results: Results) -> str:
    if one.median is None:
        return "-"
    spread = f" ({number(min(one.values))} to {number(max(one.values))})" if len(one.values) > 1 else ""
    ratio = None if one.contender == OURS else results.ratio(one.operation, one.case, OURS, one.contender)
    return f"{number(one.median)}{spread}" + (f" **[{ratio:.2f}]**" if ratio is not None else "")


def _targets(results: Results) -> Iterator[str]:
    yield "| operation | | measured | target | |"
    yield "|---|---|---|---|---|"
    for one in results.targets:
        value = "not measured" if one.value is None else f"{one.value:.2f}"
        verdict = {True: "met", False: "**missed**", None: ""}[one.met]
        yield f"| {one.operation} | {one.what} | {value} | {one.relation} {one.limit:g} | {verdict} |"


def number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
