"""Sets of spectra by name or by file: the shipped demonstration set, one file, or several files as one set."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.spectra.columns import MISSING, are_codes, whole_texts
from n4a_flows.spectra.model import Spectra
from n4a_flows.spectra.reader import read_spectra
from n4a_flows.storage.axis import Signal, Unit
from n4a_flows.storage.errors import AxisError, InvalidInputError, MissingFileError, SpectraError
from n4a_flows.storage.places import Place, located

SHIPPED = ("tecator",)
"""Names of the sets that come with the package."""

Source = str | PathLike[str] | Place


def load_tecator() -> Spectra:
    """The tecator meat spectra: 215 samples, 100 points from 850 to 1050 nm, absorbance.

    Targets are `moisture`, `fat` and `protein` in percent; the metadata column `split` says `train` (129), `monitor`
    (43) or `test` (43). Recorded on a Tecator Infratec Food and Feed Analyzer: mention the instrument and the company
    in publications. The permission note lies beside the file, in `n4a_flows/data/README.md`.

    Examples
    --------
    >>> load_tecator().targets["fat"][:3]
    array([22.5, 40.1,  8.4])
    """
    with resources.as_file(resources.files("n4a_flows") / "data" / "tecator_meat.csv") as file:
        return read_spectra(file, target=["moisture", "fat", "protein"], signal="absorbance", name="tecator")


def load_dataset(
    dataset: Source | Sequence[Source] | Spectra,
    *,
    target: str | Sequence[str] | None = None,
    unit: Unit | None = None,
    signal: Signal | None = None,
    id_column: str | None = None,
    name: str | None = None,
) -> Spectra:
    """Load a set of spectra.

    Parameters
    ----------
    dataset
        The name of a shipped set (`"tecator"`), a file or its URL, or several of them that make one set. Spectra that have been
        read already are given back as they are.
    target, unit, signal, id_column, name
        As in `read_spectra`; they apply to files, and `target` is checked for shipped sets and spectra too.

    Raises
    ------
    MissingFileError
        When a file does not exist.
    SpectraError
        When a file cannot be read, files do not fit together (other axis or signal, an id twice), or a target is not there.
    InvalidInputError
        When the list of files is empty.

    Examples
    --------
    >>> load_dataset("tecator", target="fat")
    Spectra('tecator': 215 samples, 100 points, 850 to 1050 nm, targets: moisture, fat, protein)
    """
    if isinstance(dataset, Spectra) or dataset in SHIPPED:
        spectra = dataset if isinstance(dataset, Spectra) else load_tecator()
        _check_targets(spectra, [target] if isinstance(target, str) else target or ())
        return spectra
    files = [located(file) for file in ([dataset] if isinstance(dataset, str | PathLike | Place) else dataset)]
    if not files:
        raise InvalidInputError("The dataset is an empty list; name at least one file.")
    if len(files) == 1 and isinstance(files[0], Path) and not files[0].exists():
        raise MissingFileError(f"There is no file {files[0]}, and no shipped set of that name ({', '.join(SHIPPED)}).")
    parts = [read_spectra(f, target=target, unit=unit, signal=signal, id_column=id_column) for f in files]
    whole = parts[0] if len(parts) == 1 else _joined(files, parts)
    return replace(whole, name=name) if name else whole


def with_test_set(dataset: Spectra, test: Spectra, column: str, marks: tuple[str, str] = ("train", "test")) -> Spectra:
    """One set of two: the samples of `dataset`, then those of `test`, on the axis of the first.

    Parameters
    ----------
    column
        Name of the metadata column that says which is which, in place of one of that name.
    marks
        What it says of the first and of the second.

    Raises
    ------
    SpectraError
        When the two lie on different axes or differ in signal, or a sample is in both.

    Examples
    --------
    >>> whole = with_test_set(spectra.take(range(100)), spectra.take(range(100, 215)), "split")
    >>> whole.n_samples, whole.metadata["split"][99:101].tolist()
    (215, ['train', 'test'])
    """
    if test.signal != dataset.signal:
        raise SpectraError(
            f"{test.name!r} holds {test.signal or 'an unknown signal'}, {dataset.name!r} {dataset.signal or 'an unknown one'}; "
            "a test set must be measured as the training set is."
        )
    whole = _joined([Path(dataset.name), Path(test.name)], [dataset, test])
    said = np.repeat(np.array(marks), [dataset.n_samples, test.n_samples])
    return replace(whole, name=dataset.name, metadata={**whole.metadata, column: said})


def _check_targets(spectra: Spectra, wanted: Sequence[str]) -> None:
    for target in wanted:
        if target in spectra.metadata and target not in spectra.targets:
            raise SpectraError(
                f"The dataset {spectra.name!r} has {target!r} as text, not as a target; name it when the file is read "
                f"(target={target!r})."
            )
        if target not in spectra.targets:
            raise SpectraError(
                f"The dataset {spectra.name!r} has no target {target!r}; it has {', '.join(spectra.targets) or 'none'}."
            )


def _joined(files: Sequence[Path | Place], parts: Sequence[Spectra]) -> Spectra:
    """Several files as one set, on the axis of the first; a column that a file lacks is missing for its samples."""
    axis, signal = parts[0].axis, parts[0].signal
    parts = _with_codes(files, parts)
    owner: dict[str, Path | Place] = {}
    blocks = []
    for file, part in zip(files, parts, strict=True):
        if part.signal != signal:
            advice = (
                "declare the signal (a column 'signal', or signal=...)"
                if None in (signal, part.signal)
                else "convert one"
            )
            raise SpectraError(
                f"{files[0]} holds {signal or 'an unknown signal'}, {file} {part.signal or 'an unknown signal'}; {advice}, or "
                "train them apart."
            )
        try:
            blocks.append(part.aligned_to(axis))
        except AxisError as error:
            raise SpectraError(f"{file} does not fit to {files[0]}: {error}") from error
        for sample_id in part.sample_ids:
            if sample_id in owner:
                raise SpectraError(
                    f"The sample id {sample_id!r} is in {owner[sample_id]} and in {file}; ids must differ."
                )
            owner[sample_id] = file
    return Spectra(
        X=np.vstack(blocks),
        axis=axis,
        sample_ids=list(owner),
        targets=_joined_columns(files, [part.targets for part in parts], [part.n_samples for part in parts]),
        metadata=_joined_columns(files, [part.metadata for part in parts], [part.n_samples for part in parts]),
        signal=signal,
        name="+".join(part.name for part in parts[:2]) + (f"+{len(parts) - 2}" if len(parts) > 2 else ""),
        rejected=[
            replace(row, reason=f"{file.name}: {row.reason}")
            for file, part in zip(files, parts, strict=True)
            for row in part.rejected
        ],
    )


@dataclass
class _Codes:
    """A column that holds codes: where it was seen first, whether it is a target there, and the codes of all files."""

    file: Path | Place
    is_target: bool
    written: set[str] = field(default_factory=set)


def _with_codes(files: Sequence[Path | Place], parts: Sequence[Spectra]) -> Sequence[Spectra]:
    """The parts, with text in each where one has codes: 10 is no number where another file says 01.

    Where another file has decimals, whole numbers with zeros in front are numbers after all.
    """
    codes: dict[str, _Codes] = {}
    for file, part in zip(files, parts, strict=True):
        for columns in (part.targets, part.metadata):
            for name, values in columns.items():
                if values.dtype.kind == "U" and are_codes(values.tolist()):
                    found = codes.setdefault(name, _Codes(file, columns is part.targets))
                    found.written |= {text for text in values.tolist() if text.lower() not in MISSING}
    measured = {
        name
        for part in parts
        for name, values in part.targets.items()
        if name in codes and values.dtype.kind == "f" and whole_texts(values) is None
    }
    return [_agreed(file, part, codes, measured) for file, part in zip(files, parts, strict=True)]


def _agreed(file: Path | Place, part: Spectra, codes: Mapping[str, _Codes], measured: Collection[str]) -> Spectra:
    targets, metadata = dict(part.targets), dict(part.metadata)
    for name, column in codes.items():
        mine = targets[name] if name in targets else metadata.get(name)
        if mine is None:
            continue
        if name in measured:
            metadata.pop(name, None)
            targets[name] = mine if mine.dtype.kind == "f" else _numbers(mine)
        elif name in targets and mine.dtype.kind == "f" and (texts := whole_texts(targets.pop(name))) is not None:
            alike = sorted(code for code in column.written - set(texts.tolist()) if str(int(code)) in texts)
            if alike:
                raise SpectraError(
                    f"{name!r} says {alike[0]} in {column.file}, and {int(alike[0])} in {file}: write the codes alike."
                )
            (targets if column.is_target else metadata)[name] = texts
    return replace(part, targets=targets, metadata=metadata)


def _numbers(texts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if text.lower() in MISSING else float(text) for text in texts.tolist()])


def _joined_columns(
    files: Sequence[Path | Place], parts: Sequence[dict[str, npt.NDArray[Any]]], sizes: Sequence[int]
) -> dict[str, npt.NDArray[Any]]:
    joined = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        kinds = {part[name].dtype.kind: file for part, file in zip(parts, files, strict=True) if name in part}
        if len(kinds) > 1:
            raise SpectraError(f"{name!r} holds numbers in {kinds['f']} and text in {kinds['U']}; make them agree.")
        missing: Any = np.nan if "f" in kinds else ""
        columns = [part.get(name, np.full(n, missing)) for part, n in zip(parts, sizes, strict=True)]
        joined[name] = np.concatenate(columns)
    return joined
