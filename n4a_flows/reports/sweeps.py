"""How the score depends on the number of components, where a definition swept it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from n4a_flows.reports.document import Picture
from n4a_flows.reports.names import components_of, step_name
from n4a_flows.reports.pipeline_figures import Sweep, components
from n4a_flows.reports.recorded import Recorded
from n4a_flows.reports.score_text import in_units, ranking_name
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.json_values import canonical_json
from n4a_flows.training.fitting import Step, steps_of
from n4a_flows.training.metrics import higher_is_better

_MOST_LINES = 8
_NEARLY = 0.02


@dataclass(frozen=True)
class _Counted:
    """A pipeline with a number of components.

    Attributes
    ----------
    key
        The same for pipelines that differ in this number alone.
    treatments, others
        Its steps in a few words: the transformers in front of the one that makes the components, and the rest, without the number.
    """

    recorded: Recorded
    count: int
    key: str
    treatments: list[str]
    others: list[str]


def sweep_picture(store: WorkspaceStore, run_id: str, ranked: Sequence[Recorded], unit: str | None) -> Picture | None:
    """The score against the number of components; None when that was not swept.

    Parameters
    ----------
    ranked
        The pipelines of one target, the best first.
    unit
        Unit of the target.
    """
    groups: dict[str, list[_Counted]] = {}
    for counted in map(_counted, ranked):
        if counted is not None:
            groups.setdefault(counted.key, []).append(counted)
    # In the order of `ranked`: the best sweep first.
    swept = [group for group in groups.values() if len({each.count for each in group}) > 1]
    if not swept:
        return None
    shown = swept[:_MOST_LINES]
    final = store.query_predictions(run_id=run_id, fold_id="final").select("chain_id", "train_score")
    training = dict(final.drop_nulls().iter_rows())
    sweeps = [_sweep(group, name, training) for group, name in zip(shown, _names(shown), strict=True)]
    chosen = swept[0][0].count if swept[0][0].recorded is ranked[0] else None
    metric = ranked[0].row.metric
    picture = components(
        sweeps,
        chosen,
        score=ranking_name(metric),
        training=ranking_name(metric, "calibration"),
        unit=unit if in_units(metric) else "",
    )
    said = f"{ranking_name(metric)} by number of components." + _remark(sweeps[0], chosen, metric)
    if len(swept) > len(shown):
        said += f" The best {len(shown)} of {len(swept)} lines are shown."
    return Picture(picture, said)


def _counted(recorded: Recorded) -> _Counted | None:
    steps = steps_of(recorded.planned)
    for place in range(len(steps) - 1, -1, -1):
        count = components_of(steps[place].canonical)
        if count is None or recorded.row.validation is None:
            continue
        params = {key: value for key, value in steps[place].canonical["params"].items() if key != "n_components"}
        without = Step(steps[place].idx, steps[place].kind, {"class": steps[place].class_path, "params": params})
        others = [*steps[:place], without, *steps[place + 1 :]]
        treatments = [step for step in steps[:place] if step.kind == "transform"]
        return _Counted(
            recorded,
            count,
            canonical_json([recorded.planned.splitter, *(step.key for step in others)]),
            [_said(step) for step in treatments],
            [_said(step, number=step is not without) for step in others if step not in treatments],
        )
    return None


def _said(step: Step, *, number: bool = True) -> str:
    said = step_name(step.canonical, without=() if number else ("n_components",))
    return f"y: {said}" if step.kind == "y_processing" else said


def _names(groups: Sequence[Sequence[_Counted]]) -> list[str]:
    """Names of sweeps: their treatments, and of the other steps those that tell them apart."""
    common = set.intersection(*(set(group[0].others) for group in groups))
    return [
        " > ".join(
            [*(group[0].treatments or ["raw spectra"]), *(step for step in group[0].others if step not in common)]
        )
        for group in groups
    ]


def _sweep(group: Sequence[_Counted], name: str, training: dict[str, float]) -> Sweep:
    rows = [(each.count, each.recorded.row) for each in group]
    return Sweep(
        name,
        {count: row.validation for count, row in rows if row.validation is not None},
        {count: training[row.chain_id] for count, row in rows if row.chain_id in training},
    )


def _remark(sweep: Sweep, chosen: int | None, metric: str) -> str:
    if chosen is None:
        return " The best pipeline of all is none of these."
    if chosen == max(sweep.validation):
        return f" Chosen: {chosen}, the largest number tried: more may do better."
    reached = sweep.validation[chosen]
    limit = reached * (1 - _NEARLY if higher_is_better(metric) else 1 + _NEARLY)
    near = [
        count
        for count, value in sweep.validation.items()
        if count < chosen and (value >= limit if higher_is_better(metric) else value <= limit)
    ]
    simpler = f"; {min(near)} would do nearly as well, within {_NEARLY:.0%}" if near else ""
    return f" Chosen: {chosen}{simpler}."
