"""Train 200 pipelines on tecator and record them, against a plain loop that keeps nothing."""

from __future__ import annotations

from functools import partial

from benchmarks.contenders import OURS, TRAINING
from benchmarks.harness import Bench

NAME = "training"
ABOUT = "train 200 pipelines (10 preprocessings x 20 components, 5 folds, a refit each), recorded and by a plain loop"

PLAIN, FOLDS, REFIT = "plain loop, keeps nothing", "recorded, all fold models", "recorded, the refit alone"


def run(bench: Bench) -> None:
    """Targets: at most 1.5 times the plain loop with the fold models, at most 1.0 times with the refit alone."""
    worker = bench.start(TRAINING)
    try:
        work = {
            PLAIN: partial(worker, "plain"),
            FOLDS: partial(worker, "recorded", keep_fold_models=True),
            REFIT: partial(worker, "recorded", keep_fold_models=False),
        }
        bench.in_turn(NAME, "200 pipelines", "s", work)
    finally:
        worker.end()
    for name, limit in ((FOLDS, 1.5), (REFIT, 1.0)):
        ratio = bench.results.ratio(NAME, "200 pipelines", name, PLAIN)
        bench.results.target(NAME, f"{OURS}, {name}, against the plain loop", ratio, "<=", limit)
