"""The pictures of one target of a training report, drawn from what is recorded of its best pipeline."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.reports.document import Picture, Table
from n4a_flows.reports.figures import confusion, predicted_against_measured, residuals
from n4a_flows.reports.names import axis_text, signal_label, step_name, step_parts
from n4a_flows.reports.pipeline_figures import (
    MOST_SPECTRA,
    Box,
    Stage,
    diagram,
    spectra_before_and_after,
)
from n4a_flows.reports.recorded import BestChain, Predicted
from n4a_flows.reports.score_text import number
from n4a_flows.spectra import Spectra
from n4a_flows.storage import Axis, WorkspaceStore
from n4a_flows.training.fitting import steps_of

_MOST_RESIDUALS = 5


def diagram_picture(chain: BestChain, spectra: Spectra, quantity: str, unit: str | None) -> Picture:
    """The best pipeline, from the spectra to the prediction."""
    planned, noted = chain.recorded.planned, chain.noted
    steps = [(step.kind, step.canonical) for step in steps_of(planned)]
    treatment = [_box(kind, step) for kind, step in steps if kind == "transform"]
    scaling = [
        _box("y_processing", step, "inverted on the predictions") for kind, step in steps if kind == "y_processing"
    ]
    model = _box("model", planned.model, name=planned.steps[-1].get("name"))
    signal = (spectra.signal or "signal not given").replace("_", " ")
    folds = f"validated by {step_name(planned.splitter)}"
    rows = f"; fitted on {noted['train']} samples" if noted.get("train") else ""
    boxes = [
        Box("data", f"Spectra, {signal}", axis_text(spectra.axis)),
        *treatment,
        model,
        *scaling,
        Box("data", quantity + (f" ({unit})" if unit else ""), folds + rows),
    ]
    way = [*map(step_name, planned.transformers), step_name(planned.model, planned.steps[-1].get("name"))]
    return Picture(diagram(boxes), f"The best pipeline: {' → '.join(['spectra', *way, quantity])}.")


def _box(kind: str, step: Any, more: str = "", *, name: str | None = None) -> Box:
    called, told = step_parts(step, name)
    own = step["class"].rpartition(".")[2]
    return Box(kind, called, ", ".join([*([own] if own != called else []), *told, *([more] if more else [])]))


def prediction_pictures(chain: BestChain, quantity: str, unit: str | None) -> list[Picture]:
    """Predictions against what is known, of cross-validation and of the test set, on the same axes."""
    parts = [("Cross-validation", "RMSECV", chain.validated)]
    if chain.test is not None:
        parts.append(("Test set", "RMSEP", chain.test))
    everything = [values for _, _, part in parts for values in (part.y_true, part.y_pred)]
    if chain.classes:
        classes = sorted(set(np.concatenate(everything).tolist()), key=_in_order)
        return [
            Picture(
                confusion(part.y_true, part.y_pred, classes, quantity=quantity),
                f"{name}: {int(np.sum(part.y_true == part.y_pred))} of {len(part.rows)} samples in their class. "
                "Rows are the known classes; shares are of the row.",
            )
            for name, _, part in parts
        ]
    span = (float(min(map(np.min, everything))), float(max(map(np.max, everything))))
    return [
        Picture(
            predicted_against_measured(part.y_true, part.y_pred, quantity=quantity, unit=unit, error=error, span=span),
            f"{name}: {_source(name, part)}",
        )
        for name, error, part in parts
    ]


def _source(name: str, part: Predicted) -> str:
    if name == "Test set":
        return "samples that were never trained on, predicted by the refit."
    repeated = len(part.rows) > len(np.unique(part.rows))
    return "each sample predicted by a model that was fitted without it" + (", several times." if repeated else ".")


def _in_order(name: str) -> tuple[float, str]:
    """Numbers by their size, other names after them by the alphabet."""
    try:
        return (float(name), name)
    except ValueError:
        return (float("inf"), name)


def residual_picture(chain: BestChain, quantity: str, unit: str | None) -> Picture:
    """The residuals of cross-validation and test."""
    test = None if chain.test is None else (chain.test.y_true, chain.test.y_pred)
    validated = (chain.validated.y_true, chain.validated.y_pred)
    beyond = int(np.sum(np.abs(validated[1] - validated[0]) > 2 * (chain.validated.scores["rmse"] or 0)))
    return Picture(
        residuals(validated, test, quantity=quantity, unit=unit),
        f"Residuals: the dashed lines are 2 RMSECV from zero; {beyond} of {validated[0].size} out-of-fold residuals lie beyond "
        "(about 5 % would, if they were normal).",
    )


def largest_residuals(chain: BestChain, spectra: Spectra) -> Table:
    """The samples that are predicted worst, by name."""
    parts = [("CV", chain.validated)] + ([] if chain.test is None else [("test", chain.test)])
    rows = []
    for name, part in parts:
        error = part.y_pred - part.y_true
        order = np.argsort(-np.abs(error), kind="stable")
        # Where cross-validation was repeated, a sample counts by its largest residual.
        _, first = np.unique(part.rows[order], return_index=True)
        for place in order[np.sort(first)[:_MOST_RESIDUALS]]:
            sample = spectra.sample_ids[part.rows[place]]
            values = (part.y_true[place], part.y_pred[place])
            rows.append(
                [
                    sample,
                    name,
                    *(number(value) for value in values),
                    f"{'+' if error[place] > 0 else ''}{number(error[place])}",
                ]
            )
    return Table(["sample", "set", "measured", "predicted", "residual"], rows)


def spectra_picture(
    store: WorkspaceStore, chain: BestChain, spectra: Spectra, quantity: str, unit: str | None
) -> Picture:
    """The spectra as they came, and as the model gets them."""
    rows = np.unique(np.concatenate([part.rows for part in (chain.validated, chain.test) if part is not None]))
    y: npt.NDArray[Any] = np.empty(spectra.n_samples, dtype=chain.validated.y_true.dtype)
    for part in (chain.validated, chain.test):
        if part is not None:
            y = y.astype(np.promote_types(y.dtype, part.y_true.dtype))
            y[part.rows] = part.y_true
    signal = spectra.signal
    raw = Stage(spectra.X[rows], spectra.axis, signal_label(signal))
    axis: Axis | None = spectra.axis
    treated, taken = None, 0
    before = raw.X
    stages = store.load_predictor(str(chain.recorded.row.chain_id)).treated(raw.X, spectra.axis)
    for count, X in enumerate(stages, 1):
        axis = _axis_after(axis, before, X)
        if axis is None:
            break
        treated, taken, before = Stage(X, axis, "Treated (arbitrary unit)"), count, X
    names = [step_name(step) for step in chain.recorded.planned.transformers]
    said = f"Spectra of {len(rows)} samples"
    if treated is None:
        said += "; the model gets them as they are." if not names else f", before {names[0]}."
    else:
        said += f", raw and after {' > '.join(names[:taken])} as the refit treats them."
        if taken < len(names):
            said += f" {names[taken]} follows."
    if len(rows) > MOST_SPECTRA:
        said += f" {MOST_SPECTRA} of them are drawn, "
        said += "of each class its share." if chain.classes else "from the lowest to the highest value."
    return Picture(spectra_before_and_after(raw, treated, y[rows], quantity=quantity, unit=unit), said)


def _axis_after(axis: Axis | None, before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> Axis | None:
    """Where the points lie after a step: where they lay, or, if it chose some of them, where those lay."""
    if axis is None or after.shape[1] == before.shape[1]:
        return axis
    places = {before[:, column].tobytes(): column for column in range(before.shape[1])}
    chosen = [places.get(np.ascontiguousarray(after[:, column]).tobytes()) for column in range(after.shape[1])]
    kept = [column for column in chosen if column is not None]
    rising = len(kept) == len(chosen) and all(a < b for a, b in pairwise(kept))
    return Axis(axis.values[kept], axis.unit) if rising and kept else None
