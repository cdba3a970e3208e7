"""What a reader raises, and how long it may take: other people's code ends in our errors, and ends."""

from __future__ import annotations

import ctypes
import importlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from n4a_flows.storage.errors import N4AError, SpectraError

SECONDS = 8.0
"""How long one file may be read."""


class _Expired(BaseException):  # not an Exception: libraries swallow those
    pass


@contextmanager
def contained(source: object, kind: str) -> Iterator[None]:
    """Whatever goes wrong inside is a `SpectraError` that names the file.

    Raises
    ------
    SpectraError
        When something else than an error of ours is raised inside.
    """
    try:
        with np.errstate(all="ignore"):  # what overflows is not finite, and the guards say so
            yield
    except N4AError:
        raise
    except MemoryError as error:
        raise SpectraError(f"{source} cannot be read as {kind}: it would take more memory than there is.") from error
    except Exception as error:
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise SpectraError(f"{source} cannot be read as {kind} and is probably damaged ({said}).") from error


@contextmanager
def deadline(source: object, seconds: float | None = None) -> Iterator[None]:
    """Stop Python code that runs longer than this, in whatever thread it is.

    Raises
    ------
    SpectraError
        When the time is over.
    """
    seconds = SECONDS if seconds is None else seconds
    thread = ctypes.c_ulong(threading.get_ident())
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    gate = threading.Lock()
    over = fired = False

    def expire() -> None:
        nonlocal fired
        with gate:
            if not over:
                fired = True
                raise_in(thread, ctypes.py_object(_Expired))

    timer = threading.Timer(seconds, expire)
    try:
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with gate:
                over = True
            if fired:
                raise_in(thread, None)  # it may not have arrived yet
    except _Expired:
        raise SpectraError(f"{source} took longer than {seconds:g} s to read; it is damaged or too large.") from None


def library(module: str, extra: str, package: str, source: object) -> Any:
    """A library that only some formats need, kept from printing.

    Raises
    ------
    SpectraError
        When it is not installed, saying how to install it.
    """
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        if error.name is None or not module.startswith(error.name.split(".")[0]):
            raise
        raise SpectraError(
            f"{source} needs the package {package} to be read: pip install 'n4a-flows[{extra}]'."
        ) from error
    quiet(found)
    return found


def quiet(module: ModuleType, instead: Callable[..., None] | None = None) -> None:
    """Keep a library from writing to the console: what it prints and logs is not for our users."""
    vars(module)["print"] = instead or _nothing
    log = logging.getLogger(module.__name__.split(".")[0])
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def _nothing(*_words: object, **_options: object) -> None:
    return None
