"""Writes and reads of predictions and their arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError
from n4a_flows.storage.identity import new_id
from n4a_flows.storage.json_values import from_json, to_json
from n4a_flows.storage.records import require
from n4a_flows.storage.session import Session

REFIT_CONTEXT_STANDALONE = "standalone"
"""`refit_context` of a prediction by a model that was fitted again on all training rows."""
REFIT_CONTEXT_STACKING = "stacking"
"""`refit_context` of a prediction by such a model that learned from other models."""

PARTITIONS = ("train", "val", "test")
ARRAYS = ("y_true", "y_pred", "y_proba", "sample_indices", "weights")

# A prediction is the same as an earlier one when these agree; a missing branch is a branch of its own.
_NATURAL_KEY = ("chain_id", "fold_id", "partition", "model_name", "branch_id")


def save(session: Session, row: Mapping[str, Any], prediction_id: str | None) -> str:
    """Add a prediction, or replace the one with the same natural key, whose id stays and whose arrays go."""
    if row["partition"] not in PARTITIONS:
        raise InvalidInputError(f"Unknown partition {row['partition']!r}: use one of {', '.join(PARTITIONS)}.")
    pipeline_id = row["pipeline_id"]
    require(session, "pipelines", pipeline_id)
    if row["chain_id"] is not None:
        require(session, "chains", row["chain_id"])
        _refuse_foreign_chain(session, row["chain_id"], pipeline_id)
    encoded = {
        **row,
        "scores": to_json(row["scores"], "prediction's scores"),
        "best_params": to_json(row["best_params"], "prediction's best_params"),
    }
    known = _ids_by_key(session, pipeline_id)
    key = tuple(row[column] for column in _NATURAL_KEY)
    if key in known:
        prediction_id = known[key]
        for table in ("predictions", "prediction_arrays", "prediction_labels"):
            session.execute(f"DELETE FROM {table} WHERE prediction_id = ?", [prediction_id])
    elif prediction_id is None:
        prediction_id = new_id()
    elif session.rows("SELECT 1 FROM predictions WHERE prediction_id = ?", [prediction_id]):
        raise InvalidInputError(
            f"The prediction id {prediction_id!r} belongs to another prediction already. Leave prediction_id out to get a new one."
        )
    known[key] = prediction_id
    session.memo.setdefault("predictions without arrays", set()).add(prediction_id)
    session.append("predictions", {**encoded, "prediction_id": prediction_id, "created_at": now()})
    return prediction_id


def _refuse_foreign_chain(session: Session, chain_id: str, pipeline_id: str) -> None:
    """A prediction goes when its pipeline goes, so its chain must be of the same one."""
    known: dict[str, str] = session.memo.setdefault("pipeline of chain", {})
    if chain_id not in known:
        known[chain_id] = session.rows("SELECT pipeline_id FROM chains WHERE chain_id = ?", [chain_id])[0][0]
    if known[chain_id] != pipeline_id:
        raise InvalidInputError(
            f"The chain {chain_id} belongs to another pipeline than the prediction ({pipeline_id})."
        )


def _ids_by_key(session: Session, pipeline_id: str) -> dict[tuple[Any, ...], str]:
    known: dict[str, dict[tuple[Any, ...], str]] = session.memo.setdefault("predictions by key", {})
    if pipeline_id not in known:
        columns = ", ".join(_NATURAL_KEY)
        rows = session.rows(f"SELECT prediction_id, {columns} FROM predictions WHERE pipeline_id = ?", [pipeline_id])
        known[pipeline_id] = {tuple(key): prediction_id for prediction_id, *key in rows}
    return known[pipeline_id]


def save_arrays(
    session: Session,
    prediction_id: str,
    y_true: npt.ArrayLike | None,
    y_pred: npt.ArrayLike | None,
    y_proba: npt.ArrayLike | None,
    sample_indices: npt.ArrayLike | None,
    weights: npt.ArrayLike | None,
) -> None:
    """Add the arrays of an existing prediction that has none yet."""
    columns: dict[str, Any] = {
        "y_true": _column(y_true, "y_true"),
        "y_pred": _column(y_pred, "y_pred"),
        "sample_indices": _indices(sample_indices),
        "weights": _column(weights, "weights"),
    }
    proba = None if y_proba is None else np.asarray(y_proba, dtype=np.float64)
    if proba is not None and proba.ndim not in (1, 2):
        raise InvalidInputError(f"y_proba must be (n_samples,) or (n_samples, n_classes), not of shape {proba.shape}.")
    lengths = {name: len(values) for name, values in {**columns, "y_proba": proba}.items() if values is not None}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidInputError(f"The arrays of a prediction must have one entry a sample, but {said}.")
    without: set[str] = session.memo.setdefault("predictions without arrays", set())
    if prediction_id not in without:
        _require_without_arrays(session, prediction_id)
    without.discard(prediction_id)
    labels = _encode_labels(columns)
    if labels is not None or (proba is not None and proba.ndim == 2):
        session.append(
            "prediction_labels",
            {
                "prediction_id": prediction_id,
                "labels": to_json(labels, "labels"),
                "proba_columns": proba.shape[1] if proba is not None and proba.ndim == 2 else None,
            },
        )
    session.append(
        "prediction_arrays",
        {"prediction_id": prediction_id, **columns, "y_proba": None if proba is None else proba.ravel()},
    )


def _require_without_arrays(session: Session, prediction_id: str) -> None:
    found = session.rows(
        "SELECT a.prediction_id FROM predictions p LEFT JOIN prediction_arrays a USING (prediction_id) "
        "WHERE p.prediction_id = ?",
        [prediction_id],
    )
    if not found:
        raise UnknownIdError(f"No prediction has the id {prediction_id!r} in this workspace.")
    if found[0][0] is not None:
        raise InvalidInputError(
            f"The arrays of prediction {prediction_id} are stored already. Save the prediction again to replace both."
        )


def _column(values: npt.ArrayLike | None, name: str) -> npt.NDArray[Any] | None:
    """A row of numbers or labels, (n_samples,)."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 1):
        raise InvalidInputError(
            f"{name} must have one value a sample, not shape {array.shape}: save one target at a time."
        )
    array = array.ravel()
    if array.dtype.kind in "US" or (array.dtype.kind == "O" and any(isinstance(item, str) for item in array)):
        if not all(isinstance(item, str) for item in array):
            raise InvalidInputError(
                f"{name} mixes class labels and other values: give every sample a label that is text."
            )
        return array.astype(str)
    try:
        if array.dtype.kind in "biufO":
            return array.astype(np.float64)
    except (TypeError, ValueError):
        pass
    raise InvalidInputError(f"{name} must be real numbers or class labels, not {array.dtype}.")


def _indices(values: npt.ArrayLike | None) -> npt.NDArray[np.int32] | None:
    if values is None:
        return None
    array = np.asarray(values).ravel()
    whole = array.astype(np.int32) if array.dtype.kind in "biuf" else None
    if whole is None or not np.array_equal(whole, array):
        raise InvalidInputError("sample_indices must be whole numbers that fit into 32 bits: the rows of the dataset.")
    return whole


def _encode_labels(columns: dict[str, Any]) -> dict[str, list[str]] | None:
    """Replace text by codes in place; returns the labels behind the codes of each column that held text."""
    labels: dict[str, list[str]] = {}
    for name in ("y_true", "y_pred"):
        if columns[name] is not None and columns[name].dtype.kind == "U":
            found, codes = np.unique(columns[name], return_inverse=True)
            labels[name] = found.tolist()
            columns[name] = codes.astype(np.float64)
    return labels or None


def get(session: Session, prediction_id: str, load_arrays: bool) -> dict[str, Any] | None:
    """A prediction's row with scores and best_params decoded, and its arrays if asked for."""
    row = session.one("SELECT * FROM predictions WHERE prediction_id = ?", [prediction_id])
    if row is None:
        return None
    row["scores"] = from_json(row["scores"])
    row["best_params"] = from_json(row["best_params"])
    if load_arrays:
        row.update(get_arrays(session, prediction_id) or dict.fromkeys(ARRAYS))
    return row


def get_arrays(session: Session, prediction_id: str) -> dict[str, npt.NDArray[Any] | None] | None:
    """The arrays of a prediction as they were saved, or None when none were."""
    row = session.one(
        "SELECT a.*, l.labels, l.proba_columns FROM prediction_arrays a LEFT JOIN prediction_labels l USING (prediction_id) "
        "WHERE a.prediction_id = ?",
        [prediction_id],
    )
    if row is None:
        return None
    arrays: dict[str, npt.NDArray[Any] | None] = {}
    labels = from_json(row["labels"]) or {}
    for name in ARRAYS:
        if row[name] is None:
            arrays[name] = None
        elif name in labels:
            arrays[name] = np.asarray(labels[name])[np.asarray(row[name], dtype=np.intp)]
        else:
            arrays[name] = np.asarray(row[name], dtype=np.int64 if name == "sample_indices" else np.float64)
    if row["proba_columns"] is not None and arrays["y_proba"] is not None:
        arrays["y_proba"] = arrays["y_proba"].reshape(-1, row["proba_columns"])
    return arrays
