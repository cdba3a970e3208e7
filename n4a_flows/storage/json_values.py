"""Values of JSON columns: what goes in comes back, and what JSON cannot hold is refused rather than turned into its `str`."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping, Set
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

from n4a_flows.storage.errors import InvalidInputError

_FLOAT_KEY = "$float"  # JSON has no NaN or infinity; {"$float": "nan"} stands for them.


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_CANONICAL_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
_AS_THEY_ARE = frozenset((str, int, bool, type(None)))


def to_json(value: Any, what: str = "value", indent: int | None = None) -> str | None:
    """JSON text of a value, None for None.

    Tuples and sets become lists, numpy scalars and arrays numbers and lists, paths, dates and ids text, classes and functions
    their dotted name, and estimators `{"class": ..., "params": ...}`.

    Raises
    ------
    InvalidInputError
        For anything else, naming `what`.
    """
    if value is None:
        return None
    encoder = _ENCODER if indent is None else json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=indent)
    return encoder.encode(_plain(value, what))


def canonical_json(value: Any, what: str = "value") -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces."""
    return _CANONICAL_ENCODER.encode(_plain(value, what))


def from_json(text: str | None) -> Any:
    """The value behind JSON text, None for None."""
    if text is None:
        return None
    return json.loads(text, object_hook=restored_float)


def _plain(value: Any, what: str) -> Any:
    # What most values are comes first, by its exact type: a pipeline has thousands of them.
    kind = type(value)
    if kind in _AS_THEY_ARE or (kind is float and math.isfinite(value)):
        return value
    if kind is dict and _FLOAT_KEY not in value and all(type(key) is str for key in value):
        return {key: _plain(item, what) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item, what) for item in value]
    if isinstance(value, Enum):
        return _plain(value.value, what)
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else {_FLOAT_KEY: str(number)}
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist(), what)
    if isinstance(value, Mapping):
        plain = {_key(key, what): _plain(item, what) for key, item in value.items()}
        if len(plain) < len(value) or _FLOAT_KEY in plain:
            raise InvalidInputError(
                f"The {what} has keys that are the same as text, or the reserved key {_FLOAT_KEY!r}."
            )
        return plain
    if isinstance(value, Set):
        return sorted((_plain(item, what) for item in value), key=str)
    if isinstance(value, list | tuple):  # named tuples
        return [_plain(item, what) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, PurePath | uuid.UUID):
        return str(value)
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(), what)
    if hasattr(value, "get_params"):
        return {"class": f"{kind.__module__}.{kind.__qualname__}", "params": _plain(value.get_params(deep=False), what)}
    raise InvalidInputError(
        f"The {what} holds a {type(value).__name__}, which cannot be kept as JSON. "
        "Use numbers, text, lists, dicts or scikit-learn estimators."
    )


def _key(key: Any, what: str) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, int | float | np.generic | PurePath | uuid.UUID | None):
        return str(key)
    raise InvalidInputError(f"The {what} has a {type(key).__name__} as a key; use text.")


def restored_float(document: dict[str, Any]) -> Any:
    """The number that a decoded JSON object stands for, or the object as it is."""
    if len(document) == 1 and document.get(_FLOAT_KEY) in ("nan", "inf", "-inf"):
        return float(document[_FLOAT_KEY])
    return document
