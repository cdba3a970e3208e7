"""Operators that a chain declares stateless: nothing of them is stored but their class and parameters."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.storage.codecs import class_allowed, loadable_class
from n4a_flows.storage.errors import ReplayError, UntrustedError


def rebuild_stateless(class_path: str, params: Mapping[str, Any], allowed_modules: Iterable[str]) -> Any:
    """The operator of a class path and its parameters, wrapped so that it shows at first use that it learns nothing.

    Raises
    ------
    UntrustedError
        When the class lies outside the allowed modules; it is not imported then.
    ReplayError
        When there is no such class, or it does not take the parameters.
    """
    allowed = tuple(allowed_modules)
    module, _, name = class_path.rpartition(".")
    if not module:
        raise ReplayError(f"The stateless step {class_path!r} cannot be rebuilt: its class path has no module.")
    if not class_allowed(module, allowed):
        raise UntrustedError(
            f"The stateless step {class_path} is outside the allowed modules ({', '.join(allowed)}). "
            "Add its module to allowed_modules if you trust it."
        )
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ReplayError(f"The stateless step {class_path} cannot be rebuilt: {error}.") from error
    # Only a class that treats spectra: anything else that can be called with parameters might do anything.
    if not (isinstance(kind, type) and hasattr(kind, "transform") and loadable_class(kind, allowed)):
        raise UntrustedError(f"The stateless step {class_path} is no operator of an allowed module: it is not rebuilt.")
    try:
        return StatelessOperator(kind(**params), class_path)
    except (TypeError, ValueError) as error:
        raise ReplayError(f"The stateless step {class_path} cannot be rebuilt from its parameters: {error}.") from error


class StatelessOperator:
    """Many stateless scikit-learn operators want a `fit` that notes the width only; this one does it and checks that it is so."""

    def __init__(self, operator: Any, class_path: str) -> None:
        self.operator = operator
        self._class_path = class_path
        self._ready: Any = None

    def transform(self, X: npt.NDArray[np.float64], **wavelengths: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        try:
            if self._ready is None:
                self._ready = self._fitted(X, wavelengths)
            return np.asarray(self._ready.transform(X, **wavelengths))
        except (TypeError, ValueError, AttributeError) as error:
            raise ReplayError(f"The rebuilt stateless step {self._class_path} does not work: {error}") from error

    def _fitted(self, X: npt.NDArray[np.float64], wavelengths: Mapping[str, npt.NDArray[np.float64]]) -> Any:
        if not hasattr(self.operator, "fit"):
            return self.operator
        # Fitted on two unlike sets, an operator that learns nothing treats the spectra alike.
        one = deepcopy(self.operator).fit(X)
        other = deepcopy(self.operator).fit(2.0 * X[::-1] + np.linspace(1.0, 2.0, X.shape[1]))
        if not np.array_equal(one.transform(X, **wavelengths), other.transform(X, **wavelengths), equal_nan=True):
            raise ReplayError(
                f"The step {self._class_path} was declared stateless, but what it gives depends on the spectra it was "
                "fitted on. Store it as an artifact."
            )
        return one
