"""Write something of a workspace into a file that can be taken elsewhere."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from n4a_flows import tasks
from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.flows.choice import chosen_chains
from n4a_flows.flows.options import ExportOptions
from n4a_flows.flows.summaries import ExportSummary
from n4a_flows.reports import markdown_table
from n4a_flows.tasks.files import file_digest


@flow(persist_result=False)
def export(
    store: WorkspaceStoreBlock,
    options: ExportOptions = ExportOptions(),  # noqa: B008 - an instance, so that the form shows the defaults
) -> ExportSummary:
    """Export a chain as a `.n4a` bundle: the chain document, the verified bytes of its artifacts, and a manifest.

    Raises
    ------
    InvalidInputError
        When the file name leads out of the folders for exports.
    UnknownIdError
        When there is no such chain.
    ArtifactMissingError, ArtifactCorruptError
        When the chain is not whole.
    """
    (chain_id,) = chosen_chains(store, options.chain, options.dataset, options.target)
    path = tasks.export_chain(store, chain_id, options.file_name or f"{chain_id}.n4a")
    summary = ExportSummary(path=path, sha256=file_digest(path), size=path.stat().st_size, chain_id=chain_id)
    create_markdown_artifact(
        key="n4a-export",
        description=f"Export of chain {chain_id}",
        markdown="# Exported chain\n\n"
        + markdown_table(
            ["", ""],
            [
                ["chain", chain_id],
                ["file", str(summary.path)],
                ["size", f"{summary.size:,} bytes"],
                ["SHA-256", summary.sha256],
            ],
        ),
    )
    return summary
