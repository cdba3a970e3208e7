"""What a contender can be asked to do. A verb returns the seconds that its work took, without making what it works on."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.contenders import work


class NotOfferedError(Exception):
    """The system has no such thing, or none that ends in reasonable time; the text says which."""


class Clock:
    """Seconds spent inside its `with` blocks."""

    seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began


class Base:
    """Defaults, and what all contenders do alike."""

    packages: tuple[str, ...] = ()
    durability = ""
    folder: Path
    run_id: str

    def about(self) -> dict[str, Any]:
        """Versions of what matters, and what is safe when a verb returns."""
        return {
            "versions": {name: importlib.metadata.version(name) for name in self.packages},
            "durability": self.durability,
        }

    def open(self, folder: str) -> None:
        """Open the store in this folder, or make a new one; it stays open."""
        self.folder = Path(folder)

    def close(self) -> None:
        """Close it."""

    def record(self, pipelines: int, together: int | None) -> float:
        """Record new pipelines, so many in a transaction; None: with single verbs."""
        clock = Clock()
        made = work.pipelines(pipelines)
        if together is None:
            for pipeline in made:
                with clock.running():
                    self.record_singly(pipeline)
        else:
            for start in range(0, pipelines, together):
                with clock.running():
                    self.record_together(made[start : start + together])
        return clock.seconds

    def record_singly(self, pipeline: work.Pipeline) -> None:
        raise NotOfferedError("no single verbs")

    def record_together(self, pipelines: Sequence[work.Pipeline]) -> None:
        raise NotOfferedError("no transactions")

    def record_for(self, seconds: float) -> dict[str, Any]:
        """Record one pipeline after another until the time is over: how long each took, and how many failed."""
        took: list[float] = []
        errors: list[str] = []
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            [pipeline] = work.pipelines(1)
            began = time.perf_counter()
            try:
                self.record_one(pipeline)
            except Exception as error:  # noqa: BLE001 - counted
                errors.append(f"{type(error).__name__}: {error}")
                time.sleep(0.05)
                continue
            took.append(time.perf_counter() - began)
        return {"took": took, "errors": len(errors), "first error": errors[0] if errors else None}

    def record_one(self, pipeline: work.Pipeline) -> None:
        """One pipeline as an application would record it."""
        self.record_together([pipeline])

    def save(self, kind: str, count: int, together: bool) -> float:
        """Save so many objects of a kind of `work.objects`, in one transaction or each by itself."""
        raise NotOfferedError("no artifacts")

    def fill(self, predictions: int, values: int) -> float:
        """Fill a new store with predictions of so many values each, past the API where it has to be fast."""
        raise NotOfferedError("not filled")

    def ask(self, question: str) -> float:
        """Open the store, ask, look at the answer, close."""
        raise NotOfferedError("no queries")

    def keep_chain(self, width: int) -> None:
        """Record the chain of `work.chain_objects`."""
        raise NotOfferedError("no chains")

    def replay(self, samples: int, width: int, times: int) -> float:
        """Predict with the recorded chain, loaded anew each time; seconds of one time."""
        return self.repeated(self.load_and_predict, samples, width, times)

    def replay_kept(self, samples: int, width: int, times: int) -> float:
        """Predict with the recorded chain, which is in memory already; seconds of one time."""
        return self.repeated(self.keep_predictor(), samples, width, times)

    def load_and_predict(self, X: np.ndarray) -> np.ndarray:
        raise NotOfferedError("no replay")

    def keep_predictor(self) -> Callable[[np.ndarray], np.ndarray]:
        """What predicts from memory."""
        raise NotOfferedError("every replay loads the chain anew")

    def repeated(self, predict: Callable[[np.ndarray], np.ndarray], samples: int, width: int, times: int) -> float:
        """Seconds of one prediction, the median of so many after one that warms up."""
        X = work.spectra(samples, width)
        predict(X)
        seconds = []
        for _ in range(times):
            clock = Clock()
            with clock.running():
                predict(X)
            seconds.append(clock.seconds)
        return median(seconds)

    def delete_tenth(self, pipelines: int) -> dict[str, Any]:
        """Record ten runs, delete one, collect garbage, vacuum; bytes of the store and of its database before and after."""
        runs = [self._whole_run(pipelines // 10) for _ in range(10)]
        before, clock = self.bytes(), Clock()
        with clock.running():
            self.delete_run(runs[4])
        return {"before": before, "after": self.bytes(), "database": self.database_bytes(), "seconds": clock.seconds}

    def nine_runs(self, pipelines: int) -> dict[str, Any]:
        """Bytes of a store that never held the tenth run."""
        for _ in range(9):
            self._whole_run(pipelines // 10)
        return {"after": self.bytes(), "database": self.database_bytes()}

    def _whole_run(self, pipelines: int) -> str:
        self.run_id = self.new_run()
        for start in range(0, pipelines, work.TOGETHER):
            self.record(min(work.TOGETHER, pipelines - start), work.TOGETHER)
        return self.run_id

    def new_run(self) -> str:
        """Begin a run, which takes the pipelines recorded from now on."""
        raise NotOfferedError("no runs")

    def delete_run(self, run_id: str) -> None:
        """Delete a run, collect garbage, give the space back as far as the system can."""
        raise NotOfferedError("no deletion")

    def database_bytes(self) -> int:
        """Size of what holds rows and arrays."""
        return sum(path.stat().st_size for path in self.folder.rglob("store.*") if path.is_file())

    def bytes(self) -> int:
        """Size of all files of the store."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
