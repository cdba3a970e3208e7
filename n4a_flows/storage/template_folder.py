"""Folders of templates: what lies in them, and how a name is looked up."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from n4a_flows.storage.durable_files import sync_folder
from n4a_flows.storage.errors import InvalidInputError, MissingFileError, WorkspaceError
from n4a_flows.storage.templates import (
    DEFINITION,
    SUFFIX,
    Template,
    checked_category,
    of_file,
    of_folder,
    own_bytes,
    refuse_link,
    safe_name,
    simplified,
)

_FILES = "templates"


@dataclass(frozen=True)
class Place:
    """Where a template lies.

    Attributes
    ----------
    path
        The file, or in the layout of nirs4all the folder.
    folder_category
        The category that the folders say, None for a file, which says it itself.
    """

    path: Path
    folder_category: str | None = None

    @property
    def category(self) -> str:
        """The category."""
        return self.read().category if self.folder_category is None else self.folder_category

    @property
    def name(self) -> str:
        """The name of the file without its suffix, or of the folder."""
        return self.path.name.removesuffix(SUFFIX) if self.folder_category is None else self.path.name

    @property
    def safe_name(self) -> str:
        """The name that it is found under."""
        return simplified(self.name)

    def read(self) -> Template:
        """What is there, under the name that it is found under; `TemplateError` when it is damaged."""
        if self.folder_category is None:
            template = of_file(self.path, own_bytes(self.path))
        elif self.path.is_symlink():
            refuse_link(self.path)
        else:
            template = of_folder(self.path, self.folder_category)
        return template if simplified(template.name) == self.safe_name else replace(template, name=self.name)

    def remove(self) -> None:
        """Remove it, and of a link only the link."""
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()  # a category that is empty now
        else:
            self.path.unlink()
        sync_folder(self.path.parent if self.path.parent.exists() else self.path.parent.parent)


class TemplateFolder:
    """The templates in a folder, which need not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, name: str) -> Path:
        """The file for a template of this name."""
        return self.root / _FILES / (safe_name(name) + SUFFIX)

    def places(self) -> list[Place]:
        """Every template, those in files first; nothing is read.

        Raises
        ------
        TemplateError
            When one of the folders is a link.
        WorkspaceError
            When one of them cannot be read.
        """
        try:
            return self._places()
        except OSError as error:
            raise WorkspaceError(f"The library {self.root} cannot be read: {error.strerror}.") from error

    def _places(self) -> list[Place]:
        if self.root.is_symlink():
            refuse_link(self.root)
        if not self.root.is_dir():
            return []
        ours: list[Place] = []
        theirs: list[Place] = []
        for folder in filter(Path.is_dir, sorted(self.root.iterdir())):
            if folder.is_symlink():
                refuse_link(folder)
            for path in sorted(folder.iterdir()):
                if path.suffix == SUFFIX and not path.is_dir() and folder.name == _FILES:
                    ours.append(Place(path))
                elif (path / DEFINITION).is_file():
                    theirs.append(Place(path, folder.name))
        return ours + theirs

    def templates(self) -> list[Template]:
        """Every template, by category and name."""
        found: dict[tuple[str, str], Template] = {}
        for place in self.places():
            template = place.read()
            found.setdefault((template.category, place.safe_name), template)
        return [found[key] for key in sorted(found)]

    def names(self) -> list[str]:
        """The names under which templates are found."""
        return sorted({place.safe_name for place in self.places()})

    def places_named(self, name: str) -> list[Place]:
        """Every place that holds this name, in whatever category."""
        wanted = safe_name(name)
        return [place for place in self.places() if place.safe_name == wanted]

    def find(self, name: str, category: str | None = None) -> list[Place]:
        """Where the template of this name lies; more than one place only when a file stands for a folder of nirs4all's.

        Raises
        ------
        InvalidInputError
            When folders of nirs4all hold the name in several categories and none is given, or it cannot be a name.
        """
        found = self.places_named(name)
        if category is not None:
            checked_category(category)
            return [place for place in found if place.category == category]
        categories = {place.category for place in found} if len(found) > 1 else set()
        if len(categories) > 1:
            raise InvalidInputError(
                f"The template {name!r} is in the categories {' and '.join(map(repr, sorted(categories)))}: say which."
            )
        return found


SHIPPED = TemplateFolder(Path(str(resources.files("n4a_flows") / "data")))
"""The templates that come with the package."""


def folder_of(workspace_path: str | os.PathLike[str]) -> TemplateFolder:
    """The templates of a workspace, which need not exist."""
    return TemplateFolder(Path(os.path.abspath(workspace_path)) / "library")


def find_template(workspace_path: str | os.PathLike[str], name: str, category: str | None = None) -> Template:
    """The template of this name: of the workspace (which need not exist), else one that comes with the package.

    Raises
    ------
    MissingFileError
        When there is none; the message names those that there are.
    InvalidInputError
        When the name is in several categories and none is given, or cannot be a name.
    TemplateError
        When the file is damaged; the message names it.
    """
    folder = folder_of(workspace_path)
    places = folder.find(name, category) or SHIPPED.find(name, category)
    if not places:
        raise none_found(folder, name, category)
    return places[0].read()


def none_found(folder: TemplateFolder, name: str, category: str | None) -> MissingFileError:
    """The error for a name that is not there."""
    where = "" if category is None else f" in the category {category!r}"
    return MissingFileError(
        f"There is no template {name!r}{where}. {folder.root} holds: {', '.join(folder.names()) or 'none'}; with the package "
        f"come: {', '.join(SHIPPED.names())}."
    )
