"""The pure rooms work where Prefect is not installed, and importing them is light."""

from __future__ import annotations

import subprocess
import sys


def test_pure_rooms_import_without_prefect() -> None:
    # Each in a process of its own that has imported none of ours, forked from one that has what takes long.
    code = """
import os, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == "prefect" or name.startswith("prefect."):
            raise ImportError("prefect is blocked")
sys.meta_path.insert(0, Blocked())
import matplotlib.figure, polars, scipy.stats, sklearn.cross_decomposition
for room in ("storage", "spectra", "monitoring", "training", "reports"):
    child = os.fork()
    if child == 0:
        __import__("n4a_flows." + room)
        sys.exit()
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(room + " cannot be imported; its traceback stands above")
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_storage_imports_without_polars_and_what_computes() -> None:
    code = "import sys, n4a_flows.storage; print([m for m in ('polars', 'sklearn', 'scipy', 'joblib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
