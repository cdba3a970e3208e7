"""Tasks that ask for recorded predictions."""

from __future__ import annotations

import polars as pl

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.tasks._task import storage_task


@storage_task("top {n} predictions")
def top_predictions(
    store: WorkspaceStoreBlock,
    n: int,
    metric: str = "val_score",
    ascending: bool | None = None,
    partition: str = "val",
    dataset_name: str | None = None,
    group_by: str | None = None,
) -> pl.DataFrame:
    """The n best predictions by a score column, per group when `group_by` names a column."""
    with store.open() as workspace:
        return workspace.top_predictions(n, metric, ascending, partition, dataset_name, group_by)


@storage_task("query predictions")
def query_predictions(
    store: WorkspaceStoreBlock,
    dataset_name: str | None = None,
    model_class: str | None = None,
    partition: str | None = None,
    fold_id: str | None = None,
    branch_id: int | None = None,
    pipeline_id: str | None = None,
    run_id: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> pl.DataFrame:
    """The predictions that match every filter given, newest first."""
    with store.open() as workspace:
        return workspace.query_predictions(
            dataset_name=dataset_name,
            model_class=model_class,
            partition=partition,
            fold_id=fold_id,
            branch_id=branch_id,
            pipeline_id=pipeline_id,
            run_id=run_id,
            limit=limit,
            offset=offset,
        )
