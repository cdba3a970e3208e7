"""MLflow 3 with its SQLite store and a local artifact folder.

A recorded pipeline is a run of MLflow: the scores of its predictions are metrics, their arrays one .npz file, its six objects
joblib files. Where predictions are searched each is a run of its own, for MLflow finds nothing smaller. The replayed chain is a
scikit-learn pipeline logged as a model.
"""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import joblib
import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from sklearn.ensemble import VotingRegressor
from sklearn.pipeline import Pipeline

from benchmarks.contenders import filling, work
from benchmarks.contenders.base import Base, Clock, NotOfferedError

logging.getLogger("mlflow").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


class Contender(Base):
    packages = ("mlflow", "sqlalchemy", "scikit-learn", "numpy", "joblib")
    durability = "rows: SQLite with a rollback journal, synchronous=FULL (fsync at every commit, several a run); files: not synced"
    client: MlflowClient

    def open(self, folder: str) -> None:
        super().open(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.uri = f"sqlite:///{self.folder}/store.db"
        mlflow.set_tracking_uri(self.uri)
        self.client = MlflowClient(tracking_uri=self.uri)
        first = self.client.search_experiments(filter_string="name LIKE 'bench %'", order_by=["creation_time ASC"])
        self.run_id = first[0].experiment_id if first else self.new_run()

    def new_run(self) -> str:
        name = f"bench {time.time_ns()}"
        return str(self.client.create_experiment(name, artifact_location=str(self.folder / "artifacts")))

    def record_singly(self, pipeline: work.Pipeline) -> None:
        run_id = self.client.create_run(self.run_id, run_name=pipeline.name).info.run_id
        now = int(time.time() * 1000)
        metrics = [
            Metric(f"{one.fold_id}.{one.partition}.{name}", value, now, 0)
            for one in pipeline.predictions
            for name, value in one.scores[one.partition].items()
        ]
        params = [Param("dataset", work.DATASET), Param("model", work.PLS), Param("n_components", "10")]
        self.client.log_batch(run_id, metrics, params, [RunTag("preprocessings", "StandardScaler")])
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            for place, (one, _, _) in enumerate(pipeline.objects):
                joblib.dump(one, Path(name) / f"{place}.joblib")
            arrays = {f"{one.fold_id}.{one.partition}.y_pred": one.y_pred for one in pipeline.predictions}
            truths = {f"{one.fold_id}.{one.partition}.y_true": one.y_true for one in pipeline.predictions}
            np.savez(Path(name) / "predictions.npz", **arrays, **truths)
            self.client.log_artifacts(run_id, name)
        self.client.set_terminated(run_id)

    def record_one(self, pipeline: work.Pipeline) -> None:
        self.record_singly(pipeline)

    def record(self, pipelines: int, together: int | None) -> float:
        return super().record(pipelines, None)

    def save(self, kind: str, count: int, together: bool) -> float:
        objects = work.objects(kind, count)
        run_id = self.client.create_run(self.run_id).info.run_id
        clock = Clock()
        with clock.running(), tempfile.TemporaryDirectory(dir=self.folder) as name:
            if together:
                for place, (one, _, _) in enumerate(objects):
                    joblib.dump(one, Path(name) / f"{place}.joblib")
                self.client.log_artifacts(run_id, name)
            else:
                for place, (one, _, _) in enumerate(objects):
                    path = Path(name) / f"{place}.joblib"
                    joblib.dump(one, path)
                    self.client.log_artifact(run_id, str(path))
        return clock.seconds

    def fill(self, predictions: int, values: int) -> float:
        connection = sqlite3.connect(self.folder / "store.db")
        clock = Clock()
        with clock.running(), connection:
            for number, row in enumerate(filling.prediction_rows(predictions)):
                run_id = row["prediction_id"]
                began = 1_767_225_600_000 + number
                connection.execute(
                    "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage, "
                    "artifact_uri, experiment_id) VALUES (?, ?, 'UNKNOWN', 'bench', 'FINISHED', ?, ?, 'active', ?, ?)",
                    (run_id, f"run {number}", began, began, f"{self.folder}/artifacts/{run_id}/artifacts", self.run_id),
                )
                scores = [(name, row[name], began, run_id) for name in ("val_score", "test_score", "train_score")]
                for table in ("metrics", "latest_metrics"):
                    sql = (
                        f"INSERT INTO {table} (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, 0, 0)"
                    )
                    connection.executemany(sql, scores)
                params = [(name, row[name], run_id) for name in ("dataset_name", "model_name", "partition", "fold_id")]
                connection.executemany("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", params)
        connection.close()
        asked = self.folder / "artifacts" / filling.identity("prediction", 20_000) / "artifacts"
        asked.mkdir(parents=True)
        random = np.random.default_rng(3)
        np.savez(asked / "predictions.npz", y_true=random.random(values), y_pred=random.random(values))
        return clock.seconds

    def ask(self, question: str) -> float:
        asked = filling.identity("prediction", 20_000)
        clock = Clock()
        with clock.running():
            client = MlflowClient(tracking_uri=self.uri)
            search = partial(client.search_runs, [self.run_id])
            best = ["metrics.val_score ASC"]
            val = "params.partition = 'val'"
            if question == "top 10":
                rows = len(search(val, max_results=10, order_by=best))
            elif question == "top 3 per group":
                groups = [f"{val} AND params.dataset_name = 'dataset_{one:02}'" for one in range(work.DATASETS)]
                rows = sum(len(search(group, max_results=3, order_by=best)) for group in groups)
            elif question == "filter":
                wanted = f"{val} AND params.dataset_name = '{work.DATASET}' AND params.fold_id = 'fold_1'"
                rows = len(search(wanted, max_results=50_000))
            elif question == "page":
                rows = len(search("", max_results=1_100, order_by=["start_time DESC"])[1_000:])
            else:
                path = client.download_artifacts(asked, "predictions.npz")
                with np.load(path) as arrays:
                    rows = int(len(arrays["y_pred"]) > 0)
        work.check_answer(question, rows)
        return clock.seconds

    def keep_chain(self, width: int) -> None:
        transformers, models = work.chain_objects(width)
        folds = VotingRegressor([(str(place), one) for place, one in enumerate(models)])
        folds.estimators_ = models  # fitted already
        steps = [(str(place), one) for place, one in enumerate(transformers)]
        with mlflow.start_run(experiment_id=self.run_id):
            logged = mlflow.sklearn.log_model(
                Pipeline([*steps, ("folds", folds)]),
                name="chain",
                serialization_format="cloudpickle",
                pip_requirements=["scikit-learn"],
            )
        self.model_uri = logged.model_uri

    def load_and_predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(mlflow.sklearn.load_model(self.model_uri).predict(X))

    def keep_predictor(self) -> Callable[[np.ndarray], np.ndarray]:
        predict: Callable[[np.ndarray], np.ndarray] = mlflow.sklearn.load_model(self.model_uri).predict
        return predict

    def delete_run(self, run_id: str) -> None:
        for run in self.client.search_runs([run_id], max_results=50_000):
            self.client.delete_run(run.info.run_id)
        mlflow_program = str(Path(sys.executable).with_name("mlflow"))
        subprocess.run(
            [mlflow_program, "gc", "--backend-store-uri", self.uri], check=True, capture_output=True, timeout=600
        )

    def record_together(self, pipelines: Sequence[work.Pipeline]) -> None:
        raise NotOfferedError("MLflow has no transactions")
