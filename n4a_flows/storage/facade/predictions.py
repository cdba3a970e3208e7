"""Verbs about predictions."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from n4a_flows.storage import aliases, cleanup, predictions, queries
from n4a_flows.storage.facade.base import StoreBase
from n4a_flows.storage.late_polars import pl


class PredictionVerbs(StoreBase):
    """Predictions and their arrays."""

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
    ) -> str:
        """Keep the scores of one fold and partition.

        A prediction of the same pipeline, chain, fold, partition, model and branch is replaced: its id is kept and returned, its
        arrays go and must be saved again.

        Parameters
        ----------
        fold_id
            `fold_0` ... for folds, `final` for the refit, or any other text.
        partition
            train, val or test.
        val_score, test_score, train_score
            In units of the metric; None where there is none.
        metric, task_type
            What the scores are, for example `"rmse"`, and `"regression"` or `"classification"` ...
        n_samples, n_features
            Shape of the spectra that were predicted.
        scores
            All scores by partition and name: `{"val": {"rmse": 0.3}, "test": {...}}`.
        best_params
            Parameters of the model: anything that JSON can hold.
        exclusion_count, exclusion_rate
            Samples that were left out, and their share (0 to 1).
        prediction_id
            Id for a new prediction; a new uuid when left out.
        refit_context
            None for cross-validation, `"standalone"` or `"stacking"` for a refit.

        Returns
        -------
        The id of the prediction.

        Raises
        ------
        UnknownIdError
            When there is no such pipeline or chain.
        InvalidInputError
            When the partition is unknown, the id belongs to another prediction, or scores or best_params hold what JSON cannot.

        Examples
        --------
        >>> row = store.get_prediction(prediction_id)
        >>> row.update(prediction_id=None, fold_id="avg", val_score=0.9, scores={"val": {"rmse": 0.9}}, n_samples=3)
        >>> average = store.save_prediction(**{name: value for name, value in row.items() if name != "created_at"})
        >>> store.save_prediction_arrays(average, y_true=[22.5, 40.1, 8.4], y_pred=[21.3, 42.6, 9.4])
        """
        row = {key: value for key, value in locals().items() if key not in ("self", "prediction_id")}
        with self._writing("save_prediction") as session:
            row["chain_id"] = aliases.resolved(session, chain_id)
            return predictions.save(session, row, prediction_id)

    def save_prediction_arrays(
        self,
        prediction_id: str,
        y_true: npt.ArrayLike | None,
        y_pred: npt.ArrayLike | None,
        y_proba: npt.ArrayLike | None = None,
        sample_indices: npt.ArrayLike | None = None,
        weights: npt.ArrayLike | None = None,
    ) -> None:
        """Keep the arrays of a prediction; each may be None.

        Parameters
        ----------
        y_true, y_pred
            (n_samples,) numbers in units of the target, or class labels.
        y_proba
            (n_samples,) or (n_samples, n_classes) probabilities.
        sample_indices
            (n_samples,) whole numbers: rows of the dataset.
        weights
            (n_samples,) numbers.

        Raises
        ------
        UnknownIdError
            When there is no such prediction.
        InvalidInputError
            When their shapes, lengths or kinds of values do not fit, or the prediction has arrays already (save it again to replace
            both).
        """
        with self._writing("save_prediction_arrays") as session:
            predictions.save_arrays(session, prediction_id, y_true, y_pred, y_proba, sample_indices, weights)

    def get_prediction(self, prediction_id: str, load_arrays: bool = False) -> dict[str, Any] | None:
        """The row of a prediction with scores and best_params as Python values; None for an unknown one.

        With `load_arrays` also y_true, y_pred, y_proba, weights (float64, labels as text) and sample_indices (int64), each None
        when it was not stored.
        """
        with self._reading("get_prediction") as session:
            return predictions.get(session, prediction_id, load_arrays)

    def get_prediction_arrays(self, prediction_id: str) -> dict[str, npt.NDArray[Any] | None] | None:
        """The arrays of a prediction (see `get_prediction`), or None when none were stored.

        Examples
        --------
        >>> arrays = store.get_prediction_arrays(prediction_id)
        >>> arrays["y_pred"].shape, arrays["sample_indices"].dtype
        ((35,), dtype('int64'))
        >>> rmse(arrays["y_true"], arrays["y_pred"]) == store.get_prediction(prediction_id)["val_score"]
        True
        """
        with self._reading("get_prediction_arrays") as session:
            return predictions.get_arrays(session, prediction_id)

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
    ) -> pl.DataFrame:
        """Predictions that match every filter given, the newest first; all columns of `predictions`.

        A text with `%` in it is a LIKE pattern.

        Raises
        ------
        InvalidInputError
            When limit or offset is negative or no whole number.

        Examples
        --------
        >>> store.query_predictions(model_class="%PLSRegression", partition="val")["fold_id"].sort().to_list()
        ['fold_0', 'fold_1', 'fold_2', 'fold_3', 'fold_4']
        """
        with self._reading("query_predictions") as session:
            return queries.query_predictions(
                session,
                dataset_name=dataset_name,
                model_class=model_class,
                partition=partition,
                fold_id=fold_id,
                branch_id=branch_id,
                pipeline_id=pipeline_id,
                run_id=run_id,
                limit=limit,
                offset=offset,
            )

    def top_predictions(
        self,
        n: int,
        metric: str = "val_score",
        ascending: bool | None = None,
        partition: str | None = "val",
        dataset_name: str | None = None,
        group_by: str | None = None,
    ) -> pl.DataFrame:
        """The best n predictions by a column, or the best n of every group.

        Parameters
        ----------
        metric
            A column of `predictions`. Values that are no finite number come last, whichever way it is sorted.
        ascending
            True when the smallest value is the best one, as for RMSE. Known from the metric of the predictions when left out.
        partition, dataset_name
            Only predictions of these.
        group_by
            A column of `predictions`.

        Returns
        -------
        All columns of `predictions`, the best first.

        Raises
        ------
        InvalidInputError
            When a column does not exist, or n is negative or no whole number.

        Examples
        --------
        >>> best = store.top_predictions(2)
        >>> best["val_score"].is_sorted(), best["partition"].unique().to_list()
        (True, ['val'])
        """
        filters = {"partition": partition, "dataset_name": dataset_name}
        with self._reading("top_predictions") as session:
            return queries.top_predictions(session, n, metric, ascending, filters, group_by)

    def get_chain_predictions(
        self, chain_id: str, partition: str | None = None, fold_id: str | None = None
    ) -> pl.DataFrame:
        """Predictions of a chain, ordered by partition and fold; all columns of `predictions`."""
        with self._reading("get_chain_predictions") as session:
            return queries.chain_predictions(session, aliases.resolve(session, chain_id), partition, fold_id)

    def delete_prediction(self, prediction_id: str) -> bool:
        """Delete a prediction with its arrays; False when there is none."""
        with self._writing("delete_prediction") as session:
            return cleanup.delete_prediction(session, prediction_id)
