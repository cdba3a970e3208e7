"""Steps as JSON and as objects: `{"class": path, "params": {...}}` and back, from allowed modules only.

The canonical form of a step names its class by its public path and holds only the parameters that differ from their
defaults, so that the same object has one form whether it was written as a class path, as a dict or as an instance.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from sklearn.base import is_classifier, is_regressor

from n4a_flows.storage.codecs import class_allowed
from n4a_flows.storage.errors import DefinitionError

Canonical = dict[str, Any]
"""`{"class": path, "params": {name: value}}`; values are JSON, and steps again where a parameter takes an estimator."""

Role = Literal["splitter", "transform", "model"]
_CLASS_PATH = re.compile(r"(?!__)[A-Za-z_]\w*(\.(?!__)[A-Za-z_]\w*)+")


def canonical_step(step: Any, allowed: tuple[str, ...], where: str) -> Canonical:
    """The canonical form of a step given as a class path, a class, an instance or `{"class": ..., "params": ...}`.

    Parameters
    ----------
    allowed
        Modules whose classes may be named.
    where
        The step, for messages.

    Raises
    ------
    DefinitionError
        When the class is unknown or not allowed, or does not take the parameters.
    """
    if isinstance(step, str):
        return _canonical(resolve(step, allowed, where), {}, allowed, where)
    if isinstance(step, type):
        return _canonical(_importable(step, allowed, where), {}, allowed, where)
    if isinstance(step, Mapping):
        unknown = [key for key in step if key not in ("class", "params")]
        if unknown or "class" not in step:
            what = f"the unknown keyword {unknown[0]!r}" if unknown else "no 'class'"
            raise DefinitionError(f"{where} has {what}; write it as {{'class': path, 'params': {{...}}}}.")
        params = step.get("params") or {}
        if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
            raise DefinitionError(f"{where}: 'params' must be a dict of parameters by name.")
        return _canonical(resolve(step["class"], allowed, where), params, allowed, where)
    if _is_operator(step):
        return _canonical(_importable(type(step), allowed, where), _params_of(step, where), allowed, where)
    raise DefinitionError(
        f"{where} is {_short(step)}, which is no step; use a class path, {{'class': ..., 'params': ...}} or an instance."
    )


def build(step: Canonical, allowed: tuple[str, ...], where: str) -> Any:
    """A new object of a canonical step, not fitted.

    Raises
    ------
    DefinitionError
        When the class is unknown or not allowed, or refuses a value of a parameter.
    """
    cls = resolve(step["class"], allowed, where)
    parameters = _signature(cls)
    values = {
        name: _built_value(value, parameters[name].default if name in parameters else None, allowed, where)
        for name, value in step["params"].items()
    }
    try:
        operator = cls(**values)
        # scikit-learn would check the values only when it fits.
        if _has(operator, "_validate_params", "_parameter_constraints"):
            operator._validate_params()
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"{where}: {error}") from error
    return operator


def role_of(operator: Any, where: str) -> Role:
    """What an object does in a pipeline when nothing else is said.

    Raises
    ------
    DefinitionError
        When it neither splits, nor transforms, nor predicts.
    """
    if _has(operator, "split", "get_n_splits"):
        return "splitter"
    # PLS can transform and predict; it is there to predict.
    if _has(operator, "__sklearn_tags__") and (is_regressor(operator) or is_classifier(operator)):
        return "model"
    if _has(operator, "fit", "transform"):
        return "transform"
    if _has(operator, "fit", "predict"):
        return "model"
    raise DefinitionError(f"{where}: {type(operator).__name__} has neither split, nor transform, nor predict.")


def seeded(step: Canonical, seed: int, allowed: tuple[str, ...]) -> Canonical:
    """The step with `random_state` written out wherever it draws random numbers and none was given."""
    params = {name: _seeded_value(value, seed, allowed) for name, value in step["params"].items()}
    cls = resolve(step["class"], allowed, step["class"])
    parameters = _signature(cls)
    if "random_state" in parameters and params.get("random_state") is None and not _never_shuffles(cls, params):
        params["random_state"] = seed
    return {"class": step["class"], "params": dict(sorted(params.items()))}


def label(step: Canonical, name: str | None = None) -> str:
    """A short text for people: `SavitzkyGolay(deriv=2, window_length=11)`."""
    shown = [f"{key}={_label_value(value)}" for key, value in step["params"].items() if key != "random_state"]
    return (name or step["class"].rpartition(".")[2]) + (f"({', '.join(shown)})" if shown else "")


def plain(value: Any, allowed: tuple[str, ...], where: str) -> Any:
    """A definition, or a part of one, as JSON: instances and classes in it become steps."""
    if isinstance(value, type) or _is_operator(value):
        return canonical_step(value, allowed, where)
    if isinstance(value, Mapping):
        return {str(key): plain(item, allowed, where) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, allowed, where) for item in value]
    return _canonical_value(value, allowed, where)


@lru_cache(maxsize=1024)
def _resolve(path: str, allowed: tuple[str, ...]) -> type | str:
    """The class, or what is wrong with the path."""
    module_name, _, name = path.rpartition(".")
    if not class_allowed(module_name, allowed):
        return (
            f"{path} is outside the allowed modules ({', '.join(allowed)}); "
            "add its module to the option allowed_modules if you trust it."
        )
    try:
        found = getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        return f"there is no module {error.name!r}, so {path} cannot be found."
    except (ImportError, AttributeError):
        return f"the module {module_name!r} has no class {name!r}."
    if not isinstance(found, type):
        return f"{path} is not a class."
    if not class_allowed(found.__module__, allowed):
        return f"{path} comes from {found.__module__}, outside the allowed modules."
    # Other classes are not even instantiated: numpy.memmap would write a file.
    if not (_has(found, "fit", "get_params") or _has(found, "split", "get_n_splits")):
        return f"{path} is neither an estimator (fit, get_params) nor a splitter (split, get_n_splits)."
    return found


def resolve(path: Any, allowed: tuple[str, ...], where: str) -> type:
    """The class that a path names. A module that is not allowed is not even imported.

    Raises
    ------
    DefinitionError
        When there is no such class, or its module is not allowed.
    """
    if not isinstance(path, str) or not _CLASS_PATH.fullmatch(path):
        raise DefinitionError(
            f"{where}: {_short(path)} is no class path such as 'sklearn.preprocessing.StandardScaler'."
        )
    found = _resolve(path, allowed)
    if isinstance(found, str):
        raise DefinitionError(f"{where}: {found}")
    return found


def _importable(cls: type, allowed: tuple[str, ...], where: str) -> type:
    """The class itself, if its path leads to it and its module is allowed."""
    if resolve(_public_path(cls), allowed, where) is not cls:
        raise DefinitionError(f"{where}: {cls.__qualname__} cannot be imported by name; define it in a module.")
    return cls


@lru_cache(maxsize=1024)
def _public_path(cls: type) -> str:
    """The path that its package gives a class: `sklearn.cross_decomposition.PLSRegression`, without the private `_pls`."""
    parts = cls.__module__.split(".")
    private = next((i for i, part in enumerate(parts) if part.startswith("_") and i > 0), None)
    if private is not None:
        package = ".".join(parts[:private])
        if getattr(sys.modules.get(package), cls.__name__, None) is cls:
            return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def _canonical(cls: type, params: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> Canonical:
    parameters = _signature(cls)
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    known = [p.name for p in parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    kept: dict[str, Any] = {}
    for name, value in params.items():
        if name not in known and not open_ended:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise DefinitionError(f"{where}: {cls.__name__} has no parameter {name!r}; {takes}.")
        if name == "memory" and value is not None:
            raise DefinitionError(f"{where}: {cls.__name__} may not keep a cache of its own; leave out 'memory'.")
        default = parameters[name].default if name in known else inspect.Parameter.empty
        if value is default:
            continue
        value = _canonical_value(value, allowed, f"{where}, parameter {name!r}")
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)  # JSON written by other languages has 1 for 1.0
        if not _same(value, default):
            kept[name] = value
    for name in known:
        if parameters[name].default is inspect.Parameter.empty and name not in params:
            raise DefinitionError(f"{where}: {cls.__name__} needs the parameter {name!r}.")
    return {"class": _public_path(cls), "params": dict(sorted(kept.items()))}


@lru_cache(maxsize=1024)
def _signature(cls: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a constructor by name, without `*args`."""
    try:
        parameters = inspect.signature(cls).parameters
    except ValueError:
        return {}
    return {name: p for name, p in parameters.items() if p.kind is not inspect.Parameter.VAR_POSITIONAL}


def _is_operator(value: Any) -> bool:
    if isinstance(value, type):
        return False
    return _has(value, "fit", "get_params") or _has(value, "split", "get_n_splits")


def _has(thing: Any, *names: str) -> bool:
    return all(hasattr(thing, name) for name in names)


def _params_of(operator: Any, where: str) -> dict[str, Any]:
    if hasattr(operator, "get_params"):
        return dict(operator.get_params(deep=False))
    params = {}
    cls: Any = type(operator)
    for name in _signature(cls):
        # Repeated splitters of scikit-learn keep what they pass on in cvargs.
        held = vars(operator) if name in vars(operator) else getattr(operator, "cvargs", {})
        if name not in held:
            raise DefinitionError(
                f"{where}: {type(operator).__name__} does not keep its parameter {name!r}; write it as a dict."
            )
        params[name] = held[name]
    return params


def _canonical_value(value: Any, allowed: tuple[str, ...], where: str) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DefinitionError(f"{where} is {value}; only finite numbers can be written in a definition.")
        return value
    if isinstance(value, list | tuple):
        return [_canonical_value(item, allowed, where) for item in value]
    if _is_operator(value) or (isinstance(value, Mapping) and "class" in value):
        return canonical_step(value, allowed, where)
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str) or key.startswith("_")]
        if wrong:
            raise DefinitionError(f"{where} has the key {wrong[0]!r}; keys must be text that does not begin with '_'.")
        return {key: _canonical_value(item, allowed, where) for key, item in value.items()}
    raise DefinitionError(
        f"{where} is {_short(value)}, which cannot be written in a definition; use numbers, text, lists, dicts or steps."
    )


def _same(value: Any, default: Any) -> bool:
    """Whether a canonical value is the default of its parameter; True, 1 and 1.0 are three different values."""
    if isinstance(default, tuple):
        default = list(default)
    if not isinstance(default, bool | int | float | str | list | dict | None):
        return False
    return json.dumps(value, sort_keys=True) == json.dumps(default, sort_keys=True, default=repr)


def _built_value(value: Any, default: Any, allowed: tuple[str, ...], where: str) -> Any:
    if isinstance(value, str):
        # Equal texts must be one object, or the bytes of a pickle would tell where the definition came from.
        return sys.intern(value)
    if isinstance(value, list):
        items = [_built_value(item, None, allowed, where) for item in value]
        return tuple(items) if isinstance(default, tuple) else items
    if isinstance(value, dict):
        if "class" in value:
            return build(value, allowed, where)
        return {sys.intern(key): _built_value(item, None, allowed, where) for key, item in value.items()}
    return value


def _seeded_value(value: Any, seed: int, allowed: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        if "class" in value:
            return seeded(value, seed, allowed)
        return {key: _seeded_value(item, seed, allowed) for key, item in value.items()}
    if isinstance(value, list):
        return [_seeded_value(item, seed, allowed) for item in value]
    return value


def _never_shuffles(cls: type, params: Mapping[str, Any]) -> bool:
    """Whether this is a splitter that takes the rows as they come (it refuses a random_state then)."""
    shuffle = _signature(cls).get("shuffle")
    return shuffle is not None and hasattr(cls, "get_n_splits") and not params.get("shuffle", shuffle.default)


def _label_value(value: Any) -> str:
    if isinstance(value, dict) and "class" in value:
        return label(value)
    text = json.dumps(value) if isinstance(value, list | dict) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _short(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
