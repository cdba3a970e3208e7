"""nirs4all 0.7.1, whose workspace is a DuckDB file. It has no transactions: every verb commits by itself."""

from __future__ import annotations

import duckdb
from nirs4all.pipeline.storage import WorkspaceStore

from benchmarks.contenders import filling, work
from benchmarks.contenders.base import Clock
from benchmarks.contenders.nirs4all_base import Nirs4all


class Contender(Nirs4all):
    packages = ("nirs4all", "duckdb", "polars", "scikit-learn", "numpy", "joblib")
    durability = "rows: DuckDB's commit of every statement (fsync); artifact files: not synced"

    def record_singly(self, pipeline: work.Pipeline) -> None:
        for one in self.record_rows(pipeline):
            self.store.save_prediction_arrays(one["prediction_id"], one["y_true"], one["y_pred"])

    def record_one(self, pipeline: work.Pipeline) -> None:
        self.record_singly(pipeline)

    def record(self, pipelines: int, together: int | None) -> float:
        return super().record(pipelines, None)

    def fill(self, predictions: int, values: int) -> float:
        self.store.close()
        clock = Clock()
        with clock.running(), duckdb.connect(str(self.folder / "store.duckdb")) as connection:
            filling.fill_duckdb(connection, predictions, values, ours=False)
        self.store = WorkspaceStore(self.folder)
        self.run_id = self.new_run()
        return clock.seconds
