"""Ask stores of 100 k, 1 M and 5 M predictions; opening and closing the store is part of every question."""

from __future__ import annotations

import os

from benchmarks.contenders import ERA, FLOOR, MLFLOW, NEW, OURS
from benchmarks.contenders.work import QUESTIONS
from benchmarks.harness import EVERYBODY, Bench, UnavailableError, Worker, calls

NAME = "queries"
ABOUT = "ask a store of many predictions (the floor's connection stays open)"

# Predictions, values in each array, and who can be filled with so many in reasonable time.
SIZES: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "100 k": (99_900, 200, EVERYBODY),
    "1 M": (999_900, 20, (OURS, NEW, ERA, FLOOR)),
    "5 M": (4_999_800, 20, (OURS, FLOOR)),
}
NOT_LOADED = "not loaded: row by row past its API it takes more than ten minutes"


def run(bench: Bench) -> None:
    """Targets: at 100 k no question slower than the best peer; the top 10 of 5 M in at most 25 ms."""
    sizes = ["100 k"] if bench.quick else list(SIZES)
    for size in sizes:
        predictions, values, able = SIZES[size]
        with bench.workers(able) as workers:
            fill(bench, workers, NAME, size, predictions, values)
            measure(bench, workers, NAME, f"{size}: ")
        for name in (NEW, ERA, MLFLOW):
            if name not in able and name in bench.contenders:
                bench.results.add(NAME, f"{size}: top 10", name, "ms", [], NOT_LOADED)
    for question in QUESTIONS:
        bench.results.against_best_peer(NAME, f"100 k: {question}", "<=", 1.0)
    found = bench.results.find(NAME, "5 M: top 10", OURS)
    bench.results.target(NAME, "5 M: top 10, ms", found.median if found else None, "<=", 25.0)


def fill(bench: Bench, workers: dict[str, Worker], operation: str, size: str, predictions: int, values: int) -> None:
    """Fill the open stores, each once; who fails does not take part in what follows."""
    for name, worker in list(workers.items()):
        try:
            seconds = worker("fill", predictions=predictions, values=values)
        except UnavailableError as error:
            bench.results.add(operation, f"{size}: filling", name, "s", [], str(error))
            workers.pop(name).end()
            continue
        bench.results.add(operation, f"{size}: filling, past the API", name, "s", [seconds])
    os.sync()  # nobody's questions wait for what filling left to be written


def measure(bench: Bench, workers: dict[str, Worker], operation: str, where: str) -> None:
    """Ask the stores that are open."""
    for question in QUESTIONS:
        bench.in_turn(operation, where + question, "ms", calls(workers, EVERYBODY, "ask", question=question))
