"""`n4a-flows up`: everything that a first try with the Prefect UI needs, in one command."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Annotated, Any

import typer

from n4a_flows.cli.common import DEFAULT_WORKSPACE, AsJson, Workspace, print_json
from n4a_flows.cli.console import PrefectUnreachableError, out
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import WorkspaceError

_FIRST_PORT = 4200  # Prefect's own
_PATIENCE = 180.0  # seconds that a start may take
_GRACE = 30.0  # seconds that an end may take
_NOT_OURS = ("PREFECT_PROFILE", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING")


def up(
    workspace: Workspace = DEFAULT_WORKSPACE,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the UI; the first free one from 4200 when left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a Prefect server with its UI and the flows for a workspace, until Ctrl-C.

    The workspace is made when it is not there, and the first training is started when nothing has been trained. The server keeps
    its own state in the folder `prefect` of the workspace. It listens on this machine only, and sends nothing anywhere.

    \b
    Examples:
      n4a-flows up
      n4a-flows up --workspace demo-workspace --port 4300
    """
    with WorkspaceStore(workspace) as store:
        folder = store.workspace_path.resolve()
    home = folder / "prefect"
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(home))
        stack.enter_context(_stopped_by_signals())
        chosen = _chosen(port)
        environment = _environment(home, chosen)
        try:
            server = _start_server(stack, environment, home / "server.log", chosen)
            flows = _start_flows(stack, environment, folder)
            _say(folder, chosen, as_json)
            _watch(server, flows)
        except KeyboardInterrupt:
            _ignore_signals()
            if not as_json:
                out.print("ending ...")


def _environment(home: Path, port: int) -> dict[str, str]:
    """Settings for the server and the flows: nothing of another server, nothing sent anywhere."""
    url = f"http://127.0.0.1:{port}"
    return {
        **{name: value for name, value in os.environ.items() if name not in _NOT_OURS},
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_UI_URL": url,
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
    }


def _start_server(
    stack: contextlib.ExitStack, environment: Mapping[str, str], log: Path, port: int
) -> subprocess.Popen[bytes]:
    arguments = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    output = stack.enter_context(log.open("wb"))
    server = stack.enter_context(_child(arguments, environment, stdout=output, stderr=output))
    deadline = time.monotonic() + _PATIENCE
    while not _healthy(port):
        if server.poll() is not None or time.monotonic() > deadline:
            raise PrefectUnreachableError(f"The Prefect server on port {port} did not start; {log} says why.")
        time.sleep(0.3)
    return server


def _start_flows(
    stack: contextlib.ExitStack, environment: Mapping[str, str], workspace: Path
) -> subprocess.Popen[bytes]:
    ours, theirs = os.pipe()
    stack.callback(os.close, ours)
    arguments = ["n4a_flows.deploy.serving", str(workspace), str(theirs)]
    try:
        flows = stack.enter_context(_child(arguments, environment, stdout=sys.stderr, pass_fds=[theirs]))
    finally:
        os.close(theirs)
    ready, _, _ = select.select([ours], [], [], _PATIENCE)
    if not ready or not os.read(ours, 1):  # at its end, when the process has died
        raise PrefectUnreachableError("The flows could not be served; the lines above say why.")
    return flows


@contextlib.contextmanager
def _child(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdout: IO[Any],
    stderr: IO[Any] | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, which Ctrl-C does not reach: it and all its children are ended in order, here."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _chosen(port: int | None) -> int:
    """The port that was asked for, or the first that is free. The flows must not meet the server of somebody else there."""
    if port is not None:
        if not _free(port):
            raise PrefectUnreachableError(f"Port {port} is taken: give another one with --port, or none.")
        return port
    for candidate in range(_FIRST_PORT, _FIRST_PORT + 100):
        if _free(candidate):
            return candidate
    raise PrefectUnreachableError(f"No port from {_FIRST_PORT} to {_FIRST_PORT + 99} is free: give one with --port.")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _say(workspace: Path, port: int, as_json: bool) -> None:
    said = {
        "ui": f"http://127.0.0.1:{port}",
        "api": f"http://127.0.0.1:{port}/api",
        "workspace": str(workspace),
        "incoming": str(workspace / "incoming"),
        "server_log": str(workspace / "prefect" / "server.log"),
    }
    if as_json:
        print_json(said)
        return
    out.print(f"\nPrefect UI   {said['ui']}", markup=False)
    out.print(f"workspace    {said['workspace']} (block workspace-store/local)", markup=False)
    out.print(
        f"new spectra  {said['incoming']} is looked at every five minutes, and when there is a new champion",
        markup=False,
    )
    out.print(f"server log   {said['server_log']}", markup=False)
    out.print("Ctrl-C ends it all.\n")


def _watch(server: subprocess.Popen[bytes], flows: subprocess.Popen[bytes]) -> None:
    """Return never; `KeyboardInterrupt` is the way out."""
    while True:
        if server.poll() is not None:
            raise PrefectUnreachableError("The Prefect server has ended by itself; its log says why.")
        if flows.poll() is not None:
            raise PrefectUnreachableError("The process that serves the flows has ended by itself; see the lines above.")
        time.sleep(0.5)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Refuse to start twice for one workspace."""
    home.mkdir(exist_ok=True)
    with (home / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkspaceError(f"`n4a-flows up` runs already for {home.parent}: end that one first.") from error
        yield


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM, and the end of the terminal, mean what Ctrl-C means."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """While it ends, for impatience must not leave processes behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(rich_help_panel="Begin")(up)
