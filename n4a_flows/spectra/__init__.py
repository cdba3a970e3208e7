"""Spectra files in, checked spectra out."""

from n4a_flows.spectra.datasets import SHIPPED, load_dataset, load_tecator, with_test_set
from n4a_flows.spectra.matching import Matched, match
from n4a_flows.spectra.model import RejectedRow, Spectra
from n4a_flows.spectra.reader import known_suffixes, read_spectra, readers_in_use
from n4a_flows.storage.axis import Axis, Signal, Unit

__all__ = [
    "SHIPPED",
    "Axis",
    "Matched",
    "RejectedRow",
    "Signal",
    "Spectra",
    "Unit",
    "known_suffixes",
    "load_dataset",
    "load_tecator",
    "match",
    "read_spectra",
    "readers_in_use",
    "with_test_set",
]
