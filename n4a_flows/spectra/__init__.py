"""Spectra files in, checked spectra out."""

from n4a_flows.spectra.datasets import SHIPPED, load_dataset, load_tecator, with_test_set
from n4a_flows.spectra.model import RejectedRow, Spectra
from n4a_flows.spectra.reader import read_spectra
from n4a_flows.storage.axis import Axis, Signal, Unit

__all__ = [
    "SHIPPED",
    "Axis",
    "RejectedRow",
    "Signal",
    "Spectra",
    "Unit",
    "load_dataset",
    "load_tecator",
    "read_spectra",
    "with_test_set",
]
