"""What the commands have in common: output, progress, and the Prefect server."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from n4a_flows.storage.errors import N4AError

if TYPE_CHECKING:
    from n4a_flows.reports import LeaderboardRow

CLOSED = 141
"""Exit code when whoever read the output closed it; a shell says the same of a program that the signal ended."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell says it."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """End quietly: rich would end with 1, which here says that something failed."""
        try:
            super().on_broken_pipe()
        except SystemExit:
            raise SystemExit(CLOSED) from None


out = _Console(highlight=False, soft_wrap=True, emoji=False)
err = _Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


class PrefectUnreachableError(N4AError, ConnectionError):
    """The Prefect server cannot be reached, or a temporary one cannot be started."""


def print_quarantined(files: list[tuple[str, str]]) -> None:
    """One line for each (path, reason)."""
    for path, reason in files:
        out.print(Text(f"  {reason}" if path in reason else f"  {path}: {reason}"))


def print_error(error: BaseException) -> None:
    """One red line on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), " ".join(str(error).split())))


def print_leaderboard(rows: list[LeaderboardRow]) -> None:
    """The leaderboard as a table, without the ids of the chains."""
    from n4a_flows.reports import leaderboard_cells

    header, cells = leaderboard_cells(rows)
    table = Table(header_style="bold")
    for name in header[:-1]:
        text = name in ("pipeline", "target")
        table.add_column(name, justify="left" if text else "right", overflow="fold", no_wrap=not text)
    for row in cells:
        table.add_row(*map(Text, row[:-1]))
    out.print(table)


@contextmanager
def working() -> Iterator[None]:
    """Show progress while flows run inside this block.

    Prefect's temporary server is started first, where one is needed, and serves all of them.

    Raises
    ------
    PrefectUnreachableError
        When there is no server to be had.
    """
    from n4a_flows.flows.progress import listening

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as display:
        shown: dict[str, TaskID] = {}

        def listener(what: str, done: int, total: int) -> None:
            if what not in shown:
                shown[what] = display.add_task(what, total=total)
            display.update(shown[what], completed=done, total=total)

        listener("starting Prefect", 0, 1)
        _reach_prefect()
        listener("starting Prefect", 1, 1)
        with listening(listener):
            yield


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C end a flow inside this block: at the first one when the chunks in work are done, at a second one at once."""
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            _end_now()
        asked = True
        err.print("stopping when the chunks in work are done; Ctrl-C again ends it at once, and they are not recorded")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_now() -> NoReturn:
    """End this process as a signal would: its threads wait for nobody, and what the store has committed stays."""
    import psutil

    # Workers, and Prefect's temporary server.
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    err.show_cursor()
    os._exit(INTERRUPTED)


def _reach_prefect() -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    try:
        with get_client(sync_client=True) as client:
            failure: BaseException | None = client.api_healthcheck()
    except RuntimeError as error:
        failure = error
    if failure is not None:
        where = PREFECT_API_URL.value()
        raise PrefectUnreachableError(
            f"The Prefect server at {where} cannot be reached: start it, or unset PREFECT_API_URL."
            if where
            else f"Prefect's temporary server could not be started: {failure}"
        ) from failure
