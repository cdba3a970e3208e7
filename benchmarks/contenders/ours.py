"""n4a_flows: the workspace of this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import duckdb
import numpy as np

from benchmarks.contenders import filling, work
from benchmarks.contenders.base import Base, Clock
from n4a_flows.storage import WorkspaceStore, serialize


class Contender(Base):
    """As the package's own training records: artifacts are prepared first, then a chunk of pipelines in one transaction."""

    packages = ("n4a-flows", "duckdb", "polars", "pyarrow", "scikit-learn", "numpy", "joblib")
    durability = "rows: DuckDB's commit (fsync) and a checkpoint after each transaction; artifact files: fsync of file and folder"
    store: WorkspaceStore

    def open(self, folder: str) -> None:
        super().open(folder)
        self.store = WorkspaceStore(folder)
        self.run_id = self.new_run()

    def close(self) -> None:
        self.store.close()

    def record_singly(self, pipeline: work.Pipeline) -> None:
        self._record(pipeline, [self.store.save_artifact(*one, "joblib") for one in pipeline.objects])

    def record_together(self, pipelines: Sequence[work.Pipeline]) -> None:
        store = self.store
        prepared = store.prepare_artifacts([serialize(*one) for pipeline in pipelines for one in pipeline.objects])
        with store.transaction():
            ids = store.save_artifacts(prepared)
            for place, pipeline in enumerate(pipelines):
                self._record(pipeline, ids[6 * place : 6 * place + 6])

    def _record(self, pipeline: work.Pipeline, artifact_ids: list[str]) -> None:
        store = self.store
        pipeline_id = store.begin_pipeline(self.run_id, pipeline.name, pipeline.config, [], work.DATASET, "0" * 64)
        chain_id = store.save_chain(pipeline_id, **pipeline.chain(artifact_ids))
        for one, row in pipeline.rows():
            prediction_id = store.save_prediction(pipeline_id, chain_id, **row)
            store.save_prediction_arrays(prediction_id, one.y_true, one.y_pred)
        store.complete_pipeline(pipeline_id, 0.3, 0.4, "rmse", 1200)

    def save(self, kind: str, count: int, together: bool) -> float:
        objects = work.objects(kind, count)
        clock = Clock()
        with clock.running():
            if together:
                with self.store.transaction():
                    for one in objects:
                        self.store.save_artifact(*one, "joblib")
            else:
                for one in objects:
                    self.store.save_artifact(*one, "joblib")
        return clock.seconds

    def fill(self, predictions: int, values: int) -> float:
        self.store.close()
        clock = Clock()
        with clock.running(), duckdb.connect(str(self.folder / "store.duckdb")) as connection:
            filling.fill_duckdb(connection, predictions, values, ours=True)
        self.store = WorkspaceStore(self.folder)
        self.store.compact()  # what the weekly maintenance does
        return clock.seconds

    def ask(self, question: str) -> float:
        self.store.close()
        del self.store  # nothing of it is left for the question
        asked = filling.identity("prediction", 20_000, ours=True)
        clock = Clock()
        with clock.running(), WorkspaceStore(self.folder) as store:
            answers: dict[str, Any] = {
                "top 10": partial(store.top_predictions, 10, ascending=True),
                "top 3 per group": partial(store.top_predictions, 3, ascending=True, group_by="dataset_name"),
                "filter": partial(
                    store.query_predictions, dataset_name=work.DATASET, partition="val", fold_id="fold_1"
                ),
                "page": partial(store.query_predictions, limit=100, offset=1000),
                "arrays": partial(store.get_prediction, asked, load_arrays=True),
            }
            answer = answers[question]()
        self.store = WorkspaceStore(self.folder)
        work.check_answer(question, 1 if isinstance(answer, dict) else answer.height)
        return clock.seconds

    def keep_chain(self, width: int) -> None:
        transformers, models = work.chain_objects(width)
        with self.store.transaction():
            pipeline_id = self.store.begin_pipeline(self.run_id, "replay", {}, [], work.DATASET, "")
            ids = [self.store.save_artifact(one, work.SCALER, "transformer") for one in transformers]
            model_ids = [self.store.save_artifact(one, work.PLS, "model") for one in models]
            self.chain_id = self.store.save_chain(pipeline_id, **work.chain_document(ids, model_ids))

    def load_and_predict(self, X: np.ndarray) -> np.ndarray:
        return self.store.replay_chain(self.chain_id, X)

    def keep_predictor(self) -> Callable[[np.ndarray], np.ndarray]:
        return self.store.load_predictor(self.chain_id).predict

    def new_run(self) -> str:
        return self.store.begin_run("bench", {}, [work.DATASET])

    def delete_run(self, run_id: str) -> None:
        self.store.delete_run(run_id)
        self.store.gc_artifacts()
        self.store.vacuum()
