"""Who may use the store now: a gate, a main lock and a deadline.

Two lock files stand beside the database and are never deleted. A contender takes the **gate**, then the **main** lock (shared to
read, exclusive to write), then lets the gate go. As only the holder of the gate waits for the main lock, readers that come and go
cannot starve a writer, and the kernel's queue on the gate keeps everybody's turn.

`flock` has no deadline. So a taken gate is waited for by a helper thread with a descriptor of its own, while the caller waits for
that thread or the deadline. A helper that was given up lets the gate go as soon as it gets it, or serves the next caller.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from n4a_flows.storage.errors import StoreBusyError, TransactionError, UnsupportedPlatformError, WorkspaceError

try:
    import fcntl
except ImportError as error:  # pragma: no cover - Windows
    raise UnsupportedPlatformError(
        "n4a_flows keeps its workspace safe with POSIX file locks, which Windows does not have. Use it inside WSL 2."
    ) from error

_POLL_SECONDS = 0.0005

# Opening a descriptor and noting it must not be torn apart by a fork, or the child could not close its copy.
_fork_guard = threading.Lock()
_every_lock: weakref.WeakSet[StoreLock] = weakref.WeakSet()


class _GateWaiter(threading.Thread):
    """Blocks on the gate for a caller that has a deadline."""

    def __init__(self, lock: StoreLock) -> None:
        # A daemon, so that a process may end while it waits; it is in a system call then, not in DuckDB.
        super().__init__(name="n4a-store-gate", daemon=True)
        self._lock = lock
        self._changed = threading.Condition()
        self._wanted = False
        self._over = False
        self._descriptor: int | None = None
        self._error: OSError | None = None

    def run(self) -> None:
        descriptor = None
        try:
            descriptor = self._lock._open(self._lock.gate_path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            self._error = error
        with self._changed:
            self._over = True
            if self._wanted and self._error is None:
                self._descriptor = descriptor
            elif descriptor is not None:
                self._lock._free(descriptor)
            self._changed.notify_all()

    def claim(self) -> bool:
        """Ask for the gate; False when the waiter has ended for somebody who gave it up."""
        with self._changed:
            self._wanted = not self._over
            return self._wanted

    def wait_until(self, deadline: float) -> int | None:
        """The descriptor that holds the gate, or None at the deadline; the waiter is given up then."""
        with self._changed:
            self._changed.wait_for(lambda: self._over, max(0.0, deadline - time.monotonic()))
            if not self._over:
                self._wanted = False
            if self._error is not None:
                raise self._error
            taken, self._descriptor = self._descriptor, None
            return taken

    def give_up(self) -> None:
        """Want the gate no longer, and free it if it is held already."""
        with self._changed:
            self._wanted = False
            if self._descriptor is not None:
                self._lock._free(self._descriptor)
                self._descriptor = None


class StoreLock:
    """The locks of one store in this process; every store object on the same real path shares it."""

    def __init__(self, database: Path) -> None:
        self.gate_path = database.with_name(database.name + ".gate")
        self.main_path = database.with_name(database.name + ".lock")
        self._start_afresh()
        _every_lock.add(self)

    def _start_afresh(self) -> None:
        self._thread_lock = threading.Lock()
        self._owner: int | None = None
        self._descriptors: set[int] = set()
        self._held: int | None = None
        self._waiter: _GateWaiter | None = None
        self._holder_here: dict[str, Any] | None = None

    def acquire(self, *, exclusive: bool, operation: str, timeout: float) -> None:
        """Take the store.

        Raises
        ------
        StoreBusyError
            At the deadline, `timeout` seconds from now, saying who holds the store.
        """
        timeout = min(timeout, threading.TIMEOUT_MAX)
        deadline = time.monotonic() + timeout
        if self.owned_here():
            raise TransactionError(
                f"{operation!r} was called while this thread is in the middle of another operation of the same store, for example "
                "from a signal handler."
            )
        if not self._thread_lock.acquire(timeout=timeout):
            raise self._busy(timeout, operation, self._holder_here)
        try:
            self._owner = threading.get_ident()
            gate = self._take_gate(deadline)
            if gate is None:
                raise self._busy(timeout, operation)
            try:
                if not self._take_main(exclusive, deadline):
                    raise self._busy(timeout, operation)
                self._note_holder(operation)
            finally:
                self._free(gate)
        except BaseException:
            self.release()
            raise

    def owned_here(self) -> bool:
        """Whether this thread has the store, or is on its way to it."""
        return self._owner == threading.get_ident()

    def release(self) -> None:
        """Give the store back."""
        self._holder_here = None
        try:
            self._drop_main()
        finally:
            self._owner = None
            self._thread_lock.release()

    def _take_gate(self, deadline: float) -> int | None:
        descriptor = self._open(self.gate_path)
        try:
            if _try_lock(descriptor, fcntl.LOCK_EX):
                return descriptor
        except BaseException:
            self._free(descriptor)
            raise
        self._free(descriptor)
        if self._waiter is None or not self._waiter.claim():
            waiter = _GateWaiter(self)
            waiter.claim()
            waiter.start()
            self._waiter = waiter
        try:
            taken = self._waiter.wait_until(deadline)
        except BaseException:
            self._waiter.give_up()
            raise
        if taken is not None:
            self._waiter = None
        return taken

    def _take_main(self, exclusive: bool, deadline: float) -> bool:
        self._held = self._open(self.main_path)
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        while not _try_lock(self._held, kind):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _drop_main(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._free(held)

    def _open(self, path: Path) -> int:
        with _fork_guard:
            try:
                descriptor = _open_writable_or_not(path)
            except OSError as error:
                raise WorkspaceError(
                    f"The workspace {path.parent} cannot be used: {error.strerror} ({path.name})."
                ) from error
            self._descriptors.add(descriptor)
        return descriptor

    def _free(self, descriptor: int) -> None:
        # Unlocked explicitly: a child of this process between fork and exec may still have a copy of the descriptor.
        with _fork_guard:
            self._descriptors.discard(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                os.close(descriptor)

    def _note_holder(self, operation: str) -> None:
        self._holder_here = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "operation": operation,
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if self._held is not None:
            text = json.dumps(self._holder_here).encode()
            # A note cannot be left by whoever may only read the folder, nor on a full disk; the lock itself holds all the same.
            with contextlib.suppress(OSError):
                os.pwrite(self._held, text, 0)
                os.ftruncate(self._held, len(text))

    def _busy(self, timeout: float, operation: str, holder: dict[str, Any] | None = None) -> StoreBusyError:
        return StoreBusyError(
            f"The store {self.main_path.with_suffix('')} was busy for {timeout:g} s, so {operation!r} was not done. "
            f"It is held by {_described(holder or self._noted_holder(), self.main_path)}. "
            "Try again, or open the store with a larger lock_timeout."
        )

    def _noted_holder(self) -> dict[str, Any] | None:
        try:
            noted = json.loads(self.main_path.read_text())
        except (OSError, ValueError):
            return None
        return noted if isinstance(noted, dict) else None


def _open_writable_or_not(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        # A lock needs no more than reading; a reader may have no right to write.
        if error.errno not in (errno.EACCES, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _described(holder: dict[str, Any] | None, main_path: Path) -> str:
    pids = set(_locking_pids(main_path))
    if holder is None or (pids and holder.get("pid") not in pids):
        # Readers share the lock: the last one to note itself may have left while an earlier one is still there.
        return f"process {', '.join(map(str, sorted(pids)))}" if pids else "a process that left no note"
    return "process {pid} on {host}, doing {operation!r} since {since}".format(**holder)


def _locking_pids(path: Path) -> Iterator[int]:
    """Processes that hold a lock on the file, where the kernel tells (Linux)."""
    with contextlib.suppress(OSError):
        inode = str(path.stat().st_ino)
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
                yield int(fields[4])


def _after_fork_in_child() -> None:
    # Closing is enough and all that is allowed: LOCK_UN here would free the parent's lock.
    global _fork_guard
    _fork_guard = threading.Lock()
    for lock in list(_every_lock):
        for descriptor in lock._descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        lock._start_afresh()


os.register_at_fork(
    before=lambda: _fork_guard.acquire(),
    after_in_parent=lambda: _fork_guard.release(),
    after_in_child=_after_fork_in_child,
)


_FUSE = ("sshfs", "glusterfs", "ceph", "rclone", "s3fs", "davfs2")
_NETWORK = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "ceph", "lustre", "gpfs", "davfs", "vboxsf"),
        *(f"fuse.{kind}" for kind in _FUSE),
    )
)


def refuse_network_file_system(folder: Path) -> None:
    """Raise `UnsupportedPlatformError` when the folder lies on a network file system, whose locks cannot be relied on."""
    kind = _file_system(folder) if sys.platform.startswith("linux") else None
    if kind in _NETWORK:
        raise UnsupportedPlatformError(
            f"The workspace {folder} lies on a network file system ({kind}), where neither locks nor DuckDB's writes are safe. "
            "Keep it on a local disk, or pass allow_network=True if you know that only one machine ever uses it."
        )


def _file_system(folder: Path) -> str | None:
    """Type of the file system that holds the folder, from the longest mount point above it."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    best, kind = "", None
    target = str(folder)
    for line in mounts:
        left, _, right = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), left.split()[4])
        if (target == point or target.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind
