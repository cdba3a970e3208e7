"""Import the package and its storage in a new interpreter."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

from benchmarks.contenders import FLOOR, OURS, ROOT
from benchmarks.harness import Bench

NAME = "imports"
ABOUT = "import in a new interpreter, its start included (floor: numpy, polars, pyarrow and duckdb)"

BARE = "import numpy, polars, pyarrow, duckdb"


def run(bench: Bench) -> None:
    """Targets: storage in less than half a second, without Prefect."""
    results = bench.results
    _seconds("pass")
    for statement in ("import n4a_flows", "import n4a_flows.storage", "import n4a_flows.training"):
        bench.in_turn(NAME, statement, "s", {OURS: partial(_seconds, statement), FLOOR: partial(_seconds, BARE)})
    found = results.find(NAME, "import n4a_flows.storage", OURS)
    results.target(NAME, "import n4a_flows.storage, s", found and found.median, "<=", 0.5)
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, n4a_flows.storage; print('prefect' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    results.target(NAME, "prefect is imported by n4a_flows.storage", float("True" in loaded.stdout), "<=", 0)


def _seconds(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, cwd=ROOT)
    return time.perf_counter() - began
