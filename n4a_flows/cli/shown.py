"""What `n4a-flows show` prints of a run, a pipeline, a chain or a prediction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from n4a_flows.cli.common import moment, print_fields, print_table, short
from n4a_flows.cli.console import out

_MOST_LOG_LINES = 20


def print_shown(kind: str, document: Mapping[str, Any]) -> None:
    """Print a document that `show` made."""
    {"run": _run, "pipeline": _pipeline, "chain": _chain, "prediction": _prediction}[kind](document)


def _run(run: Mapping[str, Any]) -> None:
    print_fields(
        {
            "run": run["run_id"],
            "name": run["name"],
            "status": run["status"],
            "error": run["error"],
            "datasets": _names(run["datasets"]),
            "began": _utc(run["created_at"]),
            "took": _took(run["created_at"], run["completed_at"]),
            "project": run["project_id"],
        }
    )
    _table(
        ["pipeline", "chain", "status", "metric", "score", "test", "name"],
        (
            [
                short(row["pipeline_id"]),
                short(row["chain_id"]),
                *(row[key] for key in ("status", "metric", "best_val", "best_test", "name")),
            ]
            for row in run["pipelines"]
        ),
    )


def _pipeline(pipeline: Mapping[str, Any]) -> None:
    print_fields(
        {
            "pipeline": pipeline["pipeline_id"],
            "name": pipeline["name"],
            "run": pipeline["run_id"],
            "dataset": pipeline["dataset_name"],
            "status": pipeline["status"],
            "error": pipeline["error"],
            "score": _scores(pipeline),
            "took": None if pipeline["duration_ms"] is None else f"{pipeline['duration_ms'] / 1000:.3g} s",
            "chains": ", ".join(row["chain_id"] for row in pipeline["chains"]),
        }
    )
    loud = [row for row in pipeline["log"] if row["level"] in ("warning", "error")]
    _table(
        ["step", "level", "operator", "message"],
        ([row["step_idx"], row["level"], row["operator_class"], row["message"]] for row in loud[:_MOST_LOG_LINES]),
    )


def _chain(chain: Mapping[str, Any]) -> None:
    target, signal = chain["target"], chain["signal"]
    print_fields(
        {
            "chain": chain["chain_id"],
            "aliases": ", ".join(chain["aliases"] or []),
            "pipeline": chain["name"],
            "pipeline id": chain["pipeline_id"],
            "run": chain["run_id"],
            "dataset": chain["dataset_name"],
            "target": f"{target} ({chain['task_type']})" if target and chain["task_type"] else target,
            "score": _scores(chain),
            "axis": ", ".join(filter(None, (chain["axis_in_words"], signal))),
            "saved": _utc(chain["created_at"]),
            "digest": chain["digest"],
            "files scored": chain["scored_files"],
        }
    )
    _table(
        ["prediction", "fold", "partition", "samples", "metric", "score"],
        (
            [
                # Whole: ids of predictions that were made together begin alike.
                *(row[key] for key in ("prediction_id", "fold_id", "partition", "n_samples", "metric")),
                row[f"{row['partition']}_score"],
            ]
            for row in chain["predictions"]
        ),
    )


def _prediction(prediction: Mapping[str, Any]) -> None:
    columns = ("pipeline_id", "chain_id", "dataset_name", "model_name", "fold_id", "partition", "n_samples")
    scores = (prediction["scores"] or {}).get(prediction["partition"], {})
    print_fields(
        {
            "prediction": prediction["prediction_id"],
            **{name.removesuffix("_id").removesuffix("_name"): prediction[name] for name in columns},
            "saved": _utc(prediction["created_at"]),
        }
    )
    _table(["score", "value"], ([name, value] for name, value in scores.items()))


def _table(header: list[str], rows: Iterable[list[Any]]) -> None:
    if listed := list(rows):
        out.print()
        print_table(header, listed)


def _scores(row: Mapping[str, Any]) -> str | None:
    if row["best_val"] is None:
        return None
    test = "" if row["best_test"] is None else f", {row['best_test']:.4g} on the test set"
    return f"{row['metric']} {row['best_val']:.4g} of all out-of-fold predictions{test}"


def _names(datasets: Any) -> str:
    listed = datasets if isinstance(datasets, list) else [datasets]
    return ", ".join(str(one.get("name", one) if isinstance(one, dict) else one) for one in listed)


def _utc(when: datetime | None) -> str | None:
    return None if when is None else f"{moment(when)} UTC"


def _took(began: datetime, ended: datetime | None) -> str | None:
    return None if ended is None else f"{(ended - began).total_seconds():.3g} s"
