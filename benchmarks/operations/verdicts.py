"""Predict 10,000 x 700 spectra with a kept predictor, with verdicts and without."""

from __future__ import annotations

from functools import partial

from benchmarks.contenders import JUDGING, OURS
from benchmarks.harness import Bench

NAME = "verdicts"
ABOUT = "predict 10,000 x 700 with a kept predictor (SNV, Savitzky-Golay, scaling, PLS), with and without verdicts"

CASE = "10,000 x 700"
WITHOUT, WITH = "without verdicts", "with verdicts and intervals"


def run(bench: Bench) -> None:
    """Target: at most 1.5 times as long with verdicts."""
    worker = bench.start(JUDGING)
    try:
        work = {WITHOUT: partial(worker, "predict"), WITH: partial(worker, "judged")}
        bench.in_turn(NAME, CASE, "ms", work)
    finally:
        worker.end()
    ratio = bench.results.ratio(NAME, CASE, WITH, WITHOUT)
    bench.results.target(NAME, f"{OURS}, {WITH}, against {WITHOUT}", ratio, "<=", 1.5)
