"""Tasks that write files into the folders that the block allows; each returns the path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.storage.library import write_template
from n4a_flows.storage.template_folder import find_template
from n4a_flows.tasks._task import storage_task


@storage_task("export pipeline {pipeline_id}")
def export_pipeline_config(store: WorkspaceStoreBlock, pipeline_id: str, file_name: str) -> Path:
    """Write the expanded definition of a pipeline as JSON."""
    with store.open() as workspace:
        return workspace.export_pipeline_config(pipeline_id, store.export_path(file_name))


@storage_task("export run {run_id}")
def export_run(store: WorkspaceStoreBlock, run_id: str, file_name: str) -> Path:
    """Write a run with its pipelines and their chains as YAML."""
    with store.open() as workspace:
        return workspace.export_run(run_id, store.export_path(file_name))


@storage_task("export predictions")
def export_predictions_parquet(
    store: WorkspaceStoreBlock, file_name: str, arrays: bool = False, filters: dict[str, Any] | None = None
) -> Path:
    """Write the predictions that match the filters of `query_predictions` as Parquet."""
    with store.open() as workspace:
        return workspace.export_predictions_parquet(store.export_path(file_name), arrays=arrays, **(filters or {}))


@storage_task("export template {name}")
def export_template(store: WorkspaceStoreBlock, name: str, file_name: str) -> Path:
    """Write a template of the workspace, or of the package, as JSON."""
    template = find_template(store.workspace_path, name)
    return write_template(template, store.export_path(file_name))
