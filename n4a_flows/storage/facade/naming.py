"""Verbs about names people give: aliases of chains, and projects."""

from __future__ import annotations

from typing import Any

from n4a_flows.storage import aliases, projects
from n4a_flows.storage.facade.base import StoreBase
from n4a_flows.storage.late_polars import pl


class NamingVerbs(StoreBase):
    """Aliases and projects."""

    def set_alias(self, name: str, chain_id: str, note: str | None = None) -> None:
        """Let a name stand for a chain from now on, for example `"tecator/fat/champion"`.

        The chain that it named before stays in its history. The current chain and the last three before it are not deleted, nor are
        their artifacts, unless by force.

        Parameters
        ----------
        name
            Letters, digits, `.`, `-` and `_`, with `/` between parts.
        chain_id
            A chain id or another alias.
        note
            Why.

        Raises
        ------
        UnknownIdError
            When there is no such chain.
        InvalidInputError
            When the name cannot be an alias.

        Examples
        --------
        >>> store.set_alias("tecator/fat/champion", chain_id, note="best of July")
        >>> store.load_predictor("tecator/fat/champion").chain_id == chain_id
        True
        """
        with self._writing("set_alias") as session:
            aliases.set_to(session, name, chain_id, note)

    def get_alias(self, name: str) -> str | None:
        """The id of the chain that an alias names now, or None."""
        with self._reading("get_alias") as session:
            return aliases.get(session, name)

    def list_aliases(self) -> pl.DataFrame:
        """Every alias: alias, chain_id, set_at (naive UTC), note."""
        with self._reading("list_aliases") as session:
            return aliases.current(session)

    def alias_history(self, name: str) -> pl.DataFrame:
        """Every chain that an alias has named, the latest first: alias, chain_id, set_at, ended_at, note.

        Times are naive UTC; `ended_at` is null where the alias names the chain still.
        """
        with self._reading("alias_history") as session:
            return aliases.history(session, name)

    def remove_alias(self, name: str) -> None:
        """Let an alias name nothing from now on; its history stays. `UnknownIdError` when it names nothing."""
        with self._writing("remove_alias") as session:
            aliases.remove(session, name)

    def create_project(self, name: str, description: str = "", color: str = "#14b8a6") -> str:
        """Add a project, a name for runs that belong together; returns its id. `InvalidInputError` when the name is taken."""
        with self._writing("create_project") as session:
            return projects.create(session, name, description, color)

    def list_projects(self) -> pl.DataFrame:
        """All columns of `projects`, the newest first."""
        with self._reading("list_projects") as session:
            return projects.listed(session)

    def get_project(self, project_id: str) -> dict[str, Any] | None:
        """The row of a project, or None."""
        with self._reading("get_project") as session:
            return projects.by(session, "project_id", project_id)

    def get_project_by_name(self, name: str) -> dict[str, Any] | None:
        """The row of the project with this name, the oldest of several, or None."""
        with self._reading("get_project_by_name") as session:
            return projects.by(session, "name", name)

    def update_project(self, project_id: str, name: str, description: str = "", color: str = "#14b8a6") -> None:
        """Change a project; `UnknownIdError` for an unknown one, `InvalidInputError` when another one has the name."""
        with self._writing("update_project") as session:
            projects.update(session, project_id, name, description, color)

    def delete_project(self, project_id: str) -> None:
        """Delete a project; its runs stay and belong to none. `UnknownIdError` for an unknown one."""
        with self._writing("delete_project") as session:
            projects.delete(session, project_id)

    def set_run_project(self, run_id: str, project_id: str | None) -> None:
        """Put a run into a project, or with None into none; `UnknownIdError` when either does not exist."""
        with self._writing("set_run_project") as session:
            projects.assign(session, run_id, project_id)

    def get_or_create_project(self, name: str) -> str:
        """The id of the project with this name, which is added when there is none.

        Examples
        --------
        >>> store.set_run_project(run_id, store.get_or_create_project("meat"))
        >>> store.list_runs(project_id=store.get_or_create_project("meat")).height
        1
        """
        with self._writing("get_or_create_project") as session:
            found = projects.by(session, "name", name)
            return str(found["project_id"]) if found else projects.create(session, name, "", "#14b8a6")
