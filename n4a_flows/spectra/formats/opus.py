"""Bruker OPUS, through brukeropus: the absorbance or reflectance block of a file."""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import Any

import numpy as np

from n4a_flows.spectra.contained import library
from n4a_flows.spectra.guards import MAX_POINTS
from n4a_flows.spectra.raw import RawSpectra, Source
from n4a_flows.spectra.registry import Reader
from n4a_flows.spectra.scale import share_or_percent
from n4a_flows.storage.axis import Unit
from n4a_flows.storage.errors import SpectraError

_SIGNALS = {
    "a": "absorbance",
    "logr": "absorbance",
    "r": "reflectance",
    "t": "transmittance",
    "km": "kubelka_munk",
}
_UNITS: dict[str, Unit] = {"WN": "cm-1", "MI": "um", "NM": "nm"}
_MAGIC = b"\n\n\xfe\xfe"
_MAX_BLOCKS = 4096
_SERIES = 2


def read(source: Source) -> RawSpectra:
    """The spectrum of an OPUS file: the signal asked for, or absorbance, or the only other one there is.

    Raises
    ------
    SpectraError
        When a block lies outside the file, or there is no such spectrum, or there are several.
    """
    parse = library("brukeropus.file.parse", "vendor", "brukeropus", source)
    block_module = library("brukeropus.file.block", "vendor", "brukeropus", source)
    data_module = library("brukeropus.file.data", "vendor", "brukeropus", source)
    blocks = _blocks(source, parse, block_module)
    found: dict[str, list[Any]] = defaultdict(list)
    others = []
    for data, status in block_module.pair_data_and_status_blocks(blocks):
        key = data.get_data_key().removesuffix("_c")
        if key not in _SIGNALS:
            others.append(key)
            continue
        _check_status(status.data, len(data.data), source)
        spectrum = data_module.Data(data, status, key=key, vel=0)
        found[_signal(key, spectrum.y)].append(spectrum)
    signal = _choice(found, others, source)
    spectra = found[signal]
    first = spectra[0]
    if any(not np.array_equal(first.y, other.y) or not np.array_equal(first.x, other.x) for other in spectra[1:]):
        raise SpectraError(
            f"{source} holds {len(spectra)} different spectra of {signal}; save the one that is meant alone."
        )
    said = str(first.params.dxu).strip().upper()
    if said not in _UNITS:
        raise SpectraError(
            f"{source} has its axis in {said!r}; only wavenumber (cm-1) and wavelength (µm, nm) are read."
        )
    ignored = [key for key in (*found, *others) if key != signal]
    notes = [f"of several blocks, {signal} was read (others: {', '.join(sorted(set(ignored)))})"] if ignored else []
    return RawSpectra(
        X=np.asarray(first.y, dtype=np.float64)[None, :],
        axis=first.x,
        unit=_UNITS[said],
        signal=signal,
        total=1,
        notes=notes,
    )


def _signal(key: str, values: Any) -> str:
    signal = _SIGNALS[key]
    return share_or_percent(signal, values) if signal in ("reflectance", "transmittance") else signal


def _choice(found: dict[str, list[Any]], others: list[str], source: Source) -> str:
    if source.signal in found:
        return str(source.signal)
    if source.signal is None and "absorbance" in found:
        return "absorbance"
    if len(found) == 1:
        return next(iter(found))
    if found:
        raise SpectraError(f"{source} holds {' and '.join(sorted(found))}; say which is meant (signal=...).")
    there = ", ".join(others) or "no spectrum at all"
    raise SpectraError(f"{source} holds no absorbance or reflectance, only {there}; compute it in OPUS and save it.")


def _blocks(source: Source, parse: Any, block_module: Any) -> list[Any]:
    """The blocks of data and of what describes them, parsed after their bounds were checked; others are not looked at."""
    data = source.data
    if len(data) < 24:
        raise SpectraError(f"{source} ends in its header; the file is cut off.")
    _version, start, most, _count = parse.parse_header(data)
    if not (24 <= start < len(data) and 0 < most <= _MAX_BLOCKS):
        raise SpectraError(f"{source} has no directory where its header says; the file is damaged.")
    blocks = []
    directory = data[start : start + most * 12]
    for kind, size, begin in parse.parse_directory(directory[: len(directory) // 12 * 12]):
        if size < 0 or begin + size > len(data):
            raise SpectraError(
                f"{source} declares a block of {size} bytes at {begin}, beyond its end; the file is cut off."
            )
        block = block_module.FileBlock(filebytes=data, block_type=kind, size=size, start=begin)
        if block.is_data_status():
            _check_parameters(data[begin : begin + size], source)
        elif not block.is_data() or block.type[5] == _SERIES:
            continue
        block.parse()
        if block.parse_error is None and block.data is not None:
            blocks.append(block)
    return blocks


def _check_parameters(block: bytes, source: Source) -> None:
    """Refuse parameters whose sizes lead nowhere: the library would follow them in circles."""
    at = 0
    while at + 8 <= len(block) and block[at : at + 3] != b"END":
        (size,) = struct.unpack_from("<h", block, at + 6)
        if size < 0:
            raise SpectraError(f"{source} has a parameter of negative size; the file is damaged.")
        at += 8 + 2 * size


def _check_status(status: dict[str, Any], stored: int, source: Source) -> None:
    points = status.get("npt")
    if not isinstance(points, int) or not 2 <= points <= min(stored, MAX_POINTS):
        raise SpectraError(f"{source} declares {points} points, and stores {stored}; the file is damaged.")
    for name in ("fxv", "lxv", "csf"):
        if not isinstance(status.get(name), float) or not np.isfinite(status[name]):
            raise SpectraError(f"{source} does not say where its axis begins and ends ({name.upper()}); it is damaged.")


READER = Reader(
    "opus",
    "1",
    read,
    recognises=lambda head, _name: head.startswith(_MAGIC),
    suffixes=frozenset(f".{number}" for number in range(100)),
    max_bytes=64 * 2**20,
    needs="brukeropus",
)
