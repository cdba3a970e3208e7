"""Tables of the workspace, their version, and the refusal of layouts that this version cannot work with.

There are no foreign keys (DuckDB could not delete a parent and its children in one transaction) and no secondary indexes (they
double the file and triple deletes): the store itself refuses unknown parents. Tables that are looked through and never asked for
one row have no primary key either: in a large workspace keeping those of edges and saves took a quarter of the time of recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from n4a_flows.storage.errors import SchemaError

if TYPE_CHECKING:
    from n4a_flows.storage.session import Session

SCHEMA_VERSION = 2

# (column, type, what follows the type). The first eight tables are the reference system's, name by name and in its order.
_TABLES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "runs": (
        ("run_id", "VARCHAR", "PRIMARY KEY"),
        ("name", "VARCHAR", "NOT NULL"),
        ("config", "JSON", ""),
        ("datasets", "JSON", ""),
        ("status", "VARCHAR", "DEFAULT 'running'"),
        ("created_at", "TIMESTAMP", ""),
        ("completed_at", "TIMESTAMP", ""),
        ("summary", "JSON", ""),
        ("error", "VARCHAR", ""),
        ("project_id", "VARCHAR", ""),
    ),
    "pipelines": (
        ("pipeline_id", "VARCHAR", "PRIMARY KEY"),
        ("run_id", "VARCHAR", "NOT NULL"),
        ("name", "VARCHAR", "NOT NULL"),
        ("expanded_config", "JSON", ""),
        ("generator_choices", "JSON", ""),
        ("dataset_name", "VARCHAR", "NOT NULL"),
        ("dataset_hash", "VARCHAR", ""),
        ("status", "VARCHAR", "DEFAULT 'running'"),
        ("created_at", "TIMESTAMP", ""),
        ("completed_at", "TIMESTAMP", ""),
        ("best_val", "DOUBLE", ""),
        ("best_test", "DOUBLE", ""),
        ("metric", "VARCHAR", ""),
        ("duration_ms", "INTEGER", ""),
        ("error", "VARCHAR", ""),
    ),
    "chains": (
        ("chain_id", "VARCHAR", "PRIMARY KEY"),
        ("pipeline_id", "VARCHAR", "NOT NULL"),
        ("steps", "JSON", "NOT NULL"),
        ("model_step_idx", "INTEGER", "NOT NULL"),
        ("model_class", "VARCHAR", "NOT NULL"),
        ("preprocessings", "VARCHAR", "DEFAULT ''"),
        ("fold_strategy", "VARCHAR", "DEFAULT 'per_fold'"),
        ("fold_artifacts", "JSON", ""),
        ("shared_artifacts", "JSON", ""),
        ("branch_path", "JSON", ""),
        ("source_index", "INTEGER", ""),
        ("model_name", "VARCHAR", ""),
        ("metric", "VARCHAR", ""),
        ("task_type", "VARCHAR", ""),
        ("best_params", "JSON", ""),
        ("dataset_name", "VARCHAR", ""),
        ("cv_val_score", "DOUBLE", ""),
        ("cv_test_score", "DOUBLE", ""),
        ("cv_train_score", "DOUBLE", ""),
        ("cv_fold_count", "INTEGER", "DEFAULT 0"),
        ("cv_scores", "JSON", ""),
        ("final_test_score", "DOUBLE", ""),
        ("final_train_score", "DOUBLE", ""),
        ("final_scores", "JSON", ""),
        ("created_at", "TIMESTAMP", ""),
    ),
    "predictions": (
        ("prediction_id", "VARCHAR", "PRIMARY KEY"),
        ("pipeline_id", "VARCHAR", "NOT NULL"),
        ("chain_id", "VARCHAR", ""),
        ("dataset_name", "VARCHAR", "NOT NULL"),
        ("model_name", "VARCHAR", "NOT NULL"),
        ("model_class", "VARCHAR", "NOT NULL"),
        ("fold_id", "VARCHAR", "NOT NULL"),
        ("partition", "VARCHAR", "NOT NULL"),
        ("val_score", "DOUBLE", ""),
        ("test_score", "DOUBLE", ""),
        ("train_score", "DOUBLE", ""),
        ("metric", "VARCHAR", "NOT NULL"),
        ("task_type", "VARCHAR", "NOT NULL"),
        ("n_samples", "INTEGER", ""),
        ("n_features", "INTEGER", ""),
        ("scores", "JSON", ""),
        ("best_params", "JSON", ""),
        ("preprocessings", "VARCHAR", "DEFAULT ''"),
        ("branch_id", "INTEGER", ""),
        ("branch_name", "VARCHAR", ""),
        ("exclusion_count", "INTEGER", "DEFAULT 0"),
        ("exclusion_rate", "DOUBLE", "DEFAULT 0"),
        ("refit_context", "VARCHAR", "DEFAULT NULL"),
        ("created_at", "TIMESTAMP", ""),
    ),
    "prediction_arrays": (
        ("prediction_id", "VARCHAR", "PRIMARY KEY"),
        ("y_true", "DOUBLE[]", ""),
        ("y_pred", "DOUBLE[]", ""),
        ("y_proba", "DOUBLE[]", ""),
        ("sample_indices", "INTEGER[]", ""),
        ("weights", "DOUBLE[]", ""),
    ),
    "artifacts": (
        ("artifact_id", "VARCHAR", "PRIMARY KEY"),
        ("artifact_path", "VARCHAR", "NOT NULL"),
        ("content_hash", "VARCHAR", "NOT NULL"),
        ("operator_class", "VARCHAR", ""),
        ("artifact_type", "VARCHAR", ""),
        ("format", "VARCHAR", "DEFAULT 'joblib'"),
        ("size_bytes", "BIGINT", ""),
        ("ref_count", "INTEGER", "DEFAULT 1"),
        ("chain_path_hash", "VARCHAR", ""),
        ("input_data_hash", "VARCHAR", ""),
        ("dataset_hash", "VARCHAR", ""),
        ("created_at", "TIMESTAMP", ""),
    ),
    "logs": (
        ("log_id", "VARCHAR", "PRIMARY KEY"),
        ("pipeline_id", "VARCHAR", "NOT NULL"),
        ("step_idx", "INTEGER", "NOT NULL"),
        ("operator_class", "VARCHAR", ""),
        ("event", "VARCHAR", "NOT NULL"),
        ("duration_ms", "INTEGER", ""),
        ("message", "VARCHAR", ""),
        ("details", "JSON", ""),
        ("level", "VARCHAR", "DEFAULT 'info'"),
        ("created_at", "TIMESTAMP", ""),
    ),
    "projects": (
        ("project_id", "VARCHAR", "PRIMARY KEY"),
        ("name", "VARCHAR", "NOT NULL"),
        ("description", "VARCHAR", "DEFAULT ''"),
        ("color", "VARCHAR", "DEFAULT '#14b8a6'"),
        ("created_at", "TIMESTAMP", ""),
        ("updated_at", "TIMESTAMP", ""),
    ),
    # Ours: no verb of the reference needs them.
    "meta": (("key", "VARCHAR", "PRIMARY KEY"), ("value", "VARCHAR", "NOT NULL")),
    # Edges: how often a chain names an artifact. They alone decide what is alive.
    "chain_artifacts": (
        ("chain_id", "VARCHAR", "NOT NULL"),
        ("artifact_id", "VARCHAR", "NOT NULL"),
        ("count", "INTEGER", "NOT NULL"),
    ),
    "chain_context": (
        ("chain_id", "VARCHAR", "PRIMARY KEY"),
        ("digest", "VARCHAR", "NOT NULL"),
        ("target", "VARCHAR", ""),
        ("task_type", "VARCHAR", ""),
        ("signal", "VARCHAR", ""),
        ("axis_unit", "VARCHAR", ""),
        ("axis_values", "DOUBLE[]", ""),
        ("x_min", "DOUBLE", ""),
        ("x_max", "DOUBLE", ""),
        ("probe_artifact_id", "VARCHAR", ""),
        ("limits_artifact_id", "VARCHAR", ""),
        ("parent_chain_id", "VARCHAR", ""),
        ("parent_digest", "VARCHAR", ""),
        ("unit", "VARCHAR", ""),
    ),
    "artifact_saves": (("artifact_id", "VARCHAR", "NOT NULL"), ("saved_at", "TIMESTAMP", "NOT NULL")),
    # What the DOUBLE columns of prediction_arrays cannot say: class labels behind codes, and columns of y_proba.
    "prediction_labels": (
        ("prediction_id", "VARCHAR", "PRIMARY KEY"),
        ("labels", "JSON", ""),
        ("proba_columns", "INTEGER", ""),
    ),
    "run_origins": (
        ("run_id", "VARCHAR", "PRIMARY KEY"),
        ("flow_run_id", "VARCHAR", ""),
        ("host", "VARCHAR", "NOT NULL"),
        ("pid", "INTEGER", "NOT NULL"),
        ("process_started_at", "TIMESTAMP", "NOT NULL"),
    ),
    # An alias names the chain of its one row that has not ended; the others are its history.
    "aliases": (
        ("alias", "VARCHAR", "NOT NULL"),
        ("chain_id", "VARCHAR", "NOT NULL"),
        ("set_at", "TIMESTAMP", "NOT NULL"),
        ("ended_at", "TIMESTAMP", ""),
        ("note", "VARCHAR", ""),
    ),
    "scored_files": (
        ("scoring_id", "VARCHAR", "PRIMARY KEY"),
        ("file_digest", "VARCHAR", "NOT NULL"),
        ("chain_digest", "VARCHAR", "NOT NULL"),
        ("chain_id", "VARCHAR", "NOT NULL"),
        ("target", "VARCHAR", ""),
        ("replay_version", "INTEGER", "NOT NULL"),
        ("path", "VARCHAR", "NOT NULL"),
        ("status", "VARCHAR", "NOT NULL"),
        ("reason", "VARCHAR", ""),
        ("n_samples", "INTEGER", "NOT NULL"),
        ("detail", "JSON", ""),
        ("flow_run_id", "VARCHAR", ""),
        ("scored_at", "TIMESTAMP", "NOT NULL"),
    ),
    "scored_samples": (
        ("scoring_id", "VARCHAR", "NOT NULL"),
        ("position", "INTEGER", "NOT NULL"),
        ("sample_id", "VARCHAR", "NOT NULL"),
        ("y", "DOUBLE", ""),
        ("label", "VARCHAR", ""),
        ("verdict", "VARCHAR", ""),
        ("reasons", "JSON", ""),
        ("detail", "JSON", ""),
    ),
    "reference_values": (
        ("sample_id", "VARCHAR", "NOT NULL"),
        ("target", "VARCHAR", "NOT NULL"),
        ("value", "DOUBLE", "NOT NULL"),
        ("source", "VARCHAR", ""),
        ("added_at", "TIMESTAMP", "NOT NULL"),
    ),
    "scored_batches": (
        ("batch_id", "VARCHAR", "PRIMARY KEY"),
        ("chain_id", "VARCHAR", "NOT NULL"),
        ("chain_digest", "VARCHAR", "NOT NULL"),
        ("target", "VARCHAR", ""),
        ("flow_run_id", "VARCHAR", ""),
        ("verdict", "VARCHAR", "NOT NULL"),
        ("released", "BOOLEAN", "NOT NULL"),
        ("reasons", "JSON", ""),
        ("n_samples", "INTEGER", "NOT NULL"),
        ("detail", "JSON", ""),
        ("scored_at", "TIMESTAMP", "NOT NULL"),
    ),
    "limit_crossings": (
        ("crossing_id", "VARCHAR", "PRIMARY KEY"),
        ("chain_id", "VARCHAR", "NOT NULL"),
        ("chain_digest", "VARCHAR", "NOT NULL"),
        ("target", "VARCHAR", ""),
        ("instrument", "VARCHAR", ""),
        ("product", "VARCHAR", ""),
        ("rule", "VARCHAR", "NOT NULL"),
        ("said", "VARCHAR", "NOT NULL"),
        ("sample_ids", "JSON", ""),
        ("began_at", "TIMESTAMP", "NOT NULL"),
        ("flow_run_id", "VARCHAR", ""),
        ("found_at", "TIMESTAMP", "NOT NULL"),
    ),
}

COLUMNS: Mapping[str, tuple[str, ...]] = {table: tuple(name for name, _, _ in cols) for table, cols in _TABLES.items()}
"""Column names of every table, in their order."""

COLUMN_TYPES: Mapping[str, Mapping[str, str]] = {
    table: {name: kind for name, kind, _ in columns} for table, columns in _TABLES.items()
}
"""The type of every column of every table."""

_SUMMARY_VIEW = """
CREATE VIEW v_chain_summary AS
SELECT c.chain_id, c.pipeline_id, c.model_class, c.model_step_idx, c.model_name, c.preprocessings, c.branch_path,
       c.source_index, c.metric, c.task_type, c.best_params, c.dataset_name, c.cv_val_score, c.cv_test_score,
       c.cv_train_score, c.cv_fold_count, c.cv_scores, c.final_test_score, c.final_train_score, c.final_scores,
       p.run_id, p.status AS pipeline_status
FROM chains c JOIN pipelines p ON p.pipeline_id = c.pipeline_id
"""

_ARROW_TYPES = {
    "VARCHAR": pa.string(),
    "JSON": pa.string(),
    "DOUBLE": pa.float64(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
    "DOUBLE[]": pa.list_(pa.float64()),
    "INTEGER[]": pa.list_(pa.int32()),
}

ARROW_SCHEMAS: Mapping[str, pa.Schema] = {
    table: pa.schema([(name, _ARROW_TYPES[kind]) for name, kind, _ in columns]) for table, columns in _TABLES.items()
}
"""The Arrow schema of a row of every table, for writing rows in bulk."""


def version_of(session: Session) -> int | None:
    """Schema version of the attached database: None when it is empty.

    Raises
    ------
    SchemaError
        When it has tables, but not ours.
    """
    tables = {name for (name,) in session.rows("SELECT table_name FROM duckdb_tables() WHERE database_name = 'ws'")}
    if "meta" in tables:
        found = session.rows("SELECT value FROM meta WHERE key = 'schema_version'")
        if found:
            return int(found[0][0])
    if not tables:
        return None
    if {"runs", "pipelines", "chains"} <= tables:
        raise SchemaError(
            "This store.duckdb was written by nirs4all. Upgrade it once with: n4a-flows upgrade WORKSPACE "
            "(the original is kept beside the new file)."
        )
    raise SchemaError(
        f"This store.duckdb is no workspace: it holds other tables ({', '.join(sorted(tables)[:5])}). "
        "Choose another folder."
    )


def refuse_newer(version: int) -> None:
    """Raise `SchemaError` when the version is newer than the one that this code reads and writes."""
    if version > SCHEMA_VERSION:
        raise SchemaError(
            f"This workspace has schema version {version}, this n4a_flows works with version {SCHEMA_VERSION}. "
            "Install a newer n4a_flows."
        )


def create(session: Session) -> None:
    """Create every table in an empty database."""
    for table, columns in _TABLES.items():
        body = ", ".join(f"{name} {kind} {rest}".strip() for name, kind, rest in columns)
        session.execute(f"CREATE TABLE {table} ({body})")
    session.execute(_SUMMARY_VIEW)
    session.execute("INSERT INTO meta VALUES ('schema_version', ?)", [str(SCHEMA_VERSION)])
