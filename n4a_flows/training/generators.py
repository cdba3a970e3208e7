"""Generators: one definition that stands for many pipelines.

* `{"_or_": [a, b, ...]}` stands for each of its options in turn. In the place of a step an option may be null (no step
  there) or a list of steps. With `"pick": k` it stands for each combination of k options, with `"pick": [k1, k2]` for those of
  k1 to k2 options: a list of values, or in the place of a step those steps, in the order in which they are written.
* `{"_range_": [first, last]}` or `{"_range_": [first, last, step]}` stands for the numbers from first to last, both included.
* `{"_log_range_": [first, last, number]}` stands for so many numbers, each the same multiple of the one before.
* `{"_grid_": {name: [values], ...}}` stands for a dict with each of these names, for every combination of their values.

Beside each of them may stand `"count": n`, to take a random n of the variants if there are more, and with it `"_seed_": number`
for the draw. Generators may stand anywhere in a definition, also inside one another and in the place of a parameter's value.
How many pipelines there will be is known before any of them is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from n4a_flows.storage.errors import DefinitionError
from n4a_flows.training.ranges import log_range, number_range
from n4a_flows.training.spaces import Space, mapped, one, product, sampled, subsets, union
from n4a_flows.training.words import refusal, refuse_untrained

KEYWORDS = ("_or_", "_range_", "_log_range_", "_grid_")
_KNOWN = f"known are {', '.join(KEYWORDS)}."
_RANGES = {"_range_": number_range, "_log_range_": log_range}
_LARGEST_COUNT = 100_000
_LARGEST_PICK = 100_000
"""Options times options picked: what can be counted in milliseconds."""


@dataclass(frozen=True)
class Choice:
    """What a generator was replaced by.

    Attributes
    ----------
    at
        Where the generator stands, for instance `2.params.n_components`. A grid has a choice for each of its names.
    option
        Which of its options was taken, from 0; the list of those that were picked.
    value
        What that option is; the list of what was picked.
    """

    at: str
    option: int | list[int]
    value: Any


@dataclass(frozen=True)
class Variant:
    """One way to resolve every generator of a pipeline: its steps, where each was written, and what was chosen."""

    steps: tuple[tuple[str, Any], ...]
    choices: tuple[Choice, ...]


def variants_of(steps: Iterable[Any], seed: int) -> Space[Variant]:
    """The pipelines that a list of steps stands for; the last generator varies fastest. None is made before it is asked for.

    Parameters
    ----------
    seed
        For the draw of each generator that has a `count` and no `_seed_`. The same generator draws the same wherever it stands.

    Raises
    ------
    DefinitionError
        When a generator is not written as described above.
    """
    numbered = [(str(number), step) for number, step in enumerate(steps, 1)]
    return mapped(_Reader(seed).pipelines(numbered), lambda found: Variant(found.content, found.choices))


@dataclass(frozen=True)
class _Resolved:
    """A part of a definition without generators: a value, or in the place of steps those steps with where each stands."""

    content: Any
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class _Generator:
    keyword: str
    content: Any
    pick: range | None
    count: int | None
    seed: int | None


@dataclass(frozen=True)
class _Reader:
    """Turns parts of a definition into the space of what they stand for."""

    seed: int

    def pipelines(self, steps: Iterable[tuple[str, Any]]) -> Space[_Resolved]:
        return mapped(product([self.step(step, at) for at, step in steps]), _in_a_row)

    def step(self, step: Any, at: str) -> Space[_Resolved]:
        """What may stand in the place of one step: any number of steps."""
        refuse_untrained(step, f"Step {at}")
        generator = _generator(step, f"Step {at}")
        if generator is None or generator.keyword != "_or_":
            return mapped(self.value(step, at), lambda found: _Resolved(((at, found.content),), found.choices))
        return self._drawn(self._options(generator, at, self._option, _in_a_row, _steps_of), generator, at)

    def value(self, value: Any, at: str) -> Space[_Resolved]:
        """What may stand in the place of a value."""
        generator = _generator(value, f"Step {at}")
        if generator is not None:
            return self._drawn(self._generated(generator, at), generator, at)
        if isinstance(value, Mapping):
            parts = product([self.value(item, f"{at}.{key}") for key, item in value.items()])
            return mapped(parts, lambda found: _Resolved(dict(zip(value, _contents(found), strict=True)), _all(found)))
        if isinstance(value, list | tuple):
            return mapped(product([self.value(item, f"{at}.{n}") for n, item in enumerate(value, 1)]), _as_list)
        return one(_Resolved(value))

    def _generated(self, generator: _Generator, at: str) -> Space[_Resolved]:
        if generator.keyword == "_or_":
            return self._options(generator, at, self.value, _as_list, lambda _, content: content)
        if generator.keyword == "_grid_":
            named = {
                name: {"_or_": values} if isinstance(values, list | tuple) else values
                for name, values in generator.content.items()
            }
            return self.value(named, at)
        numbers = _RANGES[generator.keyword](generator.content, f"Step {at}")

        def number(which: int) -> _Resolved:
            taken = numbers.at(which)
            return _Resolved(taken, (Choice(at, which, taken),))

        return Space(numbers.size, number)

    def _option(self, option: Any, at: str) -> Space[_Resolved]:
        """An option in the place of a step."""
        if option is None:
            return one(_Resolved(()))
        if isinstance(option, list | tuple):
            return self.pipelines((f"{at}.{place}", part) for place, part in enumerate(option, 1))
        return self.step(option, at)

    def _options(
        self,
        generator: _Generator,
        at: str,
        read: Callable[[Any, str], Space[_Resolved]],
        joined: Callable[[list[_Resolved]], _Resolved],
        shown: Callable[[Any, Any], Any],
    ) -> Space[_Resolved]:
        """The options of an `_or_`, each by itself or picked together; `shown` is what the choice says of the content."""
        if generator.pick is None:

            def chosen(option: tuple[int, Any], found: _Resolved) -> _Resolved:
                choice = Choice(at, option[0], shown(option[1], found.content))
                return _Resolved(found.content, (choice, *found.choices))

            return union([mapped(read(each[1], at), partial(chosen, each)) for each in enumerate(generator.content)])

        def picked(found: list[tuple[int, _Resolved]]) -> _Resolved:
            together = joined([option for _, option in found])
            choice = Choice(at, [number for number, _ in found], shown([], together.content))
            return _Resolved(together.content, (choice, *together.choices))

        options = [read(option, f"{at}.{number}") for number, option in enumerate(generator.content, 1)]
        return mapped(subsets(options, generator.pick), picked)

    def _drawn(self, space: Space[_Resolved], generator: _Generator, at: str) -> Space[_Resolved]:
        if generator.count is None:
            return space
        if space.size > generator.count > _LARGEST_COUNT:
            raise DefinitionError(f"Step {at}: a 'count' may be at most {_LARGEST_COUNT}.")
        return sampled(space, generator.count, self.seed if generator.seed is None else generator.seed)


def _contents(parts: Iterable[_Resolved]) -> list[Any]:
    return [part.content for part in parts]


def _all(parts: Iterable[_Resolved]) -> tuple[Choice, ...]:
    return tuple(choice for part in parts for choice in part.choices)


def _as_list(parts: list[_Resolved]) -> _Resolved:
    return _Resolved(_contents(parts), _all(parts))


def _in_a_row(parts: list[_Resolved]) -> _Resolved:
    return _Resolved(tuple(step for part in parts for step in part.content), _all(parts))


def _steps_of(option: Any, content: tuple[tuple[str, Any], ...]) -> Any:
    """The steps of an option: a list if it is one or has several, else the step, or None."""
    steps = [step for _, step in content]
    return steps if isinstance(option, list | tuple) or len(steps) > 1 else next(iter(steps), None)


def _generator(value: Any, where: str) -> _Generator | None:
    """The generator that a dict is, None for everything else."""
    if not isinstance(value, Mapping):
        return None
    marked = [key for key in value if isinstance(key, str) and key.startswith("_")]
    unknown = [key for key in marked if key not in (*KEYWORDS, "_seed_")]
    if unknown:
        raise DefinitionError(f"{where} {refusal(unknown[0], KEYWORDS, _KNOWN)}")
    keywords = [key for key in marked if key != "_seed_"]
    if not keywords:
        if marked:
            raise DefinitionError(f"{where}: '_seed_' stands beside a generator and its 'count'; take it out.")
        return None
    keyword = keywords[0]
    beside = ("pick", "count", "_seed_") if keyword == "_or_" else ("count", "_seed_")
    others = [key for key in value if key != keyword and key not in beside]
    if others:
        raise DefinitionError(f"{where}: {_beside(keyword, others, beside)}")
    content = value[keyword]
    if keyword == "_or_" and (not isinstance(content, list | tuple) or not content):
        raise DefinitionError(f"{where}: '_or_' needs a list of at least one option.")
    if keyword == "_grid_":
        _check_grid(content, where)
    if "count" in value and not (_is_whole(value["count"]) and value["count"] >= 1):
        raise DefinitionError(f"{where}: 'count' is how many variants to take at most, a whole number from 1.")
    if "_seed_" in value and not ("count" in value and _is_whole(value["_seed_"]) and value["_seed_"] >= 0):
        raise DefinitionError(f"{where}: '_seed_' is a whole number from 0, and stands beside a 'count'.")
    sizes = _sizes(value, where) if "pick" in value else None
    return _Generator(keyword, content, sizes, value.get("count"), value.get("_seed_"))


def _beside(keyword: str, others: list[Any], beside: tuple[str, ...]) -> str:
    """What is wrong with other keys in the dict of a generator."""
    if any(key in ("param", "model", "class", "params") for key in others):
        return (
            f"{keyword!r} stands in the place of the value, not beside the step; write "
            f"{{'class': ..., 'params': {{'n_components': {{{keyword!r}: ...}}}}}}."
        )
    if others[0] in KEYWORDS:
        return f"{keyword!r} and {others[0]!r} cannot stand in one dict; put one inside the other."
    rest = f"what may stand there is {', '.join(map(repr, beside))}."
    return f"the dict of {keyword!r} {refusal(others[0], beside, rest)}"


def _check_grid(content: Any, where: str) -> None:
    if not isinstance(content, Mapping) or not content:
        raise DefinitionError(f"{where}: '_grid_' needs a dict with the values of each name: {{name: [values]}}.")
    for name, values in content.items():
        if not isinstance(name, str) or name.startswith("_"):
            raise DefinitionError(
                f"{where}: '_grid_' has the name {name!r}; names are text that does not begin with '_'."
            )
        if isinstance(values, list | tuple) and not values:
            raise DefinitionError(f"{where}: '_grid_' has no value for {name!r}; give it one, or leave it out.")


def _sizes(value: Mapping[str, Any], where: str) -> range:
    """How many options may be picked."""
    pick, n = value["pick"], len(value["_or_"])
    least, most = pick if isinstance(pick, list | tuple) and len(pick) == 2 else (pick, pick)
    if not _is_whole(least) or not _is_whole(most) or not 0 <= least <= most or most < 1:
        raise DefinitionError(f"{where}: 'pick' is how many options to take together: 2, or [1, 3] for one to three.")
    if most > n:
        raise DefinitionError(f"{where}: 'pick' takes {most} options, and '_or_' has {n}.")
    if n * most > _LARGEST_PICK:
        raise DefinitionError(f"{where}: 'pick' of {most} out of {n} options is too much; give it fewer.")
    return range(least, most + 1)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
