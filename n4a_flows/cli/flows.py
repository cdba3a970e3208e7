"""`n4a-flows train | predict | export`: the flows, on the Prefect server of `PREFECT_API_URL` or on a temporary one."""

from __future__ import annotations

from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from n4a_flows.cli.common import DEFAULT_WORKSPACE, AsJson, Workspace, opened, print_json, refuse_missing
from n4a_flows.cli.console import out, print_error, print_leaderboard, print_quarantined, stoppable, working
from n4a_flows.cli.given import options_of
from n4a_flows.storage.definition_files import SUFFIXES, parsed
from n4a_flows.storage.errors import (
    BatchNotReleasedError,
    DefinitionError,
    InvalidInputError,
    MissingFileError,
    N4AError,
    PlaceError,
    QuarantineError,
    StoreBusyError,
    UnknownIdError,
    WorkerError,
)
from n4a_flows.storage.exports import Exportable
from n4a_flows.storage.finding import Kind
from n4a_flows.storage.texts import storable

if TYPE_CHECKING:
    from n4a_flows.flows import PredictionSummary

_MAY_PASS = (BatchNotReleasedError, PlaceError, QuarantineError, StoreBusyError, WorkerError)
"""Errors after which somebody who watches a folder goes on from the first."""

Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="NAME=VALUE",
        help=(
            "An option of the flow, for example signal=reflectance; may be given several times. A wrong name says which there are."
        ),
    ),
]
Runner = Annotated[
    str,
    typer.Option(
        metavar="RUNNER",
        help="Where it is computed: threads, processes, dask, dask=ADDRESS, ray or ray=ADDRESS. It is always recorded here.",
    ),
]
Dataset = Annotated[str | None, typer.Option(help='With "best": the dataset whose best chain is meant.')]
Target = Annotated[str | None, typer.Option(help='With "best": the target whose best chain is meant.')]


def train(
    dataset: Annotated[
        list[str],
        typer.Argument(metavar="DATASET", help="Spectra files that make one set, or the name of a shipped set."),
    ],
    pipeline: Annotated[
        str,
        typer.Option("--pipeline", "-p", help="Pipeline definition, a JSON or YAML file; or the name of a template."),
    ],
    target: Annotated[list[str] | None, typer.Option("--target", "-t", help="Column to predict.")] = None,
    option: Options = None,
    runner: Runner = "threads",
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Train every pipeline of a definition, and record it in the workspace, which is made when it is not there.

    \b
    Examples:
      n4a-flows train tecator --target fat --pipeline snv_pls
      n4a-flows train july.csv august.csv -t fat -p pls.yaml -o champion=true
      n4a-flows train july.csv -t fat -p pls.yaml --runner dask=tcp://scheduler:8786
      n4a-flows train tecator -t fat -p snv_pls -o report_file=fat.html --json
    """
    from n4a_flows.block import WorkspaceStoreBlock
    from n4a_flows.flows import train_and_record
    from n4a_flows.flows.workers import known_runner
    from n4a_flows.training import TrainingOptions

    definition, options = _definition(pipeline), options_of(TrainingOptions, option or [])
    known_runner(runner)
    block = WorkspaceStoreBlock(path=workspace)
    with working(), stoppable():
        summary = train_and_record(
            block, dataset if len(dataset) > 1 else dataset[0], target, definition, options, runner
        )
    if as_json:
        print_json(summary.model_dump(mode="json"))
        return
    print_leaderboard(summary.leaderboard)
    out.print(f"run {summary.run_id}")
    for name, chain_id in summary.best.items():
        out.print(f"best chain for {name}: {chain_id}", markup=False)
    for name, decision in summary.champions.items():
        out.print(f"champion for {name}: {decision.reason}", markup=False)


def predict(
    chain: Annotated[
        str,
        typer.Argument(
            metavar="CHAIN",
            help='Id of a chain, the beginning of one, or an alias; or "best" together with --dataset.',
        ),
    ],
    files: Annotated[list[str], typer.Argument(metavar="FILES", help="Folders, globs or files with new spectra.")],
    dataset: Dataset = None,
    target: Target = None,
    option: Options = None,
    runner: Runner = "threads",
    watch: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="Look again every so many seconds, until Ctrl-C, whatever became of the last look.",
        ),
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Predict the spectra files that the chain has not scored yet.

    \b
    Examples:
      n4a-flows predict best incoming/ --dataset tecator --target fat
      n4a-flows predict tecator/fat/champion incoming/ --watch 60 -o quarantine=move
      n4a-flows predict tecator/fat/champion s3://lab/incoming/ --runner ray=ray://head:10001
    """
    from n4a_flows.block import WorkspaceStoreBlock
    from n4a_flows.flows import PredictionOptions, predict_new_spectra
    from n4a_flows.flows.workers import known_runner

    refuse_missing(workspace)
    known_runner(runner)
    for name in files:
        if storable(name) != name:
            raise InvalidInputError(
                f"The name {storable(name)} is no UTF-8, which Prefect cannot note: name its folder instead."
            )
    options = options_of(PredictionOptions, option or [], dataset=dataset, target=target)
    block, chain = WorkspaceStoreBlock(path=workspace), _whole_id(workspace, "chain", chain)
    failed, first = False, True
    with working():
        while True:
            try:
                with stoppable():
                    summary = predict_new_spectra(block, chain, files, options, runner)
                _print_prediction(summary, as_json)
                failed = False
            except N4AError as error:
                # What was asked for wrongly is said at once; what went wrong at one look need not at the next.
                if watch is None or (first and not isinstance(error, _MAY_PASS)):
                    raise
                print_error(error)
                failed = True
            if watch is None:
                return
            first = False
            try:
                sleep(watch)
            except KeyboardInterrupt:
                if failed:
                    raise typer.Exit(1) from None
                return


def _print_prediction(summary: PredictionSummary, as_json: bool) -> None:
    if as_json:
        print_json(summary.model_dump(mode="json"))
        return
    out.print(f"{summary.scored} scored, {summary.skipped} skipped, {summary.quarantined} quarantined")
    print_quarantined([(file.path, file.reason) for file in summary.quarantined_files])
    if summary.verdicts:
        out.print(f"samples: {', '.join(f'{count} {verdict}' for verdict, count in summary.verdicts.items())}")
    for row in summary.rejected_rows:
        out.print(f"rejected: {row}", markup=False)
    for batch in summary.batches:
        if batch.verdict is not None:
            out.print("; ".join([f"batch for {batch.target}: {batch.verdict}", *batch.reasons]), markup=False)
    out.print(f"predictions {summary.predictions_path}", markup=False)


def export(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help=(
                'Id of a chain, pipeline or run, the beginning of one, or the alias of a chain; "best" together with --dataset; '
                "the name of a template. None for predictions."
            ),
        ),
    ] = None,
    what: Annotated[Exportable, typer.Option(help="What to export.")] = "chain",
    file_name: Annotated[
        str | None, typer.Option(help="Name of the file in the exports folder of the workspace.")
    ] = None,
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
    """Export a chain, a pipeline, a run, predictions or a template into the folder `exports` of the workspace.

    \b
    Examples:
      n4a-flows export best --dataset tecator --file-name fat.n4a
      n4a-flows export tecator/fat/champion --format n4a.py
      n4a-flows export 3f2a91bc --what run
      n4a-flows export --what predictions --run 3f2a91bc --arrays
    """
    from n4a_flows.block import WorkspaceStoreBlock
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
    said = {key: value for key, value in said.items() if value is not None}
    ExportOptions(**said).refuse_what_does_not_fit()
    refuse_missing(workspace)
    kinds: tuple[Kind, ...] = ("chain", "pipeline", "run")
    options = ExportOptions(**said | {kind: _whole_id(workspace, kind, said[kind]) for kind in kinds if kind in said})
    with working():
        summary = export_flow(WorkspaceStoreBlock(path=workspace), options)
    if as_json:
        print_json(summary.model_dump(mode="json"))
    else:
        out.print(f"{summary.path}\n{summary.size} bytes, SHA-256 {summary.sha256}", markup=False)


def _whole_id(workspace: Path, kind: Kind, name: str) -> str:
    """The id that begins so; `best`, aliases and what is no beginning of an id are left to the flow."""
    with opened(workspace, read_only=True) as store:
        if name == "best" or store.get_alias(name) is not None:
            return name
        try:
            return store.identify(name, kind).id
        except UnknownIdError:
            return name


def _definition(pipeline: str) -> Any:
    """What is in a file, or the text itself where it is no path: the name of a template."""
    file = Path(pipeline)
    try:
        if not file.is_file() and file.name == pipeline and file.suffix not in SUFFIXES:
            return pipeline
        return parsed(file.read_bytes())
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no pipeline definition {file}: check the path.") from error
    except OSError as error:
        raise MissingFileError(f"The pipeline definition {file} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise DefinitionError(f"The pipeline definition {file} is neither JSON nor YAML: {error}") from error


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (train, predict, export):
        app.command(rich_help_panel="Work")(command)
