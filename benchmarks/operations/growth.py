"""The first three operations in stores that hold 0, 10,000 and 100,000 pipelines already.

They are filled past the API with rows as `record` leaves them, 15 predictions with 2 x 200 doubles and six artifacts (rows without
files) a pipeline, over 20 datasets; what is recorded then belongs to one of them.
"""

from __future__ import annotations

from benchmarks.contenders import ERA, MLFLOW, NEW, OURS
from benchmarks.contenders.work import PER_PIPELINE, QUESTIONS, VALUES
from benchmarks.harness import Bench
from benchmarks.operations import artifacts, queries, record

NAME = "growth"
ABOUT = "record, save and ask in stores that hold pipelines already"

# Pipelines, and who is filled with so many.
SIZES: dict[str, tuple[int, tuple[str, ...]]] = {
    "0": (0, (OURS, NEW, ERA, MLFLOW)),
    "10 k": (10_000, (OURS, NEW, ERA, MLFLOW)),
    "100 k": (100_000, (OURS, NEW)),
}


def run(bench: Bench) -> None:
    """Target: recording is flat, at least 0.8 of its speed in an empty store."""
    sizes = ["0", "10 k"] if bench.quick else list(SIZES)
    for size in sizes:
        pipelines, able = SIZES[size]
        with bench.workers(able) as workers:
            if pipelines:
                queries.fill(bench, workers, NAME, size, PER_PIPELINE * pipelines, VALUES)
            record.measure(bench, workers, NAME, f"{size}: ")
            artifacts.measure(bench, workers, NAME, f"{size}: ")
            if pipelines:
                queries.measure(bench, workers, NAME, f"{size}: ")
        for name in (NEW, ERA, MLFLOW):
            if name not in able and name in bench.contenders:
                bench.results.add(NAME, f"{size}: {record.TWENTY}", name, "pipelines/s", [], queries.NOT_LOADED)
    largest = sizes[-1]
    case = f"{largest}: {record.TWENTY}"
    ratio = bench.results.ratio(NAME, case, OURS, OURS, f"0: {record.TWENTY}")
    bench.results.target(NAME, f"recording with {largest} pipelines, against an empty store", ratio, ">=", 0.8)
    for question in QUESTIONS:
        bench.results.against_best_peer(NAME, f"10 k: {question}", "<=", 1.0)
