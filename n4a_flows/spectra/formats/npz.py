"""NPZ: numpy's archives of arrays, with the spectra in `X` and their points in `axis`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from n4a_flows.spectra.guards import MAX_VALUES
from n4a_flows.spectra.header import unit_in
from n4a_flows.spectra.raw import RawSpectra, Source, text_of
from n4a_flows.spectra.registry import Reader
from n4a_flows.storage.errors import SpectraError

_SPECTRA = ("x", "spectra", "spectrum", "data", "absorbance", "reflectance")
_AXES = ("axis", "wavelengths", "wavelength", "wavenumbers", "wavenumber", "wl", "wn", "lambda", "nm")
_IDS = ("sample_ids", "sample_id", "ids", "id", "samples", "names")
_UNITS = ("unit", "axis_unit", "units", "wavelength_unit")
_UNPACKED = 256 * 2**20


def read(source: Source) -> RawSpectra:
    """The spectra of an archive: `X` (n_samples, n_points), `axis`, and, where it has them, `unit`, `signal`, `sample_ids` and
    columns of one value per spectrum (numbers are targets, text is metadata).

    Raises
    ------
    SpectraError
        When `X` or the axis is missing, or an array holds Python objects or more than is read.
    """
    arrays = _arrays(source)
    found = {name.lower(): name for name in arrays}
    key = _first(found, _SPECTRA)
    axis = _first(found, _AXES)
    if key is None or axis is None:
        raise SpectraError(
            f"{source} needs an array X (samples, points) and an array axis (points); it has {', '.join(arrays) or 'none'}."
        )
    X = np.atleast_2d(arrays.pop(key))
    if X.ndim != 2 or X.dtype.kind not in "fiu":
        raise SpectraError(f"{source}: {key} must be numbers (samples, points), not {X.dtype} of the shape {X.shape}.")
    unit = _said(arrays, found, _UNITS)
    signal = _said(arrays, found, ("signal",))
    points = arrays.pop(axis)
    id_key = source.id_column or _first(found, _IDS)
    if id_key is not None and id_key not in arrays:
        raise SpectraError(f"{source} has no array {id_key!r}; it has {', '.join(arrays)}.")
    ids = None if id_key is None else _texts(np.atleast_1d(arrays.pop(id_key)).ravel()).tolist()
    targets, metadata = _columns(arrays, len(X), source)
    return RawSpectra(
        X=X,
        axis=points,
        unit=(unit_in(unit) or unit) if unit else unit_in(axis),  # type: ignore[arg-type]
        signal=signal or (key.lower() if key.lower() in ("absorbance", "reflectance") else None),
        total=len(X),
        sample_ids=ids,
        targets=targets,
        metadata=metadata,
    )


def _arrays(source: Source) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {}
    left = _UNPACKED
    with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            left -= member.file_size
            if left < 0:
                raise SpectraError(f"{source} unpacks to more than {_UNPACKED >> 20} MiB; split it.")
            with archive.open(member) as stream:
                _check_size(stream, member.file_size, f"{source}: {name}")
            with archive.open(member) as stream:
                arrays[name] = npy.read_array(stream, allow_pickle=False)
    return arrays


def _check_size(stream: Any, size: int, what: str) -> None:
    """Refuse an array that declares more than its file has, before memory is taken for it."""
    version = npy.read_magic(stream)
    shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(stream)
    if dtype.hasobject:
        raise SpectraError(f"{what} holds Python objects, which are not read; save plain arrays.")
    count = 1
    for length in shape:
        count *= length
    if count < 0 or count * max(dtype.itemsize, 1) > size:
        raise SpectraError(f"{what} declares {shape} values of {dtype}, more than the file holds; it is damaged.")


def _first(found: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((found[name] for name in names if name in found), None)


def _said(arrays: dict[str, npt.NDArray[Any]], found: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    key = _first(found, names)
    return None if key is None else text_of(arrays.pop(key).ravel()[0])


def _texts(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # Of the other kinds numpy's own text is right: dates, for example, are whole numbers inside.
    return (
        np.array([text_of(value) for value in column.tolist()]) if column.dtype.kind in "fS" else column.astype(np.str_)
    )


def _columns(
    arrays: Mapping[str, npt.NDArray[Any]], n: int, source: Source
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    if sum(values.size for values in arrays.values()) > MAX_VALUES:
        raise SpectraError(f"{source} holds more values beside the spectra than are read; leave them out.")
    targets: dict[str, npt.NDArray[Any]] = {}
    metadata: dict[str, npt.NDArray[Any]] = {}
    for name, values in arrays.items():
        column = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if column.shape != (n,):
            raise SpectraError(
                f"{source}: {name} has the shape {values.shape}, but must be one value for each of {n} spectra."
            )
        if column.dtype.kind in "fiub":
            targets[name] = column.astype(np.float64)
        elif name in source.targets:
            targets[name] = _texts(column)
        else:
            metadata[name] = _texts(column)
    if missing := [name for name in source.targets if name not in targets]:
        raise SpectraError(f"{source} has no array {missing[0]!r}; it has {', '.join(arrays) or 'no columns'}.")
    return targets, metadata


READER = Reader(
    "npz",
    "2",
    read,
    recognises=lambda head, name: head.startswith(b"PK\x03\x04") and (b".npy" in head or name.lower().endswith(".npz")),
    suffixes=frozenset({".npz"}),
    max_bytes=128 * 2**20,
)
