"""Every answer of a store, compared with what the model says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from inside import artifact_files, opened
from plain_model import Model, X

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import UnknownIdError

ROWS: dict[str, Callable[[Model], int]] = {
    "run_origins": lambda model: len(model.runs),
    "chain_context": lambda model: len(model.chains),
    "prediction_arrays": lambda model: sum(row.arrays is not None for row in model.predictions.values()),
    "logs": lambda model: len(model.logs),
    "artifact_saves": lambda model: len(model.artifacts),
    "aliases": lambda model: sum(map(len, model.aliases.values())),
}
"""How many rows a table must have."""


def same(answer: Any, expected: Any, what: str) -> None:
    """The store's answer is the model's."""
    if answer != expected:
        raise AssertionError(f"{what}: the store says {answer!r}, the model says {expected!r}")


def compare(store: WorkspaceStore, model: Model) -> None:
    """Every query that answers for the whole workspace, every prediction, and what every chain predicts."""
    found = store.list_runs().select("run_id", "name", "status", "error").rows()
    wanted = [(key, row["name"], row["status"], row["error"]) for key, row in reversed(model.runs.items())]
    same(found, wanted, "list_runs")
    found = store.list_pipelines().select("pipeline_id", "status", "best_val", "error").rows()
    wanted = [(key, row["status"], row["best_val"], row["error"]) for key, row in reversed(model.pipelines.items())]
    same(found, wanted, "list_pipelines")
    _compare_chains(store, model)
    _compare_predictions(store, model)


def compare_one_by_one(store: WorkspaceStore, model: Model) -> None:
    """Every query that answers for one run, pipeline, alias or artifact."""
    for run_id, run in model.runs.items():
        row = store.get_run(run_id) or {}
        same((row["summary"], row["datasets"]), (run["summary"], [run["name"]]), "get_run")
        of_run = model.pipelines_of(run_id)
        same(store.list_pipelines(run_id=run_id)["pipeline_id"].to_list(), of_run[::-1], "list_pipelines of a run")
        lines = {key: [line for line in model.logs if line["pipeline_id"] == key] for key in of_run}
        counts = [(key, len(own), sum(line["level"] == "warning" for line in own)) for key, own in lines.items()]
        summary = store.get_run_log_summary(run_id).select("pipeline_id", "log_count", "warning_count").rows()
        same(summary, counts, "get_run_log_summary")
        for pipeline_id, own in lines.items():
            found = store.get_chains_for_pipeline(pipeline_id)["chain_id"].to_list()
            same(found, model.chains_of([pipeline_id]), "get_chains_for_pipeline")
            log = store.get_pipeline_log(pipeline_id).select("step_idx", "event").rows()
            wanted = sorted(((line["step_idx"], line["event"]) for line in own), key=lambda line: line[0])
            same(log, wanted, "get_pipeline_log")
    for chain_id, chain in model.chains.items():
        same((store.get_chain(chain_id) or {})["fold_artifacts"], chain.folds, "get_chain")
    for name, history in model.aliases.items():
        same(store.get_alias(name), history[0] if name in model.current else None, "get_alias")
        same(store.alias_history(name)["chain_id"].to_list(), history, "alias_history")
    for artifact_id, artifact in model.artifacts.items():
        same(store.load_artifact(artifact_id), artifact.obj, "load_artifact")


def _compare_chains(store: WorkspaceStore, model: Model) -> None:
    found = store.query_chain_summaries().select("chain_id", "pipeline_id", "cv_val_score", "cv_fold_count").rows()
    wanted = [
        (key, chain.pipeline, pytest.approx(chain.summary[0]), chain.summary[1])
        for key, chain in reversed(model.chains.items())
    ]
    same(found, wanted, "query_chain_summaries")
    for chain_id in model.chains:
        np.testing.assert_allclose(store.replay_chain(chain_id, X), model.predicted(chain_id), err_msg="replay_chain")
    now = {name: model.aliases[name][0] for name in model.current}
    same(dict(store.list_aliases().select("alias", "chain_id").rows()), now, "list_aliases")
    try:
        best = store.best_chain("tecator")
    except UnknownIdError:
        best = None
    same(best, model.best_chain(), "best_chain")


def _compare_predictions(store: WorkspaceStore, model: Model) -> None:
    found = store.query_predictions().select("prediction_id", "pipeline_id", "chain_id", "val_score").rows()
    wanted = [(key, row.pipeline, row.chain, row.score) for key, row in reversed(model.predictions.items())]
    same(found, wanted, "query_predictions")
    same(store.top_predictions(100)["val_score"].to_list(), model.top(), "top_predictions")
    for prediction_id, row in model.predictions.items():
        answer = store.get_prediction(prediction_id, load_arrays=True) or {}
        for name, values in (row.arrays or dict.fromkeys(["y_true", "y_pred", "y_proba"])).items():
            if values is None:
                same(answer[name] is None, True, f"{name} is missing")
            else:
                np.testing.assert_array_equal(answer[name], values)


def compare_inside(store: WorkspaceStore, model: Model) -> None:
    """What queries do not show: files, references, and rows that nothing should have left behind."""
    with opened(store.workspace_path) as connection:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            return connection.execute(sql).fetchall()

        artifacts = rows("SELECT artifact_id, ref_count, artifact_path FROM artifacts")
        edges = rows("SELECT artifact_id, sum(count)::INTEGER FROM chain_artifacts GROUP BY artifact_id")
        held = {table: rows(f"SELECT count(*) FROM {table}")[0][0] for table in ROWS}
    references = {key: artifact.refs for key, artifact in model.artifacts.items()}
    same({key: count for key, count, _ in artifacts}, references, "ref_count")
    same({path for *_, path in artifacts} - artifact_files(store.workspace_path), set(), "rows without a file")
    same(Counter(dict(edges)), model.edges(), "chain_artifacts")
    same(held, {table: count(model) for table, count in ROWS.items()}, "rows")
