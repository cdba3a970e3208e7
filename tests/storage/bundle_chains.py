"""Chains of every kind that a bundle may hold, for the tests of bundles here and against nirs4all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from chemotools.scatter import StandardNormalVariate
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import PowerTransformer, StandardScaler

from n4a_flows.storage import Axis, Probe, WorkspaceStore, serialize

Kind = Callable[[WorkspaceStore, str, np.ndarray, np.ndarray], str]


def make_chain(store: WorkspaceStore, *of: Any, **how: Any) -> str:
    """What `_make` does, in one commit."""
    with store.transaction():
        return _make(store, *of, **how)


def _make(
    store: WorkspaceStore,
    pipeline_id: str,
    X: np.ndarray,
    y: np.ndarray,
    *,
    transformers: Sequence[Any] = (),
    scalers: Sequence[Any] = (),
    model: Any = None,
    keys: Sequence[str] = ("fold_0", "fold_1", "fold_2", "fold_final"),
    shared: bool = False,
    weights: dict[str, float] | None = None,
    axis: Axis | None = None,
    task_type: str | None = "regression",
    format: str = "joblib",
    number: int = 1,
    limits: Mapping[str, Any] | None = None,
) -> str:
    """Fit the operators on a part of the rows for each key (on all for the refit; everything but the model too when `shared`), and
    keep them as a chain with a probe, and perhaps with limits, a unit and a parent. Steps are counted from `number`; scalers of y
    come first.
    """
    model = PLSRegression(2) if model is None else model
    operators = [
        *(("y_processing", each) for each in scalers),
        *(("transform", each) for each in transformers),
    ]
    steps = [_step(number + i, kind, each) for i, (kind, each) in enumerate(operators)]
    steps.append(
        {**_step(number + len(steps), "model", model), **({} if weights is None else {"fold_weights": weights})}
    )
    folds: dict[str, str] = {}
    for position, key in enumerate(keys):
        rows = slice(None) if key == "fold_final" else slice(5 * position, 40 + 5 * position)
        part, target, whole = X[rows], y[rows], y
        for step, (kind, operator) in zip(steps, operators, strict=False):
            fitted = clone(operator)
            if kind == "y_processing":
                fitted.fit((whole if shared else target)[:, None])
                target, whole = (fitted.transform(values[:, None]).ravel() for values in (target, whole))
            else:
                fitted.fit(_through(store, steps, step, key, X) if shared else part)
                part = fitted.transform(part)
            artifact_id = store.save_artifact(fitted, step["operator_class"], kind, format)
            if shared:
                step["artifact_ids"] = [artifact_id]
            else:
                step.setdefault("fold_artifact_ids", {})[key] = artifact_id
        folds[key] = store.save_artifact(clone(model).fit(part, target), steps[-1]["operator_class"], "model", format)
    number_of_model = steps[-1]["step_idx"]

    def save(probe: str | None, **more: Any) -> str:
        said = (steps, number_of_model, steps[-1]["operator_class"], "SNV", "per_fold", folds, {})
        context: dict[str, Any] = {"axis": axis, "target": "fat", "task_type": task_type, "x_range": (0.1, 2.5)}
        return store.save_chain(pipeline_id, *said, probe_artifact_id=probe, **context, **more)

    first = save(None)
    predicted = store.replay_chain(first, X[:3])
    probe = store.save_artifact(store.prepare_artifact(Probe(X[:3], predicted).to_artifact()))
    if limits is None:
        return save(probe)
    kept = store.save_artifact(store.prepare_artifact(serialize(limits, "builtins.dict", "limits", "npz")))
    return save(probe, limits_artifact_id=kept, unit="%", parent_chain_id=first)


def _step(number: int, kind: str, operator: Any) -> dict[str, Any]:
    path = f"{type(operator).__module__}.{type(operator).__name__}"
    return {"step_idx": number, "operator_class": path, "operator_type": kind, "params": {}, "stateless": False}


def _through(
    store: WorkspaceStore, steps: list[dict[str, Any]], until: dict[str, Any], key: str, X: np.ndarray
) -> np.ndarray:
    for step in steps[: steps.index(until)]:
        if step["operator_type"] == "transform":
            X = store.load_artifact(step["artifact_ids"][0]).transform(X)
    return X


def _labels(y: np.ndarray) -> np.ndarray:
    return np.where(y > np.median(y), "high", "low")


FOLDS = ("fold_0", "fold_1", "fold_2")

# Those that nirs4all's loader predicts too.
PORTABLE: dict[str, Kind] = {
    "a refit with its own transformers and scaler of y": lambda *of: make_chain(
        *of, transformers=[StandardNormalVariate(), StandardScaler()], scalers=[StandardScaler()]
    ),
    "a refit with limits, a unit and a parent": lambda *of: make_chain(
        *of, transformers=[StandardScaler()], limits={"t2": np.arange(50.0)}
    ),
    "a refit alone": lambda *of: make_chain(*of, keys=("fold_final",), transformers=[StandardScaler()]),
    "a refit behind a bent scaler of y": lambda *of: make_chain(*of, scalers=[PowerTransformer()]),
    "folds alone": lambda *of: make_chain(*of, keys=FOLDS),
    "folds with weights": lambda *of: make_chain(
        *of, keys=FOLDS, weights={"fold_0": 3.0, "fold_1": 1.0, "fold_2": 0.5}
    ),
    "folds behind shared transformers and scaler of y": lambda *of: make_chain(
        *of,
        keys=FOLDS,
        transformers=[StandardNormalVariate(), StandardScaler()],
        scalers=[StandardScaler()],
        shared=True,
    ),
    "folds with names that are no numbers, and a refit": lambda *of: make_chain(
        *of, keys=("fold_left", "fold_right", "fold_final"), transformers=[StandardScaler()]
    ),
    "steps counted from 0": lambda *of: make_chain(*of, transformers=[StandardScaler()], number=0),
    "steps around 10": lambda *of: make_chain(
        *of, transformers=[StandardNormalVariate(), StandardScaler(), StandardScaler()], number=8
    ),
    "the same step twice": lambda *of: make_chain(
        *of, transformers=[StandardNormalVariate(), StandardNormalVariate()], shared=True
    ),
    "plain pickles": lambda *of: make_chain(*of, transformers=[StandardScaler()], format="pickle"),
    "an axis": lambda store, pipeline_id, X, y: make_chain(
        store, pipeline_id, X, y, transformers=[StandardNormalVariate()], axis=Axis(np.arange(X.shape[1]) + 1000.0)
    ),
    "a refit of classes": lambda store, pipeline_id, X, y: make_chain(
        store, pipeline_id, X, _labels(y), model=LogisticRegression(), task_type="classification"
    ),
}

# Those that it would predict otherwise, with a word of the reason that the bundle gives.
ONLY_OURS: dict[str, tuple[Kind, str]] = {
    "folds with transformers of their own": (
        lambda *of: make_chain(*of, keys=FOLDS, transformers=[StandardScaler()]),
        "fitted inside each of the 3 folds",
    ),
    "folds with scalers of y of their own": (
        lambda *of: make_chain(*of, keys=FOLDS, scalers=[StandardScaler()]),
        "fitted inside each of the 3 folds",
    ),
    "folds behind a bent scaler of y": (
        lambda *of: make_chain(*of, keys=FOLDS, scalers=[PowerTransformer()], shared=True),
        "scales y",
    ),
    "several scalers of y": (
        lambda *of: make_chain(*of, scalers=[StandardScaler(), PowerTransformer()]),
        "several scalers of y",
    ),
    "folds that vote": (
        lambda store, pipeline_id, X, y: make_chain(
            store, pipeline_id, X, _labels(y), keys=FOLDS, model=LogisticRegression(), task_type="classification"
        ),
        "vote",
    ),
    "folds that vote, of no known task": (
        lambda store, pipeline_id, X, y: make_chain(
            store, pipeline_id, X, _labels(y), keys=FOLDS, model=LogisticRegression(), task_type=None
        ),
        "vote",
    ),
    "folds with names that are no numbers": (
        lambda *of: make_chain(*of, keys=("fold_left", "fold_right")),
        "no numbers",
    ),
    "a format that joblib does not read": (
        lambda *of: make_chain(*of, transformers=[StandardScaler()], format="skops"),
        "skops",
    ),
}
