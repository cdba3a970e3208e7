"""One, four and eight processes record into one store at once, a pipeline at a time."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from benchmarks.contenders import ERA, MLFLOW, NEW, OURS
from benchmarks.harness import PATIENCE, Bench, UnavailableError

NAME = "processes"
ABOUT = "processes that record into one store at once; what one pipeline takes, waiting included"

COUNTS = (1, 4, 8)


def run(bench: Bench) -> None:
    """Targets for eight processes: no error, no wait of 2 s, the slowest process records half of what the fastest does."""
    seconds = 5.0 if bench.quick else 15.0
    for count in COUNTS:
        for name in (OURS, NEW, ERA, MLFLOW):
            if name in bench.contenders:
                _measure(bench, name, count, seconds)
    results = bench.results
    for case, relation, limit in (("errors", "<=", 0), ("worst wait", "<=", 2000.0), ("slowest / fastest", ">=", 0.5)):
        found = results.find(NAME, f"8 processes: {case}", OURS)
        results.target(
            NAME, f"8 processes: {case}" + (", ms" if limit > 2 else ""), found and found.median, relation, limit
        )


def _measure(bench: Bench, name: str, count: int, seconds: float) -> None:
    folder = tempfile.mkdtemp(dir=bench.folder)
    workers = [bench.start(name) for _ in range(count)]
    where = f"{count} process{'es' if count > 1 else ''}: "
    try:
        answers: list[dict[str, Any]] = []
        refused = ""
        for worker in workers:
            try:
                worker("open", folder=folder)
                worker("record", pipelines=1, together=1)
            except UnavailableError as error:
                refused = str(error)
        if refused:
            bench.results.add(NAME, where + "pipelines a second", name, "pipelines/s", [], refused)
            return
        for worker in workers:
            worker.ask("record_for", seconds=seconds)
        answers = [worker.answer(seconds + PATIENCE) for worker in workers]
    finally:
        for worker in workers:
            worker.end()
    took = np.array([value for answer in answers for value in answer["took"]]) * 1000
    recorded = [len(answer["took"]) for answer in answers]
    errors = sum(answer["errors"] for answer in answers)
    first = next((answer["first error"] for answer in answers if answer["first error"]), "")
    figures: dict[str, tuple[str, float]] = {"errors": ("", errors)}
    if took.size:
        figures |= {
            "pipelines a second": ("pipelines/s", took.size / seconds),
            "p50": ("ms", float(np.percentile(took, 50))),
            "p99": ("ms", float(np.percentile(took, 99))),
            "worst wait": ("ms", float(took.max())),
            "slowest / fastest": ("", min(recorded) / max(recorded)),
        }
    for case, (unit, value) in figures.items():
        bench.results.add(NAME, where + case, name, unit, [value], first if case == "errors" else "")
