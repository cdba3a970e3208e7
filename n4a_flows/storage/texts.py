"""Texts as a database can keep them."""

from __future__ import annotations

import os

from n4a_flows.storage.errors import InvalidInputError


def storable(text: str) -> str:
    """The text with what UTF-8 cannot hold escaped, such as bytes of another encoding in the name of a file."""
    return text.encode("utf-8", "backslashreplace").decode()


def refuse_odd_path(path: str | os.PathLike[str]) -> None:
    """Raise `InvalidInputError` for a path that DuckDB cannot be told."""
    text = os.fspath(path)
    if storable(text) != text:
        raise InvalidInputError(
            f"The path {storable(text)} is no UTF-8, so DuckDB cannot keep a database there. Choose another folder."
        )
