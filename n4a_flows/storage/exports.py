"""What leaves the workspace as files: written under a temporary name, read back, then renamed."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from n4a_flows.storage.artifacts import write_durably
from n4a_flows.storage.errors import WorkspaceError


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


def json_bytes(value: Any) -> bytes:
    """Indented JSON, UTF-8."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def yaml_bytes(value: Any) -> bytes:
    """YAML that `safe_load` reads, keys in their order, UTF-8."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode()


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    """A frame as Parquet, zstd compressed."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
