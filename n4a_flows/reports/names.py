"""Steps and pipelines by the names of the field: `SNV > SG(window 11, order 2, derivative 1) > PLS(8 components)`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from n4a_flows.storage import Axis
from n4a_flows.storage.codecs import DEFAULT_ALLOWED_MODULES
from n4a_flows.storage.errors import DefinitionError
from n4a_flows.training import PlannedPipeline
from n4a_flows.training.operators import resolve

_SHORT = {
    "StandardNormalVariate": "SNV",
    "RobustNormalVariate": "RNV",
    "MultiplicativeScatterCorrection": "MSC",
    "ExtendedMultiplicativeScatterCorrection": "EMSC",
    "SavitzkyGolay": "SG",
    "PLSRegression": "PLS",
    "LinearDiscriminantAnalysis": "LDA",
    "QuadraticDiscriminantAnalysis": "QDA",
}
# What decides what these do, so it is said even where it has its default.
_TELLING = {
    "SavitzkyGolay": ("window_length", "polyorder", "deriv"),
    "NorrisWilliams": ("window_length", "gap_size", "deriv"),
    "ExtendedMultiplicativeScatterCorrection": ("order",),
    "PLSRegression": ("n_components",),
    "KFold": ("n_splits",),
    "StratifiedKFold": ("n_splits",),
    "GroupKFold": ("n_splits",),
    "StratifiedGroupKFold": ("n_splits",),
}
_SAID = {
    "n_components": "{} components",
    "n_splits": "{} folds",
    "window_length": "window {}",
    "gap_size": "gap {}",
    "polyorder": "order {}",
    "order": "order {}",
    "deriv": "derivative {}",
}
_UNIT = re.compile(r"(?P<quantity>.*\S)\s*[(\[](?P<unit>[^()\[\]]+)[)\]]\s*")


def step_parts(
    step: Mapping[str, Any], name: str | None = None, *, without: Collection[str] = ()
) -> tuple[str, list[str]]:
    """The name of a canonical step, and what it was told: `("SG", ["window 11", "order 2", "derivative 1"])`.

    Parameters
    ----------
    name
        The name that somebody gave it.
    without
        Parameters to leave out.
    """
    own = str(step["class"]).rpartition(".")[2]
    defaults = _defaults(str(step["class"]))
    params = {key: defaults[key] for key in _TELLING.get(own, ()) if key in defaults} | step["params"]
    told = [
        "1 component" if (key, value) == ("n_components", 1) else _SAID.get(key, f"{key}={{}}").format(_value(value))
        for key, value in params.items()
        if key not in ("random_state", "shuffle", *without)
    ]
    return name or _SHORT.get(own, own), told


def step_name(step: Mapping[str, Any], name: str | None = None, *, without: Collection[str] = ()) -> str:
    """A step in a few words."""
    called, told = step_parts(step, name, without=without)
    return f"{called}({', '.join(told)})" if told else called


def pipeline_name(planned: PlannedPipeline) -> str:
    """The steps of a pipeline in a few words, without the splitter."""
    parts = [step_name(step) for step in planned.transformers]
    if planned.y_processing is not None:
        parts.insert(0, f"y: {step_name(planned.y_processing)}")
    return " > ".join([*parts, step_name(planned.model, planned.steps[-1].get("name"))])


def components_of(step: Mapping[str, Any]) -> int | None:
    """How many components a step makes, None when it makes none or does not say."""
    found = step["params"].get("n_components", _defaults(str(step["class"])).get("n_components"))
    return found if isinstance(found, int) else None


def quantity_and_unit(target: str) -> tuple[str, str | None]:
    """A target whose name carries its unit, `fat (%)`, in two parts."""
    found = _UNIT.fullmatch(target)
    return (target, None) if found is None else (found["quantity"], found["unit"].strip())


def axis_text(axis: Axis) -> str:
    """An axis for people, its unit as it is printed: `100 points, 850 to 1050 nm`."""
    return str(axis).removesuffix(axis.unit) + unit_text(axis.unit)


def unit_text(unit: str) -> str:
    """The unit of an axis as it is printed."""
    return {"cm-1": "cm⁻¹", "um": "µm"}.get(unit, unit)


def signal_label(signal: str | None) -> str:
    """The label of an axis of spectra: what the values are, with their unit."""
    if signal is None:
        return "Signal (unit not given)"
    kind = signal.removeprefix("percent_").capitalize()
    return f"{kind} ({'%' if signal.startswith('percent_') else 'no unit'})"


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and "class" in value:
        return step_name({"params": {}, **value})
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if len(str(value)) <= 30 else f"{str(value)[:29]}…"


@lru_cache(maxsize=256)
def _defaults(path: str) -> dict[str, Any]:
    """The defaults of the parameters of a class, as far as it is one that comes with us."""
    try:
        parameters = inspect.signature(resolve(path, DEFAULT_ALLOWED_MODULES, path)).parameters
    except (DefinitionError, TypeError, ValueError):
        return {}
    return {name: each.default for name, each in parameters.items() if each.default is not inspect.Parameter.empty}
