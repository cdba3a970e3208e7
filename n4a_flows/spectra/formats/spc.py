"""Thermo/Galactic SPC, through spc-io: one or several spectra on one axis."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.spectra.contained import library
from n4a_flows.spectra.guards import MAX_POINTS, MAX_VALUES
from n4a_flows.spectra.header import unit_in
from n4a_flows.spectra.raw import RawSpectra, Source
from n4a_flows.spectra.registry import Reader
from n4a_flows.spectra.scale import share_or_percent
from n4a_flows.storage.axis import Unit
from n4a_flows.storage.errors import SpectraError

_HEADER = 512
_SUBHEADER = 32
_LOG = 248
_FLOAT = -128
_UNITS: dict[str, Unit] = {"XWAVEN": "cm-1", "XUMETR": "um", "XNMETR": "nm"}
_SIGNALS = {"YABSRB": "absorbance", "YLOGDR": "absorbance", "YKMONK": "kubelka_munk"}
_SCALED = {"YTRANS": "transmittance", "YREFLEC": "reflectance"}
_PERCENT = ("percent_reflectance", "percent_transmittance")
_OWN_AXES, _RANDOM, _OWN_X, _SHORT = 0x40, 0x08, 0x80, 0x01


def read(source: Source) -> RawSpectra:
    """The spectra of an SPC file, in the order of the file.

    Raises
    ------
    SpectraError
        When each spectrum has an axis of its own, the axis or the signal is of another kind, or the file is shorter than it
        declares.
    """
    points, count = _check_header(source)
    low_level = library("spc_io.low_level", "vendor", "spc-io", source)
    # Without its log, which holds nothing that is needed, and which the library cannot always read.
    data = source.data[:_LOG] + bytes(4) + source.data[_LOG + 4 :]
    found = low_level.SpcRaw.from_bytes_io(io.BytesIO(data))
    head = found.main_header
    axis = np.linspace(head.ffirst, head.flast, points) if found.xarray is None else np.asarray(found.xarray, float)
    X = np.array([np.asarray(sub.yarray, dtype=np.float64) for sub in found.subs])
    if X.shape != (count, points):
        raise SpectraError(f"{source} declares {count} spectra of {points} points, but holds {X.shape}; it is damaged.")
    return RawSpectra(
        X=X, axis=axis, unit=_unit(head, source), signal=_signal(str(head.fytype), X, source), total=count
    )


def _check_header(source: Source) -> tuple[int, int]:
    """Points and spectra as declared, once they are known to fit into the file."""
    data = source.data
    if len(data) < _HEADER:
        raise SpectraError(f"{source} ends in its header; the file is cut off.")
    flags, version, _technique, exponent, points = struct.unpack_from("<BBBbI", data)
    (count,) = struct.unpack_from("<I", data, 24)
    if version != 0x4B:
        raise SpectraError(
            f"{source} is an SPC file of an old or big-endian kind; save it as a new SPC or as JCAMP-DX."
        )
    if flags & _OWN_AXES:
        raise SpectraError(
            f"{source} has an axis for each spectrum (XYXY), which is not read; save the spectra singly."
        )
    if flags & _RANDOM:
        raise SpectraError(
            f"{source} orders its spectra by arbitrary times, which is not read; save the spectra singly."
        )
    if not (2 <= points <= MAX_POINTS and count >= 1 and points * count <= MAX_VALUES):
        raise SpectraError(
            f"{source} declares {count} spectra of {points} points, which cannot be; the file is damaged."
        )
    at = _HEADER + (4 * points if flags & _OWN_X else 0)
    for _ in range(count):
        if at + _SUBHEADER > len(data):
            break
        width = 4 if exponent == _FLOAT or data[at + 1] == 0x80 or not flags & _SHORT else 2
        at += _SUBHEADER + width * points
    else:
        if at <= len(data) and _log_fits(data, at):
            return points, count
    raise SpectraError(f"{source} is shorter than its {count} spectra of {points} points; the file is cut off.")


def _log_fits(data: bytes, end: int) -> bool:
    """Whether the log that follows the spectra, where there is one, lies where the header says, and inside the file."""
    (log,) = struct.unpack_from("<I", data, _LOG)
    if not log:
        return True
    if not end <= log <= len(data) - 4:
        return False
    (size,) = struct.unpack_from("<I", data, log)
    return bool(log + size <= len(data))


def _unit(head: Any, source: Source) -> Unit | None:
    if head.ftflgs.TALABS and bytes(head.fcatxt).strip(b"\0 "):
        label = bytes(head.fcatxt).split(b"\0")[0].decode("latin-1")
        unit = unit_in(label)
        if unit is None:
            raise SpectraError(f"{source} has its axis in {label!r}; only nm, µm and cm-1 are read.")
        return unit
    kind = str(head.fxtype)
    if kind == "XARB":
        if source.unit is None:
            raise SpectraError(f"{source} does not say the unit of its axis; say it (unit='nm' or unit='cm-1').")
        return None
    if kind not in _UNITS:
        raise SpectraError(f"{source} has an axis of the kind {kind}; only wavelengths and wavenumbers are read.")
    return _UNITS[kind]


def _signal(kind: str, X: npt.NDArray[np.float64], source: Source) -> str | None:
    if kind in _SIGNALS:
        return _SIGNALS[kind]
    if kind in _SCALED:
        return share_or_percent(_SCALED[kind], X)
    if kind == "YARB" or (kind == "YPERCNT" and source.signal in _PERCENT):
        return None
    if kind == "YPERCNT":
        raise SpectraError(
            f"{source} holds percent of something; say what (signal={' or '.join(map(repr, _PERCENT))})."
        )
    raise SpectraError(f"{source} holds values of the kind {kind}, which is neither absorbance nor reflectance.")


def _recognises(head: bytes, _name: str) -> bool:
    # The signature is a letter, so a text may have it; the reserved zeros of the header no text has.
    return len(head) > 2 and head[1] in (0x4B, 0x4C, 0x4D) and b"\0\0" in head[:_HEADER] and not head.startswith(b"PK")


READER = Reader(
    "spc",
    "2",
    read,
    recognises=_recognises,
    suffixes=frozenset({".spc"}),
    max_bytes=64 * 2**20,
    needs="spc_io",
)
