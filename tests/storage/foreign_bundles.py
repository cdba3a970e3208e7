"""Bundles as nirs4all 1.4.10 writes them, made by hand."""

from __future__ import annotations

import io
import json
from typing import Any

import joblib
import numpy as np
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import StandardScaler


def foreign_members(
    X: np.ndarray, y: np.ndarray, *, refit: bool = False, trace: bool = False, scaled: bool = True
) -> dict[str, bytes]:
    """The members of a bundle: two scalers of the spectra in one step, perhaps a scaler of y, and PLS in two folds or refitted.

    Steps count from 1; step 3 is the splitter, of which nothing is stored.
    """
    y_scaler = StandardScaler().fit(y[:, None])
    target = y_scaler.transform(y[:, None]).ravel() if scaled else y
    first = StandardScaler(with_std=False).fit(X)
    second = StandardScaler().fit(first.transform(X))
    treated = second.transform(first.transform(X))
    folds = {"final": slice(None)} if refit else {"0": slice(0, 40), "1": slice(20, 60)}
    models = {key: PLSRegression(2).fit(treated[rows], target[rows]) for key, rows in folds.items()}
    operators: dict[str, Any] = {"step_1_sub0": first, "step_1_sub1": second}
    if scaled:
        operators["step_2_sub0"] = y_scaler
    operators |= {f"step_4_fold{key}": model for key, model in models.items()}
    ids = {name: f"id-of-{name}" for name in operators}
    scaler = {"class": "sklearn.preprocessing._data.StandardScaler"}
    steps = [scaler, {"y_processing": scaler}, {"class": "sklearn.model_selection._split.KFold"}, {"model": {}}]
    if not scaled:
        steps[1] = {"comment": "nothing"}
    documents = {
        "manifest.json": {
            "chain_id": "c0ffee",
            "model_class": "sklearn.cross_decomposition._pls.PLSRegression",
            "model_step_index": 4,
            "preprocessings": "MinMax>Standard",
            "fold_strategy": "single_refit" if refit else "per_fold",
            "has_refit": refit,
            "exported_at": "2026-01-01T00:00:00+00:00",
        },
        "pipeline.json": {"steps": steps},
        "chain.json": {
            "steps": [
                {"step_idx": 1, "operator_class": "StandardScaler", "params": {}, "artifact_ids": [ids["step_1_sub0"]]},
                {"step_idx": 3, "operator_class": "KFold", "params": {}, "artifact_ids": [], "stateless": True},
                {"step_idx": 4, "operator_class": "PLSRegression", "params": {}, "artifact_ids": []},
            ],
            "model_step_idx": 4,
            "fold_artifacts": {f"fold_{key}": ids[f"step_4_fold{key}"] for key in models},
            "shared_artifacts": {"1": [ids["step_1_sub0"], ids["step_1_sub1"]]},
        },
    }
    if trace:
        del documents["pipeline.json"]
        kinds = {1: "transform", 2: "y_processing" if scaled else "comment", 3: "splitter", 4: "model"}
        documents["trace.json"] = {
            "model_step_index": 4,
            "steps": [
                {"step_index": index, "operator_type": kind, "execution_mode": "train"} for index, kind in kinds.items()
            ],
        }
        documents["fold_weights.json"] = {key: index + 1.0 for index, key in enumerate(models)} if not refit else {}
    members = {name: json.dumps(document).encode() for name, document in documents.items()}
    return members | {f"artifacts/{name}.joblib": _dumped(operator) for name, operator in operators.items()}


def _dumped(operator: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(operator, buffer, compress=3)
    return buffer.getvalue()
