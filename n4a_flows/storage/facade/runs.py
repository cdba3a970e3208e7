"""Verbs about runs, pipelines and their logs."""

from __future__ import annotations

from typing import Any

from n4a_flows.storage import cleanup, origins, queries, records
from n4a_flows.storage.facade.base import StoreBase
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.origins import FlowRunIsOver, ReapedRun, RunOrigin


class RunVerbs(StoreBase):
    """Runs, pipelines and logs."""

    def begin_run(self, name: str, config: Any, datasets: Any, *, flow_run_id: str | None = None) -> str:
        """Start a run.

        Parameters
        ----------
        name
            What people call it.
        config, datasets
            Anything that JSON can hold; `datasets` usually is a list of names or of dicts with a `name`.
        flow_run_id
            The Prefect flow run that it belongs to, if any. Host, process and its start time are always noted.

        Returns
        -------
        The id of the run, whose status is `"running"` now.

        Raises
        ------
        InvalidInputError
            When config or datasets hold what JSON cannot.

        Examples
        --------
        >>> run_id = store.begin_run("nightly", config={"metric": "rmse"}, datasets=["tecator"])
        >>> store.get_run(run_id)["status"]
        'running'
        """
        with self._writing("begin_run") as session:
            return records.begin_run(session, name, config, datasets, flow_run_id)

    def complete_run(self, run_id: str, summary: Any) -> None:
        """Mark a run `"completed"` and keep its summary.

        Parameters
        ----------
        summary
            Anything that JSON can hold.

        Raises
        ------
        UnknownIdError
            When there is no such run.
        InvalidInputError
            When the summary holds what JSON cannot.
        """
        with self._writing("complete_run") as session:
            records.end(session, "runs", run_id, "completed", summary=summary)

    def fail_run(self, run_id: str, error: str) -> None:
        """Mark a run `"failed"` with the reason; `UnknownIdError` for an unknown run."""
        with self._writing("fail_run") as session:
            records.end(session, "runs", run_id, "failed", error=str(error))

    def running_runs(self) -> list[RunOrigin]:
        """The runs that have not ended, the oldest first, each with the flow run, host and process that records it.

        Examples
        --------
        >>> run_id = store.begin_run("by hand", {}, [])
        >>> [origin] = store.running_runs()
        >>> origin.name, origin.flow_run_id, origin.why_dead()
        ('by hand', None, None)
        """
        with self._reading("running_runs") as session:
            return origins.running(session)

    def reap_run(self, run_id: str, reason: str) -> bool:
        """End a run whose recorder is gone as failed, with its pipelines that have not ended.

        Returns
        -------
        False when the run had ended already, or is unknown; nothing is changed then.
        """
        with self._writing("reap_run") as session:
            return origins.reap(session, run_id, reason)

    def reap_dead_runs(
        self, flow_run_is_over: FlowRunIsOver | None = None, *, dry_run: bool = False
    ) -> list[ReapedRun]:
        """End the runs that died as failed: their process is gone from this host, or their flow run is over.

        Parameters
        ----------
        flow_run_is_over
            Asks the server whether a flow run, by its id, has ended (None: it does not know that one). Without it, only processes
            are looked for. What it raises is passed on, and nothing is changed then.
        dry_run
            Only find them.

        Returns
        -------
        The runs that were ended, or would be.
        """
        # The server is asked while nobody waits for the store.
        reasons = {origin: origin.why_dead(flow_run_is_over) for origin in self.running_runs()}
        return [
            ReapedRun(origin.run_id, origin.name, reason)
            for origin, reason in reasons.items()
            if reason is not None and (dry_run or self.reap_run(origin.run_id, reason))
        ]

    def get_run(self, run_id: str) -> dict[str, Any] | None:
        """The row of a run, with config, datasets and summary as Python values; None for an unknown run."""
        with self._reading("get_run") as session:
            return queries.run(session, run_id)

    def list_runs(
        self,
        status: str | None = None,
        dataset: str | None = None,
        project_id: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> pl.DataFrame:
        """Runs, the newest first.

        Parameters
        ----------
        status
            Only runs with this status: running, completed or failed.
        dataset
            Only runs whose datasets name this one.
        project_id
            Only runs of this project.
        limit, offset
            A page of the list.

        Returns
        -------
        All columns of `runs`; config, datasets and summary are JSON text.

        Raises
        ------
        InvalidInputError
            When a number of the page is negative or no whole number.

        Examples
        --------
        >>> store.list_runs(status="completed", dataset="tecator").select("name", "status").rows()
        [('tecator: fat', 'completed')]
        """
        with self._reading("list_runs") as session:
            return queries.list_runs(session, status, dataset, project_id, limit, offset)

    def begin_pipeline(
        self,
        run_id: str,
        name: str,
        expanded_config: Any,
        generator_choices: Any,
        dataset_name: str,
        dataset_hash: str,
    ) -> str:
        """Start a pipeline of a run.

        Parameters
        ----------
        expanded_config
            Its definition after all generators were expanded.
        generator_choices
            Which of their options this pipeline took.
        dataset_name, dataset_hash
            What it is trained on.

        Returns
        -------
        The id of the pipeline, whose status is `"running"` now.

        Raises
        ------
        UnknownIdError
            When there is no such run.
        InvalidInputError
            When the definition or the choices hold what JSON cannot.

        Examples
        --------
        >>> steps = ["chemotools.scatter.StandardNormalVariate", {"model": "sklearn.cross_decomposition.PLSRegression"}]
        >>> pipeline_id = store.begin_pipeline(run_id, "SNV > PLS", steps, [], "tecator", spectra.digest)
        >>> store.complete_pipeline(pipeline_id, best_val=2.9, best_test=None, metric="rmse", duration_ms=740)
        """
        with self._writing("begin_pipeline") as session:
            return records.begin_pipeline(
                session, run_id, name, expanded_config, generator_choices, dataset_name, dataset_hash
            )

    def complete_pipeline(
        self, pipeline_id: str, best_val: float | None, best_test: float | None, metric: str, duration_ms: int
    ) -> None:
        """Mark a pipeline `"completed"` with its scores.

        Parameters
        ----------
        best_val
            Score of the pooled out-of-fold predictions, in units of the metric; `best_chain` ranks by it.
        best_test
            Score on the test set, None without one.
        metric
            Name of the metric of both, for example `"rmse"`.
        duration_ms
            What it took, in milliseconds.

        Raises
        ------
        UnknownIdError
            When there is no such pipeline.
        """
        with self._writing("complete_pipeline") as session:
            records.end(
                session,
                "pipelines",
                pipeline_id,
                "completed",
                best_val=best_val,
                best_test=best_test,
                metric=metric,
                duration_ms=int(duration_ms),
            )

    def fail_pipeline(self, pipeline_id: str, error: str) -> None:
        """Mark a pipeline `"failed"` with the reason, and remove its chains, predictions and logs.

        Raises
        ------
        UnknownIdError
            When there is no such pipeline.
        ProtectedError
            When an alias needs one of its chains; nothing is changed then.
        """
        with self._writing("fail_pipeline") as session:
            cleanup.fail_pipeline(session, pipeline_id, str(error))

    def get_pipeline(self, pipeline_id: str) -> dict[str, Any] | None:
        """The row of a pipeline, with its JSON columns as Python values; None for an unknown one."""
        with self._reading("get_pipeline") as session:
            return queries.pipeline(session, pipeline_id)

    def list_pipelines(self, run_id: str | None = None, dataset_name: str | None = None) -> pl.DataFrame:
        """Pipelines, the newest first; all columns of `pipelines`, JSON columns as text.

        Examples
        --------
        >>> store.list_pipelines(run_id).select("name", "metric", "status").rows()
        [('StandardNormalVariate > PLSRegression(n_components=8)', 'rmse', 'completed')]
        """
        with self._reading("list_pipelines") as session:
            return queries.list_pipelines(session, run_id, dataset_name)

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
    ) -> None:
        """Add a line to the log of a pipeline.

        Parameters
        ----------
        event
            start, end, skip, warning or error.
        duration_ms
            What the step took, in milliseconds.
        details
            Anything that JSON can hold.
        level
            debug, info, warning or error.

        Raises
        ------
        UnknownIdError
            When there is no such pipeline.
        InvalidInputError
            When the details hold what JSON cannot.

        Examples
        --------
        >>> store.log_step(pipeline_id, 2, "sklearn.cross_decomposition.PLSRegression", "warning", level="warning")
        >>> store.get_run_log_summary(run_id)["warning_count"].item()
        1
        """
        with self._writing("log_step") as session:
            records.log_step(
                session, pipeline_id, step_idx, operator_class, event, duration_ms, message, details, level
            )

    def get_pipeline_log(self, pipeline_id: str) -> pl.DataFrame:
        """The log of a pipeline by step and time.

        Returns
        -------
        log_id, step_idx, operator_class, event, duration_ms, message, details (JSON text), level, created_at.
        """
        with self._reading("get_pipeline_log") as session:
            return queries.pipeline_log(session, pipeline_id)

    def get_run_log_summary(self, run_id: str) -> pl.DataFrame:
        """What the pipelines of a run logged: one row a pipeline, in the order they began.

        Returns
        -------
        pipeline_id, pipeline_name, pipeline_status, log_count, total_duration_ms (over `end` events), warning_count, error_count
        (by level).
        """
        with self._reading("get_run_log_summary") as session:
            return queries.run_log_summary(session, run_id)
