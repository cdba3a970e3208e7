"""What the commands have in common: the workspace, `--json`, tables and exit codes. Light: no Prefect, no pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from n4a_flows.cli.console import CLOSED, INTERRUPTED, out
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.database import refuse_missing_workspace
from n4a_flows.storage.json_values import from_json
from n4a_flows.storage.texts import storable

DONE, FAILED, WRONG_USAGE, FOUND_DAMAGE, STAYED_BUSY, LIMITS_CROSSED = 0, 1, 2, 3, 4, 5
EXIT_CODES = {
    DONE: "done",
    FAILED: "refused or failed; one line on stderr says why",
    WRONG_USAGE: "wrong usage: there is no such command or option",
    FOUND_DAMAGE: "check found damage",
    STAYED_BUSY: "others kept the workspace busy; nothing was done, try again",
    LIMITS_CROSSED: "monitor found a limit of a control chart crossed",
    INTERRUPTED: "interrupted with Ctrl-C",
    CLOSED: "the output was closed before its end, as `head` does",
}

Workspace = Annotated[Path, typer.Option("--workspace", "-w", help="Folder of the workspace.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_WORKSPACE = Path("workspace")


def opened(workspace: Path, *, read_only: bool = False) -> WorkspaceStore:
    """The store of a workspace that exists; a mistyped folder does not become a new one."""
    refuse_missing(workspace)
    return WorkspaceStore(workspace, read_only=read_only)


def refuse_missing(workspace: Path) -> None:
    """Raise `WorkspaceError` when there is no workspace in a folder, or it cannot be looked at."""
    refuse_missing_workspace(workspace, "name one with --workspace, or train first")


def print_json(value: Any) -> None:
    """One JSON document on stdout; what is no finite number is null."""
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False, default=str)
    out.print(storable(text), markup=False)


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table as plain text, a line a row however wide the terminal is; numbers to the right, None as nothing."""
    cells = [[_cell(value) for value in row] for row in rows]
    numbers = [all(_is_number(row[place]) for row in cells) for place in range(len(header))]
    widths = [max(len(name), *(len(row[place]) for row in cells), 0) for place, name in enumerate(header)]
    for line in [list(header), *cells]:
        aligned = [
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, numbers, strict=True)
        ]
        out.print("  ".join(aligned).rstrip(), markup=False)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Names and values, one a line; those without a value are left out."""
    said = {name: _cell(value) for name, value in fields.items()}
    width = max(map(len, said))
    for name, text in said.items():
        if text:
            out.print(f"{name:<{width}}  {text}", markup=False)


def rows_of(frame: pl.DataFrame, *json_columns: str) -> list[dict[str, Any]]:
    """The rows of a table, with its JSON columns as values."""
    return [
        {name: from_json(value) if name in json_columns else value for name, value in row.items()}
        for row in frame.to_dicts()
    ]


def short(identity: str | None) -> str | None:
    """The beginning of an id, which the commands take for the whole."""
    return None if identity is None else identity[:8]


def moment(when: datetime | None) -> str | None:
    """A time of the store, which is UTC, to the minute."""
    return None if when is None else when.strftime("%Y-%m-%d %H:%M")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:#.4g}".rstrip(".")
    return " ".join(str(value).split())


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, date) else value
