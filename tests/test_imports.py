"""The pure rooms work where Prefect is not installed, and importing them is light."""

from __future__ import annotations

import subprocess
import sys


def test_pure_rooms_import_without_prefect() -> None:
    code = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == "prefect" or name.startswith("prefect."):
            raise ImportError("prefect is blocked")
sys.meta_path.insert(0, Blocked())
import n4a_flows.storage
import n4a_flows.spectra
import n4a_flows.monitoring
import n4a_flows.training
import n4a_flows.reports
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_storage_imports_without_polars_and_what_computes() -> None:
    code = "import sys, n4a_flows.storage; print([m for m in ('polars', 'sklearn', 'scipy', 'joblib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
