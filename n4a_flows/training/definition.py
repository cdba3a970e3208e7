"""From a pipeline definition to planned pipelines, checked before anything is trained."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sklearn.base import is_classifier

from n4a_flows.storage.errors import DefinitionError
from n4a_flows.storage.template_folder import find_template
from n4a_flows.training.generators import Choice, variants_of
from n4a_flows.training.metrics import Task
from n4a_flows.training.operators import Canonical, build, canonical_step, label, plain, role_of, seeded
from n4a_flows.training.options import TrainingOptions
from n4a_flows.training.words import refusal

FOLDS = 5
"""Folds of the splitter that a definition without one gets."""

EITHER = "either"
"""Kind of a step that transforms in front of others, and is the model where it comes last."""

PREDEFINED = "sklearn.model_selection.PredefinedSplit"
"""Splitter of pipelines whose folds a column names; its `test_fold` is the name of that column."""

_DEFAULT_SPLITTERS: dict[tuple[Task, bool], Canonical] = {
    ("regression", False): {"class": "sklearn.model_selection.KFold", "params": {"shuffle": True}},
    ("regression", True): {"class": "sklearn.model_selection.GroupKFold", "params": {"shuffle": True}},
    ("classification", False): {"class": "sklearn.model_selection.StratifiedKFold", "params": {"shuffle": True}},
    ("classification", True): {"class": "sklearn.model_selection.StratifiedGroupKFold", "params": {"shuffle": True}},
}
"""By task, and whether replicates must stay together. All make five folds."""

_STEP_KEYWORDS = ("class", "params", "model", "name", "y_processing")


@dataclass(frozen=True)
class PlannedPipeline:
    """One pipeline, fully written out. Picklable.

    Attributes
    ----------
    name
        For people: its steps and their parameters. Different for every pipeline of a definition.
    steps
        Canonical and JSON-able: the splitter, the step on y if there is one, the transformers in order, the model. A
        transformer or splitter is `{"class", "params"}`, the others are `{"y_processing": ...}` and `{"model": ...}`.
    choices
        What each generator was replaced by: dicts with `at`, `option` and `value`.
    definition_hash
        SHA-256 of the steps without the name given to the model: the same computation has the same hash.
    task
        What the model does: `regression` or `classification`.
    """

    name: str
    steps: list[dict[str, Any]]
    choices: list[dict[str, Any]]
    definition_hash: str
    task: Task = "regression"

    @property
    def splitter(self) -> Canonical:
        """The splitter."""
        return self.steps[0]

    @property
    def y_processing(self) -> Canonical | None:
        """The step on y."""
        return next((step["y_processing"] for step in self.steps if "y_processing" in step), None)

    @property
    def transformers(self) -> list[Canonical]:
        """The transformers, in order."""
        return [step for step in self.steps[1:] if "class" in step]

    @property
    def model(self) -> Canonical:
        """The model."""
        return dict(self.steps[-1]["model"])

    @property
    def model_name(self) -> str:
        """The name given to the model, else that of its class."""
        return str(self.steps[-1].get("name") or self.model["class"].rpartition(".")[2])

    @property
    def preprocessings(self) -> str:
        """The transformers, for people."""
        return " > ".join(label(step) for step in self.transformers)


def expand(definition: Any, options: TrainingOptions | None = None) -> list[PlannedPipeline]:
    """Write out every pipeline that a definition stands for, and check all of them.

    A pipeline that comes more than once (with the same `definition_hash`) is there once, with the choices that lead to it first.

    Parameters
    ----------
    definition
        A list of steps, or a dict that holds one under `pipeline` or `steps` (and may have a `name` and a `description`).
        A step is a class path, an instance, `{"class": path, "params": {...}}`, `{"model": step, "name": text}` or
        `{"y_processing": step}`; generators (`_or_`, `_range_`, `_log_range_`, `_grid_`) may stand anywhere. A step that can both
        transform and predict (PLS, LDA) is the model where it comes last, and transforms before that. Without a splitter,
        pipelines get a shuffled 5-fold cross-validation: of each class its share, and replicates together where the options name
        their column.

    Raises
    ------
    DefinitionError
        When anything in it is wrong; the message names the step.

    Examples
    --------
    >>> pls = {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": {"_or_": [4, 8]}}}
    >>> [planned.name for planned in expand(["chemotools.scatter.StandardNormalVariate", {"model": pls}])]
    ['StandardNormalVariate > PLSRegression(n_components=4)', 'StandardNormalVariate > PLSRegression(n_components=8)']
    """
    options = options or TrainingOptions()
    try:
        parts = _written_out(steps_of(definition), options)
    except RecursionError:
        raise DefinitionError("The definition is nested too deeply, or holds itself.") from None
    several_splitters = len({_text(written[0]) for written, _ in parts.values()}) > 1
    names = _distinct([_name(written, several_splitters) for written, _ in parts.values()])
    planned = [
        PlannedPipeline(
            name, written, [_choice(choice, options) for choice in choices], digest, _task(written, options)
        )
        for name, (digest, (written, choices)) in zip(names, parts.items(), strict=True)
    ]
    if len({one.task for one in planned}) > 1:
        raise DefinitionError(
            "The definition mixes models for numbers with classifiers; train them one after the other."
        )
    options.metric_for(planned[0].task)
    return planned


def steps_of(definition: Any) -> list[Any]:
    """The list of steps in a definition.

    Raises
    ------
    DefinitionError
        When it holds none.
    """
    steps = definition
    if isinstance(definition, Mapping):
        held = [key for key in ("pipeline", "steps") if key in definition]
        unknown = [key for key in definition if key not in ("pipeline", "steps", "name", "description")]
        if unknown:
            known = ("pipeline", "steps", "name", "description")
            takes = "it takes 'pipeline' (or 'steps'), 'name' and 'description'."
            raise DefinitionError(f"The definition {refusal(unknown[0], known, takes)}")
        if len(held) != 1:
            raise DefinitionError(
                "The definition needs its list of steps under 'pipeline' or 'steps', and only one of them."
            )
        steps = definition[held[0]]
        if isinstance(steps, Mapping):
            steps = [steps]
    if not isinstance(steps, list | tuple) or not steps:
        raise DefinitionError(
            "The definition must be a list of at least one step, or a dict with one under 'pipeline'."
        )
    return list(steps)


def definition_hash(steps: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 over canonical steps without the names of models: 64 hexadecimal digits."""
    return hashlib.sha256(
        _text([{k: v for k, v in step.items() if k != "name"} for step in steps]).encode()
    ).hexdigest()


def definition_of(pipeline: Any, workspace: str | os.PathLike[str]) -> Any:
    """A definition itself; of the name of a template, its definition.

    Parameters
    ----------
    workspace
        The folder of the workspace, whose library is asked first. It need not exist.

    Raises
    ------
    MissingFileError
        When there is no such template; the message names those that there are.
    InvalidInputError, TemplateError
        When the name cannot be one, or the file is damaged.
    """
    return find_template(workspace, pipeline).definition if isinstance(pipeline, str) else pipeline


def definition_document(definition: Any, options: TrainingOptions | None = None) -> Any:
    """A definition as it was written, as JSON: instances in it become steps, generators stay.

    Raises
    ------
    DefinitionError
        When it holds an object of a class that is not allowed, or a value that JSON cannot hold.
    """
    return plain(definition, (options or TrainingOptions()).modules, "The definition")


def _written_out(
    steps: Sequence[Any], options: TrainingOptions
) -> dict[str, tuple[list[dict[str, Any]], tuple[Choice, ...]]]:
    """The steps of each different pipeline, with the choices that lead there, by its hash."""
    variants = variants_of(steps, options.seed)
    if variants.size > options.max_pipelines:
        size = variants.size if variants.size < 10**15 else f"about 1e{int(math.log10(variants.size))}"
        raise DefinitionError(
            f"The definition stands for {size} pipelines, more than the {options.max_pipelines} allowed; "
            "take out options, let a generator take a random 'count' of its variants, or raise max_pipelines."
        )
    found: dict[str, tuple[list[dict[str, Any]], tuple[Choice, ...]]] = {}
    for variant in variants:
        written = _assemble(variant.steps, options)
        found.setdefault(definition_hash(written), (written, variant.choices))
    return found


def _assemble(steps: Sequence[tuple[str, Any]], options: TrainingOptions) -> list[dict[str, Any]]:
    """The canonical steps of one pipeline, in canonical order."""
    splitter: Canonical | None = None
    y_processing: Canonical | None = None
    transformers: list[Canonical] = []
    model: dict[str, Any] | None = None
    read = [(f"Step {at}", *_read(raw, f"Step {at}", options)) for at, raw in steps]
    last = max(
        (place for place, (_, kind, *_) in enumerate(read) if kind not in ("splitter", "y_processing")), default=-1
    )
    for place, (where, kind, step, name) in enumerate(read):
        if kind == EITHER:
            kind = "model" if place == last else "transform"
        if model is not None:
            if kind == "model":
                raise DefinitionError(f"{where} is a second model; a pipeline has one, as its last step.")
            raise DefinitionError(f"{where} ({step['class']}) stands after the model; the model must be the last step.")
        if kind == "splitter":
            if splitter is not None:
                raise DefinitionError(f"{where} is a second splitter ({step['class']}); a pipeline has one.")
            splitter = step
        elif kind == "y_processing":
            if y_processing is not None:
                raise DefinitionError(f"{where} is a second y_processing; a pipeline has one.")
            y_processing = step
        elif kind == "model":
            model = {"model": step, "name": name} if name else {"model": step}
        else:
            transformers.append(step)
    if y_processing is not None and model is not None and _task([model], options) == "classification":
        raise DefinitionError("Classes are not scaled; leave out 'y_processing' in front of a classifier.")
    if model is None:
        raise DefinitionError("The pipeline has no model; let it end with {'model': ...}.")
    if options.fold_column is not None:
        if splitter is not None:
            raise DefinitionError(
                f"The folds come from the column {options.fold_column!r}, so the splitter {splitter['class']} is one too many; "
                "leave one of them out."
            )
        splitter = {"class": PREDEFINED, "params": {"test_fold": options.fold_column}}
    if splitter is None:
        task = _task([model], options)
        default = _DEFAULT_SPLITTERS[task, options.group_column is not None]
        splitter = seeded(default, options.seed, options.modules)
    return [splitter, *([{"y_processing": y_processing}] if y_processing else []), *transformers, model]


def _task(written: Sequence[Mapping[str, Any]], options: TrainingOptions) -> Task:
    """What the model of canonical steps does."""
    operator = build(written[-1]["model"], options.modules, "The model")
    return "classification" if is_classifier(operator) else "regression"


def _read(raw: Any, where: str, options: TrainingOptions) -> tuple[str, Canonical, str | None]:
    """What a step does, its canonical form and the name it was given."""
    name: str | None = None
    said: str | None = None
    step: Any = raw
    if isinstance(raw, Mapping) and "class" not in raw:
        said = next((key for key in ("model", "y_processing") if key in raw), None)
        if not raw:
            raise DefinitionError(f"{where} is an empty dict; take it out.")
        known = {"model": ("model", "name"), "y_processing": ("y_processing",)}.get(said or "", ())
        unknown = [key for key in raw if key not in known]
        if unknown or said is None:
            has = "a step has 'class' and 'params', 'model' and 'name', or 'y_processing'."
            raise DefinitionError(f"{where} {refusal(unknown[0], _STEP_KEYWORDS, has)}")
        step, name = raw[said], raw.get("name")
        if name is not None and (not isinstance(name, str) or not name):
            raise DefinitionError(f"{where}: the name of a model must be text.")
    canonical = seeded(canonical_step(step, options.modules, where), options.seed, options.modules)
    return _checked_kind(_text(canonical), said, where, options.modules), canonical, name


@lru_cache(maxsize=4096)
def _checked_kind(canonical: str, said: str | None, where: str, allowed: tuple[str, ...]) -> str:
    """Build the step once to see that it can be built, and that it can do what it is there for."""
    operator = build(json.loads(canonical), allowed, where)
    class_name = type(operator).__name__
    if said == "y_processing":
        if not all(hasattr(operator, name) for name in ("fit", "transform", "inverse_transform")):
            raise DefinitionError(f"{where}: {class_name} cannot be undone on the predictions; take a scaler for y.")
        return said
    kind = said or role_of(operator, where)
    if kind == "model":
        if not (hasattr(operator, "fit") and hasattr(operator, "predict")):
            raise DefinitionError(f"{where}: {class_name} cannot predict; a model has fit and predict.")
        if said is None and hasattr(operator, "transform"):
            return EITHER
    return kind


def _name(steps: Sequence[dict[str, Any]], with_splitter: bool) -> str:
    parts = [label(steps[0])] if with_splitter else []
    for step in steps[1:]:
        if "y_processing" in step:
            parts.append(f"y: {label(step['y_processing'])}")
        elif "model" in step:
            parts.append(label(step["model"], step.get("name")))
        else:
            parts.append(label(step))
    return " > ".join(parts)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, those that come more than once with a number."""
    often = Counter(names)
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(f"{name} #{seen[name]}" if often[name] > 1 else name)
    return distinct


def _choice(choice: Choice, options: TrainingOptions) -> dict[str, Any]:
    value = plain(choice.value, options.modules, f"Step {choice.at}")
    return {"at": choice.at, "option": choice.option, "value": value}


def _text(steps: Any) -> str:
    return json.dumps(steps, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
