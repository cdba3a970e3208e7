"""Scoring is killed again and again: every file is scored exactly once. Run by `make torture`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import PredictionOptions, predict_new_spectra
from n4a_flows.spectra import load_tecator

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.skipif(not os.environ.get("N4A_LONG"), reason="takes minutes; run by make torture"),
]

FILES, KILLS = 6000, 10
SCORE = """
import sys
from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import PredictionOptions, predict_new_spectra
print("started", flush=True)
options = PredictionOptions(settle_seconds=0, files_per_task=100)
predict_new_spectra(WorkspaceStoreBlock(path=sys.argv[1]), sys.argv[2], sys.argv[3], options)
"""


def test_every_file_is_scored_exactly_once(
    block: WorkspaceStoreBlock, chain: str, tmp_path: Path, prefect_server: str
) -> None:
    chance, spectra, incoming = random.Random(5), load_tecator(), tmp_path / "incoming"
    noise = np.random.default_rng(5).normal(0, 1e-4, (FILES, spectra.n_points))
    incoming.mkdir()
    header = "sample_id," + ",".join(map(repr, spectra.axis.values.tolist()))
    for number in range(FILES):
        values = (spectra.X[number % spectra.n_samples] + noise[number]).tolist()
        (incoming / f"s{number}.csv").write_text(f"{header}\ns{number}," + ",".join(map(repr, values)) + "\n")
    seen = []
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SCORE, str(block.path), chain, str(incoming)],
            env=os.environ | {"PREFECT_API_URL": prefect_server},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        # After so many writes, not seconds: a busy machine is given the time for as many.
        _wait_for_writes(process, block.path / "store.duckdb", chance.randint(0, 12))
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.wait()
        process.stdout.close()
        with block.open() as store:
            seen.append(store.scored_files().height)
    summary = predict_new_spectra(block, chain, incoming, PredictionOptions(settle_seconds=0))
    with block.open() as store:
        files, samples = store.scored_files(), store.scored_samples()
        assert store.check("full").ok
    print(f"recorded after each kill: {seen}; {summary.scored} scored at the end")
    assert files.height == samples.height == FILES
    assert files["path"].n_unique() == samples["sample_id"].n_unique() == FILES
    assert set(files["status"]) == {"scored"}
    assert seen == sorted(seen)
    assert len(set(seen)) > 5, "some were killed in the middle of their work"
    table = pl.read_parquet(summary.predictions_path)
    assert table["sample_id"].n_unique() == table.height == FILES


def _wait_for_writes(process: subprocess.Popen[str], file: Path, wanted: int) -> None:
    """Wait until a process has written a file so many times, as far as its time of change tells, or has ended."""
    writes, changed = 0, file.stat().st_mtime_ns
    while writes < wanted and process.poll() is None:
        time.sleep(0.002)
        if (now := file.stat().st_mtime_ns) != changed:
            writes, changed = writes + 1, now
