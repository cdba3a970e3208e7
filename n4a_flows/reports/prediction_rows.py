"""Recorded predictions as rows of tables and points of pictures: the worst first, in words and digits for people."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from n4a_flows.reports.document import Table
from n4a_flows.reports.drawing import VERDICT_MARKS
from n4a_flows.reports.score_text import number

_INTERVAL = {"lower": "$.interval[0]", "upper": "$.interval[1]"}
_LONGEST_NAME, _LONGEST_REASON, _MOST_REASONS, _LINE = 40, 300, 3, 80


def with_intervals(samples: pl.DataFrame) -> pl.DataFrame:
    """Rows of the ledger, with what their `detail` says of the prediction interval as the columns `lower` and `upper`."""
    return samples.with_columns(_at(path).alias(name) for name, path in _INTERVAL.items())


def statistics_of(samples: pl.DataFrame, names: Iterable[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Statistics of rows of the ledger by name, (n_samples,) each, NaN where there is none."""
    found = samples.select(_at(f"$.{name}").alias(name) for name in names)
    return {name: found[name].fill_null(math.nan).to_numpy() for name in found.columns}


def _at(path: str) -> pl.Expr:
    return pl.col("detail").str.json_path_match(path).cast(pl.Float64, strict=False)


def verdict_counts(samples: pl.DataFrame) -> dict[str, int]:
    """Number of samples by their verdict, the best verdict first; those without one are left out."""
    found = dict(samples["verdict"].value_counts().iter_rows())
    return {verdict: found[verdict] for verdict in VERDICT_MARKS if verdict in found}


def worst_first(samples: pl.DataFrame, limits: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    """Rows of the ledger in the order of their verdicts, the worst first; of equal verdicts the one furthest beyond its limits.

    Parameters
    ----------
    limits
        Warning and outlier limit by the name of a statistic.
    """
    ranks = {verdict: rank for rank, verdict in enumerate(reversed(VERDICT_MARKS))}
    excess = furthest_beyond(statistics_of(samples, limits), limits, len(samples))
    rank = pl.col("verdict").replace_strict(ranks, default=len(ranks), return_dtype=pl.Int64)
    return (
        samples.with_columns(rank.alias("_rank"), pl.Series("_excess", excess))
        .sort("_rank", "_excess", descending=[False, True], maintain_order=True)
        .drop("_rank", "_excess")
    )


def furthest_beyond(
    statistics: Mapping[str, npt.NDArray[np.float64]], limits: Mapping[str, tuple[float, float]], n: int
) -> npt.NDArray[np.float64]:
    """How many times its outlier limit the worst statistic of each of n samples is."""
    excess = np.zeros(n)
    for name, values in statistics.items():
        if limits[name][1] > 0:
            excess = np.fmax(excess, values / limits[name][1])
    return excess


def decimals_for(samples: pl.DataFrame) -> int | None:
    """Decimals that the predictions of a table deserve: two digits of half their typical interval; None without intervals."""
    half = samples.select((pl.col("upper") - pl.col("lower")).median() / 2).item()
    if half is None or not math.isfinite(half) or half <= 0:
        return None
    return min(12, max(0, 1 - math.floor(math.log10(half))))


def value_text(value: float | str | None, decimals: int | None, unit: str | None = None) -> str:
    """A predicted value for people; empty when there is none."""
    if isinstance(value, str):
        return clipped(value, _LONGEST_NAME)
    if value is None or not math.isfinite(value):
        return ""
    text = (
        (f"{value:.5g}" if 1e-3 <= abs(value) < 1e5 else number(value)) if decimals is None else f"{value:.{decimals}f}"
    )
    return f"{text} {unit}" if unit else text


def sample_table(samples: pl.DataFrame, decimals: int | None, unit: str | None) -> Table:
    """Value, interval, verdict and reason of each sample; its file, where the name of the sample does not say it."""
    header = ["sample", "value", "interval", "verdict", "reason", "file"]
    files = [Path(path) for path in samples["path"]]
    cells = [
        [
            clipped(row["sample_id"], _LONGEST_NAME),
            value_text(row["y"] if row["label"] is None else row["label"], decimals, unit) or "none",
            interval_text(row["lower"], row["upper"], decimals),
            row["verdict"] or "",
            "\n".join(_wrapped(reasons_of(row["reasons"]))),
            clipped(file.name, _LONGEST_NAME),
        ]
        for row, file in zip(samples.iter_rows(named=True), files, strict=True)
    ]
    told = all(file.stem == sample for file, sample in zip(files, samples["sample_id"], strict=True))
    return Table(header[:-1], [row[:-1] for row in cells]) if told else Table(header, cells)


def interval_text(low: float | None, high: float | None, decimals: int | None) -> str:
    """Where a value lies, for people; empty when nobody knows."""
    ends = [value_text(end, decimals) for end in (low, high)]
    return " to ".join(ends) if all(ends) else ""


def _wrapped(reasons: Sequence[str]) -> list[str]:
    """The first reasons in lines that fit beside the other columns: not every reader's table breaks them itself."""
    said = [clipped(reason, _LONGEST_REASON) for reason in reasons[:_MOST_REASONS]]
    if len(reasons) > len(said):
        said.append(f"and {len(reasons) - len(said)} more")
    return [line for reason in said for line in textwrap.wrap(reason, _LINE)]


def reasons_of(text: str | None) -> Sequence[str]:
    """The reasons of a row of the ledger."""
    return list(map(str, json.loads(text))) if text else []


def clipped(text: str, most: int) -> str:
    """A text that somebody else chose, on one line, what cannot be printed shown as a question mark, and not too long."""
    text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    return text if len(text) <= most else f"{text[: most - 1]}…"
