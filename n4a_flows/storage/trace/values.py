"""What the classes of a trace share: shapes, branches, and the way to plain values and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import fields
from typing import Any


def append_new(items: list[str], new: Iterable[str]) -> None:
    """Append what is not in the list yet, keeping the order."""
    items.extend(item for item in dict.fromkeys(new) if item not in items)


def is_on_branch(path: Sequence[int], branch_path: Sequence[int]) -> bool:
    """Whether data on `branch_path` passed through `path`: the same branch, a parent of it, or the trunk."""
    return list(path) == list(branch_path[: len(path)])


def as_shape(shape: Iterable[int] | None) -> tuple[int, ...] | None:
    """A shape as a tuple of plain ints."""
    return None if shape is None else tuple(int(size) for size in shape)


def as_shapes(shapes: Iterable[Iterable[int]] | None) -> list[tuple[int, ...]] | None:
    """The shapes of several sources."""
    return None if shapes is None else [tuple(int(size) for size in shape) for shape in shapes]


def as_document(record: Any, **converted: Any) -> dict[str, Any]:
    """The fields of a dataclass by name: those given converted, the others copied."""
    names = [item.name for item in fields(record)]
    return {name: converted[name] if name in converted else deepcopy(getattr(record, name)) for name in names}


def known_values(cls: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that a document gives; null stands for the default."""
    names = (item.name for item in fields(cls))
    return {name: deepcopy(document[name]) for name in names if document.get(name) is not None}
