"""Template files: a pipeline definition with a name, and what is said of it.

One file per template, `templates/<safe name>.json`. The layout of nirs4all, `<category>/<safe name>/pipeline.json` with a
`metadata.json` beside it, is read too. Nothing here follows a link, and no name leads out of the folder.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any, NoReturn

from n4a_flows.storage import definition_files
from n4a_flows.storage.clock import now
from n4a_flows.storage.definition_files import SUFFIXES
from n4a_flows.storage.errors import InvalidInputError, MissingFileError, TemplateError
from n4a_flows.storage.json_values import from_json, to_json

SUFFIX = ".json"
VERSION = "1.0"
GENERAL = "general"
DEFINITION = "pipeline.json"
"""The file with the definition in nirs4all's layout."""

_METADATA = "metadata.json"
_DROPPED = str.maketrans({" ": "_", **dict.fromkeys('<>:"/\\|?*')})
_LONGEST_NAME = 255 - len(SUFFIX)
_KINDS: dict[str, type] = {
    "name": str,
    "category": str,
    "description": str,
    "tags": list,
    "metrics": dict,
    "notes": str,
    "created_at": str,
    "modified_at": str,
    "version": str,
}


@dataclass(frozen=True)
class Template:
    """A pipeline definition, and what is said of it."""

    definition: Any
    name: str
    category: str = GENERAL
    description: str = ""
    tags: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: str = ""
    created_at: str = ""
    modified_at: str = ""
    version: str = VERSION

    @property
    def metadata(self) -> dict[str, Any]:
        """Everything but the definition, as JSON values."""
        return {key: getattr(self, key) for key in _KINDS}

    def to_bytes(self) -> bytes:
        """The content of its file."""
        document = {**self.metadata, "definition": self.definition}
        return ((to_json(document, "template", indent=2) or "") + "\n").encode()


# ---------------------------------------------------------------------- names


def safe_name(name: str) -> str:
    """The name of the file of a template, without its suffix.

    Raises
    ------
    InvalidInputError
        When nothing of the name would be left, or it is the path of something elsewhere.
    """
    if not isinstance(name, str) or not name.isprintable() or _leads_elsewhere(name):
        raise InvalidInputError(
            f"{name!r} cannot be the name of a template: use letters, digits and spaces, without '..'."
        )
    safe = simplified(name)
    if safe in ("", ".", ".."):
        raise InvalidInputError(f"Nothing is left of the template name {name!r} as a file name: use letters or digits.")
    if len(safe.encode()) > _LONGEST_NAME:
        raise InvalidInputError(f"The template name {name[:40]!r}... is too long for a file name: shorten it.")
    return safe


def checked_category(category: str) -> str:
    """The category itself.

    Raises
    ------
    InvalidInputError
        When it is no plain word: empty, or part of a path.
    """
    plain = isinstance(category, str) and category.isprintable() and not set("/\\") & set(category)
    if not plain or _leads_elsewhere(category) or category.strip() in ("", ".", ".."):
        raise InvalidInputError(
            f"{category!r} cannot be the category of a template: use a plain word, without '/' and '..'."
        )
    return category


def simplified(name: str) -> str:
    """A name as a file name, whatever comes of it."""
    return name.translate(_DROPPED).lower()


def _leads_elsewhere(name: str) -> bool:
    path = PureWindowsPath(name)  # to which both kinds of slashes mean something
    return ".." in path.parts or bool(path.root)


# ---------------------------------------------------------------------- definitions


def checked_definition(definition: Any) -> Any:
    """A definition as JSON holds it: tuples become lists, everything else stays what it is.

    Raises
    ------
    InvalidInputError
        When it is neither a list nor a dict, or holds something that JSON does not.
    """
    if not isinstance(definition, list | tuple | Mapping):
        raise InvalidInputError(
            f"A template holds a pipeline definition, a list of steps or a dict with one, not a {type(definition).__name__}."
        )
    try:
        return _as_json(definition, "definition")
    except RecursionError as error:
        raise InvalidInputError("The definition is nested too deeply, or holds itself.") from error


def _as_json(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        if wrong is not None:
            raise InvalidInputError(f"{where} has the key {wrong!r}: the keys of a definition are text.")
        return {key: _as_json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item, f"{where}.{number}") for number, item in enumerate(value, 1)]
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    said = value if isinstance(value, float) else f"a {type(value).__name__}"
    raise InvalidInputError(
        f"{where} is {said}, and a template holds what JSON holds. n4a_flows.training.definition_document(definition) "
        "writes instances and classes as {'class': ..., 'params': ...}."
    )


# ---------------------------------------------------------------------- files


def read_foreign(path: Path) -> Template:
    """The template in a file or folder that lies anywhere; a file may hold nothing but a definition, and be YAML.

    Raises
    ------
    MissingFileError
        When there is none.
    TemplateError
        When what is there is none.
    """
    if path.is_dir():
        if not (path / DEFINITION).is_file():
            raise MissingFileError(f"There is no template in the folder {path}: it holds no {DEFINITION}.")
        return of_folder(path, None)
    try:
        return _of_document(path, _parsed_foreign(path, path.read_bytes()))
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no template {path}: check the path.") from error
    except OSError as error:
        raise TemplateError(f"The template {path} cannot be read: {error.strerror}.") from error


def own_bytes(path: Path) -> bytes:
    """The bytes of a regular file of the library."""
    try:
        # O_NONBLOCK, for opening a pipe would wait for its other end.
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise TemplateError(f"{path} is no regular file, so it is not read as a template. Remove it.")
            return file.read()
    except OSError as error:
        if error.errno == errno.ELOOP:
            refuse_link(path)
        raise TemplateError(f"The template file {path} cannot be read: {error.strerror}.") from error


def refuse_link(path: Path) -> NoReturn:
    """Raise `TemplateError` for a link in the library."""
    raise TemplateError(
        f"{path} is a link, and the library keeps its files itself. Put the file there, or remove the link."
    )


def of_file(path: Path, data: bytes) -> Template:
    """The template in the bytes of a file; `TemplateError` when they are none."""
    return _of_document(path, _parsed(path, data))


def _of_document(path: Path, document: Any) -> Template:
    name = path.stem if path.suffix.lower() in SUFFIXES else path.name
    if isinstance(document, dict) and "definition" in document:
        return _template(path, _metadata(path, document, name), document["definition"])
    if isinstance(document, list) or (isinstance(document, dict) and {"pipeline", "steps"} & set(document)):
        return _template(path, {"name": name}, document)
    raise _damaged(path, "it holds no definition")


def of_folder(folder: Path, category: str | None) -> Template:
    """A template in nirs4all's layout, in this category if one is given; `TemplateError` when it is damaged."""
    definition = _parsed(folder / DEFINITION, own_bytes(folder / DEFINITION))
    said = folder / _METADATA
    metadata = _parsed(said, own_bytes(said)) if os.path.lexists(said) else {}
    metadata = _metadata(said, metadata, folder.name)
    if category is not None:
        metadata["category"] = category
    return _template(folder / DEFINITION, metadata, definition)


def _template(path: Path, metadata: dict[str, Any], definition: Any) -> Template:
    try:
        return Template(definition=checked_definition(definition), **metadata)
    except InvalidInputError as error:
        raise _damaged(path, str(error)) from error


def _metadata(path: Path, document: Any, name: str) -> dict[str, Any]:
    """What a document says of a template; `name` stands in for a name."""
    if not isinstance(document, dict):
        raise _damaged(path, "it is no JSON object")
    said = {key: value for key, value in document.items() if key in _KINDS and value is not None}
    for key, value in said.items():
        if not isinstance(value, _KINDS[key]):
            raise _damaged(path, f"its {key!r} is a {type(value).__name__}")
    if not all(isinstance(tag, str) for tag in said.get("tags", [])):
        raise _damaged(path, "its 'tags' are no list of text")
    try:
        checked_category(said.get("category", GENERAL))
    except InvalidInputError as error:
        raise _damaged(path, str(error)) from error
    return {"name": name, **said}


def _parsed(path: Path, data: bytes) -> Any:
    try:
        return from_json(data.decode())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is no JSON ({error})") from error


def _parsed_foreign(path: Path, data: bytes) -> Any:
    try:
        return definition_files.parsed(data)
    except ValueError as error:
        raise _damaged(path, f"it is neither JSON nor YAML ({error})") from error


def _damaged(path: Path, why: str) -> TemplateError:
    return TemplateError(f"The template file {path} is damaged: {why.rstrip('.')}. Mend it, or remove it.")


def stamped(template: Template, created_at: str | None) -> Template:
    """The template with the time of now as its last change, and as its beginning when there is none."""
    moment = now().isoformat(timespec="seconds")
    return Template(**{**vars(template), "created_at": created_at or moment, "modified_at": moment})
