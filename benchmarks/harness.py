"""Contenders as processes, and the same work measured in turn."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.contenders import FLOOR, MODULES, OURS, PEERS, ROOT, python_of
from benchmarks.results import Results


class UnavailableError(Exception):
    """A contender has no such thing, or failed at it; the text goes into the table."""


PATIENCE = 60.0
"""Seconds after which a single piece of work counts as not to be had; filling a store may take ten times that."""


class Worker:
    """The process of one contender."""

    def __init__(self, contender: str, log: Path) -> None:
        self.contender = contender
        self._log = log.open("a")
        self._opened: dict[str, Any] = {}
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [python_of(self.contender), "-m", "benchmarks.contenders", MODULES[self.contender]],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __call__(self, verb: str, **arguments: Any) -> Any:
        """Have something done and wait for the answer.

        Raises
        ------
        UnavailableError
            When the contender has no such verb, fails, or takes too long.
        """
        if verb == "open":
            self._opened = arguments
        self.ask(verb, **arguments)
        return self.answer(PATIENCE * 10 if verb in ("fill", "score", "delete_tenth", "nine_runs") else PATIENCE)

    def ask(self, verb: str, **arguments: Any) -> None:
        """Have something done, without waiting for it."""
        print(json.dumps({"verb": verb, "arguments": arguments}), file=self._process.stdin, flush=True)

    def answer(self, patience: float = PATIENCE) -> Any:
        """Wait for what was asked; a process that takes longer is ended, and another one opens its store."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], patience)[0]:
            self._process.kill()
            self._process.wait()
            self._start()
            if self._opened:
                self("open", **self._opened)
            raise UnavailableError(f"more than {patience:g} s, given up")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process of {self.contender} ended; see {self._log.name}.")
        answer = json.loads(line)
        if "not offered" in answer:
            raise UnavailableError(answer["not offered"])
        if "error" in answer:
            raise UnavailableError(f"failed: {answer['error']}")
        return answer["result"]

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE)
        self._log.close()


@dataclass
class Bench:
    """What an operation needs: who takes part, how often, where, and how large."""

    folder: Path
    contenders: Sequence[str]
    repeats: int
    quick: bool
    results: Results = field(default_factory=Results)

    @contextmanager
    def workers(self, contenders: Sequence[str]) -> Iterator[dict[str, Worker]]:
        """A process and an empty store for each contender that takes part.

        The stores stay until the end of the run: for minutes after many files were deleted, ext4 takes several times as long to
        begin a new one.
        """
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        started = {name: self.start(name) for name in contenders if name in self.contenders}
        try:
            for place, worker in enumerate(started.values()):
                worker("open", folder=str(folder / str(place)))
            yield started
        finally:
            for worker in started.values():
                worker.end()

    def start(self, contender: str) -> Worker:
        """A new process of a contender; whoever starts it ends it."""
        return Worker(contender, self.folder / "workers.log")

    def in_turn(
        self,
        operation: str,
        case: str,
        unit: str,
        work: Mapping[str, Callable[[], float]],
        *,
        per: float | None = None,
        times: int = 1,
    ) -> None:
        """Measure the seconds of each contender's work, one after the other, `repeats` times after a round that warms up.

        Parameters
        ----------
        times
            So many times as many rounds, where little lies between the contenders.
        unit
            What is written down: seconds as `"s"` or `"ms"`, or `".../s"`: `per` divided by the seconds.
        """
        measured: dict[str, list[float]] = {name: [] for name in work}
        reasons: dict[str, str] = {}
        for repeat in range(times * self.repeats + 1):
            for name, run in work.items():
                if name in reasons:
                    continue
                try:
                    seconds = run()
                except UnavailableError as error:
                    reasons[name] = str(error)
                    continue
                if repeat:
                    measured[name].append(per / seconds if per else seconds * (1000 if unit == "ms" else 1))
        for name in work:
            self.results.add(operation, case, name, unit, measured[name], reasons.get(name, ""))
        self.progress(operation, case)

    def progress(self, operation: str, case: str) -> None:
        """Say on stderr what has been measured."""
        print(f"{time.strftime('%H:%M:%S')} {operation}: {case}", file=sys.stderr, flush=True)


def calls(
    workers: Mapping[str, Worker], able: Sequence[str], verb: str, **arguments: Any
) -> dict[str, Callable[[], float]]:
    """A verb of each of these contenders that takes part, ready to be called."""
    return {name: partial(workers[name], verb, **arguments) for name in able if name in workers}


EVERYBODY = (OURS, *PEERS, FLOOR)


def installed(contenders: Sequence[str]) -> list[str]:
    """Those whose environment is there."""
    return [name for name in contenders if python_of(name).exists()]
