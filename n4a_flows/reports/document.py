"""A report as blocks, which become Markdown or HTML: what is said once reads the same in both."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from n4a_flows.reports.leaderboard import markdown_table


@dataclass(frozen=True)
class Heading:
    """A heading; the report itself is of level 1."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of plain texts."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Text cells below a header, of one or more lines each; the first column names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """The bytes of a PNG file, what it shows, and in words what can be read from it."""

    png: bytes
    caption: str

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Pictures:
    """Pictures that belong together: side by side where there is room."""

    pictures: Sequence[Picture]


Block = Heading | Paragraph | Bullets | Table | Pictures


def to_markdown(blocks: Sequence[Block]) -> str:
    """The report as Markdown, with its pictures inside."""
    return "\n\n".join(_markdown(block).rstrip("\n") for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {escaped(text)}"
        case Paragraph(text, strong):
            return f"**{escaped(text)}**" if strong else escaped(text)
        case Bullets(items):
            return "\n".join(f"* {escaped(item)}" for item in items)
        case Table(header, rows):
            return markdown_table([escaped(cell) for cell in header], [[_lines(cell) for cell in row] for row in rows])
        case Pictures(pictures):
            return "\n\n".join(
                f"![{escaped(each.caption)}]({each.uri})\n\n*{escaped(each.caption)}*" for each in pictures
            )
    assert_never(block)


def _lines(cell: str) -> str:
    return "<br>".join(escaped(line) for line in cell.splitlines() if line.strip())


def escaped(text: str) -> str:
    """Text that means nothing to Markdown: names come from files and definitions.

    An underscore inside a word and a `>` inside a line mean nothing anyway. What looks like an address becomes no link.
    """
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    text = re.sub(r"([\\`*\[\]~])", r"\\\1", text)
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    return re.sub(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", "<span></span>", text)
