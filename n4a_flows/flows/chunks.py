"""Work in chunks: how many tasks, and how many at once in threads."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.utilities.annotations import opaque

T = TypeVar("T")

MOST_CHUNKS = 48
"""Each chunk is two task runs, one to work and one to record; more than a hundred in a flow run clog the server."""

_FEWEST_CHUNKS = 2
_CHUNKS_A_WORKER = 2


def one_thread_per_core() -> TaskRunner[Any]:
    """The task runner of our flows; Prefect's own default would run all chunks at once. Callers may choose another."""
    return ThreadPoolTaskRunner(max_workers=os.cpu_count())


def one_thread() -> TaskRunner[Any]:
    """One worker beside the flow that records. Reading files is work of Python itself, and a second thread would only take turns
    with the first (measured: 0.8 of the speed); a process pool or a cluster is faster for many thousand files.
    """
    return ThreadPoolTaskRunner(max_workers=1)


def chunked(items: Sequence[T], size: int, workers: int = 1) -> list[Sequence[T]]:
    """Cut `items` into chunks of about `size`.

    There are two or more where there are two items, so that two cores have work, and never more than `MOST_CHUNKS`, unless there
    are so many workers that some would have no work then.
    """
    if not items:
        return []
    wanted = max(math.ceil(len(items) / size), min(_FEWEST_CHUNKS, len(items)))
    even = math.ceil(len(items) / min(wanted, max(MOST_CHUNKS, _CHUNKS_A_WORKER * workers)))
    return [items[start : start + even] for start in range(0, len(items), even)]


def whole(value: T) -> T:
    """Pass `value` to a task as it is: Prefect would otherwise walk through all of it, looking for futures."""
    return cast(T, opaque(value))
