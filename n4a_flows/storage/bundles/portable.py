"""Predict from spectra with one fitted chain.

    python model.n4a.py input.csv [output.csv]

input.csv has a header row, then one spectrum a row, comma separated. From Python: import this file and call predict(X), with
X (n_samples, n_points). It needs numpy, joblib, and the packages in CHAIN["packages"]. The fitted operators are pickles, and
loading them runs code: use it only if you trust where it comes from. Their digests are compared before they are loaded.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import io
import sys
from typing import Any

import joblib
import numpy as np

# <chain>
CHAIN: dict[str, Any] = {}
AXIS: dict[str, Any] | None = None
ARTIFACTS: dict[str, str] = {}
DIGESTS: dict[str, str] = {}
STEP_INFO: dict[int, dict[str, Any]] = {}
FOLD_WEIGHTS: dict[str, float] = {}
MODEL_STEP_INDEX = 0
# </chain>

_loaded: dict[str, Any] = {}


def predict(X: Any) -> np.ndarray:
    """Predictions (n_samples,) in units of the target, or class labels; X is (n_samples, n_points) on AXIS and is not changed."""
    X = np.array(X, dtype=np.float64, order="C")
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"X must have two dimensions, (n_samples, n_points), not shape {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError("X must be finite numbers")
    if AXIS is not None and X.shape[1] != len(AXIS["values"]):
        raise ValueError(f"the spectra have {X.shape[1]} points, the chain was trained on {len(AXIS['values'])}")
    folds = list(FOLD_WEIGHTS)
    treated = [_treat(X.copy(), fold) for fold in folds]
    models = [_operators(MODEL_STEP_INDEX, fold)[0] for fold in folds]
    return _combined(folds, models, treated)


def predict_from_file(
    input_path: str, output_path: str | None = None, delimiter: str = ",", skip_header: bool = True
) -> np.ndarray:
    """Predict the spectra of a CSV file, and write one prediction a line to output_path if there is one."""
    X = np.loadtxt(input_path, delimiter=delimiter, skiprows=1 if skip_header else 0, ndmin=2)
    y = predict(X)
    if output_path is not None:
        np.savetxt(output_path, y, fmt="%.18e" if y.dtype.kind in "fiu" else "%s", delimiter=delimiter)
    return y


def _operators(step: int, fold: str) -> list[Any]:
    return [_load(key) for key in STEP_INFO[step]["artifacts"][fold]]


def _load(key: str) -> Any:
    if key not in _loaded:
        data = base64.b64decode(ARTIFACTS[key])
        if hashlib.sha256(data).hexdigest() != DIGESTS[key]:
            raise ValueError(f"the artifact {key} is damaged: it does not have the digest that was recorded")
        _loaded[key] = joblib.load(io.BytesIO(data))
    return _loaded[key]


def _steps(operator_type: str) -> list[int]:
    return [step for step, info in STEP_INFO.items() if info["operator_type"] == operator_type]


def _treat(X: np.ndarray, fold: str) -> np.ndarray:
    for step in _steps("transform"):
        for operator in _operators(step, fold):
            if AXIS is not None and _takes_wavelengths(operator):
                X = np.asarray(operator.transform(X, wavelengths=np.array(AXIS["values"])))
            else:
                X = np.asarray(operator.transform(X))
    return X


def _takes_wavelengths(operator: Any) -> bool:
    if getattr(operator, "_requires_wavelengths", False):
        return True
    parameters = inspect.signature(operator.transform).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return "wavelengths" in parameters or (takes_any and not type(operator).__module__.startswith("sklearn."))


def _predicted(model: Any, X: np.ndarray, fold: str) -> np.ndarray:
    y = _flat(np.asarray(model.predict(X)))
    scalers = [operator for step in _steps("y_processing") for operator in _operators(step, fold)]
    for scaler in reversed(scalers):
        if hasattr(scaler, "classes_"):
            y = np.asarray(scaler.inverse_transform(y))
        else:
            y = _flat(np.asarray(scaler.inverse_transform(y.reshape(len(y), -1))))
    return y


def _flat(y: np.ndarray) -> np.ndarray:
    return y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y


def _combined(folds: list[str], models: list[Any], treated: list[np.ndarray]) -> np.ndarray:
    weights = [FOLD_WEIGHTS[fold] for fold in folds]
    if len(folds) == 1:
        return _predicted(models[0], treated[0], folds[0])
    classes = None if _steps("y_processing") else _shared_classes(models)
    if classes is not None:
        probabilities = [model.predict_proba(X) for model, X in zip(models, treated, strict=True)]
        return np.asarray(classes[np.argmax(np.average(np.stack(probabilities), axis=0, weights=weights), axis=1)])
    outputs = [_predicted(model, X, fold) for model, X, fold in zip(models, treated, folds, strict=True)]
    declared = (CHAIN.get("task_type") or "").endswith("classification")
    if declared or outputs[0].dtype.kind in "OUSb" or any(map(_is_classifier, models)):
        return _vote(outputs, weights)
    return np.asarray(np.average(np.stack(outputs), axis=0, weights=weights))


def _is_classifier(model: Any) -> bool:
    if hasattr(model, "classes_"):
        return True
    return hasattr(model, "__sklearn_tags__") and bool(model.__sklearn_tags__().estimator_type == "classifier")


def _shared_classes(models: list[Any]) -> np.ndarray | None:
    classes = [getattr(model, "classes_", None) for model in models]
    if any(found is None or not hasattr(model, "predict_proba") for found, model in zip(classes, models, strict=True)):
        return None
    first = np.asarray(classes[0])
    return first if all(np.array_equal(first, np.asarray(other)) for other in classes) else None


def _vote(outputs: list[np.ndarray], weights: list[float]) -> np.ndarray:
    if outputs[0].ndim > 1:
        raise ValueError("the folds predict several class targets at once, which cannot be combined")
    labels, codes = np.unique(np.stack(outputs), return_inverse=True)
    votes = np.zeros((outputs[0].size, labels.size))
    for row, weight in zip(codes.reshape(len(outputs), -1), weights, strict=True):
        votes[np.arange(row.size), row] += weight
    return np.asarray(labels[np.argmax(votes, axis=1)])


def _main(arguments: list[str]) -> int:
    if not 1 <= len(arguments) <= 2 or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 1
    try:
        y = predict_from_file(arguments[0], arguments[1] if len(arguments) == 2 else None)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said in one line
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if len(arguments) == 1:
        print("Predictions:")
        print(y)
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
