"""JCAMP-DX, through the library jcamp: one spectrum, or several on one axis, in a compound file or one after another."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from n4a_flows.spectra.contained import library, quiet
from n4a_flows.spectra.formats.jcamp_declared import check_declared
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
_TITLE = re.compile(r"##\s*TITLE\s*=", re.IGNORECASE)
_END = re.compile(r"##\s*END\s*=", re.IGNORECASE)
_WHOLE = re.compile(r"##\s*(END\s*=|XYDATA\s*=|XYPOINTS\s*=|DATA ?TYPE\s*=\s*LINK\s*$)", re.IGNORECASE)
_LINK = re.compile(r"##\s*DATA ?TYPE\s*=\s*LINK\s*$", re.IGNORECASE)
_COUNT = re.compile(r"##\s*BLOCKS\s*=\s*(\d{1,9})\s*$", re.IGNORECASE)


def read(source: Source) -> RawSpectra:
    """The spectra of a JCAMP-DX file.

    Raises
    ------
    SpectraError
        When it holds no infrared or near-infrared spectrum, fewer blocks, other points or another axis than it declares, or units
        that are not known.
    """
    jcamp = library("jcamp", "vendor", "jcamp", source)
    said: list[str] = []
    quiet(jcamp, lambda *words: said.append(" ".join(map(str, words))))
    blocks, texts = [], _blocks(_lines(source), source)
    try:
        for lines in texts:
            said.clear()
            blocks.append(jcamp.read(lines))
            # The last line of real files fails this check now and then; more of them do not fit together.
            if sum(message.startswith("Y-Check") for message in said) > 1:
                raise SpectraError(
                    f"{source}: the lines of a spectrum do not continue one another; the file is damaged."
                )
    finally:
        quiet(jcamp)
    unit, signal = _unit(blocks[0], source), None
    spectra: list[tuple[Any, Any]] = []
    for lines, block in zip(texts, blocks, strict=True):
        x, y = _points(block, source)
        check_declared(jcamp, lines, block, x, y, source)
        if _unit(block, source) != unit or not np.array_equal(x, spectra[0][0] if spectra else x):
            raise SpectraError(f"{source} holds spectra on different axes; save each in a file of its own.")
        found = _signal(block, y, source)
        if spectra and found != signal:
            raise SpectraError(f"{source} holds both {signal} and {found}; save each in a file of its own.")
        signal = found
        spectra.append((x, y))
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


def _blocks(lines: list[str], source: Source) -> list[list[str]]:
    """The blocks that hold data, each as its lines: the library reads one file of one of them rightly, or one compound file."""
    parts: list[list[str]] = [[]]
    whole = False  # a title may be said twice
    for line in lines:
        if whole and _TITLE.match(line):
            parts.append([])
            whole = False
        parts[-1].append(line)
        whole = whole or bool(_WHOLE.match(line))
    blocks = []
    links: list[list[int]] = []  # of compound files that have begun: how many blocks they declare, and have
    for part in parts:
        ends = [i for i, line in enumerate(part) if _END.match(line)]
        if links:
            links[-1][1] += 1
        if any(map(_LINK.match, part)):
            links.append([next((int(found[1]) for found in map(_COUNT.match, part) if found), 0), 0])
        else:
            blocks.append(part[: ends[0] + 1] if links and ends else part)
            ends = ends[1:]
        for _ in ends[: len(links)]:
            _check_count(links.pop(), source)
    for link in links:
        _check_count(link, source)
    return blocks or parts


def _check_count(link: list[int], source: Source) -> None:
    declared, found = link
    if found < declared:
        raise SpectraError(f"{source} declares {declared} blocks, but {found} were found; the file is cut off.")


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
    "3",
    read,
    recognises=_recognises,
    suffixes=frozenset({".dx", ".jdx", ".jcm", ".jcamp"}),
    max_bytes=6 * 2**20,
    needs="jcamp",
)
