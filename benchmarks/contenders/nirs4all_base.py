"""What the two stores of nirs4all have in common: most verbs are called alike."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
from nirs4all.pipeline.storage import WorkspaceStore

from benchmarks.contenders import filling, work
from benchmarks.contenders.base import Base, Clock


class Nirs4all(Base):
    store: WorkspaceStore

    def open(self, folder: str) -> None:
        super().open(folder)
        self.store = WorkspaceStore(self.folder)
        self.run_id = self.new_run()

    def close(self) -> None:
        self.store.close()

    def new_run(self) -> str:
        return str(self.store.begin_run("bench", {}, [{"name": work.DATASET}]))

    def transaction(self) -> AbstractContextManager[Any]:
        """A transaction, where the store has such a thing."""
        return nullcontext()

    def record_rows(self, pipeline: work.Pipeline) -> list[dict[str, Any]]:
        """Record a pipeline without its arrays; returns what is to be known of those."""
        store = self.store
        pipeline_id = store.begin_pipeline(self.run_id, pipeline.name, pipeline.config, [], work.DATASET, "0" * 64)
        ids = [store.save_artifact(*one, "joblib") for one in pipeline.objects]
        chain_id = store.save_chain(pipeline_id, **pipeline.chain(ids))
        arrays = []
        for one, row in pipeline.rows():
            prediction_id = store.save_prediction(pipeline_id, chain_id, **row)
            arrays.append({**row, "prediction_id": prediction_id, "y_true": one.y_true, "y_pred": one.y_pred})
        store.complete_pipeline(pipeline_id, 0.3, 0.4, "rmse", 1200)
        return arrays

    def save(self, kind: str, count: int, together: bool) -> float:
        objects = work.objects(kind, count)
        clock = Clock()
        with clock.running(), self.transaction() if together else nullcontext():
            for one in objects:
                self.store.save_artifact(*one, "joblib")
        return clock.seconds

    def ask(self, question: str) -> float:
        self.store.close()
        asked = filling.identity("prediction", 20_000)
        clock = Clock()
        with clock.running():
            store = WorkspaceStore(self.folder)
            answers: dict[str, Any] = {
                "top 10": partial(store.top_predictions, 10),
                "top 3 per group": partial(store.top_predictions, 3, group_by="dataset_name"),
                "filter": partial(
                    store.query_predictions, dataset_name=work.DATASET, partition="val", fold_id="fold_1"
                ),
                "page": partial(store.query_predictions, limit=100, offset=1000),
                "arrays": partial(store.get_prediction, asked, load_arrays=True),
            }
            answer = answers[question]()
            store.close()
        self.store = WorkspaceStore(self.folder)
        work.check_answer(question, len(answer["y_pred"]) > 0 if isinstance(answer, dict) else answer.height)
        return clock.seconds

    def keep_chain(self, width: int) -> None:
        transformers, models = work.chain_objects(width)
        pipeline_id = self.store.begin_pipeline(self.run_id, "replay", [], [], work.DATASET, "")
        ids = [self.store.save_artifact(one, work.SCALER, "transformer", "joblib") for one in transformers]
        model_ids = [self.store.save_artifact(one, work.PLS, "model", "joblib") for one in models]
        self.chain_id = self.store.save_chain(pipeline_id, **work.chain_document(ids, model_ids))

    def load_and_predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.store.replay_chain(self.chain_id, X))

    def delete_run(self, run_id: str) -> None:
        self.store.delete_run(run_id)
        self.store.gc_artifacts()
        self.store.vacuum()
