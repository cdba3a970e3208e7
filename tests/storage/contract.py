"""The contract as tables: what verbs take and give back, and the columns of tables and frames."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import polars as pl

SIGNATURES = """
begin_run(name, config, datasets)
complete_run(run_id, summary)
fail_run(run_id, error)
begin_pipeline(run_id, name, expanded_config, generator_choices, dataset_name, dataset_hash)
complete_pipeline(pipeline_id, best_val, best_test, metric, duration_ms)
fail_pipeline(pipeline_id, error)
save_chain(pipeline_id, steps, model_step_idx, model_class, preprocessings, fold_strategy, fold_artifacts, \
shared_artifacts, branch_path=None, source_index=None, dataset_name=None)
get_chain(chain_id)
get_chains_for_pipeline(pipeline_id)
close()
save_prediction(pipeline_id, chain_id, dataset_name, model_name, model_class, fold_id, partition, val_score, \
test_score, train_score, metric, task_type, n_samples, n_features, scores, best_params, branch_id, branch_name, \
exclusion_count, exclusion_rate, preprocessings="", prediction_id=None, refit_context=None)
save_prediction_arrays(prediction_id, y_true, y_pred, y_proba=None, sample_indices=None, weights=None)
get_prediction(prediction_id, load_arrays=False)
get_prediction_arrays(prediction_id)
query_predictions(dataset_name=None, model_class=None, partition=None, fold_id=None, branch_id=None, \
pipeline_id=None, run_id=None, limit=None, offset=0)
top_predictions(n, metric="val_score", ascending=..., partition="val", dataset_name=None, group_by=None)
delete_prediction(prediction_id)
get_chain_predictions(chain_id, partition=None, fold_id=None)
save_artifact(obj, operator_class=..., artifact_type=..., format=...)
load_artifact(artifact_id)
get_artifact_path(artifact_id)
register_existing_artifact(artifact_id, path, content_hash, operator_class, artifact_type, format, size_bytes)
gc_artifacts()
save_artifact_with_cache_key(obj, operator_class, artifact_type, format, chain_path_hash, input_data_hash, dataset_hash)
update_artifact_cache_key(artifact_id, chain_path_hash, input_data_hash, dataset_hash)
find_cached_artifact(chain_path_hash, input_data_hash)
invalidate_dataset_cache(dataset_hash)
cleanup_transient_artifacts(run_id, dataset_name, winning_pipeline_ids)
log_step(pipeline_id, step_idx, operator_class, event, duration_ms=None, message=None, details=None, level="info")
get_pipeline_log(pipeline_id)
get_run_log_summary(run_id)
get_run(run_id)
list_runs(status=None, dataset=None, project_id=None, limit=100, offset=0)
get_pipeline(pipeline_id)
list_pipelines(run_id=None, dataset_name=None)
delete_run(run_id, delete_artifacts=True)
vacuum()
export_chain(chain_id, output_path, format="n4a")
export_pipeline_config(pipeline_id, output_path)
export_run(run_id, output_path)
export_predictions_parquet(output_path)
create_project(name, description="", color="#14b8a6")
list_projects()
get_project(project_id)
get_project_by_name(name)
update_project(project_id, name, description="", color="#14b8a6")
delete_project(project_id)
set_run_project(run_id, project_id)
get_or_create_project(name)
update_chain_summary(chain_id)
bulk_update_chain_summaries(chain_ids)
query_chain_summaries(run_id=None, pipeline_id=None, chain_id=None, dataset_name=None, model_class=None, metric=None)
query_aggregated_predictions(run_id=None, pipeline_id=None, chain_id=None, dataset_name=None, model_class=None, \
metric=None, score_scope="cv")
query_top_chains(metric=None, n=10, score_column="cv_val_score", ascending=None)
query_top_aggregated_predictions(metric=..., n=10, score_column="avg_val_score", ascending=None, score_scope="cv")
replay_chain(chain_id, X, wavelengths=None)
"""
"""Names, order and defaults of what can be passed by position. With `...` a default is ours to choose."""

VERBS = {line.partition("(")[0]: line for line in SIGNATURES.split("\n") if line}

RETURNS: dict[type | None, str] = {
    str: "begin_run begin_pipeline save_chain save_prediction save_artifact register_existing_artifact create_project "
    "get_or_create_project save_artifact_with_cache_key",
    type(None): "complete_run fail_run complete_pipeline fail_pipeline log_step vacuum close save_prediction_arrays "
    "update_artifact_cache_key update_chain_summary bulk_update_chain_summaries update_project delete_project "
    "set_run_project",
    pl.DataFrame: "list_runs list_pipelines get_chains_for_pipeline query_predictions top_predictions "
    "get_chain_predictions get_pipeline_log get_run_log_summary query_chain_summaries query_top_chains "
    "query_aggregated_predictions query_top_aggregated_predictions list_projects",
    pathlib.Path: "get_artifact_path export_chain export_pipeline_config export_run export_predictions_parquet",
    int: "delete_run gc_artifacts invalidate_dataset_cache cleanup_transient_artifacts",
    bool: "delete_prediction",
    np.ndarray: "replay_chain",
}

TABLES = {
    "runs": "run_id name config datasets status created_at completed_at summary error project_id",
    "pipelines": "pipeline_id run_id name expanded_config generator_choices dataset_name dataset_hash status created_at "
    "completed_at best_val best_test metric duration_ms error",
    "chains": "chain_id pipeline_id steps model_step_idx model_class preprocessings fold_strategy fold_artifacts "
    "shared_artifacts branch_path source_index model_name metric task_type best_params dataset_name cv_val_score "
    "cv_test_score cv_train_score cv_fold_count cv_scores final_test_score final_train_score final_scores created_at",
    "predictions": "prediction_id pipeline_id chain_id dataset_name model_name model_class fold_id partition val_score "
    "test_score train_score metric task_type n_samples n_features scores best_params preprocessings branch_id "
    "branch_name exclusion_count exclusion_rate refit_context created_at",
    "prediction_arrays": "prediction_id y_true y_pred y_proba sample_indices weights",
    "artifacts": "artifact_id artifact_path content_hash operator_class artifact_type format size_bytes ref_count "
    "chain_path_hash input_data_hash dataset_hash created_at",
    "logs": "log_id pipeline_id step_idx operator_class event duration_ms message details level created_at",
    "projects": "project_id name description color created_at updated_at",
}
SUMMARY = (
    "chain_id pipeline_id model_class model_step_idx model_name preprocessings branch_path source_index metric task_type "
    "best_params dataset_name cv_val_score cv_test_score cv_train_score cv_fold_count cv_scores final_test_score "
    "final_train_score final_scores run_id pipeline_status"
)
LOG = "log_id step_idx operator_class event duration_ms message details level created_at"
LOG_SUMMARY = "pipeline_id pipeline_name pipeline_status log_count total_duration_ms warning_count error_count"

SCORES = (
    "best_val best_test val_score test_score train_score cv_val_score cv_test_score cv_train_score final_test_score"
)
TYPES: dict[str, Any] = {
    **dict.fromkeys(["created_at", "completed_at", "updated_at"], pl.Datetime("us")),
    **dict.fromkeys(f"{SCORES} final_train_score exclusion_rate".split(), pl.Float64),
    **dict.fromkeys(
        ["model_step_idx", "source_index", "cv_fold_count", "n_samples", "n_features", "branch_id"], pl.Int32
    ),
    **dict.fromkeys(["exclusion_count", "step_idx", "duration_ms"], pl.Int32),
    **dict.fromkeys(["log_count", "total_duration_ms", "warning_count", "error_count"], pl.Int64),
}
"""Of the columns that hold no text; JSON arrives as text."""

FRAMES: dict[str, tuple[str, Any]] = {
    "list_runs": (TABLES["runs"], lambda s, key: s.list_runs(**({"status": "none"} if key is None else {}))),
    "list_pipelines": (TABLES["pipelines"], lambda s, key: s.list_pipelines(run_id=(key and key.run_id) or "none")),
    "get_chains_for_pipeline": (
        TABLES["chains"], lambda s, key: s.get_chains_for_pipeline(key.pipeline_id if key else "none")
    ),
    "query_predictions": (
        TABLES["predictions"], lambda s, key: s.query_predictions(run_id=key.run_id if key else "none")
    ),
    "top_predictions": (
        TABLES["predictions"], lambda s, key: s.top_predictions(5, dataset_name=None if key else "none")
    ),
    "top_predictions in groups": (
        TABLES["predictions"],
        lambda s, key: s.top_predictions(5, dataset_name=None if key else "none", group_by="model_name"),
    ),
    "get_chain_predictions": (
        TABLES["predictions"], lambda s, key: s.get_chain_predictions(key.chain_id if key else "none")
    ),
    "get_pipeline_log": (LOG, lambda s, key: s.get_pipeline_log(key.pipeline_id if key else "none")),
    "get_run_log_summary": (LOG_SUMMARY, lambda s, key: s.get_run_log_summary(key.run_id if key else "none")),
    "query_chain_summaries": (SUMMARY, lambda s, key: s.query_chain_summaries(run_id=key.run_id if key else "none")),
    "query_aggregated_predictions": (
        SUMMARY, lambda s, key: s.query_aggregated_predictions(run_id=key.run_id if key else "none")
    ),
    "query_top_chains": (SUMMARY, lambda s, key: s.query_top_chains(run_id=key.run_id if key else "none")),
    "query_top_aggregated_predictions": (
        SUMMARY, lambda s, key: s.query_top_aggregated_predictions("rmse" if key else "none")
    ),
    "list_projects": (TABLES["projects"], lambda s, key: s.list_projects()),
}  # fmt: skip
