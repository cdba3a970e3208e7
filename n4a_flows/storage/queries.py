"""Reads. Tables come back as polars frames with the documented columns, also when they are empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from n4a_flows.storage import chains
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError
from n4a_flows.storage.json_values import from_json
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.pages import checked_limit, checked_number
from n4a_flows.storage.schema import ARROW_SCHEMAS, COLUMNS
from n4a_flows.storage.session import Session

HIGHER_IS_BETTER = frozenset(
    ("r2", "accuracy", "f1", "precision", "recall", "auc", "roc_auc", "balanced_accuracy", "kappa", "rpd", "rpiq")
)
"""Metrics of which more is better; of every other one less is."""


LOWER_IS_BETTER = frozenset(
    ("rmse", "mse", "mae", "sep", "rmsecv", "rmsep", "nrmse", "medae", "mape", "log_loss", "error_rate")
)
"""Metrics of which less is better; `best_chain` takes no others but these two kinds."""


def ascending_for(metric: str | None) -> bool:
    """Whether the best value of a metric is the smallest one."""
    return (metric or "").lower() not in HIGHER_IS_BETTER


def run(session: Session, run_id: str) -> dict[str, Any] | None:
    """A run with its JSON columns decoded."""
    return _decoded(session.one("SELECT * FROM runs WHERE run_id = ?", [run_id]), "config", "datasets", "summary")


def pipeline(session: Session, pipeline_id: str) -> dict[str, Any] | None:
    """A pipeline with its JSON columns decoded."""
    row = session.one("SELECT * FROM pipelines WHERE pipeline_id = ?", [pipeline_id])
    return _decoded(row, "expanded_config", "generator_choices")


def _decoded(row: dict[str, Any] | None, *columns: str) -> dict[str, Any] | None:
    if row is not None:
        row.update((column, from_json(row[column])) for column in columns)
    return row


def list_runs(
    session: Session, status: str | None, dataset: str | None, project_id: str | None, limit: int, offset: int
) -> pl.DataFrame:
    """Runs, the newest first."""
    filters, parameters = _equal({"status": status, "project_id": project_id})
    if dataset is not None:
        # A dataset is named by a text, by an item of a list, or by the `name` of such an item: never by a part of a word.
        filters.append(
            "(json_extract_string(datasets, '$') = ? OR json_extract_string(datasets, '$.name') = ? "
            "OR list_contains(json_extract_string(datasets, '$[*]'), ?) "
            "OR list_contains(json_extract_string(datasets, '$[*].name'), ?))"
        )
        parameters += [dataset] * 4
    return session.frame(
        f"SELECT * FROM runs{_where(filters)} ORDER BY created_at DESC, rowid DESC LIMIT ? OFFSET ?",
        [*parameters, checked_limit(limit), checked_number("offset", offset)],
    )


def list_pipelines(session: Session, run_id: str | None, dataset_name: str | None) -> pl.DataFrame:
    """Pipelines, the newest first."""
    filters, parameters = _equal({"run_id": run_id, "dataset_name": dataset_name})
    return session.frame(f"SELECT * FROM pipelines{_where(filters)} ORDER BY created_at DESC, rowid DESC", parameters)


def chains_of_pipeline(session: Session, pipeline_id: str) -> pl.DataFrame:
    """Chains of a pipeline, in the order they were saved."""
    return session.frame("SELECT * FROM chains WHERE pipeline_id = ? ORDER BY created_at, rowid", [pipeline_id])


def pipeline_log(session: Session, pipeline_id: str) -> pl.DataFrame:
    """The log of a pipeline by step and time."""
    return session.frame(
        "SELECT log_id, step_idx, operator_class, event, duration_ms, message, details, level, created_at FROM logs "
        "WHERE pipeline_id = ? ORDER BY step_idx, created_at, rowid",
        [pipeline_id],
    )


def run_log_summary(session: Session, run_id: str) -> pl.DataFrame:
    """Counts of log lines for every pipeline of a run, in the order they began."""
    return session.frame(
        "SELECT p.pipeline_id, any_value(p.name) AS pipeline_name, any_value(p.status) AS pipeline_status, "
        "count(l.log_id) AS log_count, "
        "coalesce(sum(l.duration_ms) FILTER (l.event = 'end'), 0)::BIGINT AS total_duration_ms, "
        "count(*) FILTER (l.level = 'warning') AS warning_count, count(*) FILTER (l.level = 'error') AS error_count "
        "FROM pipelines p LEFT JOIN logs l USING (pipeline_id) WHERE p.run_id = ? "
        "GROUP BY p.pipeline_id ORDER BY min(p.created_at), min(p.rowid)",
        [run_id],
    )


_PREDICTION_FILTERS = ("dataset_name", "model_class", "partition", "fold_id", "branch_id", "pipeline_id")


def query_predictions(
    session: Session, *, run_id: str | None = None, limit: int | None = None, offset: int = 0, **filters: Any
) -> pl.DataFrame:
    """Predictions that match all filters, the newest first; a text with `%` is a LIKE pattern."""
    unknown = [name for name in filters if name not in _PREDICTION_FILTERS]
    if unknown:
        raise InvalidInputError(
            f"Unknown filter {unknown[0]!r}: predictions are filtered by run_id, {', '.join(_PREDICTION_FILTERS)}."
        )
    conditions, parameters = prediction_filters(filters, run_id)
    page = ""
    for name, number in (("limit", limit), ("offset", offset or None)):
        if number is not None:
            page += f" {name.upper()} ?"
            parameters.append(checked_number(name, number))
    return session.frame(
        f"SELECT * FROM predictions{_where(conditions)} ORDER BY created_at DESC, rowid DESC{page}", parameters
    )


_ARRAYS = "y_true, y_pred, y_proba, sample_indices::BIGINT[] AS sample_indices, weights, labels::VARCHAR AS labels, proba_columns"
_ARRAYS_AT_ONCE = 4096


def with_arrays(session: Session, predictions: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Predictions with their arrays, a few thousand at a time and at least once, in the order given."""
    places = session.frame("SELECT prediction_id, rowid AS place FROM prediction_arrays")
    located = predictions.join(places, on="prediction_id", how="left", maintain_order="left")
    for start in range(0, max(1, located.height), _ARRAYS_AT_ONCE):
        part = located.slice(start, _ARRAYS_AT_ONCE)
        # What was saved together lies together, so a range of places reads little that is not wanted.
        arrays = session.frame(
            f"SELECT prediction_id, {_ARRAYS} FROM prediction_arrays a LEFT JOIN prediction_labels USING (prediction_id) "
            "WHERE a.rowid BETWEEN ? AND ?",
            [part["place"].min(), part["place"].max()],
        )
        yield part.drop("place").join(arrays, on="prediction_id", how="left", maintain_order="left")


def prediction_filters(filters: dict[str, Any], run_id: str | None) -> tuple[list[str], list[Any]]:
    """The conditions and parameters that a set of filters of `query_predictions` stands for."""
    conditions, parameters = _equal(filters, like=True)
    if run_id is not None:
        conditions.append("pipeline_id IN (SELECT pipeline_id FROM pipelines WHERE run_id = ?)")
        parameters.append(run_id)
    return conditions, parameters


def top_predictions(
    session: Session, n: int, metric: str, ascending: bool | None, filters: dict[str, Any], group_by: str | None
) -> pl.DataFrame:
    """The best n predictions by a column, or the best n of every group."""
    for role, column in (("metric", metric), ("group_by", group_by)):
        if column is not None and column not in COLUMNS["predictions"]:
            raise InvalidInputError(
                f"Invalid {role} column {column!r}: use a column of predictions, for example val_score or dataset_name."
            )
    n = checked_number("n", n)
    conditions, parameters = _equal(filters)
    where = _where(conditions)
    if ascending is None:
        scored = metric in ("val_score", "test_score", "train_score")
        ascending = not scored or _ascending_of(session, f"predictions{where}", parameters)
    if group_by is None:
        return _best(session, n, metric, ascending, conditions, parameters)
    return _best_of_groups(session, n, metric, ascending, where, parameters, group_by)


def _best(
    session: Session, n: int, metric: str, ascending: bool, conditions: list[str], parameters: list[Any]
) -> pl.DataFrame:
    if _is_number(metric):
        # DuckDB passes over most rows when it sorts by a plain column. What is no number is wanted when there are too few numbers.
        numbers = _where([*conditions, f"isfinite({metric})"])
        order = f"{metric} {'ASC' if ascending else 'DESC'}, rowid"
        found = session.frame(f"SELECT * FROM predictions{numbers} ORDER BY {order} LIMIT ?", [*parameters, n])
        if found.height == n:
            return found
    order = best_first("predictions", metric, ascending)
    return session.frame(
        f"SELECT * FROM predictions{_where(conditions)} ORDER BY {order}, rowid LIMIT ?", [*parameters, n]
    )


_MOST_LEADERS = 999_999  # that DuckDB finds


def _best_of_groups(
    session: Session, n: int, metric: str, ascending: bool, where: str, parameters: list[Any], group_by: str
) -> pl.DataFrame:
    order = f"{best_first('predictions', metric, ascending)}, rowid"
    best, at_least = ("min", "<=") if ascending else ("max", ">=")
    finite = f" FILTER (isfinite({metric}))" if _is_number(metric) else ""
    # Sorting whole groups takes long: the n-th best value of each is found first, and only what is as good is sorted.
    leaders = f"{best}({metric}, {min(max(1, n), _MOST_LEADERS)}){finite} AS leaders"
    found = (
        f"SELECT rowid FROM predictions JOIN (SELECT {group_by} AS of_group, {leaders} "
        f"FROM predictions{where} GROUP BY of_group) ON {group_by} IS NOT DISTINCT FROM of_group"
        f"{where}{' AND' if where else ' WHERE'} ({metric} {at_least} leaders[{n}] OR leaders[{n}] IS NULL) "
        f"QUALIFY row_number() OVER (PARTITION BY {group_by} ORDER BY {order}) <= {n}"
    )
    return session.frame(
        f"SELECT * FROM predictions WHERE rowid IN ({found}) ORDER BY {order}", [*parameters, *parameters]
    )


def _ascending_of(session: Session, rows: str, parameters: list[Any]) -> bool:
    """Whether the smallest score is the best one among rows, by the metrics that they name."""
    found = session.rows(f"SELECT DISTINCT metric FROM {rows}", parameters)
    directions = {ascending_for(metric) for (metric,) in found if metric is not None}
    if len(directions) > 1:
        raise InvalidInputError(
            "These scores are of metrics of which more is better and of others of which less is: say ascending, or filter."
        )
    return directions.pop() if directions else True


def best_first(table: str, column: str, ascending: bool) -> str:
    """ORDER BY terms that put the best value first and what is no number (NULL, NaN, infinity) last."""
    usable = f"isfinite({column}) IS NOT TRUE, " if _is_number(column, table) else ""
    return f"{usable}{column} {'ASC' if ascending else 'DESC'} NULLS LAST"


def _is_number(column: str, table: str = "predictions") -> bool:
    return str(ARROW_SCHEMAS[table].field(column).type) == "double"


def chain_predictions(session: Session, chain_id: str, partition: str | None, fold_id: str | None) -> pl.DataFrame:
    """Predictions of a chain by partition and fold."""
    filters, parameters = _equal({"partition": partition, "fold_id": fold_id})
    filters.append("chain_id = ?")
    return session.frame(
        f"SELECT * FROM predictions{_where(filters)} ORDER BY partition, fold_id, rowid", [*parameters, chain_id]
    )


def chain(session: Session, chain_id: str) -> dict[str, Any] | None:
    """A chain with its document decoded."""
    row = session.one("SELECT * FROM chains WHERE chain_id = ?", [chain_id])
    return None if row is None else chains.decoded(row)


_SCORE_COLUMNS = ("cv_val_score", "cv_test_score", "cv_train_score", "final_test_score", "final_train_score")
_OLD_SCORE_COLUMNS = {
    f"{statistic}_{part}_score": f"cv_{part}_score"
    for statistic in ("avg", "min", "max")
    for part in ("val", "test", "train")
}


def chain_summaries(session: Session, filters: dict[str, Any]) -> pl.DataFrame:
    """Rows of the summary view, the newest chain first."""
    conditions, parameters = _equal({f"v.{column}": value for column, value in filters.items()})
    return session.frame(
        f"SELECT v.* FROM v_chain_summary v JOIN chains c USING (chain_id){_where(conditions)} "
        "ORDER BY c.created_at DESC, c.rowid DESC",
        parameters,
    )


def top_chains(
    session: Session, filters: dict[str, Any], n: int, score_column: str, ascending: bool | None
) -> pl.DataFrame:
    """Rows of the summary view by a score, the best first."""
    column = _OLD_SCORE_COLUMNS.get(score_column, score_column)
    if column not in _SCORE_COLUMNS:
        raise InvalidInputError(f"Invalid score column {score_column!r}: use one of {', '.join(_SCORE_COLUMNS)}.")
    conditions, parameters = _equal(filters)
    if ascending is None:
        known = filters["metric"]
        rows = f"v_chain_summary{_where(conditions)}"
        ascending = _ascending_of(session, rows, parameters) if known is None else ascending_for(known)
    return session.frame(
        f"SELECT * FROM v_chain_summary{_where(conditions)} ORDER BY {best_first('chains', column, ascending)}, chain_id LIMIT ?",
        [*parameters, checked_number("n", n)],
    )


def best_chain(session: Session, dataset_name: str, target: str | None, metric: str | None, run_id: str | None) -> str:
    """The chain of the completed pipeline with the best pooled out-of-fold score."""
    filters, parameters = _equal(
        {
            "p.dataset_name": dataset_name,
            "x.target": target,
            "lower(p.metric)": metric and metric.lower(),
            "p.run_id": run_id,
        }
    )
    found = session.rows(
        "SELECT c.chain_id, lower(p.metric), p.best_val, x.target FROM pipelines p JOIN chains c USING (pipeline_id) "
        "LEFT JOIN chain_context x USING (chain_id)"
        + _where([*filters, "p.status = 'completed'", "isfinite(p.best_val)"])
        + " ORDER BY c.created_at, c.rowid",
        parameters,
    )
    if not found:
        said = ", ".join(
            f"{name} {value!r}"
            for name, value in (("dataset", dataset_name), ("target", target), ("metric", metric), ("run", run_id))
            if value is not None
        )
        raise UnknownIdError(f"No chain with a validation score is recorded for {said}. Train one first.")
    for name, values in (("metric", {row[1] for row in found}), ("target", {row[3] for row in found})):
        if len(values) > 1:
            raise InvalidInputError(
                f"The best chain of {dataset_name!r} cannot be named, for its chains differ in {name} "
                f"({', '.join(sorted(map(str, values)))}): say which {name}."
            )
    name = str(found[0][1])
    if name not in HIGHER_IS_BETTER | LOWER_IS_BETTER:
        raise InvalidInputError(f"Whether more or less {name!r} is better is not known: name the chain instead.")
    better = max if name in HIGHER_IS_BETTER else min
    return str(better(found, key=lambda row: row[2])[0])


def _equal(filters: dict[str, Any], *, like: bool = False) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    parameters: list[Any] = []
    for column, value in filters.items():
        if value is None:
            continue
        pattern = like and isinstance(value, str) and "%" in value
        conditions.append(f"{column} {'LIKE' if pattern else '='} ?")
        parameters.append(value)
    return conditions, parameters


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
