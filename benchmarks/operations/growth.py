"""The first three operations in stores that hold 0, 10,000 and 100,000 pipelines already.

They are filled past the API with rows as `record` leaves them, 15 predictions with 2 x 200 doubles and six artifacts (rows without
files) a pipeline, over 20 datasets; what is recorded then belongs to one of them.
"""

from __future__ import annotations

from benchmarks.contenders import ERA, MLFLOW, NEW, OURS
from benchmarks.contenders.work import PER_PIPELINE, QUESTIONS, VALUES
from benchmarks.harness import Bench, Worker, calls
from benchmarks.operations import artifacts, queries, record

NAME = "growth"
ABOUT = "record, save and ask in stores that hold pipelines already"

# Pipelines, and who is filled with so many.
SIZES: dict[str, tuple[int, tuple[str, ...]]] = {
    "0": (0, (OURS, NEW, ERA, MLFLOW)),
    "10 k": (10_000, (OURS, NEW, ERA, MLFLOW)),
    "100 k": (100_000, (OURS, NEW)),
}

EMPTY = "n4a_flows, empty"
IN_TURN = f"{record.TWENTY}, in turn with an empty store"
"""Minutes lie between the sizes, and a shared machine is another one then."""


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
                beside_an_empty_store(bench, workers[OURS], size)
        for name in (NEW, ERA, MLFLOW):
            if name not in able and name in bench.contenders:
                bench.results.add(NAME, f"{size}: {record.TWENTY}", name, "pipelines/s", [], queries.NOT_LOADED)
    largest = sizes[-1]
    ratio = bench.results.ratio(NAME, f"{largest}: {IN_TURN}", OURS, EMPTY)
    bench.results.target(NAME, f"recording with {largest} pipelines, against an empty store", ratio, ">=", 0.8)
    for question in QUESTIONS:
        bench.results.against_best_peer(NAME, f"10 k: {question}", "<=", 1.0)


def beside_an_empty_store(bench: Bench, full: Worker, size: str) -> None:
    """Record into the full store and into an empty one, in the same rounds."""
    pipelines, together, _ = record.CASES[record.TWENTY]
    with bench.workers((OURS,)) as workers:
        stores = {OURS: full, EMPTY: workers[OURS]}
        work = calls(stores, list(stores), "record", pipelines=pipelines, together=together)
        bench.in_turn(NAME, f"{size}: {IN_TURN}", "pipelines/s", work, per=pipelines, times=4)
