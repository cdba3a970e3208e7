"""Write something of a workspace into a file that can be taken elsewhere."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from n4a_flows import tasks
from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.flows.choice import chosen_chains
from n4a_flows.flows.options import ExportOptions
from n4a_flows.flows.summaries import ExportSummary
from n4a_flows.reports import Exportable, export_markdown, how_to_load
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError
from n4a_flows.storage.places import Place, read_bytes, size_of
from n4a_flows.storage.templates import safe_name
from n4a_flows.tasks.files import file_digest

_SHOWN = 500


@flow(persist_result=False)
def export(
    store: WorkspaceStoreBlock,
    options: ExportOptions = ExportOptions(),  # noqa: B008 - an instance, so that the form shows the defaults
) -> ExportSummary:
    """Export a chain, a pipeline, a run, predictions or a template: written, read back and only then given its name.

    Args:
        store: The workspace. Where the form names none, it is the block of the deployment.
        options: What is exported, and where to. A field that says nothing about what is exported is refused.

    Raises:
        InvalidInputError: When the file name leads out of the folders for exports, or an option does not fit what is exported.
        WorkspaceError: When there is no workspace in the folder of the block.
        UnknownIdError, MissingFileError: When there is no such chain, pipeline or run, or no such template.
        ArtifactMissingError, ArtifactCorruptError, BundleError, TemplateError: When the chain is not whole or the format cannot
            hold it, or the template is damaged.
    """
    options.refuse_what_does_not_fit()
    store.refuse_missing()
    done = _EXPORTS[options.what](store, options)
    summary = ExportSummary(
        path=done.path,
        sha256=file_digest(done.path),
        size=size_of(done.path),
        what=options.what,
        name=done.name,
        chain_id=done.name if options.what == "chain" else None,
        load=how_to_load(options.what, done.path),
    )
    create_markdown_artifact(
        key="n4a-export",
        description=f"Export of {options.what} {done.name}",
        markdown=export_markdown(summary.what, summary.path, summary.sha256, summary.size, done.inside, summary.load),
    )
    return summary


@dataclass(frozen=True)
class _Exported:
    """A file that was written, the id or name of what is in it, and what that is."""

    path: Path | Place
    name: str
    inside: list[tuple[str, str]]


def _chain(store: WorkspaceStoreBlock, options: ExportOptions) -> _Exported:
    (name,) = chosen_chains(store, options.chain, options.dataset, options.target)
    # An alias may be moved meanwhile: what is exported is the chain that it names now.
    chain = tasks.get_chain(store, name) or {}
    chain_id = str(chain.get("chain_id", name))
    path = tasks.export_chain(store, chain_id, options.file_name or f"{name}.{options.format}", options.format)
    columns = {"dataset": "dataset_name", "preprocessing": "preprocessings", "model": "model_class"}
    return _Exported(path, chain_id, _rows("chain", chain_id, chain, columns))


def _pipeline(store: WorkspaceStoreBlock, options: ExportOptions) -> _Exported:
    pipeline_id = _said(options.pipeline, "pipeline", "its id")
    path = tasks.export_pipeline_config(store, pipeline_id, options.file_name or f"pipeline-{pipeline_id}.json")
    return _Exported(path, pipeline_id, [("pipeline", pipeline_id), ("content", _beginning(path))])


def _run(store: WorkspaceStoreBlock, options: ExportOptions) -> _Exported:
    run_id = _said(options.run, "run", "its id")
    path = tasks.export_run(store, run_id, options.file_name or f"run-{run_id}.yaml")
    run = tasks.get_run(store, run_id) or {}
    columns = {"name": "name", "status": "status", "began": "created_at"}
    return _Exported(path, run_id, _rows("run", run_id, run, columns))


def _predictions(store: WorkspaceStoreBlock, options: ExportOptions) -> _Exported:
    filters = {
        "run_id": options.run,
        "pipeline_id": options.pipeline,
        "dataset_name": options.dataset,
        "partition": options.partition,
    }
    said = {name: value for name, value in filters.items() if value is not None}
    # A mistyped id would be a file without predictions.
    for what, identity, found in (
        ("run", options.run, tasks.get_run),
        ("pipeline", options.pipeline, tasks.get_pipeline),
    ):
        if identity is not None and found(store, identity) is None:
            raise UnknownIdError(f"No {what} has the id {identity!r} in this workspace.")
    parts = ["predictions", *map(_in_file_name, said.values()), *(["arrays"] if options.arrays else [])]
    path = tasks.export_predictions_parquet(
        store, options.file_name or "-".join(parts) + ".parquet", options.arrays, said
    )
    frame = pl.scan_parquet(path if isinstance(path, Path) else io.BytesIO(path.read()))
    name = ", ".join(f"{column} {value}" for column, value in said.items()) or "all"
    rows = str(frame.select(pl.len()).collect().item())
    columns = ", ".join(frame.collect_schema().names())
    return _Exported(path, name, [("predictions", name), ("rows", rows), ("columns", columns)])


def _template(store: WorkspaceStoreBlock, options: ExportOptions) -> _Exported:
    name = _said(options.template, "template", "its name")
    path = tasks.export_template(store, name, options.file_name or f"template-{safe_name(name)}.json")
    return _Exported(path, name, [("template", name), ("content", _beginning(path))])


_EXPORTS: dict[Exportable, Callable[[WorkspaceStoreBlock, ExportOptions], _Exported]] = {
    "chain": _chain,
    "pipeline": _pipeline,
    "run": _run,
    "predictions": _predictions,
    "template": _template,
}


def _said(value: str | None, what: str, how: str) -> str:
    if not value:
        raise InvalidInputError(f"Say which {what} is to be exported: give {how} as the option {what!r}.")
    return value


def _rows(what: str, name: str, row: Mapping[str, Any], columns: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(what, name), *((label, str(row.get(column) or "")) for label, column in columns.items())]


def _in_file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text)


def _beginning(path: Path | Place) -> str:
    """The beginning of a text file, on one line."""
    text = " ".join(read_bytes(path).decode().split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."
