"""A recorded training, read back from the workspace for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.monitoring.agreement import Scores, consistency, score
from n4a_flows.reports.leaderboard import LeaderboardRow, rank
from n4a_flows.spectra import Spectra
from n4a_flows.storage import ChainContext, WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError
from n4a_flows.storage.json_values import from_json
from n4a_flows.training import PlannedPipeline, definition_hash
from n4a_flows.training.metrics import DEFAULT_METRIC, higher_is_better, score_classes


@dataclass(frozen=True)
class Recorded:
    """A pipeline of a run.

    Attributes
    ----------
    planned
        Its steps.
    row
        For the leaderboard; its target is empty for a failed pipeline whose target nobody noted.
    """

    pipeline_id: str
    planned: PlannedPipeline
    row: LeaderboardRow


@dataclass(frozen=True)
class RunRecord:
    """A run, as far as it is about one set of spectra.

    Attributes
    ----------
    run
        As `WorkspaceStore.get_run` gives it.
    dataset
        What the run noted of the set.
    targets
        In the order of the training.
    pipelines
        In the order of the definition, target after target.
    """

    run: Mapping[str, Any]
    dataset: Mapping[str, Any]
    targets: list[str]
    pipelines: list[Recorded]

    def ranked(self, target: str) -> list[Recorded]:
        """The pipelines of a target that succeeded, the best first."""
        found = {id(each.row): each for each in self.pipelines if each.row.target == target and each.row.error is None}
        rows = [each.row for each in found.values()]
        metric = rows[0].metric if rows else "rmse"
        return [found[id(row)] for row in rank(rows, higher_is_better=higher_is_better(metric))]

    @property
    def failed(self) -> list[Recorded]:
        """The pipelines that failed."""
        return [each for each in self.pipelines if each.row.error is not None]


@dataclass(frozen=True)
class Predicted:
    """Predictions of one kind: out of fold, or of the test set.

    Attributes
    ----------
    y_true, y_pred
        (n_samples,): numbers in the unit of the target, or labels.
    rows
        Rows of the dataset, int64 (n_samples,).
    scores
        Every score of these predictions together.
    """

    y_true: npt.NDArray[Any]
    y_pred: npt.NDArray[Any]
    rows: npt.NDArray[np.int64]
    scores: Scores


@dataclass(frozen=True)
class BestChain:
    """All that is known of the best pipeline of a target.

    Attributes
    ----------
    training
        Scores of the refit on the rows that it was fitted on.
    noted
        What the training noted of the rows: train, test, left_out, unused, splitter. Empty when it noted nothing.
    """

    recorded: Recorded
    context: ChainContext
    validated: Predicted
    test: Predicted | None
    training: Scores
    noted: Mapping[str, Any]

    @property
    def classes(self) -> bool:
        """Whether it predicts classes."""
        return self.context.task_type == "classification"


def read_run(store: WorkspaceStore, run_id: str, spectra: Spectra) -> RunRecord:
    """A run with those of its pipelines that were trained on these spectra.

    Raises
    ------
    UnknownIdError
        When there is no such run.
    InvalidInputError
        When it trained nothing on these spectra.
    """
    run = store.get_run(run_id)
    if run is None:
        raise UnknownIdError(f"No run has the id {run_id!r} in this workspace.")
    listed = store.list_pipelines(run_id=run_id)
    rows = [row for row in listed.reverse().iter_rows(named=True) if row["dataset_hash"] == spectra.digest]
    if not rows:
        raise InvalidInputError(
            f"The run {run['name']!r} trained nothing on these spectra ({spectra.name!r}): give a report the spectra of its "
            "run, with the same targets, metadata and signal."
        )
    config, datasets = run["config"] or {}, run["datasets"] or []
    chains = dict(store.query_chain_summaries(run_id=run_id).select("pipeline_id", "chain_id").iter_rows())
    named = [str(target) for target in config.get("targets") or ()]
    pipelines = [_recorded(store, row, chains.get(row["pipeline_id"]), named) for row in rows]
    metric = next((each.row.metric for each in pipelines if each.row.error is None), "")
    return RunRecord(
        run,
        next((each for each in datasets if isinstance(each, Mapping) and each.get("digest") == spectra.digest), {}),
        named or list(dict.fromkeys(each.row.target for each in pipelines if each.row.target)),
        [each for each in pipelines if each.row.metric == metric or each.row.error is not None],
    )


def read_best(store: WorkspaceStore, recorded: Recorded) -> BestChain:
    """The chain of a pipeline with its predictions and scores.

    Raises
    ------
    InvalidInputError
        When its out-of-fold predictions are not recorded.
    """
    chain_id = str(recorded.row.chain_id)
    context = store.get_chain_context(chain_id)
    classes = context.task_type == "classification"
    rows = list(store.get_chain_predictions(chain_id).iter_rows(named=True))
    final = [row for row in rows if row["fold_id"] == "final"]
    by_part: dict[str, Scores] = (from_json(final[0]["scores"]) or {}) if final else {}
    validated = _predicted(store, [row for row in rows if row["partition"] == "val"], classes)
    if validated is None:
        raise InvalidInputError(f"No out-of-fold predictions are recorded of the pipeline {recorded.row.name!r}.")
    test = _predicted(store, [row for row in final if row["partition"] == "test"], classes)
    training = by_part.get("train", {})
    if not classes:
        for part in filter(None, (validated, test)):
            part.scores["consistency"] = consistency(training.get("sep"), part.scores["sep"])
    return BestChain(recorded, context, validated, test, training, _noted(store, recorded.pipeline_id))


def _recorded(store: WorkspaceStore, row: Mapping[str, Any], chain_id: str | None, targets: Sequence[str]) -> Recorded:
    steps = from_json(row["expanded_config"])
    if len(targets) == 1:
        target = targets[0]
    elif chain_id is not None:
        target = store.get_chain_context(chain_id).target or ""
    else:
        target = str(_noted(store, row["pipeline_id"]).get("target", ""))
    error = row["error"] or "It did not end." if row["status"] != "completed" else None
    return Recorded(
        row["pipeline_id"],
        PlannedPipeline(row["name"], steps, from_json(row["generator_choices"]) or [], definition_hash(steps)),
        LeaderboardRow(
            row["name"], target, row["metric"] or DEFAULT_METRIC["regression"], row["best_val"], row["best_test"],
            chain_id, error,
        ),
    )  # fmt: skip


def _noted(store: WorkspaceStore, pipeline_id: str) -> Mapping[str, Any]:
    """The details of the pipeline as a whole in its log."""
    for entry in store.get_pipeline_log(pipeline_id).iter_rows(named=True):
        if entry["step_idx"] == 0 and entry["details"] is not None:
            details: Mapping[str, Any] = from_json(entry["details"])
            return details
    return {}


def _predicted(store: WorkspaceStore, rows: Sequence[Mapping[str, Any]], classes: bool) -> Predicted | None:
    """Predictions of several folds together; None when there are none."""
    found = [store.get_prediction_arrays(row["prediction_id"]) for row in rows]
    arrays = [each for each in found if each is not None]
    if not arrays:
        return None

    def together(name: str) -> npt.NDArray[Any] | None:
        parts = [each[name] for each in arrays]
        return None if any(part is None for part in parts) else np.concatenate([p for p in parts if p is not None])

    y_true, y_pred, indices = together("y_true"), together("y_pred"), together("sample_indices")
    if y_true is None or y_pred is None or indices is None:
        return None
    if not classes:
        return Predicted(y_true, y_pred, indices, score(y_true, y_pred))
    y_true, y_pred = y_true.astype(str), y_pred.astype(str)
    columns = {each["y_proba"].shape[1:] for each in arrays if each["y_proba"] is not None}
    names = sorted(set(y_true.tolist()))
    proba = together("y_proba") if columns == {(len(names),)} else None
    return Predicted(y_true, y_pred, indices, score_classes(y_true, y_pred, proba, names))
