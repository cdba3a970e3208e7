"""Spectra files of every kind, made from tecator: text and tables by their libraries, instrument files byte by byte."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from n4a_flows.spectra import Axis, Spectra, load_tecator

CM = np.linspace(9000.0, 4000.0, 101)
"""An axis in 1/cm for the files of instruments that count in it."""


def shared_data() -> Path | None:
    """Real instrument files, where they are: they do not belong to the project."""
    place = os.environ.get("N4A_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data"
    found = Path(place) / "vendor"
    return found if (found / "expected.json").is_file() else None


def some(n: int = 5) -> Spectra:
    """The first spectra of tecator, with ids `a`, `b` ... and fat alone as a target."""
    tecator = load_tecator()
    axis = Axis([float(f"{value:g}") for value in tecator.axis.values])  # as names of columns have them
    return Spectra(tecator.X[:n], axis, list("abcdefghij"[:n]), {"fat": tecator.targets["fat"][:n]})


def cells(spectra: Spectra) -> list[list[object]]:
    """Header and rows: sample id, fat, points."""
    header: list[object] = ["sample_id", "fat", *(f"{value:g}" for value in spectra.axis.values)]
    fat = spectra.targets["fat"]
    return [
        header,
        *([i, float(f), *map(float, x)] for i, f, x in zip(spectra.sample_ids, fat, spectra.X, strict=True)),
    ]


def csv(delimiter: str = ",", decimal: str = ".") -> bytes:
    rows = cells(some())
    lines = [rows[0], *([row[0], *(repr(v).replace(".", decimal) for v in row[1:])] for row in rows[1:])]
    return "".join(delimiter.join(map(str, line)) + "\n" for line in lines).encode()


def two_columns(delimiter: str = ",") -> bytes:
    """A `.dpt`: falling wavenumbers and absorbance."""
    return "".join(f"{x:.4f}{delimiter}{y:.6f}\n" for x, y in zip(CM, absorbance(), strict=True)).encode()


def absorbance() -> np.ndarray:
    """A smooth spectrum on `CM`."""
    return 0.5 + 0.3 * np.sin(CM / 500.0)


def xlsx(spectra: Spectra | None = None, sheets: int = 1) -> bytes:
    book = openpyxl.Workbook()
    for number in range(sheets):
        sheet = book.active if number == 0 else book.create_sheet()
        for row in cells(spectra or some()):
            sheet.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def parquet() -> bytes:
    rows = cells(some())
    columns = {str(name): [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def npz(**changes: object) -> bytes:
    spectra = some()
    arrays: dict[str, object] = {
        "X": spectra.X,
        "axis": spectra.axis.values,
        "unit": "nm",
        "signal": "absorbance",
        "sample_ids": np.array(spectra.sample_ids),
        "fat": spectra.targets["fat"],
    }
    stream = io.BytesIO()
    np.savez(stream, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})  # type: ignore[arg-type]
    return stream.getvalue()


def jcamp(y: np.ndarray | None = None, **labels: str) -> bytes:
    """A JCAMP-DX file with plain numbers, five to the line."""
    y = absorbance() if y is None else y
    said = {
        "TITLE": "made",
        "JCAMP-DX": "4.24",
        "DATA TYPE": "INFRARED SPECTRUM",
        "XUNITS": "1/CM",
        "YUNITS": "ABSORBANCE",
        "XFACTOR": "1.0",
        "YFACTOR": "0.000001",
        "FIRSTX": f"{CM[0]:g}",
        "LASTX": f"{CM[-1]:g}",
        "NPOINTS": str(len(CM)),
    } | {name.replace("_", " "): value for name, value in labels.items()}
    raw = np.round(y * 1e6).astype(int)
    lines = [f"{CM[i]:g} {' '.join(map(str, raw[i : i + 5]))}" for i in range(0, len(CM), 5)]
    return "\n".join([*(f"##{k}={v}" for k, v in said.items()), "##XYDATA=(X++(Y..Y))", *lines, "##END=", ""]).encode()


def spc(
    X: np.ndarray | None = None,
    *,
    xtype: int = 1,
    ytype: int = 2,
    flags: int = 0,
    version: int = 0x4B,
    points: int | None = None,
) -> bytes:
    """An SPC file of float values on `CM`."""
    X = np.atleast_2d(absorbance() if X is None else X)
    flags |= 0x04 if len(X) > 1 else 0
    head = struct.pack("<BBBbIdd", flags, version, 0, -128, points or X.shape[1], CM[0], CM[-1])
    head += struct.pack("<IBBBB", len(X), xtype, ytype, 0, 0) + struct.pack("<I", (2020 << 20) | (5 << 16) | (3 << 11))
    subs = b"".join(
        struct.pack("<BbHfffIIf4x", 0, -128, i, float(i), float(i), 0.0, 0, 0, 0.0) + row.astype("<f4").tobytes()
        for i, row in enumerate(X)
    )
    return head.ljust(512, b"\0") + subs


def asd(
    *, kind: int = 0, number_format: int = 2, reference: np.ndarray | None = None, has_reference: bool = True
) -> bytes:
    """An ASD file of version 6: raw counts over 350 to 450 nm, and the white reference."""
    n = 101
    head = bytearray(484)
    head[:3] = b"as6"
    struct.pack_into("<9h", head, 160, 0, 0, 12, 3, 4, 121, 0, 0, 0)
    struct.pack_into("<bblbl", head, 180, 0, 0, 0, kind, 1_600_000_000)
    struct.pack_into("<ffb", head, 191, 350.0, 1.0, number_format)
    struct.pack_into("<H", head, 204, n)
    struct.pack_into("<L", head, 390, 17)
    struct.pack_into("<HHHH", head, 436, 2048, 2048, 0, 0)
    struct.pack_into("<ff", head, 444, 1000.0, 1800.0)
    counts = 1000 + 500 * np.sin(np.arange(n) / 20)
    white = np.full(n, 2000.0) if reference is None else reference
    flag = b"\xff\xff" if has_reference else b"\0\0"
    return (
        bytes(head)
        + counts.astype("<f8").tobytes()
        + flag
        + struct.pack("<ddh", 4e4, 4e4, 0)
        + white.astype("<f8").tobytes()
    )


def opus(
    signals: tuple[int, ...] = (4,), *, unit: bytes = b"WN\0\0", points: int | None = None, size: int | None = None
) -> bytes:
    """An OPUS file with one block of data (4 absorbance, 5 transmittance, 12 reflectance, 1 single channel) per signal."""
    y = absorbance().astype("<f4")
    start = 24 + 12 * 40
    directory, body = struct.pack("<3i", 13 << 10, 120, 24), b""
    for signal in signals:
        values = (10.0**-y).astype("<f4") if signal in (5, 12) else y
        status = b"".join(
            name + struct.pack("<hh", kind, len(value) // 2) + value
            for name, kind, value in (
                (b"DPF\0", 0, struct.pack("<i", 1)),
                (b"NPT\0", 0, struct.pack("<i", points or len(y))),
                (b"FXV\0", 1, struct.pack("<d", CM[0])),
                (b"LXV\0", 1, struct.pack("<d", CM[-1])),
                (b"CSF\0", 1, struct.pack("<d", 1.0)),
                (b"DXU\0", 3, unit),
            )
        )
        status += b"END\0" + struct.pack("<hh", 0, 0)
        ratio = 3 if signal != 1 else 1
        for block, what in ((status, 1 << 4), (values.tobytes(), 0)):
            words = len(block) // 4 if size is None else size
            directory += struct.pack("<3i", 3 | ratio << 2 | what | signal << 10, words, start + len(body))
            body += block
    head = b"\n\n\xfe\xfe" + struct.pack("<diii", 920622.0, 24, 40, 1 + 2 * len(signals))
    return head + directory.ljust(12 * 40, b"\0") + body


MADE: dict[str, Callable[[], bytes]] = {
    "plain.csv": csv,
    "semicolon.csv": lambda: csv(";", ","),
    "tab.tsv": lambda: csv("\t"),
    "utf16.csv": lambda: csv().decode().encode("utf-16"),
    "table.dpt": two_columns,
    "book.xlsx": xlsx,
    "table.parquet": parquet,
    "arrays.npz": npz,
    "text.jdx": jcamp,
    "several.spc": lambda: spc(np.stack([absorbance(), absorbance() + 0.1])),
    "field.asd": asd,
    "bruker.0": lambda: opus((1, 4)),
}
"""A sound file of each kind, by its name."""
