"""Finite spaces: how many elements there are, and each of them by its number, without going through the others."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Space(Generic[T]):
    """`size` elements; `at(0)` to `at(size - 1)` make them. The size may be larger than anything that could be listed."""

    size: int
    at: Callable[[int], T]

    def __iter__(self) -> Iterator[T]:
        number = 0
        while number < self.size:
            yield self.at(number)
            number += 1


def one(element: T) -> Space[T]:
    """Just this element."""
    return Space(1, lambda _: element)


def mapped(space: Space[T], function: Callable[[T], U]) -> Space[U]:
    """What a function makes of each element."""
    return Space(space.size, lambda number: function(space.at(number)))


def union(spaces: Sequence[Space[T]]) -> Space[T]:
    """One space after the other."""
    ends = list(accumulate(space.size for space in spaces))

    def at(number: int) -> T:
        which = bisect_right(ends, number)
        return spaces[which].at(number - (ends[which - 1] if which else 0))

    return Space(ends[-1] if ends else 0, at)


def product(spaces: Sequence[Space[T]]) -> Space[list[T]]:
    """One element of each, in every combination; the last space varies fastest."""

    def at(number: int) -> list[T]:
        taken = []
        for space in reversed(spaces):
            number, which = divmod(number, space.size)
            taken.append(space.at(which))
        return taken[::-1]

    return Space(math.prod(space.size for space in spaces), at)


def subsets(spaces: Sequence[Space[T]], sizes: range) -> Space[list[tuple[int, T]]]:
    """One element of each of some of the spaces, for every choice of so many spaces; small choices first.

    Returns
    -------
    Lists of pairs, in the order of the spaces: the number of a space and an element of it.
    """
    # ways[i][k]: in how many ways k elements come from the spaces i, i + 1, ...
    ways = [[1] + [0] * sizes[-1]]
    for space in reversed(spaces):
        later = ways[-1]
        ways.append([1, *(later[k] + space.size * later[k - 1] for k in range(1, sizes[-1] + 1))])
    ways.reverse()

    def at(number: int) -> list[tuple[int, T]]:
        missing = sizes[0]
        while number >= ways[0][missing]:
            number -= ways[0][missing]
            missing += 1
        taken: list[tuple[int, T]] = []
        for place, space in enumerate(spaces):
            if not missing:
                break
            others = ways[place + 1][missing - 1]
            if number < space.size * others:
                which, number = divmod(number, others)
                taken.append((place, space.at(which)))
                missing -= 1
            else:
                number -= space.size * others
        return taken

    return Space(sum(ways[0][size] for size in sizes), at)


def sampled(space: Space[T], n: int, seed: int) -> Space[T]:
    """At most n elements, drawn without replacement and kept in their order. Only those are made."""
    if n >= space.size:
        return space

    @cache
    def drawn() -> list[int]:
        # Floyd's way: n draws give n different numbers, each set of them as likely as another.
        dice = random.Random(seed)
        numbers: set[int] = set()
        for last in range(space.size - n, space.size):
            number = dice.randrange(last + 1)
            numbers.add(last if number in numbers else number)
        return sorted(numbers)

    return Space(n, lambda number: space.at(drawn()[number]))
