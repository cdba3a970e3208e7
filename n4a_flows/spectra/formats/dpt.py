"""DPT: the data point tables that Bruker's OPUS writes, two columns of text without a header."""

from __future__ import annotations

import numpy as np

from n4a_flows.spectra.formats import text
from n4a_flows.spectra.guards import NM_RANGE, plausible
from n4a_flows.spectra.raw import RawSpectra, Source
from n4a_flows.spectra.registry import Reader
from n4a_flows.spectra.text import is_text
from n4a_flows.storage.errors import SpectraError


def read(source: Source) -> RawSpectra:
    """The spectrum of a data point table; its axis is mostly in cm-1, so nm is not assumed as for other text."""
    found = text.read(source)
    unsaid = found.unit is None and source.unit is None
    if unsaid and plausible(found.axis, "cm-1") and np.max(found.axis) <= NM_RANGE[1]:
        raise SpectraError(f"{source}: its axis may be in cm-1 or in nm; say its unit (unit='cm-1' or unit='nm').")
    return found


READER = Reader(
    "dpt",
    "2",
    read,
    recognises=lambda head, name: name.lower().endswith(".dpt") and is_text(head),
    suffixes=frozenset({".dpt"}),
    max_bytes=64 * 2**20,
    watched=False,
)
