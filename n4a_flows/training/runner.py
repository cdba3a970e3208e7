"""`PipelineRunner`: train and record from a script or a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from os import PathLike
from typing import Any

import polars as pl

from n4a_flows.spectra import Spectra
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.places import without_credentials
from n4a_flows.training.conclusion import conclude_run
from n4a_flows.training.definition import PlannedPipeline, definition_document, definition_of, expand
from n4a_flows.training.engine import Work, train_pipelines
from n4a_flows.training.options import TrainingOptions
from n4a_flows.training.partition import check_data, targets_of, training_spectra
from n4a_flows.training.record import RecordedPipeline, record_pipelines
from n4a_flows.training.results import TrainedPipeline


class PipelineRunner:
    """Trains the pipelines of a definition and records them in a workspace.

    Parameters
    ----------
    workspace
        The folder of the workspace; it is made when it is not there.
    store
        An open store, instead of the folder. It stays open.

    Attributes
    ----------
    last_run_id
        The run that the last call of `run` recorded, None before.
    last_recorded
        Its pipelines, in the order of the definition.

    Raises
    ------
    InvalidInputError
        When neither a workspace nor a store is given, or both.

    Examples
    --------
    >>> runner = PipelineRunner(workspace=folder)
    >>> snv_pls = ["chemotools.scatter.StandardNormalVariate", "sklearn.cross_decomposition.PLSRegression"]
    >>> predictions = runner.run(snv_pls, "tecator", target="fat")
    >>> predictions.filter(partition="val").height
    5
    """

    def __init__(self, workspace: str | PathLike[str] | None = None, *, store: WorkspaceStore | None = None) -> None:
        if workspace is not None and store is None:
            self._folder: str | PathLike[str] = workspace
        elif store is not None and workspace is None:
            self._folder = store.workspace_path
        else:
            raise InvalidInputError("Give a PipelineRunner either a workspace folder or an open store.")
        self._store = store
        self.last_run_id: str | None = None
        self.last_recorded: list[RecordedPipeline] = []

    def run(
        self,
        definition: Any,
        dataset: str | PathLike[str] | Sequence[str | PathLike[str]] | Spectra,
        target: str | Sequence[str] | None = None,
        options: TrainingOptions | None = None,
        *,
        name: str | None = None,
    ) -> pl.DataFrame:
        """Train every pipeline of a definition for every target, and record all of it as one run.

        Parameters
        ----------
        definition
            See `expand`; or the name of a template, of the library of the workspace or of those that come with the package.
        dataset
            A file, a list of files, the name of a shipped set, or spectra that have been read.
        target
            One or several columns; may be left out where the dataset has one target.
        name
            Name of the run; that of the definition, or of the dataset and targets, when left out.

        Returns
        -------
        The predictions of the run, as `WorkspaceStore.query_predictions` gives them.

        Raises
        ------
        DefinitionError, InvalidInputError, SpectraError, MissingFileError, TemplateError
            When the definition or the data is wrong, or there is no such template or file; nothing has been recorded then.
        TrainingError
            When every pipeline failed; the run is recorded as failed then.
        """
        options = options or TrainingOptions()
        definition = definition_of(definition, self._folder)
        planned = expand(definition, options)
        spectra = training_spectra(dataset, target, options)
        targets = targets_of(spectra, target)
        check_data(planned, spectra, targets, options)
        if self._store is not None:
            return self._train(self._store, definition, planned, spectra, targets, options, name)
        with WorkspaceStore(self._folder) as store:
            return self._train(store, definition, planned, spectra, targets, options, name)

    def _train(
        self,
        store: WorkspaceStore,
        definition: Any,
        planned: Sequence[PlannedPipeline],
        spectra: Spectra,
        targets: Sequence[str],
        options: TrainingOptions,
        name: str | None,
    ) -> pl.DataFrame:
        self.last_recorded = []
        run_id = self.last_run_id = store.begin_run(**run_document(definition, spectra, targets, options, name=name))
        try:
            trained = (train_pipelines(c, spectra, options) for c in chunks(planned, targets, options.chunk_size))
            for recorded in _recorded(store, run_id, trained):
                self.last_recorded += recorded
            conclude_run(store, run_id, self.last_recorded, options.metric_for(planned[0].task), options)
        except BaseException as error:
            store.fail_run(run_id, f"{type(error).__name__}: {error}")
            raise
        return store.query_predictions(run_id=run_id)


def _recorded(
    store: WorkspaceStore, run_id: str, trained: Iterable[list[TrainedPipeline]]
) -> Iterator[list[RecordedPipeline]]:
    """Record chunks as they come; while the disk syncs one, the next is trained."""
    if store.in_transaction:  # the caller's, and its thread's
        yield from (record_pipelines(store, run_id, chunk) for chunk in trained)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="n4a-record") as recorder:
        waiting: Future[list[RecordedPipeline]] | None = None
        for chunk in trained:
            if waiting is not None:
                yield waiting.result()
            waiting = recorder.submit(record_pipelines, store, run_id, chunk)
        if waiting is not None:
            yield waiting.result()


def chunks(planned: Sequence[PlannedPipeline], targets: Sequence[str], size: int) -> Iterator[list[Work]]:
    """What there is to train, target after target, in chunks of at most `size` pipelines.

    Returns
    -------
    Lists of pairs: a planned pipeline and the target to train it for.
    """
    work = [(pipeline, target) for target in targets for pipeline in planned]
    return (work[start : start + size] for start in range(0, len(work), size))


def run_document(
    definition: Any,
    spectra: Spectra,
    targets: Sequence[str],
    options: TrainingOptions,
    *,
    name: str | None = None,
) -> dict[str, Any]:
    """What `WorkspaceStore.begin_run` is told about a training: its `name`, `config` and `datasets`.

    Raises
    ------
    DefinitionError
        As `definition_document` does.
    """
    written = definition.get("name") if isinstance(definition, Mapping) else None
    return {
        "name": name or written or f"{spectra.name}: {', '.join(targets)}",
        "config": {
            "definition": definition_document(definition, options),
            "targets": list(targets),
            "options": _recordable(options),
        },
        "datasets": [
            {
                "name": spectra.name,
                "digest": spectra.digest,
                "samples": spectra.n_samples,
                "axis": str(spectra.axis),
                "rejected": len(spectra.rejected),
            }
        ],
    }


def _recordable(options: TrainingOptions) -> dict[str, Any]:
    """The options as JSON, without credentials that URLs among them may hold."""
    return {**options.model_dump(mode="json"), "test_files": [without_credentials(file) for file in options.test_files]}
