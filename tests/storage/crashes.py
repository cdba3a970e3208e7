"""Kill a process at many moments of one call, and look at what it leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import n4a_flows.storage
from n4a_flows.storage import WorkspaceStore

_OURS = str(Path(n4a_flows.storage.__file__).parent)
_ON_DISK = {"fsync", "replace", "unlink", "rmdir", "mkdir", "ftruncate"}

Verb = Callable[[Any], Any]


class Moments:
    """Counts what happens in a call, line by line of the package and at every call that changes the disk."""

    def __init__(self, die_at: int = 0) -> None:
        self.count = 0
        self.on_disk: list[int] = []
        self.die_at = die_at

    def __enter__(self) -> Moments:
        sys.settrace(self._called)
        sys.setprofile(self._used)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        sys.settrace(None)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(_OURS) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self._happened()
        return self._line

    def _used(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and argument.__name__ in _ON_DISK:
            self._happened()
            self.on_disk.append(self.count)

    def _happened(self) -> None:
        self.count += 1
        if self.count == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def crashed(
    before: Path,
    verb: Verb,
    evenly: int = 20 if os.environ.get("N4A_LONG") else 2,
    opened: Callable[[Path], Any] = WorkspaceStore,
) -> Iterator[Path]:
    """Copies of a workspace in which a process died in the middle of a verb; the last one is a copy in which it did not.

    The verb is given what `opened` makes of the folder.
    """
    whole = _copy(before, "whole")
    given = opened(whole)
    with Moments() as moments:
        verb(given)
    spread = range(1, moments.count, max(1, moments.count // evenly))
    for moment in sorted({*spread, *moments.on_disk, moments.count}):
        workspace = _copy(before, f"killed-{moment}")
        child = os.fork()
        if child == 0:
            _die(workspace, verb, moment, opened)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or status == 0, f"the child failed by itself before moment {moment}"
        yield workspace
        shutil.rmtree(workspace)
    yield whole


def _copy(workspace: Path, name: str) -> Path:
    return Path(shutil.copytree(workspace, workspace.with_name(f"{workspace.name}-{name}")))


def _die(workspace: Path, verb: Verb, moment: int, opened: Callable[[Path], Any]) -> None:
    try:
        given = opened(workspace)
        with Moments(moment):
            verb(given)
    except BaseException:  # noqa: BLE001 - shown, and told by the exit status
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
