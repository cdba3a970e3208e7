"""`n4a-flows inspect` and `n4a-flows import`: bundles from elsewhere. No Prefect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from n4a_flows.cli.common import DEFAULT_WORKSPACE, AsJson, Workspace, print_json
from n4a_flows.cli.console import out
from n4a_flows.storage import BundleInfo, ImportReport, WorkspaceStore, verify_bundle
from n4a_flows.storage.aliases import check_name
from n4a_flows.storage.texts import storable

BundleFile = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A .n4a file of n4a-flows or nirs4all.")]


def inspect(bundle: BundleFile, as_json: AsJson = False) -> None:
    """Verify a bundle and say what is in it. Nothing of it is unpickled.

    \b
    Examples:
      n4a-flows inspect fat.n4a
      n4a-flows inspect fat.n4a --json
    """
    info = verify_bundle(bundle)
    if as_json:
        print_json(_document(info))
        return
    for name, value in _lines(info):
        out.print(f"{name:<14} {value}", markup=False)


def import_bundle(
    bundle: BundleFile,
    workspace: Workspace = DEFAULT_WORKSPACE,
    trust: Annotated[
        Literal["none", "modules", "all"],
        typer.Option(
            help="Load it and replay its probe: classes of allowed modules only, or all of it. Unpickling runs code."
        ),
    ] = "none",
    versions: Annotated[
        Literal["report", "refuse", "allow"],
        typer.Option(help="What to do when packages are here in other versions than where it was written."),
    ] = "report",
    alias: Annotated[str | None, typer.Option(help="Let this alias name the chain.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring the chain of a bundle into a workspace, which is made when it is not there. By default nothing is unpickled.

    \b
    Examples:
      n4a-flows import fat.n4a
      n4a-flows import fat.n4a --trust modules --alias meat/fat/champion
    """
    if alias is not None:
        check_name(alias)
    verify_bundle(bundle)  # before a workspace is made for it
    with WorkspaceStore(workspace) as store, store.transaction():
        report = store.import_bundle(bundle, trust=trust, versions=versions)
        if alias is not None:
            store.set_alias(alias, report.chain_id, note=storable(f"imported from {bundle.name}"))
    if as_json:
        print_json(report)
        return
    _say(report)


def _say(report: ImportReport) -> None:
    there = "was here already" if report.already_there else f"imported, {report.new_artifacts} artifacts were new"
    out.print(f"chain {report.chain_id} {there}", markup=False)
    for one in report.differences:
        out.print(f"{one.package}: written with {one.recorded}, here is {one.installed or 'none'}", markup=False)
    if report.missing:
        out.print(f"cannot be loaded here until installed: {', '.join(report.missing)}", markup=False)
    if report.probe is not None:
        out.print("its probe is predicted as it was when it was trained")


def _document(info: BundleInfo) -> dict[str, Any]:
    axis = None if info.axis is None else {"unit": info.axis.unit, "values": info.axis.values.tolist()}
    return {name: axis if name == "axis" else value for name, value in vars(info).items()}


def _lines(info: BundleInfo) -> list[tuple[str, str]]:
    lines = {
        "written by": f"{info.origin}{f', {info.exported_at}' if info.exported_at else ''}",
        "SHA-256": info.sha256,
        "chain": info.chain_id,
        "chain digest": info.digest,
        "made from": info.parent_digest,
        "target": info.target,
        "unit": info.unit,
        "task": info.task_type,
        "axis": None if info.axis is None else f"{info.axis}{f', {info.signal}' if info.signal else ''}",
        "steps": " > ".join(step.rpartition(".")[2] for step in info.steps),
        "predicts with": ", ".join(info.folds),
        "imports": ", ".join(info.imports),
        "written with": ", ".join(f"{name} {version}" for name, version in info.packages.items()),
        "members": f"{len(info.members)}, {sum(info.members.values())} bytes",
        "probe": "yes" if info.has_probe else "no",
        "limits": "yes" if info.has_limits else "no",
        "in nirs4all": info.nirs4all_cannot or "predicts the same",
    }
    return [(name, value) for name, value in lines.items() if value]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(rich_help_panel="Work")(inspect)
    app.command(name="import", rich_help_panel="Work")(import_bundle)
