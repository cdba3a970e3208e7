"""Delete a tenth of what was recorded, collect the garbage, vacuum; bytes before and after."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import ERA, MLFLOW, NEW, OURS
from benchmarks.harness import Bench, UnavailableError

NAME = "cleanup"
ABOUT = "ten runs recorded, one deleted, garbage collected, vacuumed; beside a store that recorded the nine others only"

PIPELINES = {OURS: 400, NEW: 400, MLFLOW: 200, ERA: 20}


def run(bench: Bench) -> None:
    """Target: the database file is then at most 1.2 times as large as a fresh one with the same content."""
    results = bench.results
    for name, pipelines in PIPELINES.items():
        if name not in bench.contenders:
            continue
        count = pipelines // 4 if bench.quick and pipelines > 40 else pipelines
        what = f" ({count} pipelines)"
        try:
            gone = _bytes(bench, name, "delete_tenth", count)
            fresh = _bytes(bench, name, "nine_runs", count)
        except UnavailableError as error:
            results.add(NAME, "everything" + what, name, "MB", [], str(error))
            continue
        for case, value in (
            ("everything before", gone["before"]),
            ("everything after", gone["after"]),
            ("everything, fresh", fresh["after"]),
            ("rows and arrays after", gone["database"]),
            ("rows and arrays, fresh", fresh["database"]),
        ):
            results.add(NAME, case, name, "MB", [value / 1e6], what.strip(" ()"))
        results.add(NAME, "time of deletion, gc and vacuum", name, "ms", [1000 * gone["seconds"]], what.strip(" ()"))
    ratio = results.ratio(NAME, "rows and arrays after", OURS, OURS, "rows and arrays, fresh")
    results.target(NAME, "database file after delete and vacuum, against a fresh one", ratio, "<=", 1.2)


def _bytes(bench: Bench, name: str, verb: str, pipelines: int) -> dict[str, Any]:
    with bench.workers([name]) as workers:
        answer: dict[str, Any] = workers[name](verb, pipelines=pipelines)
        return answer
