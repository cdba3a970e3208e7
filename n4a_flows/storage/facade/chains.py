"""Verbs about chains: keeping them and finding them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from n4a_flows.storage import aliases, chains, queries, summaries
from n4a_flows.storage.axis import Axis
from n4a_flows.storage.chains import ChainContext
from n4a_flows.storage.facade.base import StoreBase
from n4a_flows.storage.late_polars import pl


class ChainVerbs(StoreBase):
    """Chains. Wherever a chain id is taken, an alias is too; it is resolved once a call."""

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
        *,
        axis: Axis | None = None,
        signal: str | None = None,
        x_range: tuple[float, float] | None = None,
        target: str | None = None,
        task_type: str | None = None,
        probe_artifact_id: str | None = None,
        limits_artifact_id: str | None = None,
        parent_chain_id: str | None = None,
        unit: str | None = None,
    ) -> str:
        """Keep a chain: steps that lead from spectra to a prediction, with the artifacts they use.

        Parameters
        ----------
        steps
            Dicts with step_idx, operator_class, params, `stateless`, and the artifacts of the step: `artifact_ids` when it was
            fitted once, `fold_artifact_ids` (by fold key) when it was fitted inside the folds. `operator_type` says what it is
            (transform, y_processing, model); the scaler of a y_processing step is inverted on the output. The model step may hold
            `fold_weights`.
        model_step_idx
            The step_idx of the model.
        fold_artifacts
            Artifact ids of the fitted models by fold key (`fold_0` ..., `fold_final` for the refit).
        shared_artifacts
            Artifact ids, one or a list, of transformers that all folds share, by step_idx as text.
        dataset_name
            Taken from the pipeline when left out.
        axis, signal, x_range, target, task_type
            What it was trained on; see `ChainContext`. Replay checks spectra against it.
        probe_artifact_id
            An artifact made by `Probe.to_artifact`: a few spectra, and what the chain predicts for them. `replay_probe` compares.
        limits_artifact_id
            An artifact of format `npz` with what predictions of the chain are judged by; `get_limits` gives its bytes.
        parent_chain_id
            The chain that this one was made from, id or alias; its digest is noted too.
        unit
            The unit of the target, for example `"% (m/m)"`.

        Returns
        -------
        The id of the chain.

        Raises
        ------
        UnknownIdError
            When there is no such pipeline, parent or artifact.
        InvalidInputError
            When the document is no chain, holds what JSON cannot, or the signal is unknown.

        Examples
        --------
        >>> from sklearn.cross_decomposition import PLSRegression
        >>> path = "sklearn.cross_decomposition.PLSRegression"
        >>> with store.transaction():
        ...     model_id = store.save_artifact(PLSRegression(8).fit(spectra.X, spectra.targets["fat"]), path, "model")
        ...     step = {"step_idx": 1, "operator_class": path, "operator_type": "model", "params": {"n_components": 8}}
        ...     models = {"fold_final": model_id}
        ...     chain_id = store.save_chain(pipeline_id, [step], 1, path, "", "per_fold", models, {}, axis=spectra.axis)
        >>> store.replay_chain(chain_id, spectra.X[:3], spectra.axis).shape
        (3,)
        """
        row = {
            "pipeline_id": pipeline_id,
            "steps": steps,
            "model_step_idx": model_step_idx,
            "model_class": model_class,
            "preprocessings": preprocessings,
            "fold_strategy": fold_strategy,
            "fold_artifacts": fold_artifacts,
            "shared_artifacts": shared_artifacts,
            "branch_path": branch_path,
            "source_index": source_index,
            "dataset_name": dataset_name,
        }
        with self._writing("save_chain") as session:
            return chains.save(
                session,
                row,
                axis=axis,
                signal=signal,
                x_range=x_range,
                target=target,
                task_type=task_type,
                probe_artifact_id=probe_artifact_id,
                limits_artifact_id=limits_artifact_id,
                parent_chain_id=aliases.resolved(session, parent_chain_id),
                unit=unit,
            )

    def get_chain(self, chain_id: str) -> dict[str, Any] | None:
        """The row of a chain with steps, fold_artifacts, shared_artifacts and branch_path as saved; None for an unknown one.

        Examples
        --------
        >>> chain = store.get_chain(chain_id)
        >>> [step["operator_class"].rpartition(".")[2] for step in chain["steps"]]
        ['StandardNormalVariate', 'PLSRegression']
        >>> sorted(chain["fold_artifacts"])
        ['fold_0', 'fold_1', 'fold_2', 'fold_3', 'fold_4', 'fold_final']
        """
        with self._reading("get_chain") as session:
            return queries.chain(session, aliases.resolve(session, chain_id))

    def get_chain_context(self, chain_id: str) -> ChainContext:
        """What a chain was trained on; `UnknownIdError` for an unknown chain.

        Examples
        --------
        >>> context = store.get_chain_context(chain_id)
        >>> context.target, context.signal, str(context.axis)
        ('fat', 'absorbance', '100 points, 850 to 1050 nm')
        """
        with self._reading("get_chain_context") as session:
            return chains.context_of(session, aliases.resolve(session, chain_id))

    def get_chains_for_pipeline(self, pipeline_id: str) -> pl.DataFrame:
        """Chains of a pipeline in the order they were saved; all columns of `chains`, JSON columns as text."""
        with self._reading("get_chains_for_pipeline") as session:
            return queries.chains_of_pipeline(session, pipeline_id)

    def best_chain(
        self,
        dataset_name: str,
        target: str | None = None,
        metric: str | None = None,
        run_id: str | None = None,
    ) -> str:
        """The chain with the best pooled out-of-fold score (all validation predictions together), never judged by the test set.

        Parameters
        ----------
        dataset_name
            Only chains that were trained on this dataset.
        target, metric, run_id
            Only chains that predict this property, were judged by this metric (in upper or lower case), or belong to this run.

        Returns
        -------
        The id of the chain; of equally good ones the earliest.

        Raises
        ------
        UnknownIdError
            When no chain fits.
        InvalidInputError
            When chains of several targets or metrics fit and it was not said which, or when it is not known whether more or less of
            the metric is better.

        Examples
        --------
        >>> store.best_chain("tecator", target="fat") == chain_id
        True
        """
        with self._reading("best_chain") as session:
            return queries.best_chain(session, dataset_name, target, metric, run_id)

    def update_chain_summary(self, chain_id: str) -> None:
        """Write the averages over a chain's predictions into its row, as `bulk_update_chain_summaries` does.

        Raises
        ------
        UnknownIdError
            When there is no such chain.
        """
        self.bulk_update_chain_summaries([chain_id])

    def bulk_update_chain_summaries(self, chain_ids: Sequence[str]) -> None:
        """Write the averages over their predictions into the rows of many chains.

        cv_val_score, cv_test_score and cv_train_score are plain averages over the rows of cross-validation, cv_scores the averages
        of every metric by partition (rounded to 6 digits), cv_fold_count the number of folds; the final_* columns are those of the
        refit's test row.

        Raises
        ------
        UnknownIdError
            When one of the chains does not exist; none is changed then.
        """
        with self._writing("update_chain_summary") as session:
            for chain_id in chain_ids:
                summaries.update(session, aliases.resolve(session, chain_id))

    def query_chain_summaries(
        self,
        run_id: str | None = None,
        pipeline_id: str | None = None,
        chain_id: str | None = None,
        dataset_name: str | None = None,
        model_class: str | None = None,
        metric: str | None = None,
    ) -> pl.DataFrame:
        """Summaries of the chains that match every filter given, the newest first.

        Returns
        -------
        All columns of the view `v_chain_summary`.
        """
        with self._reading("query_chain_summaries") as session:
            filters = {
                "run_id": run_id,
                "pipeline_id": pipeline_id,
                "chain_id": aliases.resolved(session, chain_id),
                "dataset_name": dataset_name,
                "model_class": model_class,
                "metric": metric,
            }
            return queries.chain_summaries(session, filters)

    def query_aggregated_predictions(
        self,
        run_id: str | None = None,
        pipeline_id: str | None = None,
        chain_id: str | None = None,
        dataset_name: str | None = None,
        model_class: str | None = None,
        metric: str | None = None,
        score_scope: str = "cv",
    ) -> pl.DataFrame:
        """nirs4all's older name for `query_chain_summaries`; `score_scope` changes nothing."""
        return self.query_chain_summaries(run_id, pipeline_id, chain_id, dataset_name, model_class, metric)

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
    ) -> pl.DataFrame:
        """Summaries of the best n chains by a score column.

        Parameters
        ----------
        metric
            Only chains with this metric.
        score_column
            cv_val_score, cv_test_score, cv_train_score, final_test_score or final_train_score; `avg_val_score`, `min_val_score` and
            the like mean the cv column.
        ascending
            Whether the smallest value is the best one; known from the metric when left out.
        run_id, pipeline_id, dataset_name, model_class
            Only chains that match.

        Returns
        -------
        All columns of `v_chain_summary`, the best first; what is no finite number comes last.

        Raises
        ------
        InvalidInputError
            When there is no such score column, n is negative, or `ascending` is left out and the chains differ in metric.

        Examples
        --------
        >>> best = store.query_top_chains(n=1, dataset_name="tecator")
        >>> best["chain_id"].item() == chain_id, best["cv_fold_count"].item()
        (True, 5)
        """
        filters = {
            "metric": metric,
            "run_id": run_id,
            "pipeline_id": pipeline_id,
            "dataset_name": dataset_name,
            "model_class": model_class,
        }
        with self._reading("query_top_chains") as session:
            return queries.top_chains(session, filters, n, score_column, ascending)

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
    ) -> pl.DataFrame:
        """nirs4all's older name for `query_top_chains`; `score_scope` changes nothing.

        Raises
        ------
        InvalidInputError
            As in `query_top_chains`.
        """
        return self.query_top_chains(metric, n, score_column, ascending, run_id, pipeline_id, dataset_name, model_class)
