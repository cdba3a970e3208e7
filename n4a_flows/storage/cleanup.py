"""Deletion: rows with everything that hangs on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from n4a_flows.storage import aliases, gc, records
from n4a_flows.storage.artifact_files import ArtifactFiles
from n4a_flows.storage.chain_builder import referenced_artifacts
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError
from n4a_flows.storage.folds import normalize_fold_key
from n4a_flows.storage.json_values import from_json
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)

_OF_PREDICTION = ("prediction_arrays", "prediction_labels")


def delete_run(session: Session, files: ArtifactFiles, run_id: str, delete_artifacts: bool, force: bool) -> int:
    """Delete a run with all its records; returns the rows that went, 0 for an unknown run."""
    pipelines = [row[0] for row in session.rows("SELECT pipeline_id FROM pipelines WHERE run_id = ?", [run_id])]
    removed = delete_pipelines(session, pipelines, release=delete_artifacts, force=force)
    removed += delete_emptied_runs(session, [run_id])
    if delete_artifacts:
        gc.collect_released(session, files)
    if removed:
        session.tell(logger, "Run %s was deleted with %d pipelines: %d rows", run_id, len(pipelines), removed)
    return removed


def delete_pipelines(
    session: Session, pipeline_ids: Sequence[str], *, release: bool = True, force: bool = False
) -> int:
    """Delete pipelines with all they recorded; returns the rows that went."""
    removed = delete_contents(session, pipeline_ids, release=release, force=force)
    return removed + _delete(session, "pipelines", "list_contains(?, pipeline_id)", [list(pipeline_ids)])


def delete_emptied_runs(session: Session, run_ids: Sequence[str]) -> int:
    """Delete runs whose pipelines are gone; returns how many went."""
    _delete(session, "run_origins", "list_contains(?, run_id)", [list(run_ids)])
    removed = _delete(session, "runs", "list_contains(?, run_id)", [list(run_ids)])
    session.memo.clear()
    return removed


def fail_pipeline(session: Session, pipeline_id: str, error: str) -> None:
    """Mark a pipeline failed and take back what it had recorded."""
    records.require(session, "pipelines", pipeline_id)
    delete_contents(session, [pipeline_id])
    records.end(session, "pipelines", pipeline_id, "failed", error=error)


def delete_contents(session: Session, pipeline_ids: Sequence[str], *, release: bool = True, force: bool = False) -> int:
    """Delete chains, predictions, arrays and logs of pipelines; returns the rows that went.

    With `release` the references that the chains held are given back. Chains that an alias needs are refused unless `force`.
    """
    where, parameters = "list_contains(?, pipeline_id)", [list(pipeline_ids)]
    chain_ids = [row[0] for row in session.rows(f"SELECT chain_id FROM chains WHERE {where}", parameters)]
    if not force:
        aliases.refuse_protected(session, chain_ids)
    aliases.end_for(session, chain_ids)
    of_predictions = f"prediction_id IN (SELECT prediction_id FROM predictions WHERE {where})"
    removed = _delete(session, "prediction_arrays", of_predictions, parameters)
    _delete(session, "prediction_labels", of_predictions, parameters)
    for table in ("predictions", "logs", "chains"):
        removed += _delete(session, table, where, parameters)
    _drop_edges(session, chain_ids, release=release)
    _delete(session, "chain_context", "list_contains(?, chain_id)", [chain_ids])
    session.memo.clear()
    return removed


def _drop_edges(session: Session, chain_ids: Sequence[str], *, release: bool) -> None:
    if release:
        # A chain gives back the references that its edges stand for, never more than there are.
        session.execute(
            "UPDATE artifacts SET ref_count = greatest(0, ref_count - gone.total) FROM (SELECT artifact_id, sum(count) AS total "
            "FROM chain_artifacts WHERE list_contains(?, chain_id) GROUP BY artifact_id) gone "
            "WHERE artifacts.artifact_id = gone.artifact_id",
            [list(chain_ids)],
        )
    _delete(session, "chain_artifacts", "list_contains(?, chain_id)", [list(chain_ids)])


def delete_prediction(session: Session, prediction_id: str) -> bool:
    """Delete a prediction with its arrays; False when there is none."""
    for table in _OF_PREDICTION:
        _delete(session, table, "prediction_id = ?", [prediction_id])
    session.memo.clear()
    return _delete(session, "predictions", "prediction_id = ?", [prediction_id]) > 0


def _delete(session: Session, table: str, where: str, parameters: Sequence[Any]) -> int:
    return session.changed(f"DELETE FROM {table} WHERE {where}", parameters)


def trim_run(
    session: Session, files: ArtifactFiles, run_id: str, dataset_name: str, winning_pipeline_ids: Sequence[str]
) -> int:
    """Give up the artifacts of a run's chains that no stored prediction, winner or alias needs; returns the files that go.

    A trimmed chain keeps its document, so replaying it says what is missing rather than predicting with less.

    Raises
    ------
    UnknownIdError
        When there is no such run, or a winner is no pipeline of it that was trained on the dataset.
    InvalidInputError
        When the winners are a single text.
    """
    winners = _winners(session, run_id, dataset_name, winning_pipeline_ids)
    chains = session.dicts(
        "SELECT c.chain_id, c.pipeline_id, c.steps, c.fold_artifacts, c.shared_artifacts, x.probe_artifact_id, "
        "x.limits_artifact_id FROM chains c "
        "JOIN pipelines p USING (pipeline_id) LEFT JOIN chain_context x USING (chain_id) "
        "WHERE p.run_id = ? AND p.dataset_name = ?",
        [run_id, dataset_name],
    )
    named = {chain_id for _, chain_id, _ in aliases.protected(session)}
    for chain in chains:
        if chain["chain_id"] not in named:
            _trim(session, chain, winner=chain["pipeline_id"] in winners)
    return gc.collect_released(session, files)


def _winners(session: Session, run_id: str, dataset_name: str, pipeline_ids: Sequence[str]) -> set[str]:
    if isinstance(pipeline_ids, str):
        # A text is a sequence of letters, none of which would be a winner.
        raise InvalidInputError(f"The winning pipelines must be a list of ids, not the text {pipeline_ids!r}.")
    records.require(session, "runs", run_id)
    known = session.rows(
        "SELECT pipeline_id FROM pipelines WHERE run_id = ? AND dataset_name = ?", [run_id, dataset_name]
    )
    winners = set(pipeline_ids)
    unknown = sorted(winners - {pipeline_id for (pipeline_id,) in known})
    if unknown:
        raise UnknownIdError(
            f"No pipeline of run {run_id} that was trained on {dataset_name!r} has the id {unknown[0]!r}; nothing was given up."
        )
    return winners


def _trim(session: Session, chain: dict[str, Any], *, winner: bool) -> None:
    folds = {row[0] for row in session.rows("SELECT fold_id FROM predictions WHERE chain_id = ?", [chain["chain_id"]])}
    keep_all = bool(folds & {"", "None", "avg", "w_avg"})
    wanted = {normalize_fold_key(fold) for fold in folds}
    if winner:
        wanted |= {normalize_fold_key(fold) for fold in ("final", "avg", "w_avg")}

    def kept(by_fold: dict[str, Any] | None) -> dict[str, Any]:
        return {key: ids for key, ids in (by_fold or {}).items() if keep_all or normalize_fold_key(key) in wanted}

    models = kept(from_json(chain["fold_artifacts"]))
    needed = winner or bool(models)
    shared = from_json(chain["shared_artifacts"]) if needed else {}
    dropped: dict[str, Any] = {} if needed else {"artifact_ids": [], "artifact_id": None}
    steps = [
        {**step, **dropped, "fold_artifact_ids": kept(step.get("fold_artifact_ids"))}
        for step in from_json(chain["steps"])
    ]
    _drop_edges(session, [chain["chain_id"]], release=True)
    edges = referenced_artifacts(steps, models, shared)
    for companion in (chain["probe_artifact_id"], chain["limits_artifact_id"]):
        if needed and companion is not None:
            edges[companion] += 1
    # An earlier trimming may have given some up already.
    left = {
        row[0]
        for row in session.rows("SELECT artifact_id FROM artifacts WHERE list_contains(?, artifact_id)", [list(edges)])
    }
    for artifact_id in left:
        row = {"chain_id": chain["chain_id"], "artifact_id": artifact_id, "count": edges[artifact_id]}
        session.append("chain_artifacts", row)
        session.execute(
            "UPDATE artifacts SET ref_count = ref_count + ? WHERE artifact_id = ?", [edges[artifact_id], artifact_id]
        )
