"""The commands, thin over the flows and the verbs of the store."""

from __future__ import annotations

from pathlib import Path
from time import sleep
from typing import Annotated, Any, Literal

import typer
import yaml

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.cli import bundles, library, upkeep
from n4a_flows.cli.console import out, print_error, print_leaderboard, print_quarantined, working
from n4a_flows.cli.given import options_of
from n4a_flows.cli.upkeep import DEFAULT_WORKSPACE, STAYED_BUSY, AsJson, Workspace, print_json
from n4a_flows.flows.summaries import PredictionSummary
from n4a_flows.reports import Exportable
from n4a_flows.storage.errors import (
    DefinitionError,
    InvalidInputError,
    MissingFileError,
    N4AError,
    StoreBusyError,
    WorkspaceError,
)
from n4a_flows.training import TrainingOptions

app = typer.Typer(
    help="A workspace for near-infrared spectroscopy: train, predict, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

upkeep.register(app)
bundles.register(app)
library.register(app)

Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        help="An option of the flow as NAME=VALUE, for example signal=reflectance; may be given several times.",
    ),
]
Dataset = Annotated[str | None, typer.Option(help='With "best": the dataset whose best chain is meant.')]
Target = Annotated[str | None, typer.Option(help='With "best": the target whose best chain is meant.')]


def run() -> int:
    """Run the command of this process; returns its exit code. What goes wrong on purpose is one line on stderr."""
    try:
        app()
    except N4AError as error:
        print_error(error)
        return STAYED_BUSY if isinstance(error, StoreBusyError) else 1
    return 0


@app.command()
def demo(workspace: Workspace = Path("demo-workspace")) -> None:
    """Train, predict new files and export, on the real spectra that come with the package."""
    from n4a_flows.cli.demo import demo as run_demo

    run_demo(workspace)


@app.command()
def train(
    dataset: Annotated[
        list[str], typer.Argument(help="Spectra files that make one set, or the name of a shipped set.")
    ],
    pipeline: Annotated[
        str,
        typer.Option("--pipeline", "-p", help="Pipeline definition, a JSON or YAML file; or the name of a template."),
    ],
    target: Annotated[list[str] | None, typer.Option("--target", "-t", help="Column to predict.")] = None,
    option: Options = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Train every pipeline of a definition, and record it in the workspace.

    Example: n4a-flows train tecator --target fat --pipeline snv_pls -o champion=true
    """
    from n4a_flows.flows import train_and_record

    definition, options = _definition(pipeline), options_of(TrainingOptions, option or [])
    block = WorkspaceStoreBlock(path=workspace)
    with working():
        summary = train_and_record(block, dataset if len(dataset) > 1 else dataset[0], target, definition, options)
    if as_json:
        print_json(summary.model_dump(mode="json"))
        return
    print_leaderboard(summary.leaderboard)
    out.print(f"run {summary.run_id}")
    for name, chain_id in summary.best.items():
        out.print(f"best chain for {name}: {chain_id}", markup=False)
    for name, decision in summary.champions.items():
        out.print(f"champion for {name}: {decision.reason}", markup=False)


@app.command()
def predict(
    chain: Annotated[str, typer.Argument(help='Id or alias of a chain, or "best" together with --dataset.')],
    files: Annotated[list[str], typer.Argument(help="Folders, globs or files with new spectra.")],
    dataset: Dataset = None,
    target: Target = None,
    option: Options = None,
    watch: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="SECONDS", help="Look again every so many seconds, until Ctrl-C."),
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Predict the spectra files that the chain has not scored yet.

    Example: n4a-flows predict tecator/fat/champion incoming/ --watch 60 -o quarantine=move
    """
    from n4a_flows.flows import PredictionOptions, predict_new_spectra

    block = _existing(workspace)
    options = options_of(PredictionOptions, option or [], dataset=dataset, target=target)
    with working():
        while True:
            _print_prediction(predict_new_spectra(block, chain, files, options), as_json)
            if watch is None:
                return
            try:
                sleep(watch)
            except KeyboardInterrupt:
                return


def _print_prediction(summary: PredictionSummary, as_json: bool) -> None:
    if as_json:
        print_json(summary.model_dump(mode="json"))
        return
    out.print(f"{summary.scored} scored, {summary.skipped} skipped, {summary.quarantined} quarantined")
    print_quarantined([(file.path, file.reason) for file in summary.quarantined_files])
    out.print(f"predictions {summary.predictions_path}", markup=False)


@app.command()
def export(
    name: Annotated[
        str | None,
        typer.Argument(
            help='Id of a chain ("best" together with --dataset), a pipeline or a run; name of a template. None for predictions.'
        ),
    ] = None,
    what: Annotated[Exportable, typer.Option(help="What to export.")] = "chain",
    file_name: Annotated[str | None, typer.Option(help="Name of the file in the exports folder.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help='With "best": the dataset whose best chain is meant. Of predictions: only for this one.'),
    ] = None,
    target: Target = None,
    format: Annotated[Literal["n4a", "n4a.py"] | None, typer.Option(help="Of a chain: a bundle or a script.")] = None,
    run: Annotated[str | None, typer.Option(help="Of predictions: only those of this run.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Of predictions: only those of this pipeline.")] = None,
    partition: Annotated[
        Literal["train", "val", "test"] | None, typer.Option(help="Of predictions: only those of this one.")
    ] = None,
    arrays: Annotated[
        bool, typer.Option("--arrays", help="Of predictions: with their values, sample by sample.")
    ] = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Export a chain, a pipeline, a run, predictions or a template.

    Example: n4a-flows export best --dataset tecator --file-name fat.n4a
    """
    from n4a_flows.flows import ExportOptions
    from n4a_flows.flows import export as export_flow

    said: dict[str, Any] = {
        "what": what,
        "file_name": file_name,
        "dataset": dataset,
        "target": target,
        "format": format,
        "run": run,
        "pipeline": pipeline,
        "partition": partition,
        "arrays": arrays,
    }
    if name is not None:
        if said.get(what) is not None or what == "predictions":
            raise InvalidInputError(f"{name!r} says nothing more about the {what}: leave it out.")
        said[what] = name
    options = ExportOptions(**{key: value for key, value in said.items() if value is not None})
    options.refuse_what_does_not_fit()
    block = _existing(workspace)
    with working():
        summary = export_flow(block, options)
    if as_json:
        print_json(summary.model_dump(mode="json"))
    else:
        out.print(f"{summary.path}\n{summary.size} bytes, SHA-256 {summary.sha256}", markup=False)


@app.command(name="upgrade")
def upgrade_command(
    workspace: Annotated[Path, typer.Argument(help="Folder of a workspace that nirs4all wrote.")],
) -> None:
    """Bring a workspace of nirs4all to the layout of n4a-flows. The original database is kept beside the new one.

    Example: n4a-flows upgrade workspace
    """
    from n4a_flows.storage import WorkspaceStore

    report = WorkspaceStore.upgrade(workspace)
    if report.kept is None:
        out.print(f"{report.workspace} is up to date already, nothing was done", markup=False)
        return
    out.print(f"{report.workspace} upgraded from {report.layout}", markup=False)
    out.print(", ".join(f"{count} {table}" for table, count in report.rows.items()))
    out.print(f"the original is kept as {report.kept}", markup=False)
    for warning in report.warnings:
        out.print(f"warning: {warning}", markup=False)


def _existing(workspace: Path) -> WorkspaceStoreBlock:
    if not (workspace / "store.duckdb").is_file():
        raise WorkspaceError(f"There is no workspace in {workspace}: name one with --workspace, or train first.")
    return WorkspaceStoreBlock(path=workspace)


def _definition(pipeline: str) -> Any:
    """What is in a file, or the text itself where it is no path: the name of a template."""
    file = Path(pipeline)
    if not file.is_file() and file.name == pipeline and file.suffix not in (".json", ".yaml", ".yml"):
        return pipeline
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no pipeline definition {file}: check the path.") from error
    except OSError as error:
        raise MissingFileError(f"The pipeline definition {file} cannot be read: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DefinitionError(f"The pipeline definition {file} is neither JSON nor YAML: {error}") from error
