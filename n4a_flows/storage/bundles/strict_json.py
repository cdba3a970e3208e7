"""JSON from anywhere: no deeper, longer or more ambiguous than a bundle needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from n4a_flows.storage.errors import BundleError
from n4a_flows.storage.json_values import restored_float

MAX_BYTES: Final = 32 * 1024**2
MAX_DEPTH: Final = 64


def parse(data: bytes, name: str) -> dict[str, Any]:
    """The object in a JSON member; numbers that JSON does not have come back as `json_values` wrote them.

    Raises
    ------
    BundleError
        When it is no JSON object, too long or nested too deep, or has a key twice.
    """
    if len(data) > MAX_BYTES:
        raise BundleError(f"The member {name} of the bundle is longer than a document of a chain can be.")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"The member {name} of the bundle is no JSON as bundles have it: {error}") from error
    if not isinstance(value, dict):
        raise BundleError(f"The member {name} of the bundle is no JSON object.")
    _refuse_odd(value, name)
    return value


def _object(pairs: list[tuple[str, Any]]) -> Any:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a key is there twice")
    return restored_float(document)


def _refuse_odd(value: Any, name: str) -> None:
    """Refuse what is nested too deep for code that follows it by calling itself, and text that is no text."""
    level = [value]
    for _ in range(MAX_DEPTH):
        texts = [item for item in level if isinstance(item, str)]
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in ([*item, *item.values()] if isinstance(item, dict) else item)
        ]
        for text in texts:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise BundleError(f"The member {name} of the bundle holds half of a character.") from error
            if "\0" in text:
                raise BundleError(f"The member {name} of the bundle holds a NUL character.")
        if not level:
            return
    raise BundleError(f"The member {name} of the bundle is nested more than {MAX_DEPTH} deep.")


def text(document: Mapping[str, Any], key: str) -> str | None:
    """The text under a key, or None; `BundleError` for anything else."""
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise BundleError(f"The bundle has {str(value)[:80]!r} as its {key}.")
    return value
