"""Who computes: a task runner by its name, and chunks handed to its workers.

Workers get all they need as arguments and return results; the flow's own process records. That is one path for threads, processes,
Dask and Ray.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, TypeVar

from prefect import Task
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, as_completed
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner
from pydantic import AfterValidator

from n4a_flows.flows.chunks import whole
from n4a_flows.storage.errors import InvalidInputError, WorkerError
from n4a_flows.tasks.parcels import Lacking, Packed, Parcel
from n4a_flows.tasks.versions import Versions

T = TypeVar("T")
R = TypeVar("R")

_EXTRAS = {"dask": "prefect_dask", "ray": "prefect_ray"}
_RUNNERS = "threads, processes, dask, dask=ADDRESS, ray or ray=ADDRESS"
_PATIENCE = 60.0
"""Seconds to wait for a first worker of a cluster."""

_IN_FLIGHT = 16
_MORE_THAN_WORKERS = 1.25
"""What is in flight beyond what is worked at waits at a worker, so that it goes on while the flow records."""


def known_runner(text: str) -> str:
    """A text that names a task runner, as it is.

    Raises
    ------
    InvalidInputError
        When it names none, or one that needs a package which is not installed.
    """
    name, equals, address = text.partition("=")
    if name not in ("threads", "processes", *_EXTRAS) or (equals and (name not in _EXTRAS or not address.strip())):
        raise InvalidInputError(f"There is no runner {text!r}: use {_RUNNERS}.")
    if name in _EXTRAS and find_spec(_EXTRAS[name]) is None:
        raise InvalidInputError(
            f"The runner {name!r} needs a package that is not here: pip install 'n4a-flows[{name}]'."
        )
    return text


RunnerText = Annotated[str, AfterValidator(known_runner)]
"""Names a task runner; `known_runner` says which there are."""


@dataclass(frozen=True)
class Workers:
    """A started task runner.

    Attributes
    ----------
    runner
        It.
    count
        How many chunks it works at.
    apart
        Whether its workers are other processes.
    """

    runner: TaskRunner[Any]
    count: int
    apart: bool

    def results(
        self,
        task: Task[..., R | Lacking],
        work: Iterable[T],
        arguments: Callable[[Any, Any], Mapping[str, Any]],
        shared: Any,
        versions: Callable[[], Versions],
    ) -> Iterator[R]:
        """A task run for each piece of work, and their results as they come.

        Only a few are in flight at a time, so that results which wait to be recorded do not pile up in memory. The exception of a
        failed task run is raised here; `WorkerError` when a process of `processes` died.

        Parameters
        ----------
        arguments
            The arguments of the task for a piece of work and for what is shared, both as they are handed over.
        shared
            What each task run needs. To other processes it is sent with as many chunks as there are workers; after that only to
            one that says it lacks it.
        versions
            What workers must have too; asked for only where they are other processes.
        """
        parcel = Parcel.of(shared, versions()) if self.apart else None

        def submit(piece: T, *, along: bool) -> PrefectFuture[R | Lacking]:
            if parcel is None:
                given = arguments(whole(piece), whole(shared))
            else:
                given = arguments(Packed.of(piece), parcel if along else parcel.label())
            future: PrefectFuture[R | Lacking] = self.runner.submit(task, parameters=dict(given))
            return future

        in_flight = max(_IN_FLIGHT, math.ceil(_MORE_THAN_WORKERS * self.count))
        pending: dict[PrefectFuture[R | Lacking], T] = {}
        try:
            for number, piece in enumerate(work):
                pending[submit(piece, along=number < self.count)] = piece
                while len(pending) >= in_flight:
                    yield from self._next_of(pending, submit)
            while pending:
                yield from self._next_of(pending, submit)
        except BrokenProcessPool as error:
            raise WorkerError(
                "A process of the runner 'processes' died, perhaps because there was no memory left, and Python gives all of "
                "them up then. What has been recorded stays: run it again, with smaller chunks if it happens again."
            ) from error

    @staticmethod
    def _next_of(
        pending: dict[PrefectFuture[R | Lacking], T], submit: Callable[..., PrefectFuture[R | Lacking]]
    ) -> Iterator[R]:
        done = next(as_completed(list(pending)))
        piece, result = pending.pop(done), done.result()
        if isinstance(result, Lacking):
            pending[submit(piece, along=True)] = piece
        else:
            yield result


@contextmanager
def workers(runner: str) -> Iterator[Workers]:
    """The workers that a text names; `threads` stands for the task runner of the flow, whatever a caller has made it.

    Raises
    ------
    InvalidInputError
        As `known_runner` does.
    WorkerError
        When a cluster cannot be reached or has no workers.
    """
    with ExitStack() as stack:
        if runner == "threads":
            context = FlowRunContext.get()
            assert context is not None, "only flows have workers"
            started = context.task_runner
            count = _count(started)
        else:
            made = _task_runner(runner)
            stack.enter_context(_server_for_workers())
            try:
                started = stack.enter_context(made)
                count = _count(started)
            # Whatever Dask and Ray raise when nobody answers.
            except Exception as error:
                raise WorkerError(
                    f"The runner {runner!r} cannot be started ({error}): check that it runs there."
                ) from error
        yield Workers(started, count, not isinstance(started, ThreadPoolTaskRunner))


def _task_runner(text: str) -> TaskRunner[Any]:
    name, _, address = known_runner(text).partition("=")
    cores = os.cpu_count() or 1
    if name == "processes":
        return ProcessPoolTaskRunner(max_workers=cores)
    made: TaskRunner[Any]
    module = import_module(_EXTRAS[name])
    if name == "dask":
        here = {"n_workers": cores, "threads_per_worker": 1, "dashboard_address": None}
        made = module.DaskTaskRunner(address=address or None, cluster_kwargs=None if address else here)
        return made
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": "warning", **({} if address else {"include_dashboard": False})}
    made = module.RayTaskRunner(address=address or None, init_kwargs=quiet)
    return made


@contextmanager
def _server_for_workers() -> Iterator[None]:
    """Let workers find the temporary server of a flow that has no other; each of them would start one of its own."""
    if PREFECT_API_URL.value():
        yield
        return
    with get_client(sync_client=True) as client:
        url = str(client.api_url)
    with temporary_settings({PREFECT_API_URL: url}):
        yield


def _count(runner: TaskRunner[Any]) -> int:
    """How many chunks a started task runner works at."""
    if isinstance(runner, ThreadPoolTaskRunner | ProcessPoolTaskRunner):
        return min(int(runner._max_workers), os.cpu_count() or 1)
    kind = type(runner).__module__.partition(".")[0]
    if kind == "prefect_dask":
        client: Any = runner.client  # type: ignore[attr-defined]
        client.wait_for_workers(1, timeout=_PATIENCE)
        return sum(client.nthreads().values())
    if kind == "prefect_ray":
        return max(int(import_module("ray").cluster_resources().get("CPU", 1)), 1)
    return _IN_FLIGHT
