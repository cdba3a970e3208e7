"""Work in chunks: how many tasks, how many at once, and results as they come."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.utilities.annotations import opaque

T = TypeVar("T")
R = TypeVar("R")

MOST_CHUNKS = 48
"""Each chunk is two task runs, one to work and one to record; more than a hundred in a flow run clog the server."""

_IN_FLIGHT = 16
_FEWEST_CHUNKS = 2


def one_thread_per_core() -> TaskRunner[Any]:
    """The task runner of our flows; Prefect's own default would run all chunks at once. Callers may choose another."""
    return ThreadPoolTaskRunner(max_workers=os.cpu_count())


def one_thread() -> TaskRunner[Any]:
    """One worker beside the flow that records. Reading files is work of Python itself, and a second thread would only take turns
    with the first (measured: 0.8 of the speed); a process pool or a cluster is faster for many thousand files.
    """
    return ThreadPoolTaskRunner(max_workers=1)


def chunked(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut `items` into chunks of about `size`.

    There are two or more where there are two items, so that two cores have work, and never more than `MOST_CHUNKS`.
    """
    if not items:
        return []
    wanted = max(math.ceil(len(items) / size), min(_FEWEST_CHUNKS, len(items)))
    even = math.ceil(len(items) / min(wanted, MOST_CHUNKS))
    return [items[start : start + even] for start in range(0, len(items), even)]


def results_of(submit: Callable[[T], PrefectFuture[R]], work: Iterable[T]) -> Iterator[R]:
    """Submit a task run for each piece of work and yield the results as they come.

    Only a few are in flight at a time, so that results which wait to be recorded do not pile up in memory. The
    exception of a failed task run is raised here.
    """
    pending: list[PrefectFuture[R]] = []
    for piece in work:
        pending.append(submit(piece))
        if len(pending) >= _IN_FLIGHT:
            yield _next_of(pending).result()
    while pending:
        yield _next_of(pending).result()


def whole(value: T) -> T:
    """Pass `value` to a task as it is: Prefect would otherwise walk through all of it, looking for futures."""
    return cast(T, opaque(value))


def _next_of(pending: list[PrefectFuture[R]]) -> PrefectFuture[R]:
    done = next(as_completed(pending))
    pending.remove(done)
    return done
