"""Tasks that read and write the ledger of scored files."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.storage import ScoredFile
from n4a_flows.tasks._task import storage_task


@storage_task("files seen by chain {chain_digest}")
def scored_digests(
    store: WorkspaceStoreBlock,
    chain_digest: str,
    file_digests: Sequence[str] | None = None,
    readers: str | None = None,
) -> dict[str, str]:
    """Digest of each file that a chain (by its digest) has scored or quarantined -> status."""
    with store.open() as workspace:
        return workspace.scored_digests(chain_digest, file_digests, readers)


@storage_task("scored samples")
def scored_samples(
    store: WorkspaceStoreBlock, chain_id: str | None = None, file_digests: Sequence[str] | None = None
) -> pl.DataFrame:
    """The samples that chains have scored."""
    with store.open() as workspace:
        return workspace.scored_samples(chain_id=chain_id, file_digests=file_digests)


@storage_task("record scoring by chain {chain_id}")
def record_scoring(
    store: WorkspaceStoreBlock,
    chain_id: str,
    files: Sequence[ScoredFile],
    flow_run_id: str | None = None,
    readers: str | None = None,
    rescore: bool = False,
) -> list[ScoredFile]:
    """Record files as scored or quarantined by a chain, with their samples, in one transaction.

    Returns those that were recorded: a file that another flow run has recorded meanwhile is left out, unless it is to be
    scored again.
    """
    with store.open() as workspace, workspace.transaction():
        digest = workspace.get_chain_context(chain_id).digest
        seen = {} if rescore else workspace.scored_digests(digest, [file.file_digest for file in files], readers)
        new = [file for file in files if file.file_digest not in seen]
        workspace.record_scoring(chain_id, new, flow_run_id=flow_run_id)
    return new
