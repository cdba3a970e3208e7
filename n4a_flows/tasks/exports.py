"""Tasks that write files where the block allows, each returns the path or the URL; and the one that takes a bundle in."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.storage import ImportReport
from n4a_flows.storage.bundles.importing import Versions
from n4a_flows.storage.codecs import refuse_untrusting
from n4a_flows.storage.exports import deliver
from n4a_flows.storage.places import Place
from n4a_flows.tasks._task import storage_task


@storage_task("export chain {chain_id}")
def export_chain(store: WorkspaceStoreBlock, chain_id: str, file_name: str, format: str = "n4a") -> Path | Place:
    """Write a chain as a bundle or a script."""
    with store.open() as workspace:
        return deliver(store.export_target(file_name), partial(workspace.export_chain, chain_id, format=format))


@storage_task("export pipeline {pipeline_id}")
def export_pipeline_config(store: WorkspaceStoreBlock, pipeline_id: str, file_name: str) -> Path | Place:
    """Write the expanded definition of a pipeline as JSON."""
    with store.open() as workspace:
        return deliver(store.export_target(file_name), partial(workspace.export_pipeline_config, pipeline_id))


@storage_task("export run {run_id}")
def export_run(store: WorkspaceStoreBlock, run_id: str, file_name: str) -> Path | Place:
    """Write a run with its pipelines and their chains as YAML."""
    with store.open() as workspace:
        return deliver(store.export_target(file_name), partial(workspace.export_run, run_id))


@storage_task("export predictions")
def export_predictions_parquet(
    store: WorkspaceStoreBlock, file_name: str, arrays: bool = False, filters: dict[str, Any] | None = None
) -> Path | Place:
    """Write the predictions that match the filters of `query_predictions` as Parquet."""
    with store.open() as workspace:
        write = partial(workspace.export_predictions_parquet, arrays=arrays, **(filters or {}))
        return deliver(store.export_target(file_name), write)


@storage_task("import {path}")
def import_bundle(
    store: WorkspaceStoreBlock, path: str | Path, replay: bool = False, versions: Versions = "report"
) -> ImportReport:
    """Bring the chain of a bundle into the workspace. Nothing of it is unpickled, unless its probe is to be replayed.

    With `replay` the chain is loaded as far as the block trusts it, and refused when it does not predict its probe as it did when
    it was trained.
    """
    if replay:
        refuse_untrusting(store.trust)
    with store.open() as workspace:
        return workspace.import_bundle(path, trust=store.trust if replay else None, versions=versions)
