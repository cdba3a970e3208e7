"""Workspaces as nirs4all left them in its DuckDB era, in both layouts: release 0.7.1, and what came after it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import joblib
import numpy as np
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import StandardScaler

RELEASE, LATER = "nirs4all 0.7.1", "nirs4all after 0.7.1"
LAYOUTS = (RELEASE, LATER)
N_FOLDS = 2
BEGUN = datetime(2025, 3, 1, 8, 30, 0, 123456)

_KEY, _TEXT, _TIME = "VARCHAR PRIMARY KEY", "VARCHAR NOT NULL", "TIMESTAMP DEFAULT current_timestamp"
_COLUMNS: dict[str, dict[str, str]] = {
    "projects": {"project_id": _KEY, "name": _TEXT, "description": "VARCHAR DEFAULT ''", "color": "VARCHAR DEFAULT '#14b8a6'"},
    "runs": {
        "run_id": _KEY, "name": _TEXT, "config": "JSON", "datasets": "JSON", "status": "VARCHAR DEFAULT 'running'",
        "created_at": _TIME, "completed_at": "TIMESTAMP", "summary": "JSON", "error": "VARCHAR",
    },
    "pipelines": {
        "pipeline_id": _KEY, "run_id": f"{_TEXT} REFERENCES runs", "name": _TEXT, "expanded_config": "JSON",
        "generator_choices": "JSON", "dataset_name": _TEXT, "dataset_hash": "VARCHAR", "status": "VARCHAR DEFAULT 'running'",
        "created_at": _TIME, "completed_at": "TIMESTAMP", "best_val": "DOUBLE", "best_test": "DOUBLE", "metric": "VARCHAR",
        "duration_ms": "INTEGER", "error": "VARCHAR",
    },
    "chains": {
        "chain_id": _KEY, "pipeline_id": f"{_TEXT} REFERENCES pipelines", "steps": "JSON NOT NULL",
        "model_step_idx": "INTEGER NOT NULL", "model_class": _TEXT, "preprocessings": "VARCHAR DEFAULT ''",
        "fold_strategy": "VARCHAR DEFAULT 'per_fold'", "fold_artifacts": "JSON", "shared_artifacts": "JSON",
        "branch_path": "JSON", "source_index": "INTEGER",
    },
    "predictions": {
        "prediction_id": _KEY, "pipeline_id": f"{_TEXT} REFERENCES pipelines", "chain_id": "VARCHAR REFERENCES chains",
        "dataset_name": _TEXT, "model_name": _TEXT, "model_class": _TEXT, "fold_id": _TEXT, "partition": _TEXT,
        "val_score": "DOUBLE", "test_score": "DOUBLE", "train_score": "DOUBLE", "metric": _TEXT, "task_type": _TEXT,
        "n_samples": "INTEGER", "n_features": "INTEGER", "scores": "JSON", "best_params": "JSON",
        "preprocessings": "VARCHAR DEFAULT ''", "branch_id": "INTEGER", "branch_name": "VARCHAR",
        "exclusion_count": "INTEGER DEFAULT 0", "exclusion_rate": "DOUBLE DEFAULT 0", "refit_context": "VARCHAR",
        "created_at": _TIME,
    },
    "prediction_arrays": {
        "prediction_id": "VARCHAR PRIMARY KEY REFERENCES predictions", "y_true": "DOUBLE[]", "y_pred": "DOUBLE[]",
        "y_proba": "DOUBLE[]", "sample_indices": "INTEGER[]", "weights": "DOUBLE[]",
    },
    "artifacts": {
        "artifact_id": _KEY, "artifact_path": _TEXT, "content_hash": _TEXT, "operator_class": "VARCHAR",
        "artifact_type": "VARCHAR", "format": "VARCHAR DEFAULT 'joblib'", "size_bytes": "BIGINT",
        "ref_count": "INTEGER DEFAULT 1", "chain_path_hash": "VARCHAR", "input_data_hash": "VARCHAR",
        "dataset_hash": "VARCHAR", "created_at": _TIME,
    },
    "logs": {
        "log_id": _KEY, "pipeline_id": f"{_TEXT} REFERENCES pipelines", "step_idx": "INTEGER NOT NULL",
        "operator_class": "VARCHAR", "event": _TEXT, "duration_ms": "INTEGER", "message": "VARCHAR", "details": "JSON",
        "level": "VARCHAR DEFAULT 'info'", "created_at": _TIME,
    },
}  # fmt: skip
_SUMMARY = {
    "model_name": "VARCHAR", "metric": "VARCHAR", "task_type": "VARCHAR", "best_params": "JSON", "dataset_name": "VARCHAR",
    "cv_val_score": "DOUBLE", "cv_test_score": "DOUBLE", "cv_train_score": "DOUBLE", "cv_fold_count": "INTEGER DEFAULT 0",
    "cv_scores": "JSON", "final_test_score": "DOUBLE", "final_train_score": "DOUBLE", "final_scores": "JSON",
}  # fmt: skip


@dataclass
class OldWorkspace:
    """A workspace with one run of pipelines: a scaler that the folds share, and a PLS model for each fold."""

    folder: Path
    layout: str
    X: np.ndarray
    y: np.ndarray
    run_id: str = "run"
    chain_ids: list[str] = field(default_factory=list)
    expected: dict[str, np.ndarray] = field(default_factory=dict)
    """What each chain predicts for X."""
    objects: dict[str, list[Any]] = field(default_factory=dict)
    """The scaler and the models of each chain."""

    @property
    def database(self) -> Path:
        return self.folder / "store.duckdb"

    @contextmanager
    def opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own to the database, as another program has it."""
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{self.database}' AS store (STORAGE_VERSION 'v1.0.0')")
            connection.execute("USE store")
            yield connection
            connection.execute("USE memory")
            connection.execute("DETACH store")

    def execute(self, sql: str, *parameters: Any) -> None:
        with self.opened() as connection:
            connection.execute(sql, parameters)

    def columns(self, table: str) -> list[str]:
        return list(_columns(self.layout)[table])


def make(folder: Path, layout: str, X: np.ndarray, y: np.ndarray, n_pipelines: int = 2) -> OldWorkspace:
    """Write a workspace; closed properly, so that its database has no write-ahead log."""
    (folder / "artifacts").mkdir(parents=True)
    (folder / "exports").mkdir()
    (folder / "exports" / "report.txt").write_text("a file of the user")
    workspace = OldWorkspace(folder, layout, X, y)
    with workspace.opened() as connection:
        for table, columns in _columns(layout).items():
            body = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            connection.execute(f"CREATE TABLE {table} ({body})")
        view = "v_aggregated_predictions" if layout == RELEASE else "v_chain_summary"
        connection.execute(
            f"CREATE VIEW {view} AS SELECT c.chain_id, p.run_id FROM chains c JOIN pipelines p USING (pipeline_id)"
        )
        connection.execute("CREATE INDEX idx_artifacts_cache_key ON artifacts (chain_path_hash, input_data_hash)")
        connection.execute(
            "CREATE UNIQUE INDEX natural_key ON predictions (pipeline_id, chain_id, fold_id, partition, model_name, branch_id)"
        )
        if layout == LATER:
            _insert(connection, "projects", project_id="project", name="milk", created_at=BEGUN, updated_at=BEGUN)
        _insert(
            connection, "runs", run_id="run", name="nightly", config='{"cv": 2, "limit": Infinity}',
            datasets='[{"name": "tecator"}]', status="completed", created_at=BEGUN, completed_at=BEGUN + timedelta(hours=1),
            summary='{"pipelines": 2}', **({"project_id": "project"} if layout == LATER else {}),
        )  # fmt: skip
        for number in range(n_pipelines):
            _add_pipeline(connection, workspace, number)
    return workspace


def kill_while_recording(workspace: OldWorkspace) -> None:
    """Have another process add a run and die, so that the run stands in a write-ahead log only."""
    code = f"import old_workspaces; old_workspaces.record_and_die({str(workspace.database)!r})"
    process = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert workspace.database.with_name("store.duckdb.wal").stat().st_size > 0


def record_and_die(database: str) -> None:
    """Commit a run, and be killed before it gets from the log into the file."""
    connection = duckdb.connect()
    connection.execute(f"ATTACH '{database}' AS store (STORAGE_VERSION 'v1.0.0')")
    connection.execute("INSERT INTO store.runs (run_id, name) VALUES ('logged', 'only in the log')")
    os.kill(os.getpid(), signal.SIGKILL)


def _columns(layout: str) -> dict[str, dict[str, str]]:
    columns = {table: dict(of_table) for table, of_table in _COLUMNS.items()}
    columns["projects"] |= {"created_at": _TIME, "updated_at": _TIME}
    if layout == LATER:
        columns["runs"]["project_id"] = "VARCHAR"
        columns["chains"] |= _SUMMARY
    else:
        del columns["projects"]
    columns["chains"]["created_at"] = _TIME
    return columns


def _add_pipeline(connection: duckdb.DuckDBPyConnection, workspace: OldWorkspace, number: int) -> None:
    pipeline_id, chain_id, at = f"pipeline-{number}", f"chain-{number}", BEGUN + timedelta(minutes=number)
    _insert(
        connection, "pipelines", pipeline_id=pipeline_id, run_id="run", name=f"pls {number}",
        expanded_config='["SNV", {"model": "PLS"}]', generator_choices=f'[{{"_range_": {number}}}]', dataset_name="tecator",
        dataset_hash="abc", status="completed", created_at=at, completed_at=at, best_val=1.5, best_test=2.0, metric="rmse",
        duration_ms=12,
    )  # fmt: skip
    scaler = StandardScaler().fit(workspace.X)
    treated = scaler.transform(workspace.X)
    models = [
        PLSRegression(n_components=2 + number).fit(treated[fold::N_FOLDS], workspace.y[fold::N_FOLDS])
        for fold in range(N_FOLDS)
    ]
    # Two of nirs4all's ways: names and hashes as its training wrote them, and as its store's own verb did.
    scaler_id = _add_artifact(
        connection, workspace.folder, f"config_{number}$a1:all", scaler, "transformer", from_training=True
    )
    folds = {
        f"fold_{fold}": _add_artifact(
            connection, workspace.folder, f"model-{number}-{fold}", model, "model", from_training=False
        )
        for fold, model in enumerate(models)
    }
    _insert(
        connection, "chains", chain_id=chain_id, pipeline_id=pipeline_id, steps=json.dumps(steps(scaler_id, list(folds.values()))),
        model_step_idx=3, model_class="PLSRegression", preprocessings="Std", fold_strategy="per_fold",
        fold_artifacts=json.dumps(folds), shared_artifacts=json.dumps({"1": [scaler_id]}), created_at=at,
        **({"cv_val_score": 77.0, "task_type": "regression", "dataset_name": "tecator"} if workspace.layout == LATER else {}),
    )  # fmt: skip
    for fold in range(N_FOLDS):
        for partition in ("train", "val"):
            prediction_id = f"prediction-{number}-{fold}-{partition}"
            _insert(
                connection, "predictions", prediction_id=prediction_id, pipeline_id=pipeline_id, chain_id=chain_id,
                dataset_name="tecator", model_name="PLS", model_class="PLSRegression", fold_id=str(fold), partition=partition,
                val_score=1.0 + fold, test_score=None, train_score=0.5, metric="rmse", task_type="regression", n_samples=3,
                n_features=workspace.X.shape[1], scores=json.dumps({"val": {"rmse": 1.0 + fold}}), best_params="{}",
                preprocessings="Std", exclusion_count=1, exclusion_rate=0.25, created_at=at,
            )  # fmt: skip
            _insert(
                connection, "prediction_arrays", prediction_id=prediction_id, y_true=[1.0, 2.0, float("nan")],
                y_pred=[1.5, 2.5, 3.5], sample_indices=[4, 5, 6],
            )  # fmt: skip
    _insert(
        connection, "logs", log_id=f"log-{number}", pipeline_id=pipeline_id, step_idx=1, operator_class="StandardScaler",
        event="end", duration_ms=3, message="fitted", details='{"n": 3}', level="warning", created_at=at,
    )  # fmt: skip
    workspace.chain_ids.append(chain_id)
    workspace.objects[chain_id] = [scaler, *models]
    workspace.expected[chain_id] = np.mean([model.predict(treated).ravel() for model in models], axis=0)


def steps(scaler_id: str, model_ids: list[str]) -> list[dict[str, Any]]:
    """The steps of a chain, a splitter that left nothing behind among them."""
    return [
        {
            "step_idx": 1,
            "operator_class": "StandardScaler",
            "params": {},
            "artifact_ids": [scaler_id],
            "stateless": False,
        },
        {
            "step_idx": 2,
            "operator_class": "KFold",
            "params": {"class": "sklearn.model_selection._split.KFold", "params": {"n_splits": N_FOLDS}},
            "artifact_ids": [],
            "stateless": True,
        },
        {"step_idx": 3, "operator_class": "PLSRegression", "params": {}, "artifact_ids": model_ids, "stateless": False},
    ]


def _add_artifact(
    connection: duckdb.DuckDBPyConnection, folder: Path, artifact_id: str, obj: Any, kind: str, *, from_training: bool
) -> str:
    buffer = io.BytesIO()
    joblib.dump(obj, buffer, compress=3)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    name = type(obj).__name__
    path = f"{digest[:2]}/{kind}_{name}_{digest[:12]}.joblib" if from_training else f"{digest[:2]}/{digest}.joblib"
    (folder / "artifacts" / path).parent.mkdir(exist_ok=True)
    (folder / "artifacts" / path).write_bytes(buffer.getvalue())
    _insert(
        connection, "artifacts", artifact_id=artifact_id, artifact_path=path,
        content_hash=f"sha256:{digest}" if from_training else digest, operator_class=name, artifact_type=kind,
        size_bytes=len(buffer.getvalue()), ref_count=3, dataset_hash="abc", created_at=BEGUN,
    )  # fmt: skip
    return artifact_id


def _insert(connection: duckdb.DuckDBPyConnection, table: str, **row: Any) -> None:
    connection.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
    )
