"""JCAMP-DX, through the library jcamp: one spectrum, or a compound file of several on one axis."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from n4a_flows.spectra.contained import library, quiet
from n4a_flows.spectra.guards import MAX_POINTS
from n4a_flows.spectra.header import unit_in
from n4a_flows.spectra.raw import RawSpectra, Source
from n4a_flows.spectra.registry import Reader
from n4a_flows.spectra.scale import share_or_percent
from n4a_flows.storage.axis import Unit
from n4a_flows.storage.errors import SpectraError

_UNKNOWN_SIGNALS = ("ARBITRARY", "ARBITRARY UNITS", "")
_REPEATS = {sign.encode(): times for sign, times in zip("STUVWXYZs", range(1, 10), strict=True)}
_MAX_REPEATED = 3_000_000
_LONGEST_LINE = 4096  # the standard says 80; the library searches backwards through a line


def read(source: Source) -> RawSpectra:
    """The spectra of a JCAMP-DX file.

    Raises
    ------
    SpectraError
        When it holds no infrared or near-infrared spectrum, other points than it declares, or units that are not known.
    """
    jcamp = library("jcamp", "vendor", "jcamp", source)
    said: list[str] = []
    quiet(jcamp, lambda *words: said.append(" ".join(map(str, words))))
    try:
        lines = _lines(source)
        document = jcamp.read(lines)
    finally:
        quiet(jcamp)
    # The last line of real files fails this check now and then; more of them do not fit together.
    if sum(message.startswith("Y-Check") for message in said) > 1:
        raise SpectraError(f"{source}: the lines of the spectrum do not continue one another; the file is damaged.")
    blocks = document.get("children") or [document]
    first = blocks[0]
    unit, signal = _unit(first, source), None
    spectra: list[tuple[Any, Any]] = []
    for block in blocks:
        x, y = _points(block, source)
        if _unit(block, source) != unit or not np.array_equal(x, spectra[0][0] if spectra else x):
            raise SpectraError(f"{source} holds spectra on different axes; save each in a file of its own.")
        found = _signal(block, y, source)
        if spectra and found != signal:
            raise SpectraError(f"{source} holds both {signal} and {found}; save each in a file of its own.")
        signal = found
        spectra.append((x, y))
    if len(blocks) == 1 and not _begins_at(lines, first, spectra[0][0]):
        raise SpectraError(f"{source} declares another FIRSTX than its table begins at; the file is damaged.")
    titles = [str(block.get("title", "")).strip() for block in blocks]
    return RawSpectra(
        X=np.array([y for _, y in spectra]),
        axis=spectra[0][0],
        unit=unit,
        signal=signal,
        total=len(blocks),
        sample_ids=titles if len(blocks) > 1 and all(titles) and len(set(titles)) == len(titles) else None,
        metadata={"title": np.array(titles, dtype=np.str_)},
    )


def _lines(source: Source) -> list[str]:
    """The lines without comments, after a look at what would make the library hang or take memory."""
    if sum(source.data.count(sign) * times for sign, times in _REPEATS.items()) > _MAX_REPEATED:
        raise SpectraError(f"{source} repeats values more often than a spectrum has points; the file is damaged.")
    text = source.data.decode("utf-8-sig", "replace") if source.data.isascii() else source.data.decode("latin-1")
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > _LONGEST_LINE:
            raise SpectraError(f"{source}: line {number} is {len(line)} characters long; the file is damaged.")
        label = re.match(r"\s*##\s*NPOINTS\s*=\s*([^$]*)", line, re.IGNORECASE)
        if label and not _is_count(label[1].strip()):
            raise SpectraError(f"{source} declares {label[1].strip()[:40]!r} points, which is no number of points.")
        lines.append(line.split("$$")[0].lstrip("\ufeff") + "\n")
    return lines


def _is_count(text: str) -> bool:
    try:
        return 0 < float(text.replace(",", ".")) <= MAX_POINTS
    except ValueError:
        return False


def _points(block: dict[str, Any], source: Source) -> tuple[Any, Any]:
    kind = str(block.get("data type", block.get("datatype", ""))).upper()
    if "SPECTRUM" not in kind or any(other in kind for other in ("RAMAN", "MASS", "NMR")):
        raise SpectraError(
            f"{source} holds {kind or 'no data type'!r}; only infrared and near-infrared spectra are read."
        )
    if "xydata" not in block and "xypoints" not in block:
        raise SpectraError(f"{source} holds no XYDATA or XYPOINTS; save it as a single spectrum.")
    declared = block.get("npoints")
    x, y = np.asarray(block["x"], dtype=np.float64), np.asarray(block["y"], dtype=np.float64)
    if declared is None or not len(x) == len(y) == declared:
        raise SpectraError(f"{source} declares {declared} points, but {len(y)} were found; the file is damaged.")
    return x, y


def _begins_at(lines: list[str], block: dict[str, Any], x: Any) -> bool:
    """Whether the table begins where the header says, with its numbers scaled or not; the library looks at the header alone."""
    table = next((i for i, line in enumerate(lines) if re.match(r"\s*##\s*XYDATA", line, re.IGNORECASE)), None)
    begin = re.match(r"\s*[+-]?\d+(?:\.\d+)?", lines[table + 1]) if table is not None else None
    if begin is None:
        return True
    factor = float(block.get("xfactor", 1) or 1)
    allowed = abs(x[-1] - x[0]) / max(len(x) - 1, 1) + abs(factor)
    return bool(min(abs(float(begin[0]) * factor - x[0]), abs(float(begin[0]) - x[0])) <= allowed)


def _unit(block: dict[str, Any], source: Source) -> Unit:
    said = str(block.get("xunits", "")).strip().upper()
    unit = unit_in(said)
    if unit is None:
        raise SpectraError(f"{source} has its axis in {said or 'no unit'!r}; only nm, µm and 1/cm are read.")
    return unit


def _signal(block: dict[str, Any], y: Any, source: Source) -> str | None:
    said = " ".join(str(block.get("yunits", "")).upper().split())
    if said in _UNKNOWN_SIGNALS:
        return None
    if "ABSORBANCE" in said or re.search(r"LOG\s*\(?\s*1\s*/\s*[RT]", said):
        return "absorbance"
    if "KUBELKA" in said:
        return "kubelka_munk"
    for kind in ("TRANSMITTANCE", "REFLECTANCE", "TRANSMISSION"):
        if kind in said:
            percent = "%" in said or "PERCENT" in said
            kind = "transmittance" if kind.startswith("TRANS") else "reflectance"
            return f"percent_{kind}" if percent else share_or_percent(kind, y)
    raise SpectraError(f"{source} holds {said!r}, which is neither absorbance nor reflectance nor transmittance.")


def _recognises(head: bytes, name: str) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    named = name.lower().endswith((".dx", ".jdx", ".jcm", ".jcamp"))
    return start.startswith(b"##") and (b"JCAMP" in head.upper() or start[:8].upper() == b"##TITLE=" or named)


READER = Reader(
    "jcamp",
    "2",
    read,
    recognises=_recognises,
    suffixes=frozenset({".dx", ".jdx", ".jcm", ".jcamp"}),
    max_bytes=6 * 2**20,
    needs="jcamp",
)
