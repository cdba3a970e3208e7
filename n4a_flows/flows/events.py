"""What happened in a workspace, as Prefect events, for automations to react to; `docs/events.md` describes each.

Events are sent in the background and only where there is a server. One that cannot be sent is logged, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.flows import Flow

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.flows.summaries import MaintenanceSummary, PredictionSummary, TrainingSummary
from n4a_flows.storage import LimitCrossing, ScoredBatch
from n4a_flows.training import ChampionDecision

Resource = dict[str, str]

_SHOWN = 20


def run_completed(store: WorkspaceStoreBlock, summary: TrainingSummary, dataset: str) -> None:
    """Event `n4a.run.completed`: a training has ended and is recorded."""
    _emit(
        "n4a.run.completed",
        store,
        {"prefect.resource.id": f"n4a.run.{summary.run_id}", "n4a.dataset": dataset},
        f"Trained {', '.join(summary.best)} on {dataset}: {len(summary.chain_ids)} chains, {summary.failed} failed.",
        {"run_id": summary.run_id, "best": summary.best, "chains": len(summary.chain_ids), "failed": summary.failed},
        [_chain(chain_id, "best-chain") for chain_id in summary.best.values()],
    )


def chain_promoted(store: WorkspaceStoreBlock, decision: ChampionDecision) -> None:
    """Event `n4a.chain.promoted`: an alias names another chain from now on."""
    former = decision.former_chain_id
    _emit(
        "n4a.chain.promoted",
        store,
        {"prefect.resource.id": f"n4a.alias.{decision.alias}", "prefect.resource.name": decision.alias},
        f"{decision.alias} is chain {decision.chain_id} now. {decision.reason}",
        {
            "alias": decision.alias,
            "chain_id": decision.chain_id,
            "former_chain_id": former,
            "metric": decision.metric,
            "score": decision.score,
            "former_score": decision.former_score,
        },
        [_chain(decision.chain_id, "champion"), *([] if former is None else [_chain(former, "former-champion")])],
    )


def files_quarantined(store: WorkspaceStoreBlock, summary: PredictionSummary, *, too_many: bool) -> None:
    """Event `n4a.files.quarantined`: new files could not be scored. Label `n4a.too-many` says if more than the options allow."""
    first = summary.quarantined_files[:_SHOWN]
    _emit(
        "n4a.files.quarantined",
        store,
        {**_workspace(store), "n4a.too-many": str(too_many).lower()},
        f"{summary.quarantined} new files were quarantined, {summary.scored} scored. The first: {first[0].reason}",
        {
            "quarantined": summary.quarantined,
            "scored": summary.scored,
            "too_many": too_many,
            "files": [file.model_dump() for file in first],
        },
        [_chain(chain_id, "chain") for chain_id in summary.chain_ids],
    )


def batch_judged(store: WorkspaceStoreBlock, batch_id: str, chain_id: str, batch: ScoredBatch) -> None:
    """Event `n4a.batch.judged`: the spectra of a flow run were judged together. Label `n4a.verdict` is the verdict."""
    _emit(
        "n4a.batch.judged",
        store,
        {"prefect.resource.id": f"n4a.batch.{batch_id}", "n4a.verdict": batch.verdict},
        f"The batch of {batch.n_samples} samples is {batch.verdict}. {' '.join(batch.reasons)}".strip(),
        {
            "batch_id": batch_id,
            "chain_id": chain_id,
            "verdict": batch.verdict,
            "released": batch.released,
            "reasons": list(batch.reasons),
            "samples": batch.n_samples,
        },
        [_chain(chain_id, "chain")],
    )


def limit_crossed(store: WorkspaceStoreBlock, crossing: LimitCrossing) -> None:
    """Event `n4a.control.limit_crossed`: laboratory values show that a control chart's limit was crossed. Label `n4a.rule`."""
    _emit(
        "n4a.control.limit_crossed",
        store,
        {"prefect.resource.id": f"n4a.crossing.{crossing.crossing_id}", "n4a.rule": crossing.rule},
        crossing.said,
        {
            "crossing_id": crossing.crossing_id,
            "rule": crossing.rule,
            "chain_id": crossing.chain_id,
            "target": crossing.target,
            "instrument": crossing.instrument,
            "product": crossing.product,
            "samples": list(crossing.sample_ids[:_SHOWN]),
            "began_at": crossing.began_at.isoformat(),
        },
        [_chain(crossing.chain_id, "chain")],
    )


def damage_found(store: WorkspaceStoreBlock, summary: MaintenanceSummary) -> None:
    """Event `n4a.maintenance.failed`: a check found damage."""
    _maintenance_failed(
        store,
        f"{len(summary.findings)} places of the workspace are damaged. The first: {summary.findings[0]}",
        {"findings": summary.findings[:_SHOWN]},
        [],
    )


def maintenance_failed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Hook: event `n4a.maintenance.failed` for a maintenance that raised or crashed. A worker may call it in another process."""
    _maintenance_failed(
        flow.validate_parameters(flow_run.parameters)["store"],
        f"The maintenance ended as {state.name}: {state.message or 'no reason is known'}",
        {"findings": []},
        [
            {
                "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
                "prefect.resource.name": flow_run.name,
                "prefect.resource.role": "flow-run",
            }
        ],
    )


def _maintenance_failed(
    store: WorkspaceStoreBlock, message: str, payload: Mapping[str, Any], related: Sequence[Resource]
) -> None:
    _emit("n4a.maintenance.failed", store, _workspace(store), message, payload, related)


def _emit(
    event: str,
    store: WorkspaceStoreBlock,
    resource: Resource,
    message: str,
    payload: Mapping[str, Any],
    related: Sequence[Resource],
) -> None:
    """Send an event; Prefect itself adds the flow run, flow and deployment that it comes from."""
    emit_event(
        event,
        resource=resource,
        related=[*related, {**_workspace(store), "prefect.resource.role": "workspace"}, *_block(store)],
        payload={"message": message, "workspace": str(store.workspace_path), **payload},
    )


def _workspace(store: WorkspaceStoreBlock) -> Resource:
    path = store.workspace_path
    return {"prefect.resource.id": f"n4a.workspace.{path}", "prefect.resource.name": path.name}


def _block(store: WorkspaceStoreBlock) -> list[Resource]:
    """The block document, in Prefect's own words; none for a block that was not saved."""
    if store._block_document_id is None:
        return []
    document = {"prefect.resource.id": f"prefect.block-document.{store._block_document_id}"}
    return [
        document | {"prefect.resource.role": "block-document", "prefect.resource.name": str(store._block_document_name)}
    ]


def _chain(chain_id: str, role: str) -> Resource:
    return {"prefect.resource.id": f"n4a.chain.{chain_id}", "prefect.resource.role": role}
