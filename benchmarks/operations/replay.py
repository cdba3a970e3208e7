"""Predict n x 700 spectra with a stored chain: five fold models of PLS after SNV, Savitzky-Golay and scaling."""

from __future__ import annotations

from functools import partial

from benchmarks.contenders import FLOOR, MLFLOW, OURS
from benchmarks.harness import EVERYBODY, Bench, UnavailableError, calls

NAME = "replay"
ABOUT = "predict with a stored chain (floor: bare scikit-learn, its first use loads files of joblib.dump)"

COMPRESSED = "compressed files"
"""The floor again, from files of `joblib.dump(compress=3)`, which is how nirs4all keeps artifacts."""

WIDTH = 700
SAMPLES = (1, 100, 10_000)
AT_ONCE = {1: 20, 100: 20, 10_000: 1}


def run(bench: Bench) -> None:
    """Targets: 100 x 700 at most 1.1 times the bare libraries, kept and at first use; from plain files and from compressed ones."""
    with bench.workers(EVERYBODY) as workers:
        for name, worker in list(workers.items()):
            try:
                worker("keep_chain", width=WIDTH)
            except UnavailableError as error:
                bench.results.add(NAME, "recording the chain", name, "ms", [], str(error))
                workers.pop(name).end()
        for samples in SAMPLES:
            shape = {"samples": samples, "width": WIDTH, "times": AT_ONCE[samples]}
            first = calls(workers, EVERYBODY, "replay", **shape)
            if FLOOR in workers:
                first |= {COMPRESSED: partial(workers[FLOOR], "replay_compressed", **shape)}
            bench.in_turn(NAME, f"first use, {samples:,} x {WIDTH}", "ms", first)
            kept = calls(workers, (OURS, MLFLOW, FLOOR), "replay_kept", **shape)
            bench.in_turn(NAME, f"kept, {samples:,} x {WIDTH}", "ms", kept)
    bench.results.against_floor(NAME, f"kept, 100 x {WIDTH}", "<=", 1.1, "bare scikit-learn in memory")
    first_use = f"first use, 100 x {WIDTH}"
    bench.results.against_floor(NAME, first_use, "<=", 1.1, "bare load and predict")
    ratio = bench.results.ratio(NAME, first_use, OURS, COMPRESSED)
    bench.results.target(NAME, f"{first_use}, against bare load of {COMPRESSED} and predict", ratio, "<=", 1.1)
