"""A control chart of differences between predictions and laboratory values, and where it says that something has changed.

The limits are 2 s (warning) and 3 s (action) on both sides of zero, with s the error that a model showed in cross-validation. Three
rules say that limits were crossed:

* `action`: a sample lies beyond an action limit;
* `warning`: two of three consecutive samples lie beyond the same warning limit;
* `bias`: the mean difference of the last 20 samples (of all, while there are fewer, from 5 on) differs from zero by a t-test. A
  chart is looked at again and again, so the test is as strict as the action limits: by chance it says so of 0.27 % of such means.
  It goes on until a test at 95 % finds nothing any more. Meanwhile what the other two rules find on its side is one crossing each:
  a bias is told once, and not again with each sample. What lies as far beyond the mean itself is told all the same.

The first two are the first rules of the Western Electric Company's Statistical Quality Control Handbook (1956).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from n4a_flows.monitoring.agreement import Agreement, Values, agreement, bias_limit, pairs
from n4a_flows.storage.clock import naive_utc
from n4a_flows.storage.errors import InvalidInputError

Rule = Literal["action", "warning", "bias"]
Side = Literal["high", "low"]

WARNING, ACTION = 2.0, 3.0
"""Where the limits lie, in multiples of the error."""

WINDOW, LEAST = 20, 5
"""How many samples the bias is taken of at most, and at least."""

_STRICT = float(2 * ndtr(ACTION) - 1)
_USUAL = 0.95


@dataclass(frozen=True)
class Crossing:
    """An uninterrupted row of samples for which a rule says that limits were crossed.

    Attributes
    ----------
    rule
        `"action"`, `"warning"` or `"bias"`.
    side
        `"high"` when predictions are above the laboratory values, else `"low"`.
    members
        Where in the chart the samples stand, counted from 0: those beyond the limit; of the bias those at which the mean differed.
    sample_ids, began_at
        All of the samples, also those before the chart begins, and when the first one was predicted (naive UTC).
    said
        All of it in words.
    """

    rule: Rule
    side: Side
    members: tuple[int, ...]
    sample_ids: tuple[str, ...]
    began_at: datetime
    said: str


@dataclass(frozen=True)
class ControlChart:
    """Differences between predictions and laboratory values in the order of time, with limits.

    Attributes
    ----------
    sample_ids, scored_at
        Of each sample its id, and when it was predicted (naive UTC).
    measured, predicted
        float64 (n_samples,), in the unit of the target.
    error
        The s of the limits, in the unit of the target; None when it is not known: then there are no limits, and only the bias is
        tested.
    unit
        Unit of the target, or None.
    agreement
        Bias, SEP and the like of all samples.
    crossings
        In the order of time.
    """

    sample_ids: tuple[str, ...]
    scored_at: tuple[datetime, ...]
    measured: Values
    predicted: Values
    error: float | None
    unit: str | None
    agreement: Agreement
    crossings: tuple[Crossing, ...]

    @property
    def differences(self) -> Values:
        """Predicted less measured."""
        return self.predicted - self.measured

    @property
    def warning_limit(self) -> float | None:
        """2 s: the limits lie at plus and minus this."""
        return None if self.error is None else WARNING * self.error

    @property
    def action_limit(self) -> float | None:
        """3 s: the limits lie at plus and minus this."""
        return None if self.error is None else ACTION * self.error


def control_chart(
    sample_ids: Sequence[str],
    scored_at: Sequence[datetime],
    measured: npt.ArrayLike,
    predicted: npt.ArrayLike,
    error: float | None,
    *,
    unit: str | None = None,
    confidence: float = 0.95,
    since: datetime | None = None,
) -> ControlChart:
    """Draw up the chart of samples that are in the order of time.

    Parameters
    ----------
    sample_ids, scored_at
        (n_samples,).
    measured, predicted
        Laboratory values and predictions, (n_samples,), finite, in the unit of the target.
    error
        The error of the model in cross-validation (RMSECV) in the unit of the target, or None when it is not known.
    unit
        Unit of the target, for the words.
    confidence
        Of the limits of bias and slope in `agreement`.
    since
        Where the chart begins. Earlier samples are only looked at to tell what had begun before: it is the same crossing still.

    Raises
    ------
    InvalidInputError
        When lengths differ, a value is not finite, the times go back, no sample is late enough or the error is not above zero.

    Examples
    --------
    >>> from datetime import datetime
    >>> days = [datetime(2026, 3, day) for day in range(1, 7)]
    >>> measured, predicted = [10, 12, 9, 11, 10, 13], [10.2, 11.7, 9.1, 13.4, 10.1, 14.2]
    >>> chart = control_chart(list("abcdef"), days, measured, predicted, error=0.5, unit="%")
    >>> for crossing in chart.crossings:
    ...     print(crossing.rule, "-", crossing.said)
    action - d is predicted 2.4 % too high, beyond the action limit of 1.5 %.
    warning - d, f: two of three consecutive samples are predicted too high, by more than the warning limit of 1 %.
    """
    y, y_hat = pairs(measured, predicted)
    if not len(sample_ids) == len(scored_at) == len(y):
        raise InvalidInputError(f"Each of {len(y)} pairs needs a sample id and a time of its own.")
    if any(later < earlier for earlier, later in pairwise(scored_at)):
        raise InvalidInputError("The samples of a control chart must be in the order of time.")
    if error is not None and not (np.isfinite(error) and error > 0):
        raise InvalidInputError(f"The limits of a control chart need an error above zero, not {error!r}.")
    start = 0 if since is None else bisect_left(scored_at, naive_utc(since))
    samples = _Samples(sample_ids, scored_at, unit)
    found = sorted(_crossings(samples, y_hat - y, error), key=lambda one: (one.members, one.rule))
    crossings = [
        replace(one, members=tuple(i - start for i in one.members if i >= start))
        for one in found
        if one.members[-1] >= start
    ]
    return ControlChart(
        tuple(sample_ids[start:]),
        tuple(scored_at[start:]),
        y[start:],
        y_hat[start:],
        error,
        unit,
        agreement(y[start:], y_hat[start:], confidence),
        tuple(crossings),
    )


class _Samples(NamedTuple):
    """The samples of a chart, and what words about them need."""

    ids: Sequence[str]
    times: Sequence[datetime]
    unit: str | None

    def crossing(self, rule: Rule, side: Side, members: tuple[int, ...], said: str) -> Crossing:
        return Crossing(rule, side, members, tuple(self.ids[i] for i in members), self.times[members[0]], said)

    def amount(self, value: float) -> str:
        return f"{value:.3g}" + (f" {self.unit}" if self.unit else "")

    def listed(self, members: Sequence[int]) -> str:
        """The first ids, and how many more there are."""
        shown = members if len(members) <= 4 else members[:3]
        more = f" and {len(members) - 3} more" if len(members) > 4 else ""
        return ", ".join(self.ids[i] for i in shown) + more


@dataclass(frozen=True)
class _Lasting:
    """What biases of one side there are: for each sample the number of the one that lasts then (0 for none), and its mean."""

    number: npt.NDArray[np.int64]
    mean: Values

    def gathered(self, too_much: Values, limit: float, apart: int, least: int) -> list[tuple[int, ...]]:
        """Rows of at least so many samples beyond a limit; those that are there because of the same bias together."""
        alone, together = [], dict[int, list[int]]()
        for row in _rows(np.flatnonzero(too_much > limit), apart):
            number, members = int(self.number[row[0]]), list(row)
            if len(row) < least:
                continue
            if number and np.sum(too_much[members] - self.mean[members] > limit) < least:
                together.setdefault(number, []).extend(members)
            else:
                alone.append(row)
        return [*alone, *map(tuple, together.values())]


def _crossings(samples: _Samples, differences: Values, error: float | None) -> Iterator[Crossing]:
    sides: tuple[tuple[Side, float], ...] = (("high", 1.0), ("low", -1.0))
    for side, sign in sides:
        too_much = sign * differences
        biases, lasting = _biased(samples, too_much, side)
        yield from biases
        if error is not None:
            yield from _beyond_action(samples, too_much, lasting, ACTION * error, side)
            yield from _beyond_warning(samples, too_much, lasting, WARNING * error, side)


def _beyond_action(
    samples: _Samples, too_much: Values, lasting: _Lasting, limit: float, side: Side
) -> Iterator[Crossing]:
    for members in lasting.gathered(too_much, limit, apart=1, least=1):
        verb = "is predicted" if len(members) == 1 else "are predicted up to"
        most, at_most = samples.amount(np.max(too_much[list(members)])), samples.amount(limit)
        said = f"{samples.listed(members)} {verb} {most} too {side}, beyond the action limit of {at_most}."
        yield samples.crossing("action", side, members, said)


def _beyond_warning(
    samples: _Samples, too_much: Values, lasting: _Lasting, limit: float, side: Side
) -> Iterator[Crossing]:
    # Of samples beyond the limit with at most one other in between, at least two.
    for members in lasting.gathered(too_much, limit, apart=2, least=2):
        said = (
            f"{samples.listed(members)}: two of three consecutive samples are predicted too {side}, by more than the warning "
            f"limit of {samples.amount(limit)}."
        )
        yield samples.crossing("warning", side, members, said)


def _biased(samples: _Samples, too_much: Values, side: Side) -> tuple[list[Crossing], _Lasting]:
    size = len(too_much)
    means, limits, lasting = np.zeros(size), np.full(size, np.inf), np.zeros(size, dtype=np.bool_)
    for i in range(LEAST - 1, size):
        window = too_much[max(0, i - WINDOW + 1) : i + 1]
        means[i], limits[i] = np.mean(window), bias_limit(window, _STRICT) or 0.0
        lasting[i] = means[i] > (bias_limit(window, _USUAL) or 0.0)
    found: list[Crossing] = []
    numbers = np.zeros(size, dtype=np.int64)
    for row in _rows(np.flatnonzero(lasting), apart=1):
        begun = [i for i in row if means[i] > limits[i]]
        if not begun:
            continue
        members = tuple(range(begun[0], row[-1] + 1))
        worst = max(begun, key=lambda i: means[i] - limits[i])
        start = max(0, worst - WINDOW + 1)
        mean, chance = samples.amount(means[worst]), samples.amount(limits[worst])
        said = (
            f"The {worst - start + 1} samples from {samples.ids[start]} to {samples.ids[worst]} are predicted {mean} too {side} on "
            f"average; by chance it would be at most {chance}."
        )
        found.append(samples.crossing("bias", side, members, said))
        numbers[list(members)] = len(found)
    return found, _Lasting(numbers, means)


def _rows(places: npt.NDArray[np.intp], apart: int) -> list[tuple[int, ...]]:
    """Places that follow each other at most this far apart, together."""
    ends = np.flatnonzero(np.diff(places) > apart) + 1
    return [tuple(part.tolist()) for part in np.split(places, ends) if part.size]
