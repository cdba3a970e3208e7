"""Slope and bias corrections: fitted on samples whose laboratory values came in, and kept as chains of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.preprocessing import StandardScaler

from n4a_flows.monitoring.agreement import Agreement, Values, agreement, pairs
from n4a_flows.storage import ChainContext, Probe, SerializedArtifact, WorkspaceStore, serialize
from n4a_flows.storage.chain_builder import referenced_artifacts, replace_artifacts
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError

CorrectionKind = Literal["bias", "slope_bias"]

LEAST_SAMPLES: Mapping[CorrectionKind, int] = {"bias": 5, "slope_bias": 10}
"""How many samples each kind needs at the least."""

_SCALER = "sklearn.preprocessing.StandardScaler"


@dataclass(frozen=True)
class Correction:
    """A line that predictions are put through: corrected = intercept + slope * predicted.

    Attributes
    ----------
    kind
        `"bias"`: the slope is 1, and the intercept takes the bias away. `"slope_bias"`: the line of laboratory values over
        predictions by least squares.
    slope, intercept
        The intercept in the unit of the target.
    before, after
        How the predictions of these samples agree with the laboratory values as they are, and corrected. What is corrected by the
        samples that it was fitted on agrees better than new samples will. The t-tests of `before` say whether there was anything to
        correct.
    sample_ids
        The samples, where they are known.
    """

    kind: CorrectionKind
    slope: float
    intercept: float
    before: Agreement
    after: Agreement
    sample_ids: tuple[str, ...] = ()

    @property
    def needed(self) -> bool:
        """Whether the t-test found what this corrects: a bias that differs from 0 or, of a slope, one that differs from 1."""
        return self.before.bias_differs or (self.kind == "slope_bias" and self.before.slope_differs)

    def apply(self, predicted: npt.ArrayLike) -> Values:
        """Corrected predictions.

        Examples
        --------
        >>> fit_correction([11.0, 12.5, 13.0, 14.0, 15.5], [10.0, 11.5, 12.0, 13.0, 14.5], kind="bias").apply([20.0])
        array([19.])
        """
        return np.asarray(predicted, dtype=np.float64) * self.slope + self.intercept


def fit_correction(
    predicted: npt.ArrayLike,
    reference: npt.ArrayLike,
    kind: CorrectionKind = "slope_bias",
    sample_ids: Sequence[str] = (),
) -> Correction:
    """Fit a correction of predictions on samples with laboratory values.

    Parameters
    ----------
    predicted, reference
        Predictions and laboratory values, (n_samples,), finite, in the unit of the target; at least 5 for a bias, 10 for a slope.
    kind
        What is corrected.
    sample_ids
        Names of the samples, to be kept with the correction.

    Raises
    ------
    InvalidInputError
        When there are too few samples, a value is not finite, or, for a slope, the predictions are all the same or do not rise with
        the laboratory values by a t-test at 95 %.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> reference = rng.uniform(10, 40, 15)
    >>> predicted = 1.2 * reference + 3 + rng.normal(0, 0.5, 15)
    >>> correction = fit_correction(predicted, reference)
    >>> round(correction.slope, 2), round(correction.intercept, 1), correction.needed
    (0.82, -2.1, True)
    >>> round(correction.before.rmsep, 1), round(correction.after.rmsep, 1)
    (8.2, 0.4)
    """
    if kind not in get_args(CorrectionKind):
        raise InvalidInputError(f"There is no correction {kind!r}: use one of {', '.join(get_args(CorrectionKind))}.")
    least = LEAST_SAMPLES[kind]
    if np.size(reference) < least:
        raise InvalidInputError(
            f"A {_named(kind)} correction needs laboratory values of at least {least} samples, not {np.size(reference)}."
        )
    measured, y_hat = pairs(reference, predicted)
    before = agreement(measured, y_hat)
    slope, intercept = (1.0, -before.bias) if kind == "bias" else _line(before)
    after = agreement(measured, y_hat * slope + intercept)
    return Correction(kind, slope, intercept, before, after, tuple(sample_ids))


def _line(before: Agreement) -> tuple[float, float]:
    if before.slope is None or before.intercept is None or before.slope_limit is None:
        raise InvalidInputError("The predictions of all samples are the same, so there is no slope to correct.")
    if before.slope <= before.slope_limit:
        raise InvalidInputError(
            f"The predictions do not rise with the laboratory values (slope {before.slope:.3g} ± {before.slope_limit:.2g}), so a "
            "slope correction would make no sense: look at the samples, or take more that cover the range."
        )
    return before.slope, before.intercept


def _named(kind: CorrectionKind) -> str:
    return "bias" if kind == "bias" else "slope and bias"


def correction_from_store(
    store: WorkspaceStore,
    chain_id: str,
    kind: CorrectionKind = "slope_bias",
    *,
    since: datetime | None = None,
    instrument: str | None = None,
) -> Correction:
    """Fit a correction of a chain on the samples that it has scored and that laboratory values came in for.

    Several spectra of a sample count as one, with their mean prediction.

    Parameters
    ----------
    chain_id
        Id or alias.
    since
        Only samples that were scored then or later; naive UTC, or with a time zone.
    instrument
        Only samples that were measured on this one. Must be said when they come from several.

    Raises
    ------
    UnknownIdError
        When there is no such chain.
    InvalidInputError
        When the chain predicts classes, the samples come from several instruments and none is named, or as `fit_correction` does.
    """
    context = store.get_chain_context(chain_id)
    _refuse_classes(context)
    found = store.reference_pairs(context.chain_id, context.target, since).drop_nulls("y")
    if instrument is not None:
        found = found.filter(pl.col("instrument") == instrument)
    names = found["instrument"].unique().sort().to_list()
    if len(names) > 1:
        said = ", ".join("without one" if name is None else repr(name) for name in names)
        raise InvalidInputError(f"The samples come from several instruments ({said}): say which is to be corrected.")
    samples = found.group_by("sample_id", maintain_order=True).agg(pl.col("y").mean(), pl.col("reference").first())
    return fit_correction(
        samples["y"].to_numpy(), samples["reference"].to_numpy(), kind, samples["sample_id"].to_list()
    )


def save_corrected_chain(
    store: WorkspaceStore,
    chain_id: str,
    correction: Correction | CorrectionKind = "slope_bias",
    *,
    since: datetime | None = None,
    instrument: str | None = None,
    name: str | None = None,
) -> str:
    """Keep a corrected chain: the steps and artifacts of its parent, and a scaler of y whose inverse is the correction.

    The scaler is scikit-learn's StandardScaler, so that bundles and scripts predict with it anywhere. The chain names its parent
    and has the parent's limits; its probe is the parent's with corrected predictions. It belongs to a run of its own, which says
    what was corrected and by which samples.

    Parameters
    ----------
    chain_id
        Id or alias of the parent.
    correction
        The correction, or its kind: it is fitted as `correction_from_store` does then.
    since, instrument
        Of a correction that is fitted here: see `correction_from_store`. The instrument is noted in any case.
    name
        Name of the run; made of what is corrected when left out.

    Returns
    -------
    The id of the new chain.

    Raises
    ------
    UnknownIdError
        When there is no such chain.
    ArtifactMissingError, ArtifactCorruptError
        When a file of the parent is not there, or not what was recorded.
    InvalidInputError
        When the chain predicts classes or several targets at once, or the correction cannot be fitted.

    Examples
    --------
    >>> predicted = store.replay_chain(chain_id, spectra.X[:15])
    >>> correction = fit_correction(predicted, spectra.targets["fat"][:15] + 2.0, kind="bias")  # a laboratory that finds 2 % more
    >>> corrected = save_corrected_chain(store, chain_id, correction)
    >>> store.get_chain_context(corrected).parent_chain_id == chain_id
    True
    >>> bool(np.array_equal(store.replay_chain(corrected, spectra.X), correction.apply(store.replay_chain(chain_id, spectra.X))))
    True
    """
    context = store.get_chain_context(chain_id)
    _refuse_classes(context)
    if isinstance(correction, str):
        correction = correction_from_store(store, context.chain_id, correction, since=since, instrument=instrument)
    parent = store.get_chain(context.chain_id)
    if parent is None:
        raise UnknownIdError(f"No chain has the id {context.chain_id!r} in this workspace.")
    said = _said(context, correction, since, instrument)
    name = name or f"{_named(correction.kind)} correction of {context.target or 'a chain'}" + (
        f" on {instrument}" if instrument else ""
    )
    # The bytes of the parent go along: should a clean-up take it meanwhile, they are written anew.
    places = referenced_artifacts(parent["steps"], parent["fold_artifacts"], parent["shared_artifacts"])
    if context.limits_artifact_id is not None:
        places[context.limits_artifact_id] += 1
    kept = list(places.elements())
    own = [_scaler(correction), *_probe(store, context, correction)]
    artifacts = {artifact_id: store.read_artifact(artifact_id) for artifact_id in places}
    prepared = store.prepare_artifacts([*(artifacts[artifact_id] for artifact_id in kept), *own])
    with store.transaction():
        saved = store.save_artifacts(prepared)
        ids, (scaler_id, *probe_id) = dict(zip(kept, saved, strict=False)), saved[len(kept) :]
        run_id = store.begin_run(name, {"correction": said}, [parent["dataset_name"]])
        pipeline_id = store.begin_pipeline(run_id, name, {"correction": said}, [], parent["dataset_name"], "")
        corrected = store.save_chain(
            pipeline_id,
            model_class=parent["model_class"],
            preprocessings=parent["preprocessings"],
            fold_strategy=parent["fold_strategy"],
            dataset_name=parent["dataset_name"],
            axis=context.axis,
            signal=context.signal,
            x_range=context.x_range,
            target=context.target,
            task_type=context.task_type,
            probe_artifact_id=probe_id[0] if probe_id else None,
            limits_artifact_id=None if context.limits_artifact_id is None else ids[context.limits_artifact_id],
            parent_chain_id=context.chain_id,
            unit=context.unit,
            **_document(replace_artifacts(parent, ids), scaler_id),
        )
        store.complete_pipeline(pipeline_id, None, None, parent["metric"] or "rmse", 0)
        store.complete_run(run_id, {"chain_id": corrected, "parent": context.chain_id})
    return corrected


def _refuse_classes(context: ChainContext) -> None:
    if (context.task_type or "").endswith("classification"):
        raise InvalidInputError(
            f"The chain {context.chain_id} predicts classes, which cannot be corrected by a slope and a bias."
        )


def _said(
    context: ChainContext, correction: Correction, since: datetime | None, instrument: str | None
) -> dict[str, Any]:
    """What the run of a corrected chain notes."""
    return {
        "parent": context.chain_id,
        "parent_digest": context.digest,
        "target": context.target,
        "kind": correction.kind,
        "slope": correction.slope,
        "intercept": correction.intercept,
        "n": correction.before.n,
        "samples": list(correction.sample_ids),
        "instrument": instrument,
        "since": None if since is None else since.isoformat(),
        "before": asdict(correction.before),
        "after": asdict(correction.after),
    }


def _scaler(correction: Correction) -> SerializedArtifact:
    """A StandardScaler whose `inverse_transform` gives intercept + slope * y, as if it had been fitted."""
    scaler = StandardScaler()
    scaler.mean_ = np.array([correction.intercept])
    scaler.scale_ = np.array([correction.slope])
    scaler.var_ = scaler.scale_**2
    scaler.n_features_in_ = 1
    scaler.n_samples_seen_ = correction.before.n
    return serialize(scaler, _SCALER, "y_processing", "joblib")


def _probe(store: WorkspaceStore, context: ChainContext, correction: Correction) -> list[SerializedArtifact]:
    """The parent's probe with corrected predictions, if the parent has one."""
    probe = store.get_probe(context.chain_id)
    if probe is None:
        return []
    if probe.y.ndim > 1 or probe.y.dtype.kind not in "fiu":
        raise InvalidInputError(
            f"The chain {context.chain_id} predicts several targets at once or classes: only one number can be corrected."
        )
    return [Probe(probe.X, correction.apply(probe.y)).to_artifact()]


def _document(parent: Mapping[str, Any], scaler_id: str) -> dict[str, Any]:
    """The parent's chain behind one step more: the scaler comes first, so that it is inverted last."""
    first = min(step["step_idx"] for step in parent["steps"])
    step = {
        "step_idx": first,
        "operator_class": _SCALER,
        "operator_type": "y_processing",
        "params": {},
        "artifact_ids": [scaler_id],
        "fold_artifact_ids": {},
        "stateless": False,
    }
    shared = {_later(key): value for key, value in (parent["shared_artifacts"] or {}).items()}
    return {
        "steps": [step, *({**each, "step_idx": each["step_idx"] + 1} for each in parent["steps"])],
        "model_step_idx": parent["model_step_idx"] + 1,
        "fold_artifacts": parent["fold_artifacts"],
        "shared_artifacts": {str(first): [scaler_id], **shared},
        "branch_path": parent["branch_path"],
        "source_index": parent["source_index"],
    }


def _later(key: str) -> str:
    """The number of the next step; notes, which begin with an underscore, keep their key."""
    return key if key.startswith("_") else str(int(key) + 1)
