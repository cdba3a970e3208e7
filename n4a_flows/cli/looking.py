"""`n4a-flows top | chains | runs | show`: what is in a workspace. They only read it, and need no Prefect."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import polars as pl
import typer

from n4a_flows.cli.common import DEFAULT_WORKSPACE, AsJson, Workspace, moment, opened, print_json, print_table, short
from n4a_flows.cli.common import rows_of as rows
from n4a_flows.cli.console import out
from n4a_flows.cli.shown import print_shown
from n4a_flows.storage import WorkspaceStore

Dataset = Annotated[str | None, typer.Option(help="Only those trained on this dataset.")]
Target = Annotated[str | None, typer.Option("--target", "-t", help="Only those that predict this.")]
Metric = Annotated[str | None, typer.Option(help="Only those judged by this metric, for example rmse.")]
OfRun = Annotated[str | None, typer.Option("--run", help="Only those of this run: its id, or the beginning of it.")]


def top(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many for each.")] = 10,
    dataset: Dataset = None,
    target: Target = None,
    metric: Metric = None,
    run: OfRun = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Show the best chains of each dataset, target and metric.

    The score is that of all out-of-fold predictions together, never that of a single fold or of the test set. A chain that was
    trained again to the same result counts once.

    \b
    Examples:
      n4a-flows top
      n4a-flows top -n 3 --dataset tecator --target fat
      n4a-flows top -n 1 --json | jq -r '.[0].chain_id'
    """
    with opened(workspace, read_only=True) as store:
        found = store.rank_chains(limit, dataset, target, metric, _run(store, run))
    if as_json:
        print_json(found.to_dicts())
        return
    groups = found.partition_by("dataset_name", "target", "metric", maintain_order=True) if found.height else []
    for group in groups:
        first = group.row(0, named=True)
        out.print(f"{first['dataset_name']}: {first['target'] or 'target unknown'}", markup=False)
        print_table(
            ["#", first["metric"], "test", "chain", "aliases", "pipeline"],
            [
                [row["rank"], row["best_val"], row["best_test"], short(row["chain_id"]), _aliases(row), row["name"]]
                for row in group.to_dicts()
            ],
        )
    if not groups:
        out.print("no such chain has a score")


def chains(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    dataset: Dataset = None,
    target: Target = None,
    metric: Metric = None,
    run: OfRun = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """List chains, the newest first.

    \b
    Examples:
      n4a-flows chains --dataset tecator
      n4a-flows chains --run 3f2a91bc --json
    """
    with opened(workspace, read_only=True) as store:
        found = store.list_chains(
            run_id=_run(store, run), dataset_name=dataset, target=target, metric=metric, limit=limit
        )
    if as_json:
        print_json(found.to_dicts())
        return
    print_table(
        ["chain", "saved (UTC)", "dataset", "target", "metric", "score", "test", "aliases", "pipeline"],
        [
            [
                short(row["chain_id"]),
                moment(row["created_at"]),
                *(row[name] for name in ("dataset_name", "target", "metric", "best_val", "best_test")),
                _aliases(row),
                row["name"],
            ]
            for row in found.to_dicts()
        ],
    )


def runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    status: Annotated[
        Literal["running", "completed", "failed"] | None, typer.Option(help="Only those with this status.")
    ] = None,
    dataset: Dataset = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first.

    \b
    Examples:
      n4a-flows runs
      n4a-flows runs --status failed -n 5
    """
    with opened(workspace, read_only=True) as store:
        found = store.list_runs(status=status, dataset=dataset, limit=limit)
        pipelines = {run_id: store.list_pipelines(run_id) for run_id in found["run_id"]}
    listed = [
        {**row, "pipelines": len(pipelines[row["run_id"]]), "failed_pipelines": _failed(pipelines[row["run_id"]])}
        for row in rows(found, "config", "datasets", "summary")
    ]
    if as_json:
        print_json(listed)
        return
    print_table(
        ["run", "began (UTC)", "status", "pipelines", "failed", "name", "error"],
        [
            [
                short(row["run_id"]),
                moment(row["created_at"]),
                *(row[name] for name in ("status", "pipelines", "failed_pipelines", "name", "error")),
            ]
            for row in listed
        ],
    )


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Id of a run, pipeline, chain or prediction; the beginning of one; or the alias of a chain.",
        ),
    ],
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Show a run, a pipeline, a chain or a prediction.

    \b
    Examples:
      n4a-flows show 3f2a91bc
      n4a-flows show tecator/fat/champion
      n4a-flows show 3f2a91bc --json
    """
    with opened(workspace, read_only=True) as store:
        document = _DOCUMENTS[(found := store.identify(name)).kind](store, found.id)
    if as_json:
        print_json({"kind": found.kind, **document})
    else:
        print_shown(found.kind, document)


def _shown_run(store: WorkspaceStore, run_id: str) -> dict[str, Any]:
    pipelines = rows(store.list_pipelines(run_id), "expanded_config", "generator_choices")
    chain_of = {
        row["pipeline_id"]: row["chain_id"] for row in store.list_chains(run_id=run_id, limit=10_000).to_dicts()
    }
    return {
        **(store.get_run(run_id) or {}),
        "pipelines": [{**row, "chain_id": chain_of.get(row["pipeline_id"])} for row in reversed(pipelines)],
        "log": store.get_run_log_summary(run_id).to_dicts(),
    }


def _shown_pipeline(store: WorkspaceStore, pipeline_id: str) -> dict[str, Any]:
    return {
        **(store.get_pipeline(pipeline_id) or {}),
        "chains": store.list_chains(pipeline_id=pipeline_id).to_dicts(),
        "log": rows(store.get_pipeline_log(pipeline_id), "details"),
    }


def _shown_chain(store: WorkspaceStore, chain_id: str) -> dict[str, Any]:
    context = store.get_chain_context(chain_id)
    chain = store.get_chain(chain_id) or {}
    [listed] = store.list_chains(pipeline_id=chain["pipeline_id"]).filter(pl.col("chain_id") == chain_id).to_dicts()
    axis = None if context.axis is None else {"unit": context.axis.unit, "values": context.axis.values.tolist()}
    return {
        **chain,
        **listed,
        "signal": context.signal,
        "axis": axis,
        "axis_in_words": None if context.axis is None else str(context.axis),
        "predictions": rows(store.get_chain_predictions(chain_id), "scores", "best_params"),
        "scored_files": len(store.scored_files(chain_id)),
    }


def _shown_prediction(store: WorkspaceStore, prediction_id: str) -> dict[str, Any]:
    return store.get_prediction(prediction_id) or {}


_DOCUMENTS = {
    "run": _shown_run,
    "pipeline": _shown_pipeline,
    "chain": _shown_chain,
    "prediction": _shown_prediction,
}


def _run(store: WorkspaceStore, name: str | None) -> str | None:
    return None if name is None else store.identify(name, "run").id


def _aliases(row: dict[str, Any]) -> str:
    return ", ".join(row["aliases"] or [])


def _failed(pipelines: pl.DataFrame) -> int:
    return pipelines.filter(pl.col("status") == "failed").height


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (top, chains, runs, show):
        app.command(rich_help_panel="Look")(command)
