"""Train pipelines on a set of spectra and record all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run

from n4a_flows import tasks
from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.flows import events
from n4a_flows.flows.chunks import chunked, one_thread_per_core, whole
from n4a_flows.flows.dead_runs import end_dead_runs
from n4a_flows.flows.options import PathText
from n4a_flows.flows.progress import Progress
from n4a_flows.flows.summaries import TrainingSummary
from n4a_flows.flows.workers import RunnerText, workers
from n4a_flows.reports import LeaderboardRow, leaderboard_markdown, rank
from n4a_flows.spectra import Spectra
from n4a_flows.storage.errors import DefinitionError, N4AError, UntrustedError
from n4a_flows.storage.exports import deliver
from n4a_flows.storage.places import Place
from n4a_flows.tasks.versions import Versions
from n4a_flows.training import (
    PlannedPipeline,
    RecordedPipeline,
    TrainingOptions,
    check_data,
    expand,
    run_document,
    run_summary,
    targets_of,
    to_replay,
    training_spectra,
)
from n4a_flows.training.definition import definition_of
from n4a_flows.training.metrics import Metric, higher_is_better


@flow(
    task_runner=one_thread_per_core(),
    persist_result=False,
    on_failure=[end_dead_runs],
    on_crashed=[end_dead_runs],
    on_cancellation=[end_dead_runs],
)
def train_and_record(
    store: WorkspaceStoreBlock,
    dataset: PathText | list[PathText],
    target: str | list[str] | None = None,
    pipeline: str | list[Any] | dict[str, Any] | None = None,
    options: TrainingOptions = TrainingOptions(),  # noqa: B008 - an instance, so that the form shows the defaults
    runner: RunnerText = "threads",
) -> TrainingSummary:
    """Train every pipeline of a definition on a set of spectra, and record runs, chains and predictions in a workspace.

    The data and the definition are checked before anything is recorded. Then chunks of pipelines are trained as tasks
    and recorded as they come, each chunk in one transaction, by the process of the flow. A flow that raises marks its
    run failed.

    Args:
        store: The workspace to record in. Where the form names none, it is the block of the deployment.
        dataset: A spectra file, a list of files that make one set, or the name of a shipped set: `tecator`.
        target: The column to predict, or a list; may be left out when the dataset has just one.
        pipeline: The name of a template, such as `snv_pls`, of the library of the workspace or of those that come with the package.
            Or a definition: a list of steps, or a dict that holds one under `pipeline` or `steps`.
        options: How it is trained, tested and compared.
        runner: Where the pipelines are trained: threads or processes of this machine, dask or ray on all of its cores, or a cluster
            by its address: `dask=ADDRESS`, `ray=ADDRESS`. The flow's own process records.

    Raises:
        MissingFileError, SpectraError, InvalidInputError: When the dataset is not there, cannot be read, or has no such target, or
            there is no such template; nothing has been recorded then.
        TemplateError: When the file of the template is damaged; nothing has been recorded then.
        DefinitionError, UntrustedError: When the definition is wrong, or names a class that the block does not allow; nothing has
            been recorded then.
        WorkerError: When the workers of the runner cannot be had or have other packages, or a process of `processes` dies; the run
            is recorded as failed then.
        TrainingError: When every pipeline failed; the run is recorded as failed then.
    """
    if pipeline is None:
        raise DefinitionError("No pipeline given: define one as a list of steps that ends with a model.")
    options = _with_modules_of(store, options)
    pipeline = definition_of(pipeline, store.workspace_path)
    planned = expand(pipeline, options)
    spectra = training_spectra(dataset, target, options)
    targets = targets_of(spectra, target)
    check_data(planned, spectra, targets, options)
    metric = options.metric_for(planned[0].task)

    report_path = None if options.report_file is None else store.export_target(options.report_file)

    document = run_document(pipeline, spectra, targets, options)
    run_id = tasks.begin_run(store, **document, flow_run_id=flow_run.id)
    try:
        recorded = _train(
            store, run_id, [(each, target) for target in targets for each in planned], spectra, options, runner
        )
        best = [one["chain_id"] for one in run_summary(recorded, metric)["best"].values()]
        chosen = to_replay(recorded, best, options.replay_sample, options.seed)
        replayed = [] if store.trust == "none" else tasks.replay_afresh(store, chosen)
        recorded, outcome = tasks.conclude_run(store, run_id, whole(recorded), metric, options, replayed)
    except BaseException as error:
        _mark_failed(store, run_id, error)
        raise
    summary = _summary(run_id, recorded, outcome, metric)
    events.run_completed(store, summary, spectra.name)
    for decision in summary.champions.values():
        if decision.promoted:
            events.chain_promoted(store, decision)
    title = f"Training of {', '.join(targets)} on {spectra.name}"
    written = _report(store, summary, spectra, options, title, report_path)
    return summary.model_copy(update={"report_path": str(written) if isinstance(written, Place) else written})


def _report(
    store: WorkspaceStoreBlock,
    summary: TrainingSummary,
    spectra: Spectra,
    options: TrainingOptions,
    title: str,
    target: Path | Place | None,
) -> Path | Place | None:
    """Show the report in Prefect, and write it as a file where that was asked for; where it is."""
    try:
        report = tasks.training_report(store, summary.run_id, whole(spectra), options.units)
        create_markdown_artifact(key="n4a-training", description=title, markdown=report.markdown)
        create_table_artifact(key="n4a-leaderboard", description=title, table=report.table)
        return None if target is None else deliver(target, report.write)
    except N4AError as error:
        # The run is complete by now: what it recorded does not depend on whether it can be drawn.
        get_run_logger().warning("The report of run %s was cut short: %s", summary.run_id, error)
        markdown = f"# {title}\n\nrun `{summary.run_id}`\n\n{leaderboard_markdown(summary.leaderboard)}\n{error}\n"
        create_markdown_artifact(key="n4a-training", description=title, markdown=markdown)
        return None


def _with_modules_of(store: WorkspaceStoreBlock, options: TrainingOptions) -> TrainingOptions:
    """The options, with the modules that the block allows: whoever fills in the form of a flow cannot allow others."""
    for module in options.allowed_modules:
        if module not in store.allowed_modules:
            raise UntrustedError(
                f"The module {module!r} is not among the allowed modules of the workspace's block: have it added there."
            )
    return options.model_copy(update={"allowed_modules": tuple(store.allowed_modules)})


def _train(
    store: WorkspaceStoreBlock,
    run_id: str,
    work: Sequence[tuple[PlannedPipeline, str]],
    spectra: Spectra,
    options: TrainingOptions,
    runner: str,
) -> list[RecordedPipeline]:
    progress = Progress("training pipelines", len(work))
    recorded: list[RecordedPipeline] = []
    with workers(runner) as crew:
        for trained in crew.results(
            tasks.train_pipelines,
            chunked(work, options.chunk_size, crew.count),
            lambda chunk, sent: {"work": chunk, "spectra": sent, "options": options},
            shared=spectra,
            versions=lambda: Versions.to_train(options.modules),
        ):
            recorded += tasks.record_pipelines(store, run_id, whole(trained))
            progress.advance(len(trained))
    return recorded


def _summary(
    run_id: str, recorded: Sequence[RecordedPipeline], outcome: Mapping[str, Any], metric: Metric
) -> TrainingSummary:
    best = {target: winner["chain_id"] for target, winner in outcome["best"].items()}
    leaderboard = rank(
        (LeaderboardRow(p.name, p.target, metric, p.best_val, p.best_test, p.chain_id, p.error) for p in recorded),
        higher_is_better=higher_is_better(metric),
    )
    return TrainingSummary(
        run_id=run_id,
        best=best,
        best_chain_id=next(iter(best.values())) if len(best) == 1 else None,
        chain_ids=[row.chain_id for row in leaderboard if row.chain_id is not None],
        failed=outcome["failed"],
        leaderboard=leaderboard,
        replayed=outcome["replayed"]["chains"],
        champions=outcome.get("champions", {}),
    )


def _mark_failed(store: WorkspaceStoreBlock, run_id: str, error: BaseException) -> None:
    """Mark the run failed; without a task run, since a flow run that is being stopped may start none."""
    try:
        with store.open() as workspace:
            workspace.fail_run(run_id, f"{type(error).__name__}: {error}".removesuffix(": "))
    except N4AError as second:
        error.add_note(f"The run {run_id} could not be marked failed: {second}")
