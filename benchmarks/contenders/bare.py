"""The floor: what the bare libraries need for the same rows and bytes, with nothing of a store around them.

Rows go into DuckDB tables without keys over a connection that stays open; files are written under a counter and not synced; the
fold models are plain scikit-learn objects, in memory or in files of `joblib.dump`.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import duckdb
import joblib
import numpy as np
import pyarrow as pa

from benchmarks.contenders import filling, work
from benchmarks.contenders.base import Base, Clock, NotOfferedError

_ROWS = pa.list_(pa.float64())


class Contender(Base):
    packages = ("duckdb", "pyarrow", "scikit-learn", "numpy", "joblib")
    durability = "rows: DuckDB's commit (fsync); files: not synced"
    connection: duckdb.DuckDBPyConnection

    def open(self, folder: str) -> None:
        super().open(folder)
        self.folder.mkdir(parents=True)
        self.connection = duckdb.connect(str(self.folder / "store.duckdb"))
        self.files = 0

    def close(self) -> None:
        self.connection.close()

    def record_together(self, pipelines: Sequence[work.Pipeline]) -> None:
        for pipeline in pipelines:
            for one, _, _ in pipeline.objects:
                self._write(pickle.dumps(one, protocol=5))
        rows = [(pipeline, *pair) for pipeline in pipelines for pair in pipeline.rows()]
        chains = [json.dumps(pipeline.chain(["0" * 36] * 6)) for pipeline in pipelines]
        tables = {
            "pipelines": pa.table({"name": [one.name for one in pipelines], "chain": chains}),
            "predictions": pa.table(
                {key: [json.dumps(row[key]) for _, _, row in rows] for key in ("scores", "best_params")}
                | {
                    key: [row[key] for _, _, row in rows]
                    for key in rows[0][2]
                    if key not in ("scores", "best_params", "branch_id", "branch_name")
                }
            ),
            "prediction_arrays": pa.table(
                {
                    "y_true": pa.array([one.y_true for _, one, _ in rows], _ROWS),
                    "y_pred": pa.array([one.y_pred for _, one, _ in rows], _ROWS),
                }
            ),
        }
        self.connection.execute("BEGIN")
        for name, table in tables.items():
            self.connection.register("given", table)
            self.connection.execute(f"CREATE TABLE IF NOT EXISTS recorded_{name} AS FROM given LIMIT 0")
            self.connection.execute(f"INSERT INTO recorded_{name} FROM given")
            self.connection.unregister("given")
        self.connection.execute("COMMIT")

    def _write(self, data: bytes) -> None:
        self.files += 1
        shard = self.folder / "files" / f"{self.files % 256:02x}"
        shard.mkdir(parents=True, exist_ok=True)
        (shard / str(self.files)).write_bytes(data)

    def save(self, kind: str, count: int, together: bool) -> float:
        if not together:
            raise NotOfferedError("no transactions to leave out")
        objects = work.objects(kind, count)
        clock = Clock()
        with clock.running():
            for one, _, _ in objects:
                self._write(pickle.dumps(one, protocol=5))
        return clock.seconds

    def fill(self, predictions: int, values: int) -> float:
        clock = Clock()
        with clock.running():
            filling.make_duckdb(self.connection, predictions, values)
        return clock.seconds

    def ask(self, question: str) -> float:
        rows = "FROM predictions"
        sql = {
            "top 10": f"{rows} WHERE partition = 'val' ORDER BY val_score LIMIT 10",
            "top 3 per group": f"{rows} WHERE partition = 'val' "
            "QUALIFY row_number() OVER (PARTITION BY dataset_name ORDER BY val_score) <= 3",
            "filter": f"{rows} WHERE dataset_name = '{work.DATASET}' AND partition = 'val' AND fold_id = 'fold_1'",
            "page": f"{rows} ORDER BY created_at DESC LIMIT 100 OFFSET 1000",
            "arrays": f"FROM prediction_arrays WHERE prediction_id = '{filling.identity('prediction', 20_000)}'",
        }[question]
        clock = Clock()
        with clock.running():
            table = self.connection.sql(sql).to_arrow_table()
        work.check_answer(question, table.num_rows)
        return clock.seconds

    def keep_chain(self, width: int) -> None:
        transformers, models = work.chain_objects(width)
        for compress in (0, 3):
            folder = self.folder / f"compress-{compress}"
            folder.mkdir()
            for place, one in enumerate([*transformers, *models]):
                joblib.dump(one, folder / f"{place}.joblib", compress=compress)

    def load_and_predict(self, X: np.ndarray) -> np.ndarray:
        return _predict(self._loaded(0), X)

    def keep_predictor(self) -> Callable[[np.ndarray], np.ndarray]:
        return partial(_predict, self._loaded(0))

    def replay_compressed(self, samples: int, width: int, times: int) -> float:
        """`replay` from files of `joblib.dump(compress=3)`, which is how nirs4all keeps artifacts."""
        return self.repeated(lambda X: _predict(self._loaded(3), X), samples, width, times)

    def _loaded(self, compress: int) -> list[Any]:
        return [joblib.load(self.folder / f"compress-{compress}" / f"{place}.joblib") for place in range(8)]


def _predict(objects: list[Any], X: np.ndarray) -> np.ndarray:
    for transformer in objects[:3]:
        X = transformer.transform(X)
    return np.mean([model.predict(X) for model in objects[3:]], axis=0)
