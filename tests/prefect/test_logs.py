"""What the pure rooms log shows on the page of the flow run, once, and without secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

from n4a_flows import WorkspaceStoreBlock, tasks
from n4a_flows.tasks._logs import show_in_runs

pytestmark = pytest.mark.prefect

ROOM = logging.getLogger("n4a_flows.storage.somewhere")


@pytest.fixture(autouse=True)
def informative() -> Iterator[None]:
    """At INFO, as it is where nobody sets PREFECT_LOGGING_LEVEL; the tests set it."""
    logger = logging.getLogger("n4a_flows")
    level = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(level)


def lines_of(flow_run_id: str) -> list[str]:
    """What the rooms logged in a flow run, as the server has it."""
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        found = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id])))
    return [log.message for log in found if log.name.startswith("n4a_flows.")]


def test_lines_name_ids_and_come_once(block: WorkspaceStoreBlock) -> None:
    @flow
    def recording(store: WorkspaceStoreBlock) -> tuple[str, str]:
        run_id = tasks.begin_run(store, "nightly", {}, [])
        tasks.fail_run(store, run_id, "no light")
        return str(flow_run.id), run_id

    # As with PREFECT_LOGGING_EXTRA_LOGGERS=n4a_flows.
    logging.getLogger("n4a_flows").addHandler(APILogHandler())
    show_in_runs()
    flow_run_id, run_id = recording(block)

    assert sorted(lines_of(flow_run_id)) == [f"Run {run_id} began: nightly", f"Run {run_id} failed: no light"]


def test_secrets_are_hidden_and_what_belongs_to_no_run_stays_here(recwarn: pytest.WarningsRecorder) -> None:
    @flow
    def careless() -> str:
        with temporary_settings({PREFECT_API_AUTH_STRING: "admin:pa55word"}):
            ROOM.info("asked %s with %s", "postgresql://me:hunter2@host/db", ["admin:pa55word"])
        return str(flow_run.id)

    flow_run_id = careless()
    ROOM.info("outside of any flow run")

    (line,) = lines_of(flow_run_id)
    assert line == "asked postgresql://********@host/db with ['********']"
    assert not [warning for warning in recwarn if "flow run" in str(warning.message)]
