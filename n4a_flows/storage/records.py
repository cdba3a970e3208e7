"""Writes: runs, pipelines and logs."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from n4a_flows.storage import origins
from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import UnknownIdError
from n4a_flows.storage.identity import new_id
from n4a_flows.storage.json_values import to_json
from n4a_flows.storage.session import Session

logger = logging.getLogger(__name__)

_KEYS = {"runs": "run_id", "pipelines": "pipeline_id", "chains": "chain_id", "projects": "project_id"}


def require(session: Session, table: str, identity: str) -> None:
    """Raise `UnknownIdError` unless the table has a row with this id; ids seen in this transaction are remembered."""
    known: set[tuple[str, str]] = session.memo.setdefault("known ids", set())
    if (table, identity) in known:
        return
    key = _KEYS[table]
    if not session.rows(f"SELECT 1 FROM {table} WHERE {key} = ?", [identity]):
        raise UnknownIdError(f"No {table.removesuffix('s')} has the id {identity!r} in this workspace.")
    known.add((table, identity))


def note_new(session: Session, table: str, identity: str) -> None:
    """Remember that a row was added in this transaction, so that it need not be looked up."""
    session.memo.setdefault("known ids", set()).add((table, identity))


def dataset_of(session: Session, pipeline_id: str) -> str:
    """The name of the dataset that an existing pipeline is trained on."""
    known: dict[str, str] = session.memo.setdefault("dataset of pipeline", {})
    if pipeline_id not in known:
        known[pipeline_id] = session.rows("SELECT dataset_name FROM pipelines WHERE pipeline_id = ?", [pipeline_id])[0][
            0
        ]
    return known[pipeline_id]


def begin_run(session: Session, name: str, config: Any, datasets: Any, flow_run_id: str | None) -> str:
    """Add a run with where it comes from."""
    run_id = str(uuid.uuid4())
    session.append(
        "runs",
        {
            "run_id": run_id,
            "name": name,
            "config": to_json(config, "run's config"),
            "datasets": to_json(datasets, "run's datasets"),
            "status": "running",
            "created_at": now(),
        },
    )
    session.append(
        "run_origins",
        {
            "run_id": run_id,
            "flow_run_id": flow_run_id,
            **origins.of_this_process(),
        },
    )
    note_new(session, "runs", run_id)
    session.tell(logger, "Run %s began: %s", run_id, name)
    return run_id


def begin_pipeline(
    session: Session,
    run_id: str,
    name: str,
    expanded_config: Any,
    generator_choices: Any,
    dataset_name: str,
    dataset_hash: str,
) -> str:
    """Add a pipeline of an existing run."""
    require(session, "runs", run_id)
    pipeline_id = str(uuid.uuid4())
    session.append(
        "pipelines",
        {
            "pipeline_id": pipeline_id,
            "run_id": run_id,
            "name": name,
            "expanded_config": to_json(expanded_config, "pipeline's expanded_config"),
            "generator_choices": to_json(generator_choices, "pipeline's generator_choices"),
            "dataset_name": dataset_name,
            "dataset_hash": dataset_hash,
            "status": "running",
            "created_at": now(),
        },
    )
    note_new(session, "pipelines", pipeline_id)
    session.memo.setdefault("predictions by key", {})[pipeline_id] = {}
    session.memo.setdefault("dataset of pipeline", {})[pipeline_id] = dataset_name
    return pipeline_id


def end(session: Session, table: str, identity: str, status: str, **columns: Any) -> None:
    """Set the status, the time and further columns of a run or pipeline; an error that it had before goes."""
    require(session, table, identity)
    if "summary" in columns:
        columns["summary"] = to_json(columns["summary"], "run's summary")
    session.amend(table, _KEYS[table], identity, {"status": status, "completed_at": now(), "error": None, **columns})
    if table == "runs":
        session.tell(logger, "Run %s %s%s", identity, status, f": {columns['error']}" if "error" in columns else "")


def log_step(
    session: Session,
    pipeline_id: str,
    step_idx: int,
    operator_class: str,
    event: str,
    duration_ms: int | None,
    message: str | None,
    details: Any,
    level: str,
) -> None:
    """Add a line to the log of an existing pipeline."""
    require(session, "pipelines", pipeline_id)
    session.append(
        "logs",
        {
            "log_id": new_id(),
            "pipeline_id": pipeline_id,
            "step_idx": int(step_idx),
            "operator_class": operator_class,
            "event": event,
            "duration_ms": None if duration_ms is None else int(duration_ms),
            "message": message,
            "details": to_json(details, "log's details"),
            "level": level,
            "created_at": now(),
        },
    )
