"""Tasks that read and write the ledger of scored files."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.storage import ScoredFile, WorkspaceStore
from n4a_flows.tasks._task import storage_task, verb_task

scored_digests = verb_task(WorkspaceStore.scored_digests, "files seen by chain {chain_digest}")
files_put_back = verb_task(WorkspaceStore.files_put_back, "files put back, by chain {chain_digest}")
scored_files = verb_task(WorkspaceStore.scored_files, "scored files")
scored_samples = verb_task(WorkspaceStore.scored_samples, "scored samples")
record_batch = verb_task(WorkspaceStore.record_batch, "record verdict on a batch of chain {chain_id}")
scored_batches = verb_task(WorkspaceStore.scored_batches, "scored batches")


@storage_task("record scoring by chain {chain_id}")
def record_scoring(
    store: WorkspaceStoreBlock,
    chain_id: str,
    files: Sequence[ScoredFile],
    flow_run_id: str | None = None,
    readers: str | None = None,
    rescore: bool = False,
    put_back: Collection[str] = (),
) -> list[ScoredFile]:
    """Record files as scored or quarantined by a chain, with their samples, in one transaction.

    Returns those that were recorded: a file that another flow run has recorded meanwhile is left out, unless it is to be
    scored again, or its path is one of those that were put back to what they had been.
    """
    with store.open() as workspace, workspace.transaction():
        digest = workspace.get_chain_context(chain_id).digest
        seen = {} if rescore else workspace.scored_digests(digest, [file.file_digest for file in files], readers)
        new = [file for file in files if file.file_digest not in seen or file.path in put_back]
        workspace.record_scoring(chain_id, new, flow_run_id=flow_run_id)
    return new
