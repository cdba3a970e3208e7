from __future__ import annotations

import logging
import sys
from collections.abc import Callable

import pytest

Command = Callable[..., str]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process; gives what it prints, or of one that fails its one line on stderr."""
    from n4a_flows.cli.commands import run

    def call(*arguments: object, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["n4a-flows", *map(str, arguments)])
        capsys.readouterr()
        # The command keeps Prefect's logs off the console by its environment, which this process read before.
        logging.disable(logging.CRITICAL)
        try:
            ended: object = run()
        except SystemExit as error:
            ended = error.code or 0
        finally:
            logging.disable(logging.NOTSET)
        shown, said = capsys.readouterr()
        assert ended == code, said
        if code != 1:
            return shown
        (line,) = said.splitlines()
        assert line.startswith("error: ")
        return line

    return call
