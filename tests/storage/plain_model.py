"""What a workspace should answer, as plain dicts: the model that the real store is compared with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from small_operators import Shift, Times

X = np.array([[1.0, 2.0], [0.5, -4.0], [3.0, 0.25]])
"""The spectra that chains are replayed with."""

KEPT = 3
"""How many former chains of an alias are safe besides the current one."""


@dataclass
class Artifact:
    obj: Shift | Times
    refs: int = 0
    fresh: bool = True
    """Whether it was saved within the grace period."""


@dataclass
class Chain:
    pipeline: str
    folds: dict[str, str]
    """Fold key -> artifact id of the model."""
    shifts: dict[str, str]
    """Fold key, or `all`, -> artifact id of the transformer; empty for a chain without one."""
    summary: tuple[float | None, int] = (None, 0)

    def edges(self) -> Counter[str]:
        """How often the chain names each artifact: once a place."""
        return Counter(self.folds.values()) + Counter(self.shifts.values())


@dataclass
class Prediction:
    pipeline: str
    key: tuple[Any, ...]
    chain: str | None
    fold: str
    score: float | None
    arrays: dict[str, Any] | None = None


@dataclass
class Model:
    """Rows by id, in the order they were added."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    predictions: dict[str, Prediction] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    logs: list[dict[str, Any]] = field(default_factory=list)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    """Alias -> the chains that it has named, the latest first."""
    current: set[str] = field(default_factory=set)
    """Aliases that name a chain now."""

    def artifact_of(self, obj: Shift | Times) -> str | None:
        """The artifact that holds an object, the oldest of several."""
        return next((key for key, artifact in self.artifacts.items() if artifact.obj == obj), None)

    def edges(self) -> Counter[str]:
        """How often chains name each artifact."""
        return sum((chain.edges() for chain in self.chains.values()), Counter())

    def pipelines_of(self, run_id: str) -> list[str]:
        return [key for key, row in self.pipelines.items() if row["run_id"] == run_id]

    def chains_of(self, pipeline_ids: list[str]) -> list[str]:
        return [key for key, chain in self.chains.items() if chain.pipeline in pipeline_ids]

    def protected(self, chain_ids: list[str]) -> bool:
        """Whether an alias names one of the chains, or named it lately."""
        return any(set(history[: KEPT + 1]) & set(chain_ids) for history in self.aliases.values())

    def delete_contents(self, pipeline_ids: list[str], *, release: bool) -> int:
        """Remove what pipelines hold; returns the rows that go."""
        gone = self.chains_of(pipeline_ids)
        going = [key for key, row in self.predictions.items() if row.pipeline in pipeline_ids]
        logs = [row for row in self.logs if row["pipeline_id"] in pipeline_ids]
        rows = len(gone) + len(going) + len(logs) + sum(self.predictions[key].arrays is not None for key in going)
        edges = sum((self.chains[key].edges() for key in gone), Counter())
        self.current = {name for name in self.current if self.aliases[name][0] not in gone}
        self.logs = [row for row in self.logs if row not in logs]
        for key in going:
            del self.predictions[key]
        for key in gone:
            del self.chains[key]
        for artifact_id, count in edges.items() if release else ():
            artifact = self.artifacts[artifact_id]
            artifact.refs = max(0, artifact.refs - count)
        return rows

    def collect(self, *, old_too: bool) -> int:
        """Remove what no chain names and nobody holds; returns the files that go."""
        named = self.edges()
        before = {repr(artifact.obj) for artifact in self.artifacts.values()}
        self.artifacts = {
            key: artifact
            for key, artifact in self.artifacts.items()
            if named[key] or (artifact.refs > 0 and (artifact.fresh or not old_too))
        }
        return len(before - {repr(artifact.obj) for artifact in self.artifacts.values()})

    def predicted(self, chain_id: str) -> list[float]:
        """What a chain predicts for `X`."""
        chain = self.chains[chain_id]
        lanes = ["fold_final"] if "fold_final" in chain.folds else list(chain.folds)
        outputs = []
        for key in lanes:
            shift = self.artifacts[chain.shifts.get(key) or chain.shifts["all"]].obj.by if chain.shifts else 0.0
            outputs.append(self.artifacts[chain.folds[key]].obj.factor * (X + shift).sum(axis=1))
        return list(np.mean(outputs, axis=0))

    def summary(self, chain_id: str) -> tuple[float | None, int]:
        """Mean score and number of folds of a chain's predictions."""
        rows = [row for row in self.predictions.values() if row.chain == chain_id]
        scores = [row.score for row in rows if row.score is not None]
        return (float(np.mean(scores)) if scores else None), len({row.fold for row in rows})

    def best_chain(self) -> str | None:
        """The chain of the completed pipeline with the lowest score, the earliest of several."""
        candidates = [
            (self.pipelines[chain.pipeline]["best_val"], place, key)
            for place, (key, chain) in enumerate(self.chains.items())
            if self.pipelines[chain.pipeline]["status"] == "completed"
        ]
        return min(candidates)[2] if candidates else None

    def top(self) -> list[float | None]:
        """Scores, the smallest first, missing ones last."""
        scores = [row.score for row in self.predictions.values()]
        return sorted(scores, key=lambda score: (score is None, score or 0.0))
