"""CSV, TSV and other delimited text."""

from __future__ import annotations

from n4a_flows.spectra.layout import spectra_from_table
from n4a_flows.spectra.raw import RawSpectra, Source
from n4a_flows.spectra.registry import Reader
from n4a_flows.spectra.text import is_text, parse_text


def read(source: Source) -> RawSpectra:
    """The spectra of a text table."""
    return spectra_from_table(parse_text(source.data, str(source)), source)


READER = Reader(
    "csv",
    "4",
    read,
    recognises=lambda head, _name: is_text(head),
    suffixes=frozenset({".csv", ".tsv", ".txt", ".dat", ".asc"}),
    max_bytes=128 * 2**20,
    watched=False,
)
