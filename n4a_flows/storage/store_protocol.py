"""What any store of this kind can do, for code that takes other stores too."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from n4a_flows.storage.axis import Axis
from n4a_flows.storage.late_polars import pl


@runtime_checkable
class WorkspaceStoreProtocol(Protocol):
    """The verbs of the reference system's store, as `WorkspaceStore` has them and documents them.

    It has methods only, so `issubclass` works with it too.
    """

    def begin_run(self, name: str, config: Any, datasets: Any) -> str: ...

    def complete_run(self, run_id: str, summary: Any) -> None: ...

    def fail_run(self, run_id: str, error: str) -> None: ...

    def begin_pipeline(
        self, run_id: str, name: str, expanded_config: Any, generator_choices: Any, dataset_name: str, dataset_hash: str
    ) -> str: ...

    def complete_pipeline(
        self, pipeline_id: str, best_val: float | None, best_test: float | None, metric: str, duration_ms: int
    ) -> None: ...

    def fail_pipeline(self, pipeline_id: str, error: str) -> None: ...

    def save_chain(
        self,
        pipeline_id: str,
        steps: Sequence[Mapping[str, Any]],
        model_step_idx: int,
        model_class: str,
        preprocessings: str,
        fold_strategy: str,
        fold_artifacts: Mapping[str, Any] | None,
        shared_artifacts: Mapping[str, Any] | None,
        branch_path: Sequence[int] | None = None,
        source_index: int | None = None,
        dataset_name: str | None = None,
    ) -> str: ...

    def get_chain(self, chain_id: str) -> dict[str, Any] | None: ...

    def get_chains_for_pipeline(self, pipeline_id: str) -> pl.DataFrame: ...

    def close(self) -> None: ...

    def save_prediction(
        self,
        pipeline_id: str,
        chain_id: str | None,
        dataset_name: str,
        model_name: str,
        model_class: str,
        fold_id: str,
        partition: str,
        val_score: float | None,
        test_score: float | None,
        train_score: float | None,
        metric: str,
        task_type: str,
        n_samples: int | None,
        n_features: int | None,
        scores: Any,
        best_params: Any,
        branch_id: int | None,
        branch_name: str | None,
        exclusion_count: int | None,
        exclusion_rate: float | None,
        preprocessings: str = "",
        prediction_id: str | None = None,
        refit_context: str | None = None,
    ) -> str: ...

    def save_prediction_arrays(
        self,
        prediction_id: str,
        y_true: npt.ArrayLike | None,
        y_pred: npt.ArrayLike | None,
        y_proba: npt.ArrayLike | None = None,
        sample_indices: npt.ArrayLike | None = None,
        weights: npt.ArrayLike | None = None,
    ) -> None: ...

    def get_prediction(self, prediction_id: str, load_arrays: bool = False) -> dict[str, Any] | None: ...

    def get_prediction_arrays(self, prediction_id: str) -> dict[str, npt.NDArray[Any] | None] | None: ...

    def query_predictions(
        self,
        dataset_name: str | None = None,
        model_class: str | None = None,
        partition: str | None = None,
        fold_id: str | None = None,
        branch_id: int | None = None,
        pipeline_id: str | None = None,
        run_id: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> pl.DataFrame: ...

    def top_predictions(
        self,
        n: int,
        metric: str = "val_score",
        ascending: bool | None = None,
        partition: str | None = "val",
        dataset_name: str | None = None,
        group_by: str | None = None,
    ) -> pl.DataFrame: ...

    def delete_prediction(self, prediction_id: str) -> bool: ...

    def get_chain_predictions(
        self, chain_id: str, partition: str | None = None, fold_id: str | None = None
    ) -> pl.DataFrame: ...

    def save_artifact(
        self, obj: Any, operator_class: str | None = None, artifact_type: str | None = None, format: str = "joblib"
    ) -> str: ...

    def load_artifact(self, artifact_id: str) -> Any: ...

    def get_artifact_path(self, artifact_id: str) -> Path: ...

    def register_existing_artifact(
        self,
        artifact_id: str,
        path: str,
        content_hash: str,
        operator_class: str,
        artifact_type: str,
        format: str,
        size_bytes: int,
    ) -> str: ...

    def gc_artifacts(self) -> int: ...

    def save_artifact_with_cache_key(
        self,
        obj: Any,
        operator_class: str,
        artifact_type: str,
        format: str,
        chain_path_hash: str,
        input_data_hash: str,
        dataset_hash: str,
    ) -> str: ...

    def update_artifact_cache_key(
        self, artifact_id: str, chain_path_hash: str, input_data_hash: str, dataset_hash: str
    ) -> None: ...

    def find_cached_artifact(self, chain_path_hash: str, input_data_hash: str) -> str | None: ...

    def invalidate_dataset_cache(self, dataset_hash: str) -> int: ...

    def cleanup_transient_artifacts(
        self, run_id: str, dataset_name: str, winning_pipeline_ids: Sequence[str]
    ) -> int: ...

    def log_step(
        self,
        pipeline_id: str,
        step_idx: int,
        operator_class: str,
        event: str,
        duration_ms: int | None = None,
        message: str | None = None,
        details: Any = None,
        level: str = "info",
    ) -> None: ...

    def get_pipeline_log(self, pipeline_id: str) -> pl.DataFrame: ...

    def get_run_log_summary(self, run_id: str) -> pl.DataFrame: ...

    def get_run(self, run_id: str) -> dict[str, Any] | None: ...

    def list_runs(
        self,
        status: str | None = None,
        dataset: str | None = None,
        project_id: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> pl.DataFrame: ...

    def get_pipeline(self, pipeline_id: str) -> dict[str, Any] | None: ...

    def list_pipelines(self, run_id: str | None = None, dataset_name: str | None = None) -> pl.DataFrame: ...

    def delete_run(self, run_id: str, delete_artifacts: bool = True) -> int: ...

    def vacuum(self) -> None: ...

    def export_chain(self, chain_id: str, output_path: str | os.PathLike[str], format: str = "n4a") -> Path: ...

    def export_pipeline_config(self, pipeline_id: str, output_path: str | os.PathLike[str]) -> Path: ...

    def export_run(self, run_id: str, output_path: str | os.PathLike[str]) -> Path: ...

    def export_predictions_parquet(self, output_path: str | os.PathLike[str], **filters: Any) -> Path: ...

    def create_project(self, name: str, description: str = "", color: str = "#14b8a6") -> str: ...

    def list_projects(self) -> pl.DataFrame: ...

    def get_project(self, project_id: str) -> dict[str, Any] | None: ...

    def get_project_by_name(self, name: str) -> dict[str, Any] | None: ...

    def update_project(self, project_id: str, name: str, description: str = "", color: str = "#14b8a6") -> None: ...

    def delete_project(self, project_id: str) -> None: ...

    def set_run_project(self, run_id: str, project_id: str | None) -> None: ...

    def get_or_create_project(self, name: str) -> str: ...

    def update_chain_summary(self, chain_id: str) -> None: ...

    def bulk_update_chain_summaries(self, chain_ids: Sequence[str]) -> None: ...

    def query_chain_summaries(
        self,
        run_id: str | None = None,
        pipeline_id: str | None = None,
        chain_id: str | None = None,
        dataset_name: str | None = None,
        model_class: str | None = None,
        metric: str | None = None,
    ) -> pl.DataFrame: ...

    def query_aggregated_predictions(
        self,
        run_id: str | None = None,
        pipeline_id: str | None = None,
        chain_id: str | None = None,
        dataset_name: str | None = None,
        model_class: str | None = None,
        metric: str | None = None,
        score_scope: str = "cv",
    ) -> pl.DataFrame: ...

    def query_top_chains(
        self,
        metric: str | None = None,
        n: int = 10,
        score_column: str = "cv_val_score",
        ascending: bool | None = None,
        run_id: str | None = None,
        pipeline_id: str | None = None,
        dataset_name: str | None = None,
        model_class: str | None = None,
    ) -> pl.DataFrame: ...

    def query_top_aggregated_predictions(
        self,
        metric: str | None = None,
        n: int = 10,
        score_column: str = "avg_val_score",
        ascending: bool | None = None,
        score_scope: str = "cv",
        run_id: str | None = None,
        pipeline_id: str | None = None,
        dataset_name: str | None = None,
        model_class: str | None = None,
    ) -> pl.DataFrame: ...

    def replay_chain(
        self, chain_id: str, X: npt.ArrayLike, wavelengths: Axis | npt.ArrayLike | None = None
    ) -> np.ndarray: ...
