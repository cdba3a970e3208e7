"""Texts as a database can keep them."""

from __future__ import annotations


def storable(text: str) -> str:
    """The text with what UTF-8 cannot hold escaped, such as bytes of another encoding in the name of a file."""
    return text.encode("utf-8", "backslashreplace").decode()
