"""What the help and the page about the command line say is so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from n4a_flows.cli.commands import app
from n4a_flows.cli.common import EXIT_CODES

PAGE = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text()
README = (Path(__file__).parents[2] / "README.md").read_text()
ROOT: Any = typer.main.get_command(app)


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(_commands(ROOT))


def _examples(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("n4a-flows ")]


def _parses(line: str) -> None:
    """Take an example apart as the command line would, without running it."""
    words = shlex.split(re.split(r" \| | \|\| | && |  # ", line)[0])[1:]
    if "--help" in words or words[0].isupper():
        return
    group, path = ROOT, []
    while hasattr(group, "commands"):
        path.append(words.pop(0))
        group = group.commands[path[-1]]
    group.make_context(" ".join(path), words)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_examples_json_and_a_line_on_the_page(name: str) -> None:
    command = COMMANDS[name]
    assert _examples(command.help), "its help shows no example"
    assert all(line.startswith(f"n4a-flows {name}") for line in _examples(command.help))
    if name != "up":  # it runs until it is interrupted
        assert "--json" in {option for parameter in command.params for option in parameter.opts}
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    "line",
    sorted({line for text in (PAGE, README, *(c.help for c in COMMANDS.values())) for line in _examples(text)}),
)
def test_examples_are_taken_by_the_command_line(line: str) -> None:
    _parses(line)


def test_exit_codes_are_in_the_help_and_on_the_page() -> None:
    on_the_page = re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE)
    assert {int(code): meaning for code, meaning in on_the_page} == EXIT_CODES
    for meaning in EXIT_CODES.values():
        assert meaning in str(ROOT.epilog)
