"""The lab with its server, its workers and a browser."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from lab import Lab, wait_for
from prefect.settings import PREFECT_API_URL, temporary_settings


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab with its server, and everything on it; workers are for the tests to start."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    with lab.server(), temporary_settings({PREFECT_API_URL: f"{lab.url}/api"}):
        wait_for("the server", lab.healthy, 120)
        lab.set_up()
        yield lab


@pytest.fixture
def worker(lab: Lab) -> Iterator[subprocess.Popen[bytes]]:
    with lab.worker() as process:
        yield process


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium; the tests that need it are skipped where it is missing."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    return found
