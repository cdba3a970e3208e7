"""How the operations of a store become Prefect tasks."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.storage import PipelineLibrary, WorkspaceStore
from n4a_flows.storage.errors import StoreBusyError
from n4a_flows.tasks._logs import show_in_runs

show_in_runs()

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


def verb_task(
    verb: Callable[Concatenate[WorkspaceStore, P], R], run_name: str
) -> Task[Concatenate[WorkspaceStoreBlock, P], R]:
    """Make a Prefect task of a verb of the store: it has the verb's name, and takes a block and then what the verb takes.

    Parameters
    ----------
    verb
        A method of `WorkspaceStore`.
    run_name
        Name of the task runs, with the parameters of the verb in braces.
    """

    def call(store: WorkspaceStoreBlock, *args: P.args, **kwargs: P.kwargs) -> R:
        with store.open() as workspace:
            return verb(workspace, *args, **kwargs)

    return storage_task(run_name)(_described(call, verb, "WorkspaceStore"))


def library_task(
    verb: Callable[Concatenate[PipelineLibrary, P], R], run_name: str
) -> Task[Concatenate[WorkspaceStoreBlock, P], R]:
    """Make a Prefect task of a verb of the library, as `verb_task` does of those of the store."""

    def call(store: WorkspaceStoreBlock, *args: P.args, **kwargs: P.kwargs) -> R:
        return verb(library_of(store), *args, **kwargs)

    return storage_task(run_name)(_described(call, verb, "PipelineLibrary"))


def library_of(store: WorkspaceStoreBlock) -> PipelineLibrary:
    """The library of a block's workspace, which is made when it is not there."""
    with store.open():
        return PipelineLibrary(store.workspace_path, read_only=store.read_only)


def _described(call: Callable[P, R], verb: Callable[..., Any], of: str) -> Callable[P, R]:
    """Give a function the name, the parameters and the summary of the verb that it calls."""
    name = verb.__name__
    hints = typing.get_type_hints(verb)
    result = hints.pop("return")
    _self, *parameters = inspect.signature(verb).parameters.values()
    first = inspect.Parameter("store", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=WorkspaceStoreBlock)
    shown = [first, *(each.replace(annotation=hints[each.name]) for each in parameters)]
    call.__name__ = call.__qualname__ = name
    call.__module__ = "n4a_flows.tasks"
    call.__signature__ = inspect.Signature(shown, return_annotation=result)  # type: ignore[attr-defined]
    call.__annotations__ = {"store": WorkspaceStoreBlock, **hints, "return": result}
    summary = inspect.cleandoc(verb.__doc__ or "").partition("\n\n")[0]
    call.__doc__ = f"{summary}\n\nThis is `{of}.{name}` as a task: what it takes, returns and raises is said there."
    return call
