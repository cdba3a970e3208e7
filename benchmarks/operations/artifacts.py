"""Save artifacts: one object again and again, scalers that differ, PLS models that differ."""

from __future__ import annotations

from benchmarks.contenders import ERA, FLOOR, MLFLOW, NEW, OURS
from benchmarks.harness import EVERYBODY, Bench, Worker, calls

NAME = "artifacts"
ABOUT = "save artifacts into a new store"

KINDS = ("same object", "different scalers", "different PLS")
TOGETHER, SINGLY = ", in one go", ", one by one"
COUNT = 120


def run(bench: Bench) -> None:
    """Target: in a transaction, with fsync, no kind slower than the best peer without, in the way that suits it best."""
    with bench.workers(EVERYBODY) as workers:
        measure(bench, workers, NAME)
    for kind in KINDS:
        cases = [kind + TOGETHER, kind + SINGLY]
        bench.results.against_best_peer(NAME, kind + TOGETHER, ">=", 1.0, peer_cases=cases)


def measure(bench: Bench, workers: dict[str, Worker], operation: str, where: str = "") -> None:
    """Save into the stores that are open. "In one go" is a transaction, or one call for a folder of files (MLflow)."""
    for kind in KINDS:
        for case, together, count, able in (
            (TOGETHER, True, COUNT, (OURS, NEW, MLFLOW, FLOOR)),
            (SINGLY, False, COUNT // 4, (OURS, NEW, ERA, MLFLOW)),
        ):
            work = calls(workers, able, "save", kind=kind, count=count, together=together)
            bench.in_turn(operation, where + kind + case, "artifacts/s", work, per=count)
