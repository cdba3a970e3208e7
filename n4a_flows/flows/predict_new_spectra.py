"""Score spectra files that have not been scored yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from n4a_flows import tasks
from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.flows import events
from n4a_flows.flows.batches import judge_new_samples, refuse_checks_without_meaning, refuse_release, report_of, unit_of
from n4a_flows.flows.choice import chosen_chains
from n4a_flows.flows.chunks import chunked, one_thread, whole
from n4a_flows.flows.memory import older_objects_kept
from n4a_flows.flows.options import PathText, PredictionOptions
from n4a_flows.flows.progress import Progress
from n4a_flows.flows.quarantine import Listed, left_over, move_away, reasons_of
from n4a_flows.flows.results import (
    csv_bytes,
    latest_scorings,
    predictions_table,
    refuse_unwritable,
    released_rows,
    replicates_table,
    results_name,
    without_copies,
    write_file,
    write_parquet,
)
from n4a_flows.flows.summaries import PredictionSummary, QuarantinedFile
from n4a_flows.flows.workers import RunnerText, workers
from n4a_flows.reports.prediction_rows import verdict_counts, with_intervals
from n4a_flows.spectra import readers_in_use
from n4a_flows.storage import ChainPackage, ScoredFile
from n4a_flows.storage.errors import QuarantineError, WorkspaceError
from n4a_flows.storage.exports import deliver
from n4a_flows.storage.places import Place
from n4a_flows.storage.texts import storable
from n4a_flows.tasks.files import digests_of, list_spectra_files, still_growing
from n4a_flows.tasks.judging import Judging
from n4a_flows.tasks.scoring import PendingFile, Reading, ScoredChunk, Together, refuse_unseen
from n4a_flows.tasks.versions import Versions


@flow(task_runner=one_thread(), persist_result=False)
def predict_new_spectra(
    store: WorkspaceStoreBlock,
    chain: str | list[str],
    files: PathText | list[PathText] | None = None,
    options: PredictionOptions = PredictionOptions(),  # noqa: B008 - an instance, so that the form shows the defaults
    runner: RunnerText = "threads",
) -> PredictionSummary:
    """Predict the spectra files that a chain has not seen yet: each chain scores a file once, however often this runs.

    A file is known by the digest of its bytes, a chain by the digest of its content: a renamed file or a chain that
    was trained again to the same result is not new. Spectra are converted to the axis and signal of the chain where
    that is certain. A file that cannot be read, or lies elsewhere, is quarantined with the reason and the others go on;
    it is looked at again when its bytes or the readers change. A file that is still being written is left for the next
    run.

    A chain with limits gives each sample an interval and a verdict with reasons, and the new samples together one as a batch. A
    batch whose check samples are wrong or missing is not released.

    Args:
        store: The workspace that holds the chain and the ledger of scored files. Where the form names none, it is the block of the
            deployment.
        chain: Id or alias of a chain, such as `tecator/fat/champion`; `best`, with the dataset in the options; or a list of these.
        files: A folder (its sub-folders too), a glob, a file, or a list of these; the folder `incoming` of the workspace when left
            out.
        options: How files are read and judged, and what is written.
        runner: Where chunks of files are predicted: a thread or processes of this machine, dask or ray on all of its cores, or a
            cluster: dask=tcp://scheduler:8786, ray=ray://head:10001. It is always this process that records.

    Raises:
        WorkspaceError: When there is no workspace in the folder of the block.
        MissingFileError: When a folder or file named here does not exist.
        UnknownIdError: When there is no such chain.
        InvalidInputError: When the results cannot be written as the options say, or the check samples have no meaning for the
            chains.
        BatchNotReleasedError: When a check sample is outside its limits or missing; everything is recorded by then, and nothing
            written for the LIMS.
        WorkerError: When the workers of the runner cannot be had, die, have other packages, or do not see the files; chunks that
            were recorded stay, and the next run goes on.
        QuarantineError: When more than the allowed share of the new files was quarantined; everything is recorded by then.
    """
    with older_objects_kept():
        return _predict_new_spectra(store, chain, files, options, runner)


def _predict_new_spectra(
    store: WorkspaceStoreBlock,
    chain: str | list[str],
    files: str | list[str] | None,
    options: PredictionOptions,
    runner: str,
) -> PredictionSummary:
    store.refuse_missing()
    files = _incoming(store) if files is None else files
    about = {name: value for name in ("instrument", "product") if (value := getattr(options, name)) is not None}
    reading = Reading(options.unit, options.signal, options.id_column, options.resample, _readers(options), about)
    refuse_unwritable(options.csv_columns, options.replicate_pattern)
    csv_path = None if options.csv_file is None else store.export_target(options.csv_file)
    found = list_spectra_files(files)
    growing = still_growing(found, options.settle_seconds)
    # An alias is resolved here, once: every row names the chain that it stood for.
    loaded = [tasks.chain_package(store, name) for name in chosen_chains(store, chain, options.dataset, options.target)]
    packages = {package.digest: package for package in loaded}
    refuse_checks_without_meaning(loaded, options)
    ready = digests_of([file for file in found if file not in growing], _left)
    listed = [(storable(str(file)), digest) for file, digest in ready]
    digests = [digest for _, digest in listed]
    seen: dict[str, dict[str, str]] = {chain: {} for chain in packages}
    put_back: dict[str, set[str]] = {chain: set() for chain in packages}
    if not options.rescore:
        for chain in packages:
            seen[chain] = tasks.scored_digests(store, chain, whole(digests), reading.readers)
            known = {path: digest for path, digest in listed if seen[chain].get(digest) == "scored"}
            put_back[chain] = tasks.files_put_back(store, chain, whole(known)) if known else set()
    pending = _pending(ready, seen, put_back)
    left = left_over(ready, {file.digest for file in pending}, seen)
    counts = _score(store, packages, pending, put_back, options, reading, runner)

    results = store.export_path(results_name(files, packages))
    samples = with_intervals(
        tasks.scored_samples(store, file_digests=whole(digests)).filter(pl.col("chain_digest").is_in(list(packages)))
    )
    new = latest_scorings(samples.filter(pl.col("flow_run_id") == flow_run.id))
    batches = judge_new_samples(store, packages, counts.together, new, options, flow_run.id)
    sittings = samples["flow_run_id"].drop_nulls().unique().sort().to_list()
    earlier = tasks.scored_batches(store, flow_run_ids=whole(sittings))
    units = {digest: unit_of(package.context) for digest, package in packages.items()}
    table = predictions_table(listed, samples, earlier, units)
    write_parquet(table, results)
    once = without_copies(table, listed)
    released = released_rows(once, checked=bool(options.check_samples))
    replicates_path = None
    if all(batch.released for batch in batches):
        replicates_path = _write_for_lims(released, results, csv_path, options)
    else:
        csv_path = None
    summary = PredictionSummary(
        chain_ids=[package.context.chain_id for package in loaded],
        scored=len(counts.scored),
        skipped=len(listed) - len(pending),
        quarantined=len(counts.quarantined),
        quarantined_files=[QuarantinedFile(path=p, reason=reason) for p, reason in sorted(counts.quarantined.items())],
        postponed=len(found) - len(listed) + counts.postponed,
        samples=counts.samples,
        rejected_rows=list(counts.rejected_rows),
        verdicts=verdict_counts(new),
        batches=[batch.summary for batch in batches],
        predictions_path=results,
        csv_path=csv_path,
        replicates_path=replicates_path,
    )
    held = len(once) - len(released) if csv_path or replicates_path else 0
    report = report_of(store, batches, summary, options, held, left)
    create_markdown_artifact(key="n4a-prediction", description="Prediction of new spectra", markdown=report)
    if options.quarantine == "move":
        # By one chain a file may have been scored; it is moved only when none could.
        bad = [file for file in pending if file.path in counts.quarantined and file.path not in counts.scored]
        move_away(
            [(file.where, file.digest) for file in bad], {file.digest: counts.quarantined[file.path] for file in bad}
        )
        move_away(left, reasons_of(store, left))
        if left:
            said = "%d files that earlier flow runs quarantined are moved; rescore looks at such files once more."
            get_run_logger().warning(said, len(left))
    too_many = len(counts.quarantined) > options.most_quarantined * len(pending)
    if counts.quarantined:
        events.files_quarantined(store, summary, too_many=too_many)
    refuse_release(batches)
    if too_many:
        raise QuarantineError(
            f"{len(counts.quarantined)} of {len(pending)} new files were quarantined, more than the share of "
            f"{options.most_quarantined:g} that is allowed. All of it is recorded. The first: "
            f"{next(iter(counts.quarantined.values()))}"
        )
    return summary


def _incoming(store: WorkspaceStoreBlock) -> str:
    """The folder of a workspace for spectra that have arrived; it is made, so that a schedule may look into it from the start."""
    folder = store.workspace_path / "incoming"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkspaceError(f"The folder {folder} cannot be made: {error.strerror or error}.") from error
    return str(folder)


def _write_for_lims(
    released: pl.DataFrame, results: Path, csv_path: Path | Place | None, options: PredictionOptions
) -> Path | None:
    """Write the CSV files that the options ask for; the path of the one with the replicates."""
    if csv_path is not None:
        deliver(csv_path, partial(write_file, content=csv_bytes(released, options.csv_columns)))
    if options.replicate_pattern is None:
        return None
    beside = csv_path if isinstance(csv_path, Path) else results
    path = beside.with_name(f"{beside.stem}-replicates.csv")
    return write_file(path, csv_bytes(replicates_table(released, options.replicate_pattern), {}))


@dataclass
class _Counts:
    """What a flow run did; per file, not per file and chain."""

    scored: set[str] = field(default_factory=set)
    quarantined: dict[str, str] = field(default_factory=dict)
    postponed: int = 0
    samples: int = 0
    rejected_rows: dict[str, None] = field(default_factory=dict)
    together: defaultdict[str, Together] = field(default_factory=lambda: defaultdict(Together))

    def add(self, files: Iterable[ScoredFile]) -> None:
        for file in files:
            if file.status == "scored":
                self.scored.add(file.path)
                self.samples += len(file.samples)
                for row in file.detail.get("rejected", ()):
                    self.rejected_rows[f"{file.path}, line {row['line']}: {row['reason']}"] = None
            else:
                self.quarantined[file.path] = file.reason or ""


def _readers(options: PredictionOptions) -> str:
    """What reads the files and what it is told, as the ledger names it with what is quarantined."""
    told = {name: getattr(options, name) for name in ("unit", "signal", "id_column", "resample")}
    return ", ".join([readers_in_use(), *(f"{name}={value}" for name, value in told.items() if value)])


def _left(file: Path | Place, reason: str) -> None:
    """A file that vanished or cannot be opened."""
    get_run_logger().warning("%s", storable(f"{file} is left for the next run: {reason}"))


def _pending(
    ready: Sequence[Listed], seen: Mapping[str, Collection[str]], put_back: Mapping[str, Collection[str]]
) -> list[PendingFile]:
    """The files that some chain has not seen, or scored otherwise under that path since; of files with the same bytes one."""
    pending: dict[str, PendingFile] = {}
    for file, digest in ready:
        path = storable(str(file))
        chains = tuple(chain for chain, files in seen.items() if digest not in files or path in put_back[chain])
        if chains and (digest not in pending or any(path in paths for paths in put_back.values())):
            pending[digest] = PendingFile(file, digest, chains)
    return list(pending.values())


def _score(
    store: WorkspaceStoreBlock,
    packages: Mapping[str, ChainPackage],
    pending: Sequence[PendingFile],
    put_back: Mapping[str, Collection[str]],
    options: PredictionOptions,
    reading: Reading,
    runner: str,
) -> _Counts:
    counts = _Counts()
    progress = Progress("predicting files", len(pending))
    if not pending:
        return counts
    same = {
        "trust": store.trust,
        "allowed_modules": tuple(store.allowed_modules),
        "reading": reading,
        "judging": Judging(options.false_alarms, options.coverage),
    }
    chains = list(packages.values())
    with workers(runner) as crew:
        for chunk in crew.results(
            tasks.score_files,
            chunked(pending, options.files_per_task, crew.count),
            lambda files, sent: {"packages": sent, "files": files, **same},
            shared=chains,
            versions=lambda: Versions.to_score(chains),
        ):
            if crew.apart:
                refuse_unseen(chunk)
            _record(store, packages, chunk, put_back, options, reading, counts)
            progress.advance(chunk.looked_at)
    return counts


def _record(
    store: WorkspaceStoreBlock,
    packages: Mapping[str, ChainPackage],
    chunk: ScoredChunk,
    put_back: Mapping[str, Collection[str]],
    options: PredictionOptions,
    reading: Reading,
    counts: _Counts,
) -> None:
    for digest, files in chunk.files.items():
        if files:
            chain_id = packages[digest].context.chain_id
            recorded = tasks.record_scoring(
                store,
                chain_id,
                whole(files),
                flow_run.id,
                readers=reading.readers,
                rescore=options.rescore,
                put_back=whole(put_back[digest]),
            )
            counts.add(recorded)
            if len(recorded) < len(files):
                # The others another flow run has recorded meanwhile; they are no part of this batch.
                chunk.together[digest] = chunk.together[digest].of_only(recorded)
            # Prefect keeps what a task returned until the flow ends; of a large folder that would be all of it.
            recorded.clear()
    chunk.files.clear()
    for digest, together in chunk.together.items():
        counts.together[digest].add(together)
    counts.postponed += len(chunk.postponed)
