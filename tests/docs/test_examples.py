"""Every example on a page of the documentation runs and shows what the page says, and every link leads somewhere."""

from __future__ import annotations

import doctest
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def _examples() -> Iterator[Any]:
    for page in PAGES:
        heading, number = "", 0
        for title, block in re.findall(
            r"^#+ ([^\n]+)$|^```pycon\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
        ):
            if title:
                heading, number = title, 0
            else:
                number += 1
                yield pytest.param(block, id=f"{page.stem}: {heading} {number}")


@pytest.mark.parametrize("example", list(_examples()))
def test_the_example_shows_what_it_says(example: str, names: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(example, names, "example", None, None)
    assert test.examples
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(test, out=said.append)
    assert not said, "".join(said)


def test_each_verb_that_people_use_most_has_an_example() -> None:
    page = (DOCS / "reference.md").read_text()
    verbs = (
        "transaction begin_run save_artifact save_chain best_chain load_predictor replay_chain query_predictions "
        "top_predictions set_alias record_scoring export_chain delete_run read_spectra"
    )
    for verb in verbs.split():
        described = re.search(rf"^###+ {verb}\n(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL)
        assert described is not None, verb
        assert ">>> " in described.group(1), verb


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(((?!https?:)[^)#]*)(?:#([^)]*))?\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file), f"{file.name}#{anchor}"


@cache
def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    names = [
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    ]
    # One that is taken already gets a number.
    return set(names) | {f"{name}-{number}" for name, often in Counter(names).items() for number in range(1, often)}
