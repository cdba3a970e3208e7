"""Generators: one definition that stands for many pipelines.

* `{"_or_": [a, b, ...]}` stands for each of its options in turn. In the place of a step an option may be null (no step
  there) or a list of steps.
* `{"_range_": [first, last]}` or `{"_range_": [first, last, step]}` stands for the numbers from first to last, both included.

They may stand anywhere in a definition, also inside one another and in the place of a parameter's value. How many pipelines
there will be is known before any of them is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from n4a_flows.storage.errors import DefinitionError

KEYWORDS = ("_or_", "_range_")


@dataclass(frozen=True)
class Choice:
    """What a generator was replaced by.

    Attributes
    ----------
    at
        Where the generator stands, for instance `2.params.n_components`.
    option
        Which of its options was taken, from 0.
    value
        What that option is.
    """

    at: str
    option: int
    value: Any


@dataclass(frozen=True)
class Variant:
    """One way to resolve every generator of a pipeline: its steps, where each was written, and what was chosen."""

    steps: tuple[tuple[str, Any], ...]
    choices: tuple[Choice, ...]


def count_variants(definition: Any) -> int:
    """How many pipelines a definition (or a part of it) stands for.

    Raises
    ------
    DefinitionError
        When a generator is not written as described above.
    """
    return _count(definition, "The definition")


def variants_of(steps: Sequence[Any]) -> Iterator[Variant]:
    """Each pipeline that a list of steps stands for; the last generator varies fastest."""
    numbered = [(str(number), step) for number, step in enumerate(steps, 1)]
    return _pipelines(numbered)


def _pipelines(steps: Sequence[tuple[str, Any]]) -> Iterator[Variant]:
    for combination in product(*(list(_of_step(at, step)) for at, step in steps)):
        yield Variant(
            tuple(step for variant in combination for step in variant.steps),
            tuple(choice for variant in combination for choice in variant.choices),
        )


def _of_step(at: str, step: Any) -> Iterator[Variant]:
    """What may stand in the place of one step: any number of steps."""
    options = _options(step, f"Step {at}")
    if options is None:
        for value, choices in _values(step, at):
            yield Variant(((at, value),), choices)
        return
    for number, option in enumerate(options):
        if option is None:
            inner: Iterator[Variant] = iter([Variant((), ())])
        elif isinstance(option, list | tuple):
            inner = _pipelines([(f"{at}.{place}", part) for place, part in enumerate(option, 1)])
        else:
            inner = _of_step(at, option)
        for variant in inner:
            steps = [part for _, part in variant.steps]
            value = steps if isinstance(option, list | tuple) or len(steps) > 1 else next(iter(steps), None)
            yield Variant(variant.steps, (Choice(at, number, value), *variant.choices))


def _values(value: Any, at: str) -> Iterator[tuple[Any, tuple[Choice, ...]]]:
    """What a value stands for, with the choices that lead there."""
    options = _options(value, f"Step {at}")
    if options is not None:
        for number, option in enumerate(options):
            for resolved, choices in _values(option, at):
                yield resolved, (Choice(at, number, resolved), *choices)
    elif isinstance(value, Mapping):
        for values, choices in _combined([(item, f"{at}.{key}") for key, item in value.items()]):
            yield dict(zip(value, values, strict=True)), choices
    elif isinstance(value, list | tuple):
        yield from _combined([(item, f"{at}.{place}") for place, item in enumerate(value, 1)])
    else:
        yield value, ()


def _combined(parts: Sequence[tuple[Any, str]]) -> Iterator[tuple[list[Any], tuple[Choice, ...]]]:
    for combination in product(*(list(_values(part, at)) for part, at in parts)):
        yield [value for value, _ in combination], tuple(choice for _, choices in combination for choice in choices)


def _count(value: Any, where: str) -> int:
    generator = _generator(value, where)
    if generator is not None:
        keyword, content = generator
        return _range_length(content) if keyword == "_range_" else sum(_count(option, where) for option in content)
    if isinstance(value, Mapping):
        return math.prod(_count(item, where) for item in value.values())
    if isinstance(value, list | tuple):
        return math.prod(_count(item, where) for item in value)
    return 1


def _options(value: Any, where: str) -> Sequence[Any] | None:
    """The options of a generator, None for everything else."""
    generator = _generator(value, where)
    if generator is None:
        return None
    keyword, content = generator
    if keyword == "_or_":
        return content
    first, _, step = content
    return [first + i * step for i in range(_range_length(content))]


def _generator(value: Any, where: str) -> tuple[str, Sequence[Any]] | None:
    """Keyword and content of a generator (`_range_` always with a step), None for everything else."""
    if not isinstance(value, Mapping):
        return None
    keywords = [key for key in value if isinstance(key, str) and key.startswith("_")]
    unknown = [key for key in keywords if key not in KEYWORDS]
    if unknown:
        raise DefinitionError(f"{where} has the unknown keyword {unknown[0]!r}; known are {', '.join(KEYWORDS)}.")
    if not keywords:
        return None
    keyword = keywords[0]
    if len(value) > 1:
        other = next(key for key in value if key != keyword)
        raise DefinitionError(f"{where}: {keyword!r} stands alone in its dict; take out {other!r}.")
    content = value[keyword]
    if keyword == "_range_":
        return keyword, _checked_range(content, where)
    if not isinstance(content, list | tuple) or not content:
        raise DefinitionError(f"{where}: '_or_' needs a list of at least one option.")
    return keyword, content


def _checked_range(content: Any, where: str) -> tuple[float, float, float]:
    numbers = isinstance(content, list | tuple) and all(
        isinstance(n, int | float) and not isinstance(n, bool) and abs(n) <= 1e15 for n in content
    )
    if not numbers or len(content) not in (2, 3):
        raise DefinitionError(f"{where}: '_range_' needs [first, last] or [first, last, step], all numbers.")
    first, last, step = (*content, 1)[:3]
    if step == 0 or (last - first) / step < 0:
        raise DefinitionError(f"{where}: '_range_' {list(content)} is empty; a step of {step} does not lead to {last}.")
    return first, last, step


def _range_length(content: Sequence[Any]) -> int:
    first, last, step = content
    # A little room, so that [0.1, 0.3, 0.1] ends with 0.3 in spite of rounding.
    return int((last - first) / step + 1e-9) + 1
