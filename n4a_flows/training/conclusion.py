"""The end of a run: what did not stand the replay is failed, the best is found, champions are challenged, the run is completed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from n4a_flows.storage import ProbeReport, WorkspaceStore
from n4a_flows.training.afresh import fail_those_that_differ
from n4a_flows.training.champion import challenge
from n4a_flows.training.fitting import TrainingError
from n4a_flows.training.metrics import Metric, better
from n4a_flows.training.options import TrainingOptions
from n4a_flows.training.record import RecordedPipeline

logger = logging.getLogger(__name__)


def conclude_run(
    store: WorkspaceStore,
    run_id: str,
    recorded: Sequence[RecordedPipeline],
    metric: Metric,
    options: TrainingOptions,
    replayed: Sequence[ProbeReport] = (),
) -> tuple[list[RecordedPipeline], dict[str, Any]]:
    """Complete a run that has recorded its pipelines.

    Parameters
    ----------
    metric
        The score that decides.
    options
        Whether champions are challenged, and by which margin.
    replayed
        What a fresh process said of chains of the run; pipelines whose chains do not predict what training did are failed.

    Returns
    -------
    The pipelines as they stand now, and the summary that the run was completed with.

    Raises
    ------
    TrainingError
        When every pipeline failed; the run is not completed then.
    """
    checked = fail_those_that_differ(store, recorded, replayed)
    summary = run_summary(checked, metric)
    summary["replayed"] = {"chains": len(replayed), "failed": sum(not report.agrees for report in replayed)}
    if options.champion:
        summary["champions"] = {
            target: asdict(
                challenge(
                    store,
                    best["dataset_name"],
                    target,
                    best["chain_id"],
                    best["best_val"],
                    metric,
                    options.champion_margin,
                )
            )
            for target, best in summary["best"].items()
        }
    store.complete_run(run_id, summary)
    for target, best in summary["best"].items():
        logger.info(
            "Run %s: the best chain for %s is %s, %s %.4g", run_id, target, best["chain_id"], metric, best["best_val"]
        )
    return checked, summary


def run_summary(recorded: Sequence[RecordedPipeline], metric: Metric) -> dict[str, Any]:
    """What `WorkspaceStore.complete_run` is told: counts, and the best pipeline for each target.

    The best is the one with the best score of all its out-of-fold predictions together; of equal ones the first.

    Returns
    -------
    `metric`, `pipelines`, `failed` (numbers) and `best`: by target, a dict with `chain_id`, `pipeline_id`, `dataset_name`, `name`,
    `best_val` and `best_test`.

    Raises
    ------
    TrainingError
        When every pipeline failed.
    """
    failed = [pipeline for pipeline in recorded if pipeline.error is not None]
    if len(failed) == len(recorded):
        raise TrainingError(f"All {len(recorded)} pipelines failed; the first: {failed[0].error}")
    best: dict[str, RecordedPipeline] = {}
    for pipeline in recorded:
        if pipeline.best_val is not None:
            held = best.get(pipeline.target)
            if held is None or held.best_val is None or better(metric, pipeline.best_val, held.best_val):
                best[pipeline.target] = pipeline
    return {
        "metric": metric,
        "pipelines": len(recorded),
        "failed": len(failed),
        "best": {
            target: {
                "chain_id": pipeline.chain_id,
                "pipeline_id": pipeline.pipeline_id,
                "dataset_name": pipeline.dataset_name,
                "name": pipeline.name,
                "best_val": pipeline.best_val,
                "best_test": pipeline.best_test,
            }
            for target, pipeline in best.items()
        },
    }
