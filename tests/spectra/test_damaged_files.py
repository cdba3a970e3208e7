"""Damaged files of every format: read rightly or refused with a reason, in bounded time and memory. N4A_LONG=1 for thousands."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from damage import damaged
from fuzz import outcome
from spectra_files import MADE, shared_data

LONG = bool(os.environ.get("N4A_LONG"))


def test_damaged_files_are_refused_with_a_reason_or_read(tmp_path: Path) -> None:
    sound = {name: make() for name, make in MADE.items()}
    came = {"read": 0, "refused": 0}
    for what, name, data in damaged(sound, 360):
        file = tmp_path / name
        file.write_bytes(data)
        start = time.perf_counter()
        try:
            came[outcome(file)] += 1
        except BaseException as error:
            error.add_note(what)
            raise
        assert time.perf_counter() - start < 10, what
    assert came["refused"] > 200


@pytest.mark.skipif(not LONG, reason="minutes: make torture")
@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_damaged_files_in_a_process_of_their_own(tmp_path: Path, seed: int) -> None:
    shared = shared_data()
    command = [sys.executable, str(Path(__file__).with_name("fuzz.py")), str(tmp_path), "5000", str(seed)]
    done = subprocess.run([*command, *([str(shared)] if shared else [])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stderr == ""
    figures = json.loads(done.stdout.splitlines()[-1])
    print(f"\nseed {seed}: {figures}")
    assert len(done.stdout.splitlines()) == 1  # what libraries print is kept from us
    assert figures["read"] + figures["refused"] == 5000
    assert figures["slowest"] < 10
    assert figures["peak_mib"] < 1024


def _bomb(name: str) -> bytes:
    """Small files that say they are enormous, or that take very long to find out."""
    if name.endswith(".csv"):
        return b"wavelength," + b"reflect" * 100_000 + b"\n" + b"".join(b"%d,0.%d\n" % (850 + i, i) for i in range(30))
    if name.endswith(".jdx"):
        return (
            MADE["text.jdx"]()
            .replace(b"##END", b"J" + b"s" * 4000 + b"\n##END")
            .replace(b"9000 ", b"9000J" + b"s" * 4000 + b" ")
        )
    if name.endswith(".npz"):
        return _packed(
            {
                "X": b"\x93NUMPY\x01\x00v\x00"
                + b"{'descr':'<f8','fortran_order':False,'shape':(99999999,999)}".ljust(117)
                + b"\n"
            }
        )
    sheet = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData></worksheet>'
    rows = {
        "far.xlsx": far,
        "rows.xlsx": b'<row r="2000000000"><c r="A2000000000"><v>1</v></c></row></sheetData></worksheet>',
    }
    return _replaced(MADE["book.xlsx"](), "xl/worksheets/sheet1.xml", sheet + rows[name])


def _packed(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name if "/" in name or "." in name else f"{name}.npy", data)
    return stream.getvalue()


def _replaced(book: bytes, member: str, data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        return _packed({name: data if name == member else archive.read(name) for name in archive.namelist()})


@pytest.mark.parametrize("name", ["words.csv", "repeats.jdx", "shape.npz", "far.xlsx", "rows.xlsx"])
def test_small_files_that_declare_or_cost_enormous_things_end_soon(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(_bomb(name))
    start = time.perf_counter()
    outcome(file)
    assert time.perf_counter() - start < 10
