"""Parquet tables with one spectrum per row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from n4a_flows.spectra.columns import spectra_in_columns
from n4a_flows.spectra.guards import MAX_VALUES
from n4a_flows.spectra.header import number_of, points_of
from n4a_flows.spectra.layout import Grid
from n4a_flows.spectra.raw import RawSpectra, Source, text_of
from n4a_flows.spectra.registry import Reader
from n4a_flows.spectra.text import Table
from n4a_flows.storage.errors import SpectraError

_UNPACKED = 256 * 2**20
_MAX_TEXTS = 2_000_000


def read(source: Source) -> RawSpectra:
    """The spectra of a table whose columns are named as those of a CSV file are.

    Raises
    ------
    SpectraError
        When the table is larger than is read, or a column holds more than one value per row.
    """
    file = pq.ParquetFile(pa.BufferReader(source.data))
    # One long text may stand in every row: as a dictionary it is held once.
    texts_of = [field.name for field in file.schema_arrow if _is_text(field.type)]
    file = pq.ParquetFile(pa.BufferReader(source.data), read_dictionary=texts_of)
    about = file.metadata
    unpacked = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    header = tuple(str(name).strip() for name in file.schema_arrow.names)
    named = frozenset([*source.targets, source.id_column or ""])
    points = points_of(header, named)
    chosen = set(points.indices) if points else set()
    texts = about.num_rows * (len(header) - len(chosen))
    if unpacked > _UNPACKED or about.num_rows * len(header) > MAX_VALUES or texts > _MAX_TEXTS or about.num_rows < 0:
        raise SpectraError(
            f"{source} declares {about.num_rows} rows of {len(header)} columns, more than is read; split it."
        )
    for field in file.schema_arrow:
        if pa.types.is_nested(field.type):
            raise SpectraError(
                f"{source}: column {field.name!r} holds lists; give each wavelength a column of its own."
            )
    table = file.read(use_threads=False)
    X = np.empty((table.num_rows, len(chosen)))
    for place, i in enumerate(points.indices if points else ()):
        X[:, place] = _numbers(table.column(i))
    columns = {name: _texts(table.column(i)) for i, name in enumerate(header) if i not in chosen and (name or i == 0)}
    return spectra_in_columns(Grid(header, points, iter(())), X, columns, Table(str(source), iter(())), source)


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    found = [number_of(text) for text in _texts(column)]
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)


def _texts(column: pa.ChunkedArray) -> list[str]:
    found: list[str] = []
    for chunk in column.chunks:
        if isinstance(chunk, pa.DictionaryArray):
            words = [text_of(word).strip() for word in chunk.dictionary.to_pylist()]
            found.extend("" if i is None else words[i] for i in chunk.indices.to_pylist())
        else:
            found.extend(text_of(value).strip() for value in chunk.to_pylist())
    return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


READER = Reader(
    "parquet",
    "3",
    read,
    recognises=lambda head, _name: head.startswith(b"PAR1"),
    suffixes=frozenset({".parquet"}),
    max_bytes=128 * 2**20,
)
