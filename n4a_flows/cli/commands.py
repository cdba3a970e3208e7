"""The command line, put together: commands thin over the flows and the verbs of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from n4a_flows.cli import bundles, flows, laboratory, library, looking, up, upkeep
from n4a_flows.cli.common import EXIT_CODES, FAILED, STAYED_BUSY, AsJson, Workspace
from n4a_flows.cli.console import print_error
from n4a_flows.storage.errors import N4AError, StoreBusyError


class _Sections(TyperGroup):
    """Lists the commands under headings, each with its whole first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            sections.setdefault(str(heading), []).append((name, command.get_short_help_str(limit=200)))
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


app = typer.Typer(
    cls=_Sections,
    help="""A workspace for near-infrared spectroscopy: train, predict, keep.

    \b
    Examples:
      n4a-flows train tecator --target fat --pipeline snv_pls -o champion=true
      n4a-flows predict tecator/fat/champion incoming/
      n4a-flows top

    Every command says more with --help and has --json. The workspace is the folder `workspace` unless --workspace names another.
    Only train, predict, export and demo use Prefect: the server of PREFECT_API_URL, or else a temporary one that they start; `up`
    starts one that stays, with its UI.
    """,
    epilog="\b\nExit codes:\n" + "\n".join(f"{code:>5}  {meaning}" for code, meaning in EXIT_CODES.items()),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help: examples stay as they are written, to be copied.
    rich_markup_mode=None,
)


def run() -> int:
    """Run the command of this process; returns its exit code. What goes wrong on purpose is one line on stderr."""
    try:
        app()
    except N4AError as error:
        print_error(error)
        return STAYED_BUSY if isinstance(error, StoreBusyError) else FAILED
    return 0


def demo(workspace: Workspace = Path("demo-workspace"), as_json: AsJson = False) -> None:
    """Train, predict new files and export, on the real spectra that come with the package.

    \b
    Examples:
      n4a-flows demo
      n4a-flows demo --workspace /tmp/try --json
    """
    from n4a_flows.cli.demo import demo as run_demo

    run_demo(workspace, as_json)


app.command(rich_help_panel="Begin")(demo)
for room in (up, looking, flows, laboratory, library, bundles, upkeep):
    room.register(app)
