"""`n4a-flows reference | monitor | correct`: laboratory values that come in after the predictions. No Prefect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from n4a_flows.cli.common import (
    DEFAULT_WORKSPACE,
    LIMITS_CROSSED,
    AsJson,
    Workspace,
    opened,
    print_json,
    print_table,
)
from n4a_flows.cli.console import out
from n4a_flows.storage.clock import days_ago

_MOST_CROSSINGS = 20

Days = Annotated[float | None, typer.Option(min=0.0, help="Only samples that were predicted within this many days.")]

reference = typer.Typer(no_args_is_help=True, help="Laboratory values of samples.", rich_markup_mode=None)


@reference.command()
def add(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="CSV or other delimited text, Excel or Parquet, a row for each sample; or the URL of one.",
        ),
    ],
    target: Annotated[
        list[str],
        typer.Option(
            "--target",
            "-t",
            metavar="TARGET[=COLUMN]",
            help="A property as the chains name it, and its column where that has another name; may be given several times.",
        ),
    ],
    id_column: Annotated[
        str | None, typer.Option(help="Column of the sample ids; without it, the one called sample_id, id or sample.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Where the values come from; the name of the file without it.")
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Add laboratory values of samples, which may have been predicted already or not. What is known adds nothing.

    \b
    Examples:
      n4a-flows reference add lab.csv --target fat
      n4a-flows reference add july.xlsx -t "fat=Fett %" -t "protein=Rohprotein %" --id-column Probe
    """
    from n4a_flows.monitoring.reference_file import read_reference_values
    from n4a_flows.storage.places import located

    columns = {name: column or name for name, _, column in (text.partition("=") for text in target)}
    found = read_reference_values(file, columns, id_column)
    with opened(workspace) as store, store.transaction():
        added = {
            name: store.add_reference_values(values, name, source or located(file).name)
            for name, values in found.values.items()
        }
    if as_json:
        print_json({"added": added, "values": {k: len(v) for k, v in found.values.items()}, "rejected": found.rejected})
        return
    for name, count in added.items():
        out.print(f"{name}: {len(found.values[name])} values, {count} of them new or changed", markup=False)
    for reason in found.rejected:
        out.print(f"rejected: {reason}", markup=False)


def monitor(
    chain: Annotated[
        str | None, typer.Option(help="Id of a chain, the beginning of one, or an alias: only what it predicted.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="Only this property.")] = None,
    days: Days = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report with its control charts here.")
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Compare predictions with the laboratory values that came in, by chain, instrument and product.

    Exit code 5 when a limit of a control chart was crossed. It only reads: crossings are recorded, and told as events, by the flow.

    \b
    Examples:
      n4a-flows monitor
      n4a-flows monitor --chain tecator/fat/champion --days 30 --html fat.html
      n4a-flows monitor --target fat --json
    """
    from n4a_flows.monitoring import monitor as compare
    from n4a_flows.reports import agreement_cells, monitoring_html
    from n4a_flows.storage.exports import write_file

    with opened(workspace, read_only=True) as store:
        chain_id = None if chain is None else store.identify(chain, "chain").id
        report = compare(store, chain_id, target, days_ago(days))
    if html is not None:
        write_file(html.absolute(), monitoring_html(report).encode())
    if as_json:
        print_json(report.to_dict())
    elif not report.chains:
        out.print("no laboratory value has come in for a sample that was predicted")
    else:
        print_table(*agreement_cells(report))
        for crossing in report.crossings[:_MOST_CROSSINGS]:
            out.print(f"{crossing.began_at:%Y-%m-%d} {crossing.said}", markup=False)
        if len(report.crossings) > _MOST_CROSSINGS:
            out.print(f"and {len(report.crossings) - _MOST_CROSSINGS} earlier crossings")
    if report.crossings:
        raise typer.Exit(LIMITS_CROSSED)


def correct(
    chain: Annotated[str, typer.Argument(metavar="CHAIN", help="Id of a chain, the beginning of one, or an alias.")],
    kind: Annotated[Literal["bias", "slope_bias"], typer.Option(help="What is corrected.")] = "slope_bias",
    instrument: Annotated[
        str | None, typer.Option(help="Only samples of this instrument; must be said when there are several.")
    ] = None,
    days: Days = None,
    name: Annotated[str | None, typer.Option(help="Name of the run that keeps the corrected chain.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be corrected, and do nothing.")] = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Fit a slope and bias correction on samples with laboratory values, and keep it as a new chain that names its parent.

    \b
    Examples:
      n4a-flows correct tecator/fat/champion --instrument NIR-2 --dry-run
      n4a-flows correct tecator/fat/champion --instrument NIR-2
      n4a-flows correct 3f2a91bc --kind bias --days 30 --json
    """
    from n4a_flows.monitoring import correction_from_store, save_corrected_chain

    with opened(workspace, read_only=dry_run) as store:
        chain_id = store.identify(chain, "chain").id
        found = correction_from_store(store, chain_id, kind, since=days_ago(days), instrument=instrument)
        corrected = None
        if not dry_run:
            corrected = save_corrected_chain(
                store, chain_id, found, since=days_ago(days), instrument=instrument, name=name
            )
    if as_json:
        print_json({"chain_id": corrected, "parent_chain_id": chain_id, "needed": found.needed, "correction": found})
        return
    out.print(
        f"corrected = {found.intercept:.4g} + {found.slope:.4g} × predicted, by {found.before.n} samples", markup=False
    )
    out.print(f"RMSEP of these samples {found.before.rmsep:.4g} before, {found.after.rmsep:.4g} after", markup=False)
    if not found.needed:
        out.print("by a t-test nothing needed to be corrected: what differs may be chance")
    if corrected is not None:
        out.print(f"chain {corrected}", markup=False)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(reference, name="reference", rich_help_panel="Laboratory values")
    for command in (monitor, correct):
        app.command(rich_help_panel="Laboratory values")(command)
