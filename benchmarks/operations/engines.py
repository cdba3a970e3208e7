"""Score chunks of files by threads, processes, Dask and Ray on this machine: what a chunk costs more, and what it gains."""

from __future__ import annotations

import statistics
from importlib.util import find_spec

from benchmarks.contenders import ENGINES
from benchmarks.harness import Bench, UnavailableError

NAME = "engines"
ABOUT = "score chunks of files of one spectrum by a runner: processes, Dask and Ray have two workers, threads one"

RUNNERS = {"threads": None, "processes": None, "dask": "prefect_dask", "ray": "prefect_ray"}
SMALL, LARGE = 10, 400
STARTED, PAYS = "started anew, until the first chunk", "files in a chunk from which it is faster than threads"


def run(bench: Bench) -> None:
    """No target: figures for docs/engines.md."""
    sizes = (SMALL, LARGE // 4 if bench.quick else LARGE)
    for runner, needs in RUNNERS.items():
        if needs is not None and find_spec(needs) is None:
            bench.results.add(NAME, STARTED, runner, "s", [], f"pip install 'n4a-flows[{runner}]'")
            continue
        worker = bench.start(ENGINES)
        try:
            first = worker("score", runner=runner, files=SMALL, chunks=2)["first"]
            bench.results.add(NAME, STARTED, runner, "s", [first])
            worker("keep", runner=runner)
            for files in sizes:
                worker("score", runner=runner, files=files)
                rounds = [worker("score", runner=runner, files=files)["chunk"] for _ in range(bench.repeats)]
                bench.results.add(NAME, _case(files), runner, "ms", [1000 * each for each in rounds])
        except UnavailableError as error:
            bench.results.add(NAME, _case(sizes[-1]), runner, "ms", [], str(error))
        finally:
            worker.end()
        _compare(bench, runner, *sizes)
        bench.progress(NAME, runner)


def _case(files: int) -> str:
    return f"a chunk of {files} files"


def _compare(bench: Bench, runner: str, small: int, large: int) -> None:
    """What a chunk and what a file costs, as a straight line, and from which size on a chunk takes less time than by threads."""
    ours, threads = _line(bench, runner, small, large), _line(bench, "threads", small, large)
    if ours is None or threads is None:
        return
    bench.results.add(NAME, "fixed part of a chunk", runner, "ms", [ours[0]])
    bench.results.add(NAME, "each file of a chunk", runner, "ms", [ours[1]])
    if runner != "threads" and ours[1] < threads[1]:
        bench.results.add(NAME, PAYS, runner, "", [max((ours[0] - threads[0]) / (threads[1] - ours[1]), 1.0)])


def _line(bench: Bench, runner: str, small: int, large: int) -> tuple[float, float] | None:
    """Milliseconds for a chunk without files, and for each file."""
    found = [bench.results.find(NAME, _case(files), runner) for files in (small, large)]
    times = [statistics.median(one.values) for one in found if one is not None]
    if len(times) < 2:
        return None
    per_file = (times[1] - times[0]) / (large - small)
    return times[0] - small * per_file, per_file
