"""ASD FieldSpec and LabSpec files, through pyASDReader: reflectance, which is the spectrum over its white reference."""

from __future__ import annotations

import struct
import sys
from types import ModuleType
from typing import Any

import numpy as np

from n4a_flows.spectra.contained import library
from n4a_flows.spectra.guards import measured
from n4a_flows.spectra.raw import RawSpectra, Source
from n4a_flows.spectra.registry import Reader
from n4a_flows.storage.errors import FileChangedError, SpectraError

_VERSIONS = (b"ASD", b"as2", b"as3", b"as4", b"as5", b"as6", b"as7", b"as8")
_HEADER = 484
_CHANNELS = 204
_FORMAT = 199
_DOUBLE = 2
_RATIOS = {"dt_RAW_TYPE": "reflectance", "dt_REF_TYPE": "reflectance", "dt_TRANS_TYPE": "transmittance"}


def read(source: Source) -> RawSpectra:
    """The reflectance of an ASD file.

    Raises
    ------
    SpectraError
        When it has no white reference, holds radiance or another signal, or is shorter than its channels.
    """
    data = source.data
    if len(data) < _HEADER:
        raise SpectraError(f"{source} ends in its header; the file is cut off.")
    (channels,) = struct.unpack_from("<H", data, _CHANNELS)
    if data[_FORMAT] != _DOUBLE:
        raise SpectraError(
            f"{source} stores its numbers in an old format that is not read; export it as text from ViewSpec."
        )
    if channels < 2 or _HEADER + 8 * channels > len(data):
        raise SpectraError(f"{source} is shorter than its {channels} channels; the file is cut off.")
    found = _library(source).ASDFile(str(source.path))
    if source.path.read_bytes() != data:
        raise FileChangedError(f"{source} changed while it was read; read it again when it is complete.")
    about = found.metadata
    if about is None or found.spectrumData is None or found.spectrumData.spectra is None:
        raise SpectraError(f"{source} has a header that cannot be read; the file is damaged.")
    kind = about.dataType.name
    if kind not in _RATIOS:
        raise SpectraError(f"{source} holds {kind}; only reflectance and transmittance are read.")
    if not found.referenceFileHeader or not found.referenceFileHeader.referenceFlag or not _stored(found.referenceData):
        raise SpectraError(f"{source} holds raw counts without a white reference; measure one, or export reflectance.")
    spectrum, reference = np.asarray(found.spectrumData.spectra), np.asarray(found.referenceData.spectra)
    if not (measured(spectrum) and measured(reference)):
        raise SpectraError(f"{source} holds counts that nothing measures, such as 1e-300; its bytes are damaged.")
    if not np.all(reference):
        raise SpectraError(f"{source}: its white reference is zero at some points, so reflectance is not known there.")
    # Exposure and gain of both are the same, so they cancel; the library leaves its result undefined where the reference is 0.
    return RawSpectra(
        X=(spectrum / reference)[None, :],
        axis=about.channel1Wavelength + about.wavelengthStep * np.arange(channels),
        unit="nm",
        signal=_RATIOS[kind],
        total=1,
        notes=["reflectance is the spectrum over its white reference"],
    )


def _stored(block: Any) -> bool:
    return block is not None and block.spectra is not None


def _library(source: Source) -> Any:
    name = "pyASDReader.logger_setup"
    if "pyASDReader" not in sys.modules and name not in sys.modules:
        # On import the library would open a log file in the working folder and reconfigure the logging of the program.
        silent = ModuleType(name)
        vars(silent)["setup_logging"] = lambda *_args, **_options: None
        sys.modules[name] = silent
    try:
        found = library("pyASDReader", "vendor", "pyASDReader", source)
    except SpectraError:
        sys.modules.pop(name, None)
        raise
    library("pyASDReader.file_attributes", "vendor", "pyASDReader", source)
    return found


READER = Reader(
    "asd",
    "1",
    read,
    recognises=lambda head, name: head[:3] in _VERSIONS and (b"\0" in head[:_HEADER] or name.lower().endswith(".asd")),
    suffixes=frozenset({".asd"}),
    max_bytes=16 * 2**20,
    needs="pyASDReader",
)
