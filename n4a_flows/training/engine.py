"""Cross-validation, refit and serialisation of one pipeline. Pure: no store, nothing shared, the same result anywhere."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.spectra import Spectra
from n4a_flows.storage.codecs import SerializedArtifact, serialize
from n4a_flows.storage.errors import N4AError
from n4a_flows.storage.probes import Probe
from n4a_flows.training.definition import PlannedPipeline
from n4a_flows.training.metrics import score
from n4a_flows.training.operators import build, label
from n4a_flows.training.options import TrainingOptions
from n4a_flows.training.partition import Partition, folds_of, partition_rows
from n4a_flows.training.results import ChainDraft, FoldPrediction, LogEntry, Scores, TrainedPipeline, Values

FINAL = "fold_final"


class TrainingError(N4AError, RuntimeError):
    """Training gave nothing that can be used."""


@dataclass(frozen=True)
class _Step:
    """A step of the chain: its number (from 1), what it does, and its canonical form."""

    idx: int
    kind: str
    canonical: dict[str, Any]

    @property
    def class_path(self) -> str:
        return str(self.canonical["class"])


@dataclass(frozen=True)
class _Fitted:
    """The steps of a pipeline fitted on some rows, by step number."""

    transformers: dict[int, Any]
    scalers: dict[int, Any]
    model: Any

    def predict(self, X: Values) -> Values:
        for transformer in self.transformers.values():
            X = np.asarray(transformer.transform(X))
        y = np.asarray(self.model.predict(X), dtype=np.float64)
        if y.size != len(X):
            raise TrainingError(f"the model predicts an array of shape {y.shape} for {len(X)} spectra")
        y = y.ravel()
        for scaler in self.scalers.values():
            y = np.asarray(scaler.inverse_transform(y.reshape(-1, 1)), dtype=np.float64).ravel()
        if not np.all(np.isfinite(y)):
            raise TrainingError("the model predicts values that are not finite")
        return y


@dataclass
class _Stopwatch:
    """Where training is, for the error message, and how long each step took, for the log."""

    at: str = "the data"
    seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def step(self, step: _Step, fold: str) -> Iterator[None]:
        self.at = f"step {step.idx} ({label(step.canonical)}), {fold}"
        started = time.perf_counter()
        yield
        self.seconds[step.idx] += time.perf_counter() - started


def train_pipeline(
    planned: PlannedPipeline, spectra: Spectra, target: str, options: TrainingOptions | None = None
) -> TrainedPipeline:
    """Cross-validate a pipeline, refit it on all training rows and turn what was fitted into bytes.

    In each fold a new copy of every step is fitted on the training rows of that fold alone; the test set is predicted by the
    model of each fold and by the refit. Rows without a value of the target are left out.

    Returns
    -------
    TrainedPipeline
        With `error` set when anything failed; nothing is raised, so that other pipelines go on.

    Examples
    --------
    >>> [planned] = expand(["sklearn.cross_decomposition.PLSRegression"])
    >>> trained = train_pipeline(planned, spectra, "fat")
    >>> trained.error is None, len(trained.predictions), sorted(trained.chain.fold_artifacts)[-1]
    (True, 11, 'fold_final')
    """
    options = options or TrainingOptions()
    started = time.perf_counter()
    watch = _Stopwatch()
    trained = TrainedPipeline(
        planned=planned,
        target=target,
        dataset_name=spectra.name,
        dataset_digest=spectra.digest,
        metric=options.metric,
        axis=spectra.axis,
        signal=spectra.signal,
        duration_ms=0,
    )
    try:
        trained = _train(trained, spectra, options, watch)
    # Any class may be a step and raise anything; its failure is this pipeline's result, with the reason.
    except Exception as error:  # noqa: BLE001
        reason = str(error) if isinstance(error, N4AError) else f"{type(error).__name__}: {error}"
        text = f"Failed at {watch.at}: {reason}"
        trained = replace(trained, error=text, log=[LogEntry(0, "", "error", message=text, level="error")])
    return replace(trained, duration_ms=_milliseconds(time.perf_counter() - started))


def _train(trained: TrainedPipeline, spectra: Spectra, options: TrainingOptions, watch: _Stopwatch) -> TrainedPipeline:
    planned = trained.planned
    rows = partition_rows(spectra, trained.target, options)
    steps = _steps(planned)
    X, y = spectra.X, np.asarray(spectra.targets[trained.target], dtype=np.float64)

    fitted: dict[str, _Fitted] = {}
    predictions: list[FoldPrediction] = []
    folds = folds_of(planned, X[rows.train], y[rows.train], options)
    for k, (inside, outside) in enumerate(folds):
        key = f"fold_{k}"
        parts = {"train": rows.train[inside], "val": rows.train[outside], "test": rows.test}
        fitted[key] = _fit(steps, X[parts["train"]], y[parts["train"]], key, options, watch)
        predictions += _predict(fitted[key], X, y, parts, key, recorded=("val", "test"))
    fitted[FINAL] = _fit(steps, X[rows.train], y[rows.train], "the refit", options, watch)
    parts = {"train": rows.train, "test": rows.test}
    final = _predict(fitted[FINAL], X, y, parts, "final", recorded=("test",) if len(rows.test) else ("train",))

    watch.at = "serialisation"
    kept = fitted if options.keep_fold_models else {FINAL: fitted[FINAL]}
    chain, artifacts = _draft(planned, steps, kept)
    probe = _probe(fitted[FINAL], X[rows.train], y[rows.train])
    artifacts[probe.content_hash] = probe
    out_of_fold = [prediction for prediction in predictions if prediction.partition == "val"]
    pooled = score(
        np.concatenate([prediction.y_true for prediction in out_of_fold]),
        np.concatenate([prediction.y_pred for prediction in out_of_fold]),
    )
    return replace(
        trained,
        x_range=(float(X[rows.train].min()), float(X[rows.train].max())),
        left_out=len(rows.left_out),
        n_rows=spectra.n_samples,
        predictions=[*predictions, *final],
        chain=chain,
        artifacts=artifacts,
        probe=probe.content_hash,
        log=_log(trained, rows, len(folds), steps, watch),
        best_val=pooled[options.metric],
        best_test=final[0].scores["test"][options.metric] if len(rows.test) else None,
    )


def _steps(planned: PlannedPipeline) -> list[_Step]:
    """The steps that make the chain; the splitter is none of them."""
    listed = [("transform", step) for step in planned.transformers]
    if planned.y_processing is not None:
        listed.insert(0, ("y_processing", planned.y_processing))
    listed.append(("model", planned.model))
    return [_Step(idx, kind, canonical) for idx, (kind, canonical) in enumerate(listed, 1)]


def _fit(steps: list[_Step], X: Values, y: Values, fold: str, options: TrainingOptions, watch: _Stopwatch) -> _Fitted:
    transformers: dict[int, Any] = {}
    scalers: dict[int, Any] = {}
    model: Any = None
    for step in steps:
        with watch.step(step, fold):
            operator = build(step.canonical, options.modules, f"Step {step.idx}")
            if step.kind == "y_processing":
                y = np.asarray(operator.fit_transform(y.reshape(-1, 1)), dtype=np.float64).ravel()
                scalers[step.idx] = operator
            elif step.kind == "transform":
                X = _fit_transform(operator, X, y)
                transformers[step.idx] = operator
            else:
                model = operator.fit(X, y)
    return _Fitted(transformers, scalers, model)


def _fit_transform(operator: Any, X: Values, y: Values) -> Values:
    # As scikit-learn's Pipeline does it.
    if hasattr(operator, "fit_transform"):
        return np.asarray(operator.fit_transform(X, y))
    return np.asarray(operator.fit(X, y).transform(X))


def _predict(
    fitted: _Fitted,
    X: Values,
    y: Values,
    parts: dict[str, npt.NDArray[np.int64]],
    fold_id: str,
    recorded: tuple[str, ...],
) -> list[FoldPrediction]:
    """Predict every partition that has rows, and keep the predictions of those to be recorded."""
    predicted = {name: fitted.predict(X[rows]) for name, rows in parts.items() if len(rows)}
    scores: Scores = {name: score(y[parts[name]], y_pred) for name, y_pred in predicted.items()}
    return [
        FoldPrediction(fold_id, name, y[parts[name]], predicted[name], parts[name], scores)
        for name in recorded
        if name in predicted
    ]


def _draft(
    planned: PlannedPipeline, steps: list[_Step], fitted: dict[str, _Fitted]
) -> tuple[ChainDraft, dict[str, SerializedArtifact]]:
    """The chain document, with content hashes for artifact ids, and the bytes behind them."""
    artifacts: dict[str, SerializedArtifact] = {}
    documents: list[dict[str, Any]] = []
    shared: dict[str, list[str]] = {}
    folds: dict[str, str] = {}
    for step in steps:
        hashes: dict[str, str] = {}
        for key, pipeline in fitted.items():
            artifact = serialize(_operator(pipeline, step), step.class_path, _ARTIFACT_TYPES[step.kind])
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


_PROBE_SIZE = 3


def _probe(fitted: _Fitted, X: Values, y: Values) -> SerializedArtifact:
    """Training spectra of low, middle and high values, and what the refit predicts for them."""
    order = np.argsort(y, kind="stable")
    rows = np.unique(order[np.linspace(0, len(order) - 1, _PROBE_SIZE).round().astype(int)])
    return Probe(X[rows], fitted.predict(X[rows])).to_artifact()


_ARTIFACT_TYPES = {"transform": "transformer", "y_processing": "y_processing", "model": "model"}


def _operator(fitted: _Fitted, step: _Step) -> Any:
    if step.kind == "model":
        return fitted.model
    return (fitted.scalers if step.kind == "y_processing" else fitted.transformers)[step.idx]


def _log(
    trained: TrainedPipeline, rows: Partition, n_folds: int, steps: list[_Step], watch: _Stopwatch
) -> list[LogEntry]:
    splitter = trained.planned.splitter
    message = f"{len(rows.train)} rows train in {n_folds} folds, {len(rows.test)} are held out"
    if len(rows.left_out):
        message += f", {len(rows.left_out)} are left out: they have no value of {trained.target}"
    details = {
        "target": trained.target,
        "definition_hash": trained.planned.definition_hash,
        "splitter": splitter,
        "train": len(rows.train),
        "test": len(rows.test),
        "left_out": len(rows.left_out),
    }
    return [
        LogEntry(0, splitter["class"], "start", message=message, details=details),
        *(LogEntry(s.idx, s.class_path, "end", duration_ms=_milliseconds(watch.seconds[s.idx])) for s in steps),
    ]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
