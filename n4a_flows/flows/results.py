"""The predictions of the files that were asked for, as a table."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from n4a_flows.storage.durable_files import write_durably
from n4a_flows.storage.errors import InvalidInputError, WorkspaceError
from n4a_flows.storage.places import Place, located

COLUMNS = [
    "file", "sample_id", "y", "label", "unit", "lower", "upper", "verdict", "reasons", "released", "target", "chain_id",
    "chain_digest", "scored_at",
]  # fmt: skip


def predictions_table(
    files: Sequence[tuple[str, str]], samples: pl.DataFrame, batches: pl.DataFrame, units: Mapping[str, str | None]
) -> pl.DataFrame:
    """One row per sample of the files and chain, whenever it was scored; of files that were scored again, the latest.

    Parameters
    ----------
    files
        (path, digest) of each file. One that was scored under another name is listed under the name it has now.
    samples
        Rows of the ledger, as `scored_samples` gives them, with their intervals.
    batches
        Batches of the ledger, as `scored_batches` gives them: `released` of a sample is that of its batch, null without one.
    units
        Unit by the digest of a chain.
    """
    names = pl.DataFrame(files, schema={"file": pl.String, "file_digest": pl.String}, orient="row")
    latest = latest_scorings(samples)
    sitting = ["chain_digest", "flow_run_id"]
    released = batches.group_by(sitting).agg(pl.col("released").last())
    unit = pl.col("chain_digest").replace_strict(units, default=None, return_dtype=pl.String)
    return (
        names.join(latest, on="file_digest", how="inner")
        .join(released, on=sitting, how="left")
        .with_columns(unit.alias("unit"))
        .select(COLUMNS)
        .sort("file", "chain_digest", "sample_id")
    )


def latest_scorings(samples: pl.DataFrame) -> pl.DataFrame:
    """Rows of the ledger, of a file that a chain scored several times those of the latest."""
    return samples.filter(pl.col("scoring_id") == pl.col("scoring_id").last().over("file_digest", "chain_digest"))


def without_copies(table: pl.DataFrame, files: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """The rows of `predictions_table` with each spectrum once: of files with the same bytes, those of the first."""
    first = {digest: path for path, digest in reversed(files)}
    return table.filter(pl.col("file").is_in(list(first.values())))


def released_rows(table: pl.DataFrame, *, checked: bool) -> pl.DataFrame:
    """The rows that a LIMS may have: none of a batch that was held back.

    Parameters
    ----------
    checked
        Whether check samples are asked for: then a batch must have been released, and a flow run that was killed before it came to
        that has released nothing.
    """
    return table.filter(pl.col("released").fill_null(not checked))


def refuse_unwritable(columns: Mapping[str, str], replicate_pattern: str | None) -> None:
    """Refuse what cannot be written, before anything is scored.

    Raises
    ------
    InvalidInputError
        When the predictions have no such column, two would get the same name, or the pattern is no regular expression.
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise InvalidInputError(f"The predictions have no column {unknown[0]!r}; they have {', '.join(COLUMNS)}.")
    if len(set(columns.values())) < len(columns):
        raise InvalidInputError("Two columns of the CSV file would have the same name.")
    try:
        re.compile(replicate_pattern or "")
    except re.error as error:
        raise InvalidInputError(f"{replicate_pattern!r} is no regular expression: {error}.") from error


def replicates_table(table: pl.DataFrame, pattern: str) -> pl.DataFrame:
    """Replicate spectra of one sample together: one row per sample and chain.

    Parameters
    ----------
    table
        As `predictions_table` gives it.
    pattern
        Regular expression: what it finds in a sample id (its first group, if it has one) is the sample.

    Returns
    -------
    sample, target, chain_id, n, mean and sd (n - 1; null for one spectrum) of numbers, label (the most frequent; of equally
    frequent ones the first in the alphabet). Rejected spectra do not count.
    """
    found = re.compile(pattern)

    def sample(sample_id: str) -> str:
        match = found.search(sample_id)
        return sample_id if match is None else (match.group(1) if found.groups else match.group(0)) or sample_id

    return (
        table.filter(pl.col("y").is_not_null() | pl.col("label").is_not_null())
        .with_columns(pl.col("sample_id").map_elements(sample, return_dtype=pl.String).alias("sample"))
        .group_by("sample", "target", "chain_id")
        .agg(
            pl.len().alias("n"),
            pl.col("y").mean().alias("mean"),
            pl.col("y").std().alias("sd"),
            pl.col("label").drop_nulls().mode().sort().first().alias("label"),
        )
        .sort("sample", "target", "chain_id", nulls_last=True)
    )


def csv_bytes(table: pl.DataFrame, columns: Mapping[str, str]) -> bytes:
    """A table as CSV with the columns and names that a LIMS wants; all columns when none are named.

    Parameters
    ----------
    columns
        Name in the file by name here, in the order of the file.
    """
    chosen = table.select([pl.col(name).alias(theirs) for name, theirs in columns.items()]) if columns else table
    return chosen.write_csv(datetime_format="%Y-%m-%dT%H:%M:%S").encode()


def results_name(files: str | Sequence[str], chain_digests: Iterable[str]) -> str:
    """File name for the results of a request, the same each time: the last part of what was asked for, and a digest."""
    names = [files] if isinstance(files, str) else list(files)
    found = [where if isinstance(where, Place) else where.expanduser().absolute() for where in map(located, names)]
    asked = "\n".join([*map(str, found), *sorted(chain_digests)])
    last = found[0].stem if len(found) == 1 else "files"
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
    write_file(path, content.getvalue())


def write_file(path: Path, content: bytes) -> Path:
    """Write a whole file or nothing; `WorkspaceError` when it cannot be written."""
    try:
        write_durably(path, content)
    except OSError as error:
        raise WorkspaceError(f"The predictions cannot be written to {path}: {error.strerror or error}.") from error
    return path
