"""Whether bytes can be of the format that a bundle says they are, without loading them.

A workspace keeps equal bytes once, with one format. A bundle must not bring in bytes under a wrong one, under which nobody could
load them any more.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from n4a_flows.storage.codecs import deserialize
from n4a_flows.storage.errors import BundleError, N4AError
from n4a_flows.storage.probes import Probe

_MAX_PROBE_BYTES: Final = 64 * 1024**2
_MAX_LIMITS_BYTES: Final = 256 * 1024**2
_NUMBERS: Final = frozenset("biuf")
_PICKLE, _ZIP = b"\x80", b"PK"


def check_format(data: bytes, format: str) -> None:
    """Refuse bytes that are not of their format, as far as their beginning tells.

    Raises
    ------
    BundleError
    """
    if format == "npz":
        raise BundleError("The bundle has arrays where an operator should be.")
    if format == "skops":
        plausible = data.startswith(_ZIP)
    elif format == "joblib":
        plausible = not data.startswith(_ZIP)
    else:
        plausible = data.startswith(_PICKLE)
    if not plausible:
        raise BundleError(f"The bundle has an artifact that is not of format {format[:40]!r}, as it says.")


def check_probe(data: bytes) -> None:
    """Refuse bytes that hold no probe, or unfold to more than a few spectra.

    Raises
    ------
    BundleError
    """
    with _read_as("probe", data, _MAX_PROBE_BYTES, "a few spectra"):
        Probe.from_bytes(data)


def check_limits(data: bytes) -> None:
    """Refuse bytes that are no arrays of numbers by name, or unfold to more than limits may take.

    Raises
    ------
    BundleError
    """
    with _read_as("limits", data, _MAX_LIMITS_BYTES, f"{_MAX_LIMITS_BYTES // 1024**2} MiB"):
        arrays = deserialize(data, "npz", trust="none")
        odd = [name for name, array in arrays.items() if array.dtype.kind not in _NUMBERS]
        if odd or not arrays:
            raise BundleError(f"The limits in the bundle are no arrays of numbers: {', '.join(odd)[:80] or 'none'}.")


@contextmanager
def _read_as(what: str, data: bytes, max_bytes: int, said: str) -> Iterator[None]:
    """Look at the size that arrays claim, before they are read in the block; what goes wrong there is a `BundleError`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > max_bytes:
                raise BundleError(f"The {what} in the bundle would unfold to more than {said}.")
        yield
    except BundleError:
        raise
    # numpy reads whatever the file makes it read.
    except (N4AError, zipfile.BadZipFile, ValueError, TypeError, OSError, RuntimeError, NotImplementedError) as error:
        raise BundleError(f"The {what} in the bundle cannot be read: {error}") from error
