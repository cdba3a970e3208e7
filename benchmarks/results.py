"""What was measured, ratios between contenders, and targets."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.contenders import FLOOR, OURS, PEERS


@dataclass
class Measured:
    """One contender at one case; the values are in the order of the rounds."""

    operation: str
    case: str
    contender: str
    unit: str
    values: list[float]
    note: str = ""

    @property
    def median(self) -> float | None:
        """The median of the rounds; None where nothing was measured."""
        return statistics.median(self.values) if self.values else None

    @property
    def more_is_better(self) -> bool:
        """Rates are better when they are large, times and sizes when they are small."""
        return self.unit.endswith("/s")


@dataclass
class Target:
    """Something that has to hold: `value <= limit` or `value >= limit`."""

    operation: str
    what: str
    value: float | None
    relation: str
    limit: float

    @property
    def met(self) -> bool | None:
        """Whether it holds; None when it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.relation == ">=" else self.value <= self.limit


@dataclass
class Results:
    """All of a run of the benchmark."""

    measured: list[Measured] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def add(
        self, operation: str, case: str, contender: str, unit: str, values: Sequence[float], note: str = ""
    ) -> None:
        """Note what one contender needed."""
        self.measured.append(Measured(operation, case, contender, unit, list(values), note))

    def target(self, operation: str, what: str, value: float | None, relation: str, limit: float) -> None:
        """Note a target and how it stands."""
        self.targets.append(Target(operation, what, value, relation, limit))

    def find(self, operation: str, case: str, contender: str) -> Measured | None:
        """What a contender needed for a case, if it was measured."""
        for one in self.measured:
            if (one.operation, one.case, one.contender) == (operation, case, contender) and one.values:
                return one
        return None

    def ratio(
        self, operation: str, case: str, contender: str, other: str, other_case: str | None = None
    ) -> float | None:
        """The median, over the rounds, of one contender's figure divided by another's in the same round; None without figures."""
        one = self.find(operation, case, contender)
        two = self.find(operation, other_case or case, other)
        if one is None or two is None or 0 in two.values:
            return None
        if len(one.values) != len(two.values):
            return statistics.median(one.values) / statistics.median(two.values)
        return statistics.median(mine / theirs for mine, theirs in zip(one.values, two.values, strict=True))

    def best_peer(self, operation: str, cases: Sequence[str]) -> tuple[str, str] | None:
        """The peer, and the case of these, with the best median."""
        found = [
            one
            for one in self.measured
            if one.operation == operation and one.case in cases and one.contender in PEERS and one.values
        ]
        if not found:
            return None
        best = (max if found[0].more_is_better else min)(found, key=lambda one: one.median or 0.0)
        return best.contender, best.case

    def against_best_peer(
        self, operation: str, case: str, relation: str, limit: float, *, peer_cases: Sequence[str] = ()
    ) -> None:
        """A target: our figure divided by the best peer's, which may choose among cases."""
        best = self.best_peer(operation, peer_cases or [case])
        value = None if best is None else self.ratio(operation, case, OURS, *best)
        peer = "no peer" if best is None else best[0]
        self.target(operation, f"{case}, against the best peer ({peer})", value, relation, limit)

    def against_floor(self, operation: str, case: str, relation: str, limit: float, what: str) -> None:
        """A target: our figure divided by the floor's."""
        self.target(operation, f"{case}, against {what}", self.ratio(operation, case, OURS, FLOOR), relation, limit)

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "measured": [{**asdict(one), "median": one.median} for one in self.measured],
            "targets": [{**asdict(one), "met": one.met} for one in self.targets],
        }
