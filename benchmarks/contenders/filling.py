"""Stores of any size, filled past the API: many thousand pipelines would take hours to record.

Pipeline `i` belongs to dataset `i % 20` and model `i / 20 % 10`; each has one chain, 15 predictions and six artifacts (rows without
files, where a store has such rows). Ids are hashes, as unordered as real ones; ours of predictions and artifacts begin with the
time, as real ones do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from string import Template
from typing import Any

import numpy as np

from benchmarks.contenders import work

RUNS = 10
_BEGAN = datetime(2026, 1, 1)
_IN_ORDER = ("prediction", "artifact")  # kinds whose ids begin with the time in a store of ours
_BEGAN_MS = 1000 * int(_BEGAN.replace(tzinfo=UTC).timestamp())
_SCORES = json.dumps({part: {"rmse": 0.31, "r2": 0.93, "mae": 0.21} for part in ("train", "val", "test")})
_CONFIG = json.dumps([{"class": work.SCALER}, {"class": work.PLS, "params": {"n_components": 10}}])
_STEPS = json.dumps(work.Pipeline("", None, []).chain(["0" * 32] * 6)["steps"])


def identity(kind: str, number: int, *, ours: bool = False) -> str:
    """Id of a row."""
    digest = hashlib.md5(f"{kind}{number}".encode()).hexdigest()
    return f"{_BEGAN_MS + number:012x}{digest[12:]}" if ours and kind in _IN_ORDER else digest


# What the DuckDB stores have in common; i is the number of the row.
_TABLES: dict[str, dict[str, str]] = {
    "runs": {
        "run_id": "id('run', i)",
        "name": "'run ' || i",
        "config": "'{}'",
        "datasets": "'[]'",
        "status": "'completed'",
        "created_at": "$time",
    },
    "pipelines": {
        "pipeline_id": "id('pipeline', i)",
        "run_id": f"id('run', (i % {RUNS}))",
        "name": "'pipeline ' || i",
        "expanded_config": f"'{_CONFIG}'",
        "dataset_name": f"printf('dataset_%02d', i % {work.DATASETS})",
        "status": "'completed'",
        "created_at": "$time",
        "best_val": "random()",
        "metric": "'rmse'",
    },
    "chains": {
        "chain_id": "id('chain', i)",
        "pipeline_id": "id('pipeline', i)",
        "steps": f"'{_STEPS}'",
        "model_step_idx": "2",
        "model_class": f"'{work.PLS}'",
        "fold_artifacts": "'{}'",
        "shared_artifacts": "'{}'",
        "created_at": "$time",
    },
    "predictions": {
        "prediction_id": "id('prediction', i)",
        "pipeline_id": f"id('pipeline', (i // {work.PER_PIPELINE}))",
        "chain_id": f"id('chain', (i // {work.PER_PIPELINE}))",
        "dataset_name": f"printf('dataset_%02d', (i // {work.PER_PIPELINE}) % {work.DATASETS})",
        "model_name": f"printf('model_%d', (i // {work.PER_PIPELINE * work.DATASETS}) % {work.MODELS})",
        "model_class": f"'{work.PLS}'",
        "fold_id": "printf('fold_%d', (i // 3) % 5)",
        "partition": "['train', 'val', 'test'][i % 3 + 1]",
        "val_score": "random()",
        "test_score": "random()",
        "train_score": "random()",
        "metric": "'rmse'",
        "task_type": "'regression'",
        "n_samples": "200",
        "n_features": "100",
        "scores": f"'{_SCORES}'",
        "best_params": "'{\"n_components\": 10}'",
        "preprocessings": "'StandardScaler'",
        "created_at": "$time",
    },
    "prediction_arrays": {
        "prediction_id": "id('prediction', i)",
        "y_true": "$truth",
        "y_pred": "list_transform(range($values), lambda x: random() * 60)",
    },
    "artifacts": {
        "artifact_id": "id('artifact', i)",
        "artifact_path": "'00/' || sha256('artifact' || i) || '.joblib'",
        "content_hash": "sha256('artifact' || i)",
        "operator_class": f"'{work.PLS}'",
        "artifact_type": "'model'",
        "format": "'joblib'",
        "size_bytes": "60000",
        "ref_count": "1",
        "created_at": "$time",
    },
}
_OURS: dict[str, dict[str, str]] = {
    "chain_artifacts": {"chain_id": "id('chain', (i // 6))", "artifact_id": "id('artifact', i)", "count": "1"},
    "artifact_saves": {"artifact_id": "id('artifact', i)", "saved_at": "$time"},
    "chain_context": {"chain_id": "id('chain', i)", "digest": "sha256('chain' || i)"},
}


def fill_duckdb(connection: Any, predictions: int, values: int, *, ours: bool) -> None:
    """Fill the tables of a DuckDB store."""
    _make_ids(connection, ours=ours)
    tables = _TABLES | _OURS if ours else _TABLES
    for table, columns in tables.items():
        connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) {_selection(columns, table, predictions, values)}"
        )
    connection.execute("CHECKPOINT")


def make_duckdb(connection: Any, predictions: int, values: int) -> None:
    """Make and fill bare tables without keys."""
    _make_ids(connection, ours=False)
    for table, columns in _TABLES.items():
        connection.execute(f"CREATE TABLE {table} AS {_selection(columns, table, predictions, values)}")
    connection.execute("CHECKPOINT")


def _make_ids(connection: Any, *, ours: bool) -> None:
    """`identity` in SQL."""
    digest = "md5(kind || number)"
    ordered = f"printf('%012x', {_BEGAN_MS} + number) || substr({digest}, 13)"
    by_kind = f"CASE WHEN kind IN {_IN_ORDER} THEN {ordered} ELSE {digest} END"
    connection.execute(f"CREATE OR REPLACE TEMP MACRO id(kind, number) AS {by_kind if ours else digest}")


def _selection(columns: dict[str, str], table: str, predictions: int, values: int) -> str:
    pipelines = predictions // work.PER_PIPELINE
    rows = {"runs": RUNS, "pipelines": pipelines, "chains": pipelines, "chain_context": pipelines}
    rows |= {"predictions": predictions, "prediction_arrays": predictions}
    truth = [round(float(value), 2) for value in np.random.default_rng(3).normal(30, 10, values)]
    given = {"time": f"TIMESTAMP '{_BEGAN}' + INTERVAL (i) MILLISECOND", "truth": str(truth), "values": str(values)}
    terms = (f"{Template(term).substitute(given)} AS {name}" for name, term in columns.items())
    return f"SELECT {', '.join(terms)} FROM range({rows.get(table, 6 * pipelines)}) t(i)"


def prediction_rows(predictions: int) -> Iterator[dict[str, Any]]:
    """The rows of `predictions` for stores that are filled row by row."""
    scores = np.random.default_rng(4).random((predictions, 3)).tolist()
    for number in range(predictions):
        pipeline = number // work.PER_PIPELINE
        val, test, train = scores[number]
        yield {
            "prediction_id": identity("prediction", number),
            "pipeline_id": identity("pipeline", pipeline),
            "chain_id": identity("chain", pipeline),
            "dataset_name": f"dataset_{pipeline % work.DATASETS:02}",
            "model_name": f"model_{pipeline // work.DATASETS % work.MODELS}",
            "model_class": work.PLS,
            "fold_id": f"fold_{number // 3 % 5}",
            "partition": ("train", "val", "test")[number % 3],
            "val_score": val,
            "test_score": test,
            "train_score": train,
            "metric": "rmse",
            "task_type": "regression",
            "n_samples": work.VALUES,
            "n_features": 100,
            "scores": _SCORES,
            "best_params": '{"n_components": 10}',
            "preprocessings": "StandardScaler",
            "created_at": str(_BEGAN + timedelta(milliseconds=number)),
        }


def pipeline_rows(pipelines: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The rows of `pipelines` and `chains`, in pairs."""
    for number in range(pipelines):
        created_at = str(_BEGAN + timedelta(milliseconds=number))
        pipeline = {
            "pipeline_id": identity("pipeline", number),
            "run_id": identity("run", number % RUNS),
            "name": f"pipeline {number}",
            "expanded_config": _CONFIG,
            "dataset_name": f"dataset_{number % work.DATASETS:02}",
            "status": "completed",
            "created_at": created_at,
            "best_val": 0.5,
            "metric": "rmse",
        }
        chain = {
            "chain_id": identity("chain", number),
            "pipeline_id": pipeline["pipeline_id"],
            "steps": _STEPS,
            "model_step_idx": 2,
            "model_class": work.PLS,
            "fold_artifacts": "{}",
            "shared_artifacts": "{}",
            "created_at": created_at,
        }
        yield pipeline, chain


def artifact_rows(artifacts: int) -> Iterator[dict[str, Any]]:
    """The rows of `artifacts`."""
    for number in range(artifacts):
        digest = hashlib.sha256(f"artifact{number}".encode()).hexdigest()
        yield {
            "artifact_id": identity("artifact", number),
            "artifact_path": f"00/{digest}.joblib",
            "content_hash": digest,
            "operator_class": work.PLS,
            "artifact_type": "model",
            "format": "joblib",
            "size_bytes": 60_000,
            "ref_count": 1,
            "created_at": str(_BEGAN + timedelta(milliseconds=number)),
        }
