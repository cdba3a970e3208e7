"""Projects: runs that belong together."""

from __future__ import annotations

import uuid
from typing import Any

from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.records import require
from n4a_flows.storage.session import Session


def create(session: Session, name: str, description: str, color: str) -> str:
    """Add a project."""
    _refuse_taken(session, name)
    project_id, moment = str(uuid.uuid4()), now()
    row = {"project_id": project_id, "name": name, "description": description, "color": color}
    session.append("projects", {**row, "created_at": moment, "updated_at": moment})
    return project_id


def listed(session: Session) -> pl.DataFrame:
    """Projects, the newest first."""
    return session.frame("SELECT * FROM projects ORDER BY created_at DESC, rowid DESC")


def by(session: Session, column: str, value: str) -> dict[str, Any] | None:
    """The first project whose id or name is this, or None."""
    return session.one(f"SELECT * FROM projects WHERE {column} = ? ORDER BY created_at, rowid", [value])


def update(session: Session, project_id: str, name: str, description: str, color: str) -> None:
    """Change a project."""
    require(session, "projects", project_id)
    if not session.rows("SELECT 1 FROM projects WHERE project_id = ? AND name = ?", [project_id, name]):
        _refuse_taken(session, name)
    columns = {"name": name, "description": description, "color": color, "updated_at": now()}
    session.amend("projects", "project_id", project_id, columns)


def delete(session: Session, project_id: str) -> None:
    """Delete a project; its runs stay and belong to none."""
    require(session, "projects", project_id)
    session.execute("UPDATE runs SET project_id = NULL WHERE project_id = ?", [project_id])
    session.execute("DELETE FROM projects WHERE project_id = ?", [project_id])
    session.memo.clear()


def assign(session: Session, run_id: str, project_id: str | None) -> None:
    """Put a run into a project, or into none."""
    require(session, "runs", run_id)
    if project_id is not None:
        require(session, "projects", project_id)
    session.amend("runs", "run_id", run_id, {"project_id": project_id})


def _refuse_taken(session: Session, name: str) -> None:
    if by(session, "name", name) is not None:
        raise InvalidInputError(f"There is a project {name!r} already: take another name, or use that one.")
