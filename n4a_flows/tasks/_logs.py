"""What the pure rooms log appears among the logs of the flow run in which they did it."""

from __future__ import annotations

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_LOGGING_LEVEL,
    PREFECT_SERVER_API_AUTH_STRING,
)
from pydantic import SecretStr

from n4a_flows.storage.places import without_credentials

_ROOMS = "n4a_flows"
_SECRETS = (PREFECT_API_KEY, PREFECT_API_AUTH_STRING, PREFECT_SERVER_API_AUTH_STRING)
_HIDDEN = "********"


class RunLogHandler(APILogHandler):
    """Sends records of a flow run or task run to the Prefect API, without secrets; it passes over those of no run."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, if a run is going on."""
        if FlowRunContext.get() is not None or TaskRunContext.get() is not None:
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record, with the server's keys and passwords in addresses made unreadable."""
        text = super().format(record)
        for setting in _SECRETS:
            value = setting.value()
            secret = value.get_secret_value() if isinstance(value, SecretStr) else value
            if secret:
                text = text.replace(secret, _HIDDEN)
        return without_credentials(text, _HIDDEN)


def show_in_runs() -> None:
    """Let the logger of this package send to the Prefect API from now on, at the level that Prefect itself logs at.

    It is not asked of people to set PREFECT_LOGGING_EXTRA_LOGGERS. Where they did, their handler is replaced, so that no line comes
    twice. A level that somebody has given the logger is left as it is.
    """
    logger = logging.getLogger(_ROOMS)
    for handler in [handler for handler in logger.handlers if isinstance(handler, APILogHandler)]:
        logger.removeHandler(handler)
    logger.addHandler(RunLogHandler())
    if logger.level == logging.NOTSET:
        logger.setLevel(PREFECT_LOGGING_LEVEL.value())
