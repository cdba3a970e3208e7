"""Deletion: rows with everything that hangs on them."""

from __future__ import annotations

from collections.abc import Sequence

from n4a_flows.storage.database import Session

# What a chain or a prediction takes with it besides its own row.
_OF_PREDICTION = ("prediction_arrays", "prediction_labels")


def delete_contents(session: Session, pipeline_ids: Sequence[str]) -> int:
    """Delete chains, predictions, arrays and logs of pipelines; returns the rows of the reference's tables that went."""
    if not pipeline_ids:
        return 0
    of_pipelines = f"pipeline_id IN ({', '.join('?' * len(pipeline_ids))})"
    removed = 0
    for table in _OF_PREDICTION:
        where = f"prediction_id IN (SELECT prediction_id FROM predictions WHERE {of_pipelines})"
        count = _delete(session, table, where, pipeline_ids)
        removed += count if table == "prediction_arrays" else 0
    removed += _delete(session, "predictions", of_pipelines, pipeline_ids)
    removed += _delete(session, "logs", of_pipelines, pipeline_ids)
    removed += _delete_chains(session, of_pipelines, pipeline_ids)
    session.memo.clear()
    return removed


def _delete_chains(session: Session, where: str, parameters: Sequence[str]) -> int:
    chains = f"SELECT chain_id FROM chains WHERE {where}"
    # A chain gives back the references that its edges stand for, never more than there are.
    session.execute(
        "UPDATE artifacts SET ref_count = greatest(0, ref_count - gone.total) FROM "
        f"(SELECT artifact_id, sum(count) AS total FROM chain_artifacts WHERE chain_id IN ({chains}) GROUP BY artifact_id) gone "
        "WHERE artifacts.artifact_id = gone.artifact_id",
        parameters,
    )
    for table in ("chain_artifacts", "chain_context"):
        _delete(session, table, f"chain_id IN ({chains})", parameters)
    return _delete(session, "chains", where, parameters)


def delete_prediction(session: Session, prediction_id: str) -> bool:
    """Delete a prediction with its arrays; False when there is none."""
    for table in _OF_PREDICTION:
        _delete(session, table, "prediction_id = ?", [prediction_id])
    session.memo.clear()
    return _delete(session, "predictions", "prediction_id = ?", [prediction_id]) > 0


def _delete(session: Session, table: str, where: str, parameters: Sequence[str]) -> int:
    return session.changed(f"DELETE FROM {table} WHERE {where}", parameters)
