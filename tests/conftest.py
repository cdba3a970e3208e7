"""Prefect for the tests: a home of its own, nothing sent anywhere, one server for all tests that are marked `prefect`."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

_home = tempfile.mkdtemp(prefix="n4a-flows-prefect-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)

# Prefect reads its settings when it is imported, which is after this.
for name in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[name]
os.environ.update(
    PREFECT_HOME=_home,
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_LOGGING_LEVEL="WARNING",
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW="ignore",
    DO_NOT_TRACK="1",
)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The address of the API of a Prefect server with a database of its own; flows of this process use it."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # Every flow would wait a second for its heartbeat to stop.
    quick = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with prefect_test_harness(server_startup_timeout=120), temporary_settings(quick):
        yield PREFECT_API_URL.value()


@pytest.fixture(autouse=True)
def _prefect_where_marked(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("prefect"):
        request.getfixturevalue("prefect_server")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pure rooms first: they are quick, and some of their tests fork, which a process with a server's threads should not."""
    items.sort(key=lambda item: item.get_closest_marker("prefect") is not None)
