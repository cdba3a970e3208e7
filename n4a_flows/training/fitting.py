"""Fitting many pipelines on the same rows without doing the same work twice.

Pipelines of one fold that begin with the same steps share them fitted. They are gone through in the order of their steps, so only
the steps of one pipeline are held at a time. Models that differ in nothing but the number of PLS components share one fit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import is_regressor
from sklearn.preprocessing import LabelBinarizer

from n4a_flows.monitoring.spaces import Place, ScoreSpace, has_scores
from n4a_flows.storage.codecs import SerializedArtifact, serialize
from n4a_flows.storage.errors import N4AError
from n4a_flows.storage.json_values import canonical_json
from n4a_flows.storage.predictor import Transformer, wants_wavelengths
from n4a_flows.training import pls_sweep
from n4a_flows.training.definition import PlannedPipeline
from n4a_flows.training.operators import Canonical, build, label
from n4a_flows.training.results import Values

Labels = npt.NDArray[Any]


class TrainingError(N4AError, RuntimeError):
    """Training gave nothing that can be used."""


class StepFailedError(Exception):
    """A step of one pipeline could not be fitted; its text says which step, where and why."""


@dataclass(frozen=True)
class Step:
    """A step of a chain: its number (from 1), what it does, and its canonical form."""

    idx: int
    kind: str
    canonical: Canonical

    @property
    def class_path(self) -> str:
        """The path of its class."""
        return str(self.canonical["class"])

    @property
    def key(self) -> str:
        """The same for the same step of another pipeline."""
        return f"{self.kind} {canonical_json(self.canonical)}"

    def __str__(self) -> str:
        return f"step {self.idx} ({label(self.canonical)})"


def steps_of(planned: PlannedPipeline) -> list[Step]:
    """The steps that make the chain; the splitter is none of them."""
    listed = [("transform", step) for step in planned.transformers]
    if planned.y_processing is not None:
        listed.insert(0, ("y_processing", planned.y_processing))
    listed.append(("model", planned.model))
    return [Step(idx, kind, canonical) for idx, (kind, canonical) in enumerate(listed, 1)]


@dataclass(frozen=True)
class Rows:
    """The rows of one fold: those to fit on, and parts to predict.

    Attributes
    ----------
    name
        For messages: `fold_0`, `the refit`.
    X, y
        Spectra and values to fit on.
    parts
        Spectra to predict, by name of the part.
    """

    name: str
    X: Values
    y: Labels
    parts: dict[str, Values]


@dataclass(frozen=True)
class FittedStep:
    """A fitted step as bytes (None where they are not kept), and how long it took in seconds: 0 where another pipeline did it."""

    step: Step
    artifact: SerializedArtifact | None
    seconds: float


@dataclass(frozen=True)
class Fitted:
    """A pipeline fitted on some rows.

    Attributes
    ----------
    steps
        In the order of the chain, the model last.
    predicted
        Predictions by name of the part, `train` for the rows it was fitted on; labels, or numbers in the unit of the target.
    probabilities
        (n_samples, n_classes) by name of the part, in the order of `classes`; empty for a regression, and where a classifier gives
        none.
    space
        Where spectra lie as they enter the model; None where they are no finite rows of features.
    place
        Where those of the part `val` lie in it; None without that part.
    """

    steps: list[FittedStep]
    predicted: dict[str, Labels]
    probabilities: dict[str, Values]
    classes: list[str]
    space: ScoreSpace | None = None
    place: Place | None = None


@dataclass
class _Level:
    """The data after some steps, and the step that led here."""

    X: Values
    y: Labels
    parts: dict[str, Values]
    scalers: tuple[Any, ...] = ()
    step: Step | None = None
    artifact: SerializedArtifact | None = None
    seconds: float = 0.0
    error: str | None = None
    finite: bool | None = None
    components: ScoreSpace | None = None


@dataclass
class SharedFits:
    """Fits pipelines on the rows of one fold.

    Parameters
    ----------
    wavelengths
        Positions of the points, for operators that take them; the same way as in replay.
    modules
        Modules whose classes may be built.
    classify
        Whether the values to learn are labels.
    keep
        Whether the fitted steps are wanted as bytes; else only what they predict.
    """

    rows: Rows
    wavelengths: Values
    modules: tuple[str, ...]
    classify: bool
    keep: bool = True
    _levels: list[_Level] = field(default_factory=list)

    def fit(self, pipelines: dict[int, PlannedPipeline]) -> Iterator[tuple[int, Fitted | StepFailedError]]:
        """Fit pipelines, given by number; each comes back once, with what was fitted or why it failed."""
        planned = [(number, steps_of(pipeline)) for number, pipeline in pipelines.items()]
        planned.sort(key=lambda item: ([step.key for step in item[1][:-1]], _sweep_key(item[1][-1]), item[0]))
        for _, group in groupby(planned, key=lambda item: ([s.key for s in item[1][:-1]], _sweep_key(item[1][-1]))):
            yield from self._fit_together(list(group))

    def _fit_together(self, group: list[tuple[int, list[Step]]]) -> Iterator[tuple[int, Fitted | StepFailedError]]:
        level, held, shared = self._treated(group[0][1][:-1])
        if level.error is not None:
            for number, _ in group:
                yield number, StepFailedError(level.error)
            return
        cut = self._cut(level, [steps[-1] for _, steps in group])
        for position, (number, steps) in enumerate(group):
            model_step = steps[-1]
            began = time.perf_counter()
            try:
                model = cut.get(model_step.key) or self._model(level, model_step)
                predict = model.predict if model_step.key not in cut else partial(pls_sweep.predict, model)
                predicted, probabilities, classes = self._predictions(level, model, predict)
                artifact = self._bytes(model, model_step)
            # Any class may be a step and raise anything; its failure is this pipeline's result, with the reason.
            except Exception as error:  # noqa: BLE001
                yield number, StepFailedError(self._said(model_step, error))
                continue
            fitted = FittedStep(model_step, artifact, time.perf_counter() - began)
            # Who comes first did the work of all.
            before = [one if position == 0 and not shared[i] else _again(one) for i, one in enumerate(held)]
            renumbered = [FittedStep(s, one.artifact, one.seconds) for s, one in zip(steps, before, strict=False)]
            space = self._space(level, model)
            unseen = level.parts.get("val")
            place = None if space is None or unseen is None or not len(unseen) else space.place(unseen)
            yield number, Fitted([*renumbered, fitted], predicted, probabilities, classes, space, place)

    def _space(self, level: _Level, model: Any) -> ScoreSpace | None:
        """Where spectra lie as they enter the model: in its scores, or in principal components, which all models here share."""
        if level.finite is None:
            parts = (level.X, *level.parts.values())
            level.finite = level.X.ndim == 2 and all(bool(np.isfinite(part).all()) for part in parts)
        if not level.finite:
            return None
        if has_scores(model):
            return ScoreSpace.fit(level.X, model)
        if level.components is None:
            level.components = ScoreSpace.fit(level.X)
        return level.components

    def _treated(self, steps: Sequence[Step]) -> tuple[_Level, list[FittedStep], list[bool]]:
        """The data after these steps, the steps fitted, and which of them another pipeline had fitted already."""
        if not self._levels:
            self._levels.append(_Level(self.rows.X, self.rows.y, self.rows.parts))
        common = 0
        while common < min(len(steps), len(self._levels) - 1):
            known = self._levels[common + 1].step
            if known is None or known.key != steps[common].key:
                break
            common += 1
        del self._levels[common + 1 :]
        for step in steps[common:]:
            self._levels.append(self._next(self._levels[-1], step))
        held = [
            FittedStep(level.step, level.artifact, level.seconds)
            for level in self._levels[1:]
            if level.step is not None
        ]
        return self._levels[-1], held, [i < common for i in range(len(held))]

    def _next(self, level: _Level, step: Step) -> _Level:
        if level.error is not None:
            return _Level(level.X, level.y, level.parts, step=step, error=level.error)
        began = time.perf_counter()
        try:
            operator = build(step.canonical, self.modules, f"Step {step.idx}")
            if step.kind == "y_processing":
                y = np.asarray(operator.fit_transform(level.y.reshape(-1, 1).copy()), dtype=np.float64).ravel()
                X, parts, scalers = level.X, level.parts, (*level.scalers, operator)
            else:
                X, parts = self._transformed(operator, level, step)
                y, scalers = level.y, level.scalers
            artifact = self._bytes(operator, step)
        except Exception as error:  # noqa: BLE001 - as above
            return _Level(level.X, level.y, level.parts, step=step, error=self._said(step, error))
        return _Level(X, y, parts, scalers, step, artifact, time.perf_counter() - began)

    def _transformed(self, operator: Any, level: _Level, step: Step) -> tuple[Values, dict[str, Values]]:
        y: Any = level.y
        if self.classify and is_regressor(operator):
            # PLS in front of a classifier learns from class membership, a column for each class.
            y = np.asarray(LabelBinarizer().fit_transform(y), dtype=np.float64)
        wants = wants_wavelengths(operator)
        transformer = Transformer(operator, wants, str(step))
        # Copies, for an operator may work in place, and others go on from the same data.
        if wants == "no" and hasattr(operator, "fit_transform") and not is_regressor(operator):
            # As scikit-learn's Pipeline does it.
            X = np.asarray(operator.fit_transform(level.X.copy(), y))
        else:
            operator.fit(level.X.copy(), y)
            X = transformer.apply(level.X.copy(), self.wavelengths)
        parts = {
            name: transformer.apply(part.copy(), self.wavelengths) for name, part in level.parts.items() if len(part)
        }
        return X, parts

    def _cut(self, level: _Level, models: list[Step]) -> dict[str, Any]:
        """The models by their key, where they are one PLS in several sizes."""
        if len(models) < 2 or _sweep_key(models[0]) == models[0].key:
            return {}
        sizes = {model.key: model.canonical["params"].get("n_components", 2) for model in models}
        if not all(isinstance(size, int) and size > 0 for size in sizes.values()):
            return {}
        largest = max(models, key=lambda model: sizes[model.key])
        operator = build(largest.canonical, self.modules, f"Step {largest.idx}")
        fitted = pls_sweep.fit_largest(operator, level.X.copy(), level.y.copy())
        if fitted is None:
            return {}
        by_size = pls_sweep.cut(fitted, set(sizes.values()))
        return {key: by_size[size] for key, size in sizes.items()}

    def _model(self, level: _Level, step: Step) -> Any:
        model = build(step.canonical, self.modules, f"Step {step.idx}")
        return model.fit(level.X.copy(), level.y.copy())

    def _predictions(
        self, level: _Level, model: Any, predict: Callable[[Values], Any]
    ) -> tuple[dict[str, Labels], dict[str, Values], list[str]]:
        predicted: dict[str, Labels] = {}
        probabilities: dict[str, Values] = {}
        for name, part in {"train": level.X, **level.parts}.items():
            if not len(part):
                continue
            y = np.asarray(predict(part.copy()))
            if y.size != len(part):
                raise TrainingError(f"the model predicts an array of shape {y.shape} for {len(part)} spectra")
            y = y.ravel()
            if self.classify:
                if hasattr(model, "predict_proba"):
                    probabilities[name] = np.asarray(model.predict_proba(part.copy()), dtype=np.float64)
            else:
                y = y.astype(np.float64)
                for scaler in level.scalers:
                    y = np.asarray(scaler.inverse_transform(y.reshape(-1, 1)), dtype=np.float64).ravel()
                if not np.all(np.isfinite(y)):
                    raise TrainingError("the model predicts numbers that are not finite")
            predicted[name] = y
        return predicted, probabilities, [str(name) for name in getattr(model, "classes_", ())]

    def _bytes(self, operator: Any, step: Step) -> SerializedArtifact | None:
        return serialize(operator, step.class_path, _ARTIFACT_TYPES[step.kind]) if self.keep else None

    def _said(self, step: Step, error: Exception) -> str:
        reason = str(error) if isinstance(error, N4AError) else f"{type(error).__name__}: {error}"
        return f"Failed at {step}, {self.rows.name}: {reason}"


_ARTIFACT_TYPES = {"transform": "transformer", "y_processing": "y_processing", "model": "model"}


def _again(fitted: FittedStep) -> FittedStep:
    return FittedStep(fitted.step, fitted.artifact, 0.0)


def _sweep_key(model: Step) -> str:
    """The same for PLS models that differ in the number of components alone; for others, and classifiers, that of the step."""
    if model.class_path != pls_sweep.CLASS_PATH:
        return model.key
    params = {name: value for name, value in model.canonical["params"].items() if name != "n_components"}
    return f"sweep {canonical_json(params)}"
