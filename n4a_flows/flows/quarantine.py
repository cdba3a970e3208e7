"""Files that cannot be scored: moved out of the way when that is asked for, those that earlier flow runs left too."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl
from prefect import get_run_logger

from n4a_flows import tasks
from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.storage.errors import N4AError
from n4a_flows.storage.places import Place
from n4a_flows.storage.texts import storable
from n4a_flows.tasks.files import file_digest, move_to_quarantine

Listed = tuple[Path | Place, str]
"""A file and the digest of its bytes."""


def left_over(ready: Iterable[Listed], pending: Collection[str], seen: Mapping[str, Mapping[str, str]]) -> list[Listed]:
    """Files that every chain quarantined in earlier flow runs, and that are not looked at again.

    Parameters
    ----------
    pending
        Digests of the files that are looked at.
    seen
        Status by digest of a file, by digest of a chain.
    """
    return [
        (file, digest)
        for file, digest in ready
        if digest not in pending and seen and all(found.get(digest) == "quarantined" for found in seen.values())
    ]


def reasons_of(store: WorkspaceStoreBlock, files: Sequence[Listed]) -> dict[str, str]:
    """Why these files were quarantined, by their digest."""
    if not files:
        return {}
    known = tasks.scored_files(store, status="quarantined")
    of_these = known.filter(pl.col("file_digest").is_in([digest for _, digest in files]))
    return {digest: reason or "" for digest, reason in of_these.select("file_digest", "reason").iter_rows()}


def move_away(files: Iterable[Listed], reasons: Mapping[str, str]) -> None:
    """Move files into the quarantine beside them, unless somebody has changed them meanwhile; `reasons` by digest."""
    for file, digest in files:
        try:
            # It may have been written to its end, or put right, since it was read.
            if file_digest(file) == digest:
                move_to_quarantine(file, reasons.get(digest, ""))
        except (N4AError, OSError) as error:
            get_run_logger().warning("%s", storable(str(error)))
