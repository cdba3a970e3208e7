"""The predictions of the files that were asked for, as a table."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from n4a_flows.storage.artifacts import write_durably
from n4a_flows.storage.errors import WorkspaceError

COLUMNS = ["file", "sample_id", "y", "label", "target", "chain_id", "chain_digest", "scored_at"]


def predictions_table(files: Sequence[tuple[str, str]], samples: pl.DataFrame) -> pl.DataFrame:
    """One row per sample of the files and chain, whenever it was scored.

    Parameters
    ----------
    files
        (path, digest) of each file. One that was scored under another name is listed under the name it has now.
    samples
        Rows of the ledger, as `scored_samples` gives them.
    """
    names = pl.DataFrame(files, schema={"file": pl.String, "file_digest": pl.String}, orient="row")
    return names.join(samples, on="file_digest", how="inner").select(COLUMNS).sort("file", "chain_digest", "sample_id")


def results_name(files: str | Sequence[str], chain_digests: Iterable[str]) -> str:
    """File name for the results of a request, the same each time: the last part of what was asked for, and a digest."""
    names = [files] if isinstance(files, str) else list(files)
    asked = "\n".join([*(str(Path(name).expanduser().absolute()) for name in names), *sorted(chain_digests)])
    last = Path(names[0]).absolute().stem if len(names) == 1 else "files"
    readable = "".join(c if c.isalnum() or c in "-_" else "-" for c in last).strip("-") or "files"
    return f"predictions-{readable}-{hashlib.sha256(asked.encode()).hexdigest()[:10]}.parquet"


def write_parquet(table: pl.DataFrame, path: Path) -> None:
    """Write a table as Parquet, the whole file or nothing.

    Raises
    ------
    WorkspaceError
        When the file cannot be written.
    """
    content = io.BytesIO()
    table.write_parquet(content)
    try:
        write_durably(path, content.getvalue())
    except OSError as error:
        raise WorkspaceError(f"The predictions cannot be written to {path}: {error.strerror or error}.") from error
