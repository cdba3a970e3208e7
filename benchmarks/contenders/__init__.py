"""Who takes part. Each module runs in the environment of its contender and imports nothing of the others."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

OURS = "n4a_flows"
FLOOR = "floor"
NEW, ERA, MLFLOW = "nirs4all 1.4.10", "nirs4all 0.7.1", "MLflow 3"
PEERS = (NEW, ERA, MLFLOW)

TRAINING, SCORING, JUDGING, ENGINES = "training", "scoring", "judging", "engines"
"""The plain loops and what they are compared with, which share a process; and the flow by one of its runners."""

MODULES = {OURS: "ours", FLOOR: "bare", NEW: "nirs4all_sqlite", ERA: "nirs4all_duckdb", MLFLOW: "mlflow3"}
MODULES |= {TRAINING: "training", SCORING: "scoring", JUDGING: "judging", ENGINES: "engines"}
_FOLDERS = {NEW: "nirs4all-1.4.10", ERA: "nirs4all-0.7.1", MLFLOW: "mlflow-3.17.2"}


def python_of(contender: str) -> Path:
    """The interpreter of the environment that a contender runs in; made by `make bench`."""
    if contender in _FOLDERS:
        return ROOT / ".bench" / _FOLDERS[contender] / "bin" / "python"
    return Path(sys.executable)
