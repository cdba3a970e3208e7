"""What leaves the workspace as files: written under a temporary name, read back, then renamed."""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from n4a_flows.storage import queries
from n4a_flows.storage.durable_files import TEMPORARY_PREFIX, sync_folder
from n4a_flows.storage.errors import InvalidInputError, N4AError, PlaceError, UnknownIdError, WorkspaceError
from n4a_flows.storage.json_values import canonical_json, from_json, to_json
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.places import Place, on_this_machine
from n4a_flows.storage.session import Session

Exportable = Literal["chain", "pipeline", "run", "predictions", "template"]
"""What can leave a workspace as a file."""


_SUFFIX = re.compile(r".\.[A-Za-z][A-Za-z0-9]*$")
"""What a name ends in that has a suffix: `fat v1.2` has none."""


def output_file(output_path: str | os.PathLike[str], suffix: str) -> Path:
    """The absolute path of an export, with `suffix` appended when the name has none."""
    path = on_this_machine(output_path)
    return path if _SUFFIX.search(path.name) else path.with_name(path.name + suffix)


def chain_file(output_path: str | os.PathLike[str], format: str) -> Path:
    """The absolute path of an exported chain, made to end as its format says; `InvalidInputError` for a bundle called a script."""
    path = on_this_machine(output_path)
    if format == "n4a.py":
        # As nirs4all does: the name of a bundle becomes that of its script.
        return path if path.name.endswith(".n4a.py") else path.with_name(path.name.removesuffix(".n4a") + ".n4a.py")
    if path.name.lower().endswith(".n4a.py"):
        raise InvalidInputError(
            f"The name {path.name!r} ends as a script does: let a bundle end in .n4a, or take the format 'n4a.py'."
        )
    return output_file(path, ".n4a")


def deliver(target: Path | Place, write: Callable[[Path], Path]) -> Path | Place:
    """Let `write` make a file; where the target is a URL, copy it there and read it back.

    Parameters
    ----------
    write
        Is given the path, and returns the one that it wrote: it may have appended a suffix.

    Raises
    ------
    PlaceError
        When the place does not take it, or gives back other bytes.
    """
    if isinstance(target, Path):
        return write(target)
    with tempfile.TemporaryDirectory(prefix="n4a-export-") as folder:
        made = write(Path(folder) / target.name)
        place = target.with_name(made.name)
        place.put(made)
        if place.read() != made.read_bytes():
            raise PlaceError(
                f"The export {place} was not made: what was written reads back differently. Check the place."
            )
    return place


def write_file(target: Path, data: bytes, same: Callable[[bytes], bool] | None = None) -> Path:
    """Put an export in place: all of it or nothing. Parent folders are made.

    Parameters
    ----------
    same
        Whether bytes that were read back mean what was meant; they are those that were written in any case.

    Raises
    ------
    WorkspaceError
        When the disk refuses, or what it gives back is not what was written.
    """

    def verified(path: Path) -> bool:
        found = path.read_bytes()
        return found == data and (same is None or same(found))

    return put_in_place(target, lambda path: path.write_bytes(data), verified)


def put_in_place(target: Path, write: Callable[[Path], object], verified: Callable[[Path], bool]) -> Path:
    """Let `write` make a file under a temporary name, and give it its own name when it is `verified`.

    Raises
    ------
    WorkspaceError
        When the disk refuses, or the file is not as it was written; there is no new file then.
    """
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            sync_folder(temporary)
            if not verified(temporary):
                raise WorkspaceError(
                    f"The export {target} was not made: what was written reads back differently. Check the disk."
                )
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
    except N4AError:
        raise
    except OSError as error:
        raise WorkspaceError(f"The export {target} cannot be written: {error.strerror or error}.") from error
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


def write_json(target: Path, value: Any) -> Path:
    """Write indented JSON, UTF-8; numbers that JSON does not have are written as the database holds them."""
    data = ((to_json(value, "export", indent=2) or "null") + "\n").encode()
    return write_file(target, data, lambda found: _equal(from_json(found.decode()), value))


def write_yaml(target: Path, value: Any) -> Path:
    """Write YAML that `safe_load` reads, keys in their order, UTF-8."""
    import yaml  # takes a while, and little needs it

    # The same in C, where PyYAML was built with it: ten times as fast.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True).encode()
    return write_file(target, data, lambda found: _equal(yaml.load(found, Loader=loader), value))


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are the same to JSON, NaN being itself."""
    return canonical_json(one, "export") == canonical_json(other, "export")


_ROWS_AT_ONCE = 4096  # a hundred thousand predictions with their arrays are half a gigabyte


def write_parquet(target: Path, frames: Iterable[pl.DataFrame]) -> Path:
    """Write frames of the same columns one after the other, at least one, as the row groups of a Parquet file."""
    rows = 0

    def write(path: Path) -> None:
        nonlocal rows
        rest = iter(frames)
        table = next(rest).to_arrow()
        with pq.ParquetWriter(path, table.schema, compression="zstd", write_page_checksum=True) as writer:
            while table is not None:
                writer.write_table(table)
                rows += table.num_rows
                frame = next(rest, None)
                table = None if frame is None else frame.to_arrow()

    def verified(path: Path) -> bool:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            return bool(rows == sum(batch.num_rows for batch in file.iter_batches(_ROWS_AT_ONCE)))

    try:
        return put_in_place(target, write, verified)
    except pa.ArrowException as error:
        raise WorkspaceError(f"The export {target} was not made: {error}") from error
