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
STARTED = "started anew, until the first chunk"
PAYS = "files in a chunk from which the flow's process has less to do than by threads"


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
                rounds = [worker("score", runner=runner, files=files) for _ in range(bench.repeats)]
                bench.results.add(NAME, _case(files), runner, "ms", [1000 * one["chunk"] for one in rounds])
                bench.results.add(NAME, _cpu(files), runner, "ms", [1000 * one["cpu"] for one in rounds])
        except UnavailableError as error:
            bench.results.add(NAME, _case(sizes[-1]), runner, "ms", [], str(error))
        finally:
            worker.end()
        _compare(bench, runner, *sizes)
        bench.progress(NAME, runner)


def _case(files: int) -> str:
    return f"a chunk of {files} files"


def _cpu(files: int) -> str:
    return f"{_case(files)}, CPU of the flow's process"


def _compare(bench: Bench, runner: str, small: int, large: int) -> None:
    """What a chunk and what a file costs the flow's process, as a straight line, and where the lines of runner and threads meet.

    CPU and not time: this process is what all workers wait for, and other work on the machine does not change it.
    """
    ours, threads = _line(bench, runner, small, large), _line(bench, "threads", small, large)
    if ours is None or threads is None:
        return
    bench.results.add(NAME, "CPU of the flow's process for a chunk", runner, "ms", [ours[0]])
    bench.results.add(NAME, "and for each file of it", runner, "ms", [ours[1]])
    if runner != "threads" and ours[1] < threads[1]:
        bench.results.add(NAME, PAYS, runner, "", [max((ours[0] - threads[0]) / (threads[1] - ours[1]), 1.0)])


def _line(bench: Bench, runner: str, small: int, large: int) -> tuple[float, float] | None:
    found = [bench.results.find(NAME, _cpu(files), runner) for files in (small, large)]
    times = [statistics.median(one.values) for one in found if one is not None]
    if len(times) < 2:
        return None
    per_file = (times[1] - times[0]) / (large - small)
    return times[0] - small * per_file, per_file
