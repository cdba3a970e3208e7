"""Cross-validation, refit and serialisation of pipelines. Pure: no store, nothing shared, the same result anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.monitoring.agreement import Measured, Scores, consistency, score
from n4a_flows.monitoring.calibration import HeldOut
from n4a_flows.spectra import Spectra
from n4a_flows.storage.codecs import SerializedArtifact
from n4a_flows.storage.errors import N4AError
from n4a_flows.storage.json_values import canonical_json
from n4a_flows.storage.probes import Probe
from n4a_flows.training.definition import PlannedPipeline
from n4a_flows.training.fitting import Fitted, Rows, SharedFits, Step, StepFailedError, TrainingError, steps_of
from n4a_flows.training.judging import RawLooks, held_out, limits_of
from n4a_flows.training.metrics import score_classes
from n4a_flows.training.operators import label
from n4a_flows.training.options import TrainingOptions
from n4a_flows.training.partition import Partition, folds_of, partition_rows, target_values
from n4a_flows.training.results import ChainDraft, FoldPrediction, Labels, LogEntry, TrainedPipeline, Values

FINAL = "fold_final"
_PROBE_SIZE = 3

Work = tuple[PlannedPipeline, str]
"""A pipeline and the target it is trained for."""


def train_pipeline(
    planned: PlannedPipeline, spectra: Spectra, target: str, options: TrainingOptions | None = None
) -> TrainedPipeline:
    """Cross-validate a pipeline, refit it on all training rows and turn what was fitted into bytes.

    In each fold a new copy of every step is fitted on the training rows of that fold alone; the test set is predicted by the
    model of each fold and by the refit. Rows without a value of the target are left out.

    Returns
    -------
    TrainedPipeline
        With `error` set when anything failed, or there is no score to rank it by; nothing is raised, so that other pipelines go on.

    Examples
    --------
    >>> [planned] = expand(["sklearn.cross_decomposition.PLSRegression"])
    >>> trained = train_pipeline(planned, spectra, "fat")
    >>> trained.error is None, len(trained.predictions), sorted(trained.chain.fold_artifacts)[-1]
    (True, 11, 'fold_final')
    """
    return train_pipelines([(planned, target)], spectra, options)[0]


def train_pipelines(
    work: Sequence[Work], spectra: Spectra, options: TrainingOptions | None = None
) -> list[TrainedPipeline]:
    """Train pipelines as `train_pipeline` does, and do once what they share.

    The steps that pipelines begin with alike are fitted once a fold, and PLS models that differ in nothing but their number of
    components are cut from one fit. What is recorded and predicted is the same, bit by bit, as if each were trained alone.

    Returns
    -------
    list of TrainedPipeline
        In the order of the work.

    Examples
    --------
    >>> pls = {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": {"_range_": [1, 9]}}}
    >>> trained = train_pipelines([(planned, "fat") for planned in expand([{"model": pls}])], spectra)
    >>> min(trained, key=lambda one: one.best_val).planned.name
    'PLSRegression(n_components=9)'
    """
    options = options or TrainingOptions()
    alike: dict[str, list[int]] = {}
    for number, (planned, target) in enumerate(work):
        alike.setdefault(canonical_json([target, planned.task, planned.splitter]), []).append(number)
    trained: dict[int, TrainedPipeline] = {}
    for numbers in alike.values():
        group = {number: work[number][0] for number in numbers}
        trained |= _train(group, spectra, work[numbers[0]][1], options)
    return [trained[number] for number in range(len(work))]


@dataclass
class _Folds:
    """What training one pipeline has given so far."""

    fitted: dict[str, Fitted] = field(default_factory=dict)
    predictions: list[FoldPrediction] = field(default_factory=list)
    held_out: list[HeldOut] = field(default_factory=list)
    error: str | None = None


def _train(
    group: Mapping[int, PlannedPipeline], spectra: Spectra, target: str, options: TrainingOptions
) -> dict[int, TrainedPipeline]:
    """Train pipelines for one target that have the same splitter."""
    first = next(iter(group.values()))
    results = {number: _Folds() for number in group}
    blank = TrainedPipeline(
        planned=first,
        target=target,
        dataset_name=spectra.name,
        dataset_digest=spectra.digest,
        metric=options.metric_for(first.task),
        axis=spectra.axis,
        signal=spectra.signal,
        duration_ms=0,
        unit=options.units.get(target),
    )
    try:
        rows = partition_rows(spectra, target, options, first.task)
        y = target_values(spectra, target, first.task)
        folds = _folds(first, spectra, target, rows, y, options)
    # Any class may be a splitter and raise anything.
    except Exception as error:  # noqa: BLE001
        reason = str(error) if isinstance(error, N4AError) else f"{type(error).__name__}: {error}"
        return {
            number: _failed(replace(blank, planned=one), f"Failed at the data: {reason}")
            for number, one in group.items()
        }
    raw = RawLooks()
    for key, parts in folds.items():
        alive = {number: planned for number, planned in group.items() if results[number].error is None}
        name = "the refit" if key == FINAL else key
        held = Rows(
            name,
            spectra.X[parts["train"]],
            y[parts["train"]],
            {n: spectra.X[r] for n, r in parts.items() if n != "train"},
        )
        fits = SharedFits(
            held,
            spectra.axis.values,
            options.modules,
            classify=first.task == "classification",
            keep=options.keep_fold_models or key == FINAL,
        )
        measured = {} if fits.classify else {part: Measured(y[rows]) for part, rows in parts.items()}
        look = raw.of(held)
        for number, outcome in fits.fit(alive):
            if isinstance(outcome, StepFailedError):
                results[number].error = str(outcome)
            else:
                results[number].fitted[key] = outcome
                results[number].predictions += _predictions(outcome, y, parts, key, measured)
                if look is not None:
                    results[number].held_out += held_out(outcome, look, held, y[parts["val"]], fits.classify)
    return {
        number: _trained(replace(blank, planned=planned), results[number], spectra, rows, folds, options, raw)
        for number, planned in group.items()
    }


def _folds(
    planned: PlannedPipeline, spectra: Spectra, target: str, rows: Partition, y: Labels, options: TrainingOptions
) -> dict[str, dict[str, npt.NDArray[np.int64]]]:
    """Rows of the dataset by fold and part; the refit comes last, with the rows of the probe."""
    train = rows.train
    folds = {
        f"fold_{k}": {"train": train[inside], "val": train[outside], "test": rows.test}
        for k, (inside, outside) in enumerate(folds_of(planned, spectra, target, train, options))
    }
    # Spectra of low, middle and high values, or of different classes.
    order = train[np.argsort(y[train], kind="stable")]
    probe = np.unique(order[np.linspace(0, len(order) - 1, _PROBE_SIZE).round().astype(int)])
    return {**folds, FINAL: {"train": train, "test": rows.test, "probe": probe}}


def _predictions(
    fitted: Fitted,
    y: Labels,
    parts: Mapping[str, npt.NDArray[np.int64]],
    key: str,
    measured: Mapping[str, Measured],
) -> list[FoldPrediction]:
    """What is recorded of one fold: its validation and test rows; of the refit, its test or else its training rows.

    `measured` holds the laboratory values of each part, and nothing for classes.
    """
    scores: dict[str, Scores] = {}
    for name, predicted in fitted.predicted.items():
        if name != "probe":
            scores[name] = (
                measured[name].score(predicted)
                if measured
                else score_classes(y[parts[name]], predicted, fitted.probabilities.get(name), fitted.classes)
            )
    if measured:
        for name in scores.keys() - {"train"}:
            scores[name]["consistency"] = consistency(scores["train"]["sep"], scores[name]["sep"])
    recorded = ("val", "test") if key != FINAL else ("test",) if "test" in scores else ("train",)
    return [
        FoldPrediction(
            "final" if key == FINAL else key,
            name,
            y[parts[name]],
            fitted.predicted[name],
            parts[name],
            scores,
            fitted.probabilities.get(name),
            tuple(fitted.classes),
        )
        for name in recorded
        if name in fitted.predicted
    ]


def _trained(
    blank: TrainedPipeline,
    result: _Folds,
    spectra: Spectra,
    rows: Partition,
    folds: Mapping[str, Mapping[str, npt.NDArray[np.int64]]],
    options: TrainingOptions,
    raw: RawLooks,
) -> TrainedPipeline:
    """A pipeline with its predictions, chain and artifacts, or with its error."""
    seconds = sum(one.seconds for fitted in result.fitted.values() for one in fitted.steps)
    blank = replace(
        blank,
        duration_ms=_milliseconds(seconds),
        left_out=len(rows.left_out),
        unused=len(rows.unused),
        n_rows=spectra.n_samples,
    )
    if result.error is not None:
        return _failed(blank, result.error)
    classify = blank.planned.task == "classification"
    out_of_fold = [one for one in result.predictions if one.partition == "val"]
    pooled = _pooled(out_of_fold, classify)
    if pooled[blank.metric] is None:
        return _failed(blank, _undecided(blank, out_of_fold))
    steps = steps_of(blank.planned)
    kept = result.fitted if options.keep_fold_models else {FINAL: result.fitted[FINAL]}
    chain, artifacts = _draft(blank.planned, steps, kept)
    probe_rows = folds[FINAL]["probe"]
    probe = Probe(spectra.X[probe_rows], result.fitted[FINAL].predicted["probe"]).to_artifact()
    artifacts[probe.content_hash] = probe
    limits = limits_of(
        result.held_out,
        len(folds) - 1,
        result.fitted[FINAL],
        raw,
        spectra.targets[blank.target][rows.train],
        classify,
    )
    if limits is not None:
        artifacts[limits.content_hash] = limits
    refit = result.predictions[-1]
    return replace(
        blank,
        x_range=(float(spectra.X[rows.train].min()), float(spectra.X[rows.train].max())),
        predictions=result.predictions,
        chain=chain,
        artifacts=artifacts,
        probe=probe.content_hash,
        limits=None if limits is None else limits.content_hash,
        log=_log(blank, rows, len(folds) - 1, steps, result),
        pooled=pooled,
        best_val=pooled[blank.metric],
        best_test=refit.scores["test"][blank.metric] if refit.partition == "test" else None,
    )


def _failed(blank: TrainedPipeline, error: str) -> TrainedPipeline:
    entry = LogEntry(0, "", "error", message=error, details={"target": blank.target}, level="error")
    return replace(blank, error=error, log=[entry])


def _undecided(blank: TrainedPipeline, out_of_fold: Sequence[FoldPrediction]) -> str:
    """Why a pipeline has no score to be ranked by, and what can be done."""
    if blank.planned.task == "regression":
        why = "the laboratory values are all the same, or too few. Decide by a metric that every prediction has, such as rmse."
    else:
        other = "or decide by a metric that needs labels only, such as balanced_accuracy."
        if any(one.y_proba is None for one in out_of_fold):
            why = f"it gives no probabilities. End with a classifier that has predict_proba, {other}"
        else:
            why = f"a class is missing in a fold. Leave rare classes out or make fewer folds, {other}"
    return f"{label(blank.planned.model)} has no {blank.metric} of its out-of-fold predictions: {why}"


def _pooled(out_of_fold: Sequence[FoldPrediction], classify: bool) -> Scores:
    """Scores of all out-of-fold predictions together."""
    y_true = np.concatenate([one.y_true for one in out_of_fold])
    y_pred = np.concatenate([one.y_pred for one in out_of_fold])
    if not classify:
        return score(y_true, y_pred)
    classes = out_of_fold[0].classes
    proba: Values | None = None
    if all(one.y_proba is not None and one.classes == classes for one in out_of_fold):
        proba = np.concatenate([one.y_proba for one in out_of_fold if one.y_proba is not None])
    return score_classes(y_true, y_pred, proba, classes)


def _draft(
    planned: PlannedPipeline, steps: list[Step], fitted: Mapping[str, Fitted]
) -> tuple[ChainDraft, dict[str, SerializedArtifact]]:
    """The chain document, with content hashes for artifact ids, and the bytes behind them."""
    artifacts: dict[str, SerializedArtifact] = {}
    documents: list[dict[str, Any]] = []
    shared: dict[str, list[str]] = {}
    folds: dict[str, str] = {}
    for place, step in enumerate(steps):
        hashes: dict[str, str] = {}
        for key, pipeline in fitted.items():
            artifact = pipeline.steps[place].artifact
            assert artifact is not None, "only folds that are kept are drafted"
            artifacts[artifact.content_hash] = artifact
            hashes[key] = artifact.content_hash
        document: dict[str, Any] = {
            "step_idx": step.idx,
            "operator_class": step.class_path,
            "operator_type": step.kind,
            "params": step.canonical["params"],
            "artifact_ids": [],
            "fold_artifact_ids": {},
            "stateless": False,
        }
        if step.kind == "model":
            folds = hashes
        elif len(set(hashes.values())) == 1:
            # Nothing to learn (SNV, a derivative): the same object in every fold.
            document["artifact_ids"] = [hashes[FINAL]]
            shared[str(step.idx)] = [hashes[FINAL]]
        else:
            document["fold_artifact_ids"] = hashes
        documents.append(document)
    model = steps[-1]
    return ChainDraft(documents, model.idx, model.class_path, planned.preprocessings, folds, shared), artifacts


def _log(blank: TrainedPipeline, rows: Partition, n_folds: int, steps: list[Step], result: _Folds) -> list[LogEntry]:
    splitter = blank.planned.splitter
    message = f"{len(rows.train)} rows train in {n_folds} folds, {len(rows.test)} are held out"
    if len(rows.left_out):
        message += f", {len(rows.left_out)} are left out: they have no value of {blank.target}"
    if len(rows.unused):
        message += f", {len(rows.unused)} are marked for neither"
    details = {
        "target": blank.target,
        "definition_hash": blank.planned.definition_hash,
        "splitter": splitter,
        "train": len(rows.train),
        "test": len(rows.test),
        "left_out": len(rows.left_out),
        "unused": len(rows.unused),
    }
    spent = [sum(fitted.steps[place].seconds for fitted in result.fitted.values()) for place in range(len(steps))]
    return [
        LogEntry(0, splitter["class"], "start", message=message, details=details),
        *(
            LogEntry(s.idx, s.class_path, "end", duration_ms=_milliseconds(t))
            for s, t in zip(steps, spent, strict=True)
        ),
    ]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


__all__ = ["FINAL", "TrainingError", "Work", "train_pipeline", "train_pipelines"]
