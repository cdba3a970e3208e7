"""How the operations of a store become Prefect tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from n4a_flows.storage.errors import StoreBusyError

P = ParamSpec("P")
R = TypeVar("R")

_RETRY_DELAYS = [2.0, 5.0, 15.0]


def store_was_busy(_task: Task[Any, Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """True when a task run failed because the store stayed busy: nothing was done then, so it can be done again."""
    return isinstance(state.result(raise_on_failure=False), StoreBusyError)


def storage_task(run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a Prefect task of a function that takes a WorkspaceStoreBlock first and calls the store.

    A storage operation has side effects or looks at what others changed: it is never cached, and its result is not
    persisted. It is tried again when the store was busy, and only then: any other failure would fail again, or might
    have done its work.

    Parameters
    ----------
    run_name
        Name of the task runs, with the parameters of the function in braces.
    """
    return task(
        task_run_name=run_name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(_RETRY_DELAYS),
        retry_delay_seconds=_RETRY_DELAYS,
        retry_jitter_factor=0.5,
        retry_condition_fn=store_was_busy,
    )


def worker_task(run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a Prefect task of a function that computes and never touches a store, so that it may run anywhere."""
    return task(task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)
