"""Score files of one spectrum with the flow, against a plain loop that reads each and predicts."""

from __future__ import annotations

from benchmarks.contenders import OURS, SCORING
from benchmarks.harness import Bench

NAME = "scoring"
ABOUT = "score files of one spectrum each: the flow with its ledger, and a plain loop with the chain in memory"

PLAIN, FLOW = "plain loop", "flow"


def run(bench: Bench) -> None:
    """Target: the flow has at least 0.9 of the loop's speed."""
    files = 1_000 if bench.quick else 10_000
    worker = bench.start(SCORING)
    try:
        worker("score", files=100)
        rounds = [worker("score", files=files) for _ in range(bench.repeats)]
    finally:
        worker.end()
    case = f"{files:,} files"
    for name, key in ((PLAIN, "plain"), (FLOW, "flow")):
        bench.results.add(NAME, case, name, "files/s", [files / one[key] for one in rounds])
    bench.results.add(NAME, f"{case}, nothing new", FLOW, "s", [one["again"] for one in rounds])
    bench.results.add(NAME, f"{case}, task runs", FLOW, "", [one["task runs"] for one in rounds])
    ratio = bench.results.ratio(NAME, case, FLOW, PLAIN)
    bench.results.target(NAME, f"{OURS}, speed of the flow against the plain loop", ratio, ">=", 0.9)
    bench.progress(NAME, case)
