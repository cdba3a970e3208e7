"""nirs4all 1.4.10, whose workspace is a SQLite file with one Parquet file of arrays for each dataset.

Its own runner records a pipeline a transaction, with one batch of arrays. Here it may also take more pipelines at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from nirs4all.pipeline.storage.array_store import _PARQUET_SCHEMA

from benchmarks.contenders import filling, work
from benchmarks.contenders.base import Clock
from benchmarks.contenders.nirs4all_base import Nirs4all


class Contender(Nirs4all):
    packages = ("nirs4all", "polars", "pyarrow", "scikit-learn", "numpy", "joblib")
    durability = (
        f"rows: SQLite {sqlite3.sqlite_version} in WAL mode, synchronous=FULL (fsync of the log at every commit); "
        "Parquet and artifact files: not synced"
    )

    def transaction(self) -> AbstractContextManager[Any]:
        transaction: AbstractContextManager[Any] = self.store.transaction()
        return transaction

    def record_together(self, pipelines: Sequence[work.Pipeline]) -> None:
        with self.transaction():
            self.store.array_store.save_batch([row for one in pipelines for row in self.record_rows(one)])

    def record_singly(self, pipeline: work.Pipeline) -> None:
        self.store.array_store.save_batch(self.record_rows(pipeline))

    def fill(self, predictions: int, values: int) -> float:
        self.store.close()
        clock = Clock()
        with clock.running():
            connection = sqlite3.connect(self.folder / "store.sqlite")
            with connection:
                self._fill_rows(connection, predictions)
            connection.close()
            self._fill_arrays(predictions, values)
        self.open(str(self.folder))
        return clock.seconds

    def _fill_rows(self, connection: sqlite3.Connection, predictions: int) -> None:
        pipelines = predictions // work.PER_PIPELINE
        for number in range(filling.RUNS):
            run = (filling.identity("run", number), f"run {number}")
            connection.execute("INSERT INTO runs (run_id, name) VALUES (?, ?)", run)
        _insert(connection, "pipelines", (pipeline for pipeline, _ in filling.pipeline_rows(pipelines)))
        _insert(connection, "chains", (one for _, one in filling.pipeline_rows(pipelines)))
        _insert(connection, "predictions", filling.prediction_rows(predictions))
        _insert(connection, "artifacts", filling.artifact_rows(6 * pipelines))

    def _fill_arrays(self, predictions: int, values: int) -> None:
        random = np.random.default_rng(3)
        truth = np.round(random.normal(30, 10, values), 2)
        store = self.store.array_store
        for dataset in range(work.DATASETS):
            numbers = np.arange(predictions)
            mine = numbers[(numbers // work.PER_PIPELINE) % work.DATASETS == dataset]
            offsets = np.arange(len(mine) + 1, dtype=np.int32) * values
            lists = {
                "y_true": np.tile(truth, len(mine)),
                "y_pred": random.uniform(0, 60, len(mine) * values),
            }
            columns = {name: pa.ListArray.from_arrays(offsets, flat) for name, flat in lists.items()}
            columns["prediction_id"] = pa.array([filling.identity("prediction", int(number)) for number in mine])
            columns["dataset_name"] = pa.array([f"dataset_{dataset:02}"] * len(mine))
            table = pa.table(
                [columns.get(field.name, pa.nulls(len(mine), field.type)) for field in _PARQUET_SCHEMA],
                schema=_PARQUET_SCHEMA,
            )
            store._atomic_write_parquet(table, store._parquet_path(f"dataset_{dataset:02}"))

    def database_bytes(self) -> int:
        arrays = sum(path.stat().st_size for path in (self.folder / "arrays").iterdir())
        return super().database_bytes() + arrays

    def delete_run(self, run_id: str) -> None:
        super().delete_run(run_id)
        self.store.compact_arrays()


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    rows = iter(rows)
    first = next(rows, None)
    if first is not None:
        names, places = ", ".join(first), ", ".join(f":{name}" for name in first)
        connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", chain([first], rows))
