"""Chains: their rows, the edges to their artifacts, their context (axis, signal, target) and their digest."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from n4a_flows.storage import artifacts
from n4a_flows.storage.axis import SIGNALS, Axis
from n4a_flows.storage.chain_builder import referenced_artifacts, replace_artifacts
from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError
from n4a_flows.storage.folds import normalize_fold_key
from n4a_flows.storage.json_values import canonical_json, from_json, to_json
from n4a_flows.storage.records import dataset_of, note_new, require
from n4a_flows.storage.session import Session

DOCUMENT_KEYS = ("steps", "model_step_idx", "fold_artifacts", "shared_artifacts", "branch_path", "source_index")
_JSON_COLUMNS = {"steps", "fold_artifacts", "shared_artifacts", "branch_path"}


@dataclass(frozen=True)
class ChainContext:
    """What a chain was trained on.

    Attributes
    ----------
    chain_id
        The chain.
    digest
        SHA-256 over the chain's steps, the content hashes of its artifacts, its axis, signal and task type: the same training
        on the same data gives another chain id and the same digest.
    axis
        Where the points of its spectra lie, or None when it was recorded without.
    signal
        `"absorbance"`, `"reflectance"` ..., or None.
    x_range
        Smallest and largest value of the training spectra, in units of the signal, or None.
    target
        Name of the property that it predicts, or None.
    task_type
        `"regression"`, `"classification"` ..., or None.
    probe_artifact_id
        The artifact with a few spectra and what the chain predicted for them (see `Probe`), or None.
    limits_artifact_id
        The artifact with what predictions of the chain are judged by (an `npz`), or None.
    parent_chain_id, parent_digest
        The chain that this one was made from, for example by a slope and bias correction, and its digest; None when it was
        trained afresh. The digest is known even where that chain is not.
    unit
        The unit of the target, for example `"% (m/m)"`, or None.

    Probe, limits, parent and unit are no part of the digest.
    """

    chain_id: str
    digest: str
    axis: Axis | None = None
    signal: str | None = None
    x_range: tuple[float, float] | None = None
    target: str | None = None
    task_type: str | None = None
    probe_artifact_id: str | None = None
    limits_artifact_id: str | None = None
    parent_chain_id: str | None = None
    parent_digest: str | None = None
    unit: str | None = None

    @property
    def companions(self) -> tuple[str, ...]:
        """Ids of the artifacts that go with the chain and are none of its steps: its probe and its limits."""
        return tuple(item for item in (self.probe_artifact_id, self.limits_artifact_id) if item is not None)


def save(
    session: Session,
    row: Mapping[str, Any],
    *,
    axis: Axis | None,
    signal: str | None,
    x_range: tuple[float, float] | None,
    target: str | None,
    task_type: str | None,
    probe_artifact_id: str | None,
    limits_artifact_id: str | None,
    parent_chain_id: str | None,
    unit: str | None,
    parent_digest: str | None = None,
) -> str:
    """Add a chain with its edges and context.

    `row` holds the document (steps, model_step_idx, fold_artifacts, shared_artifacts, branch_path, source_index) and the columns
    pipeline_id, model_class, preprocessings, fold_strategy and dataset_name. `parent_digest` is for a parent that is not here.

    Raises
    ------
    UnknownIdError
        When the pipeline, the parent or an artifact does not exist; nothing is written then.
    InvalidInputError
        When the document is no chain.
    """
    document = {key: row[key] for key in DOCUMENT_KEYS}
    _refuse_no_chain(document)
    if signal is not None and signal not in SIGNALS:
        raise InvalidInputError(f"Unknown signal {signal!r}: use one of {', '.join(SIGNALS)}.")
    require(session, "pipelines", row["pipeline_id"])
    if parent_chain_id is not None:
        parent_digest = context_of(session, parent_chain_id).digest
    edges = referenced_artifacts(document["steps"], document["fold_artifacts"], document["shared_artifacts"])
    for companion in (probe_artifact_id, limits_artifact_id):
        if companion is not None:
            edges[companion] += 1
    hashes = artifacts.hashes_of(session, edges)
    chain_id = str(uuid.uuid4())
    session.append(
        "chains",
        {
            **row,
            **{
                key: to_json(row[key], f"chain's {key}")
                for key in ("steps", "fold_artifacts", "shared_artifacts", "branch_path")
            },
            "chain_id": chain_id,
            "dataset_name": row["dataset_name"] or dataset_of(session, row["pipeline_id"]),
            "task_type": task_type,
            "cv_fold_count": 0,
            "created_at": now(),
        },
    )
    for artifact_id, count in edges.items():
        session.append("chain_artifacts", {"chain_id": chain_id, "artifact_id": artifact_id, "count": count})
    session.append(
        "chain_context",
        {
            "chain_id": chain_id,
            "digest": digest(document, hashes, axis, signal, task_type),
            "target": target,
            "task_type": task_type,
            "signal": signal,
            "axis_unit": None if axis is None else axis.unit,
            "axis_values": None if axis is None else axis.values,
            "x_min": None if x_range is None else float(x_range[0]),
            "x_max": None if x_range is None else float(x_range[1]),
            "probe_artifact_id": probe_artifact_id,
            "limits_artifact_id": limits_artifact_id,
            "parent_chain_id": parent_chain_id,
            "parent_digest": parent_digest,
            "unit": unit,
        },
    )
    note_new(session, "chains", chain_id)
    session.memo.setdefault("pipeline of chain", {})[chain_id] = row["pipeline_id"]
    return chain_id


def digest(
    document: Mapping[str, Any],
    content_hashes: Mapping[str, str],
    axis: Axis | None,
    signal: str | None,
    task_type: str | None,
) -> str:
    """SHA-256 over all that decides what a chain predicts, with content hashes for artifact ids; 64 hexadecimal digits."""
    chain = replace_artifacts({key: document[key] for key in DOCUMENT_KEYS}, content_hashes)
    folds = {normalize_fold_key(key): value for key, value in (chain["fold_artifacts"] or {}).items()}
    content = {
        "chain": {**chain, "fold_artifacts": folds, "shared_artifacts": chain["shared_artifacts"] or {}},
        "axis": None if axis is None else axis.to_dict(),
        "signal": signal,
        "task_type": task_type,
    }
    return hashlib.sha256(canonical_json(content, "chain").encode()).hexdigest()


def document_of(session: Session, chain_id: str, *, whole: bool = False) -> dict[str, Any]:
    """What of the chain's row makes up the document, or the whole row, with its JSON columns decoded.

    Raises
    ------
    UnknownIdError
    """
    columns = "*" if whole else ", ".join(DOCUMENT_KEYS)
    row = session.one(f"SELECT {columns} FROM chains WHERE chain_id = ?", [chain_id])
    if row is None:
        raise UnknownIdError(f"No chain has the id {chain_id!r} in this workspace.")
    return decoded(row)


def decoded(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `chains`, or a part of one, with its JSON columns as Python values."""
    for key in _JSON_COLUMNS & row.keys():
        row[key] = from_json(row[key])
    return row


def context_of(session: Session, chain_id: str) -> ChainContext:
    """The context of a chain; `UnknownIdError` when there is no such chain."""
    row = session.one("SELECT * FROM chain_context WHERE chain_id = ?", [chain_id])
    if row is None:
        raise UnknownIdError(f"No chain has the id {chain_id!r} in this workspace.")
    axis = None if row["axis_unit"] is None else Axis(np.asarray(row["axis_values"]), row["axis_unit"])
    x_range = None if row["x_min"] is None else (row["x_min"], row["x_max"])
    return ChainContext(
        chain_id=chain_id,
        digest=row["digest"],
        axis=axis,
        signal=row["signal"],
        x_range=x_range,
        target=row["target"],
        task_type=row["task_type"],
        probe_artifact_id=row["probe_artifact_id"],
        limits_artifact_id=row["limits_artifact_id"],
        parent_chain_id=row["parent_chain_id"],
        parent_digest=row["parent_digest"],
        unit=row["unit"],
    )


def _refuse_no_chain(document: Mapping[str, Any]) -> None:
    steps = document["steps"]
    if (
        not isinstance(steps, Sequence)
        or isinstance(steps, str)
        or not all(isinstance(step, Mapping) for step in steps)
    ):
        raise InvalidInputError(
            "The steps of a chain must be a list of dicts with step_idx, operator_class, params ..."
        )
    for key in ("fold_artifacts", "shared_artifacts"):
        if document[key] is not None and not isinstance(document[key], Mapping):
            raise InvalidInputError(f"The {key} of a chain must be a dict, not a {type(document[key]).__name__}.")
