"""Trained pipelines into the workspace, a chunk at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from n4a_flows.storage import WorkspaceStore
from n4a_flows.training.results import ChainDraft, TrainedPipeline

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedPipeline:
    """Where a trained pipeline lies in the workspace.

    Attributes
    ----------
    chain_id
        None for a pipeline that failed.
    best_val, best_test
        Score of all out-of-fold predictions together, and of the refit on the test set, in units of the metric; None where there
        is none.
    error
        Why the pipeline failed, None when it did not.
    """

    pipeline_id: str
    chain_id: str | None
    dataset_name: str
    name: str
    target: str
    best_val: float | None
    best_test: float | None
    error: str | None


def record_pipelines(store: WorkspaceStore, run_id: str, trained: Sequence[TrainedPipeline]) -> list[RecordedPipeline]:
    """Record trained pipelines under a run that has begun: all of them, or, when it raises, none.

    Artifact files are written first, then everything else is one transaction. Failed pipelines are recorded as failed, with
    their error.

    Raises
    ------
    UnknownIdError
        When there is no such run.

    Examples
    --------
    >>> [planned] = expand(["sklearn.cross_decomposition.PLSRegression"])
    >>> run_id = store.begin_run("by hand", {}, ["tecator"])
    >>> [recorded] = record_pipelines(store, run_id, [train_pipeline(planned, spectra, "fat")])
    >>> store.get_pipeline(recorded.pipeline_id)["status"]
    'completed'
    """
    artifacts = {h: artifact for pipeline in trained for h, artifact in pipeline.artifacts.items()}
    prepared = dict(zip(artifacts, store.prepare_artifacts(list(artifacts.values())), strict=True))
    # Once for each place in a chain that names it, which is how references are counted.
    places = [content_hash for pipeline in trained for content_hash in _places(pipeline)]
    with store.transaction():
        # Verb by verb rather than pipeline by pipeline: the store collects rows of a kind until something else is asked.
        ids = dict(zip(places, store.save_artifacts([prepared[place] for place in places]), strict=True))
        chains = [_with_artifacts(pipeline.chain, ids) for pipeline in trained]
        recorded = [_record(store, run_id, *each, ids) for each in zip(trained, chains, strict=True)]
        for result in recorded:
            if result.chain_id is not None:
                store.update_chain_summary(result.chain_id)
        for pipeline, result in zip(trained, recorded, strict=True):
            _end(store, pipeline, result)
        # After the end: failing a pipeline takes back what it has logged.
        for pipeline, result in zip(trained, recorded, strict=True):
            _log(store, pipeline, result)
    chain_ids = [one.chain_id for one in recorded if one.chain_id is not None]
    failed = len(recorded) - len(chain_ids)
    logger.info(
        "Run %s: recorded %d pipelines, %d failed; chains %s", run_id, len(recorded), failed, ", ".join(chain_ids)
    )
    return recorded


def _places(trained: TrainedPipeline) -> Iterator[str]:
    """Content hashes of all that a chain names, and of its probe and limits."""
    if trained.chain is not None:
        for hashes in trained.chain.shared_artifacts.values():
            yield from hashes
        for step in trained.chain.steps:
            yield from step["fold_artifact_ids"].values()
        yield from trained.chain.fold_artifacts.values()
    for beside in (trained.probe, trained.limits):
        if beside is not None:
            yield beside


def _with_artifacts(draft: ChainDraft | None, ids: Mapping[str, str]) -> ChainDraft | None:
    """The chain with the ids of its artifacts in place of their content hashes."""
    if draft is None:
        return None
    shared = {key: [ids[content_hash] for content_hash in hashes] for key, hashes in draft.shared_artifacts.items()}
    steps: list[dict[str, Any]] = [
        {
            **step,
            "artifact_ids": shared.get(str(step["step_idx"]), []),
            "fold_artifact_ids": {key: ids[content_hash] for key, content_hash in step["fold_artifact_ids"].items()},
        }
        for step in draft.steps
    ]
    folds = {key: ids[content_hash] for key, content_hash in draft.fold_artifacts.items()}
    return replace(draft, steps=steps, shared_artifacts=shared, fold_artifacts=folds)


def _record(
    store: WorkspaceStore, run_id: str, trained: TrainedPipeline, chain: ChainDraft | None, ids: Mapping[str, str]
) -> RecordedPipeline:
    planned = trained.planned
    pipeline_id = store.begin_pipeline(
        run_id, planned.name, planned.steps, planned.choices, trained.dataset_name, trained.dataset_digest
    )
    chain_id = None
    if chain is not None:
        chain_id = store.save_chain(
            pipeline_id,
            chain.steps,
            chain.model_step_idx,
            chain.model_class,
            chain.preprocessings,
            "per_fold",
            chain.fold_artifacts,
            chain.shared_artifacts,
            dataset_name=trained.dataset_name,
            axis=trained.axis,
            signal=trained.signal,
            x_range=trained.x_range,
            target=trained.target,
            task_type=trained.planned.task,
            probe_artifact_id=ids.get(trained.probe or ""),
            limits_artifact_id=ids.get(trained.limits or ""),
            unit=trained.unit,
        )
        _save_predictions(store, pipeline_id, chain_id, trained, chain)
    return RecordedPipeline(
        pipeline_id,
        chain_id,
        trained.dataset_name,
        planned.name,
        trained.target,
        trained.best_val,
        trained.best_test,
        trained.error,
    )


def _end(store: WorkspaceStore, trained: TrainedPipeline, recorded: RecordedPipeline) -> None:
    if trained.error is not None:
        store.fail_pipeline(recorded.pipeline_id, trained.error)
    else:
        store.complete_pipeline(
            recorded.pipeline_id, trained.best_val, trained.best_test, trained.metric, trained.duration_ms
        )


def _log(store: WorkspaceStore, trained: TrainedPipeline, recorded: RecordedPipeline) -> None:
    for entry in trained.log:
        store.log_step(
            recorded.pipeline_id,
            entry.step_idx,
            entry.operator_class,
            entry.event,
            duration_ms=entry.duration_ms,
            message=entry.message,
            details=entry.details,
            level=entry.level,
        )


def _save_predictions(
    store: WorkspaceStore, pipeline_id: str, chain_id: str, trained: TrainedPipeline, draft: ChainDraft
) -> None:
    for prediction in trained.predictions:
        by_partition = {name: scores[trained.metric] for name, scores in prediction.scores.items()}
        prediction_id = store.save_prediction(
            pipeline_id=pipeline_id,
            chain_id=chain_id,
            dataset_name=trained.dataset_name,
            model_name=trained.planned.model_name,
            model_class=draft.model_class,
            fold_id=prediction.fold_id,
            partition=prediction.partition,
            val_score=by_partition.get("val"),
            test_score=by_partition.get("test"),
            train_score=by_partition.get("train"),
            metric=trained.metric,
            task_type=trained.planned.task,
            n_samples=len(prediction.y_true),
            n_features=len(trained.axis),
            scores=prediction.scores,
            best_params=trained.planned.model["params"],
            branch_id=None,
            branch_name=None,
            exclusion_count=trained.left_out,
            exclusion_rate=trained.left_out / trained.n_rows,
            preprocessings=draft.preprocessings,
            refit_context=prediction.refit_context,
        )
        store.save_prediction_arrays(
            prediction_id,
            prediction.y_true,
            prediction.y_pred,
            prediction.y_proba,
            sample_indices=prediction.sample_indices,
        )
