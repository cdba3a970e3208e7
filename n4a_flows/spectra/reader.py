"""`read_spectra`: a file to `Spectra`."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from n4a_flows.spectra.csv_file import parse_csv
from n4a_flows.spectra.layout import spectra_from_table
from n4a_flows.spectra.model import Spectra
from n4a_flows.storage.axis import Signal, Unit
from n4a_flows.storage.errors import MissingFileError, SpectraError


def read_spectra(
    path: str | PathLike[str],
    *,
    target: str | Sequence[str] | None = None,
    unit: Unit | None = None,
    signal: Signal | None = None,
    id_column: str | None = None,
    name: str | None = None,
) -> Spectra:
    """Read a CSV file of spectra: one row per spectrum, below a header that names the wavelengths.

    Columns whose name is a number are the points of the spectra. Of the others, one may hold the sample ids (called
    `sample_id`, `id` or `sample`, or the first column when it is text without repetition); without one, the ids are the
    name of the file and the number of the row. Columns of numbers are targets (empty, `NA` and `NaN` mean missing),
    columns of text are metadata.

    Parameters
    ----------
    path
        The file, comma-separated UTF-8 text.
    target
        Columns that must be there as targets; a column of text is then read as classes.
    unit
        Unit of the axis. Without it the axis is taken to be in nm, and refused when its values cannot be nm.
    signal
        What the values are, when it is known. Nothing is guessed or converted.
    id_column
        The column with the sample ids.
    name
        Name of the set; the stem of the file when left out.

    Returns
    -------
    Spectra
        A row that does not hold a whole spectrum of finite numbers is in `rejected`, with its line and the reason.

    Raises
    ------
    MissingFileError
        When the file does not exist.
    SpectraError
        When it holds no axis, no usable spectrum, an id twice, or not the columns asked for; the message says which.

    Examples
    --------
    >>> file = folder / "two.csv"
    >>> _ = file.write_text("sample_id,1000,1010,1020,fat\\na,0.1,0.2,0.3,12.5\\nb,0.2,,0.5,9.1\\n")
    >>> read_spectra(file, target="fat", signal="absorbance")
    Spectra('two': 1 samples, 3 points, 1000 to 1020 nm, targets: fat)
    >>> read_spectra(file).rejected
    [RejectedRow(row=2, line=3, reason="column '1010' has no value")]
    """
    file = Path(path)
    targets = [target] if isinstance(target, str) else list(target or ())
    table = parse_csv(_bytes(file), str(file))
    return spectra_from_table(
        table, name=name or file.stem, targets=targets, unit=unit, signal=signal, id_column=id_column
    )


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"The file {file} does not exist.") from error
    except IsADirectoryError as error:
        raise SpectraError(f"{file} is a folder; name the file with the spectra.") from error
    except OSError as error:
        raise SpectraError(f"{file} cannot be read: {error.strerror or error}.") from error
