"""Files are there whole, and on the disk, when a call returns; or as they were before."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_flows.storage.durable_files import write_all_durably, write_durably


def test_many_files_are_written_whole_and_everything_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    wanted = {f"{number % 7}/{number}.bin": os.urandom(number) for number in range(300)}
    new = tmp_path / "new"
    write_all_durably(new, wanted.items())
    found = {path.relative_to(new).as_posix(): path.read_bytes() for path in new.rglob("*") if path.is_file()}
    assert found == wanted
    assert {path.stat().st_ino for path in (tmp_path, new, *new.rglob("*"))} <= synced


def test_of_large_files_those_before_an_interruption_are_there(tmp_path: Path) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        yield "first", bytes(2**26)
        yield "second", bytes(10)
        raise OSError("the disk that is read from is gone")

    with pytest.raises(OSError, match="is gone"):
        write_all_durably(tmp_path, files())
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("first", 2**26)]


def test_of_a_file_of_which_the_disk_takes_a_part_nothing_is_left(tmp_path: Path) -> None:
    write_durably(tmp_path / "there", b"before")
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from n4a_flows.storage.durable_files import write_durably\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "for name in ('new', 'there'):\n"
        "    try:\n"
        "        write_durably(Path(sys.argv[1]) / name, bytes(30_000))\n"
        "    except OSError as error:\n"
        "        print(error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert list(map(int, done.stdout.split())) == [errno.EFBIG, errno.EFBIG]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("there", b"before")]


def test_a_file_that_is_there_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "limits.json"
    for content in (b"first", b"second"):
        write_durably(target, content)
    assert target.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_is_half_written_when_the_bytes_of_a_later_file_cannot_be_had(tmp_path: Path) -> None:
    kept = tmp_path / "0"
    write_durably(kept, b"before")

    def files() -> Iterator[tuple[str, bytes]]:
        for number in range(5):
            yield str(number), b"after"
        raise OSError("the disk that is read from is gone")

    with pytest.raises(OSError, match="is gone"):
        write_all_durably(tmp_path, files())
    assert list(tmp_path.iterdir()) == [kept]
    assert kept.read_bytes() == b"before"


def test_nothing_is_half_written_when_the_disk_refuses_to_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_all_durably(tmp_path, [("a", b"one"), ("b", b"two")])
    assert list(tmp_path.iterdir()) == []
