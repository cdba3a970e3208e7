"""Record pipelines: each a chain, 15 predictions with 2 x 200 doubles, and six artifacts that nobody saved before."""

from __future__ import annotations

from benchmarks.contenders import ERA, FLOOR, MLFLOW, NEW, OURS
from benchmarks.harness import EVERYBODY, Bench, Worker, calls

NAME = "record"
ABOUT = "record pipelines into a new store"

TWENTY, ONE, SINGLE = "twenty a transaction", "one a transaction", "single verbs"
# Pipelines a round, how many of them together, and who can do that.
CASES: dict[str, tuple[int, int | None, tuple[str, ...]]] = {
    TWENTY: (40, 20, (OURS, NEW, FLOOR)),
    ONE: (10, 1, (OURS, NEW, FLOOR)),
    SINGLE: (2, None, (OURS, NEW, ERA, MLFLOW)),
}


def run(bench: Bench) -> None:
    """Target: twenty a transaction, at least twice as many per second as the best peer in the way that suits it best."""
    with bench.workers(EVERYBODY) as workers:
        measure(bench, workers, NAME)
    bench.results.against_best_peer(NAME, TWENTY, ">=", 2.0, peer_cases=list(CASES))


def measure(bench: Bench, workers: dict[str, Worker], operation: str, where: str = "") -> None:
    """Record into the stores that are open."""
    for case, (pipelines, together, able) in CASES.items():
        work = calls(workers, able, "record", pipelines=pipelines, together=together)
        bench.in_turn(operation, where + case, "pipelines/s", work, per=pipelines)
