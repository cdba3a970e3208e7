"""What leaves the workspace as files: written under a temporary name, read back, then renamed."""

from __future__ import annotations

import io
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from n4a_flows.storage import queries
from n4a_flows.storage.artifacts import write_durably
from n4a_flows.storage.errors import UnknownIdError, WorkspaceError
from n4a_flows.storage.json_values import from_json, to_json
from n4a_flows.storage.session import Session


def output_file(output_path: str | os.PathLike[str], suffix: str) -> Path:
    """The absolute path of an export, with `suffix` appended when the name has none."""
    path = Path(os.path.abspath(output_path))
    return path if path.suffix else path.with_name(path.name + suffix)


def write_file(target: Path, data: bytes) -> Path:
    """Put an export in place: all of it or nothing. Parent folders are made.

    Raises
    ------
    WorkspaceError
        When the disk refuses.
    """
    try:
        write_durably(target, data)
    except OSError as error:
        raise WorkspaceError(f"The export {target} cannot be written: {error.strerror}.") from error
    return target


_RUN = ("run_id", "name", "status", "created_at", "completed_at", "config", "datasets", "summary")
_PIPELINE = ("pipeline_id", "name", "status", "dataset_name", "best_val", "best_test", "metric", "duration_ms")
_CHAIN_JSON = ("steps", "fold_artifacts", "shared_artifacts", "branch_path", "best_params", "cv_scores", "final_scores")


def run_document(session: Session, run_id: str) -> dict[str, Any]:
    """A run with its pipelines (in the order they began) and all columns of their chains, as plain values."""
    run = queries.run(session, run_id)
    if run is None:
        raise UnknownIdError(f"No run has the id {run_id!r} in this workspace.")
    document = {key: _plain(run[key]) for key in _RUN}
    document["pipelines"] = [
        {**{key: _plain(row[key]) for key in _PIPELINE}, "chains": _chains(session, row["pipeline_id"])}
        for row in session.dicts("SELECT * FROM pipelines WHERE run_id = ? ORDER BY created_at, rowid", [run_id])
    ]
    return document


def _chains(session: Session, pipeline_id: str) -> list[dict[str, Any]]:
    rows = session.dicts("SELECT * FROM chains WHERE pipeline_id = ? ORDER BY created_at, rowid", [pipeline_id])
    return [
        {key: from_json(value) if key in _CHAIN_JSON else _plain(value) for key, value in row.items()} for row in rows
    ]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def json_bytes(value: Any) -> bytes:
    """Indented JSON, UTF-8; numbers that JSON does not have are written as the database holds them."""
    return ((to_json(value, "export", indent=2) or "null") + "\n").encode()


def yaml_bytes(value: Any) -> bytes:
    """YAML that `safe_load` reads, keys in their order, UTF-8."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode()


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    """A frame as Parquet, zstd compressed."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
