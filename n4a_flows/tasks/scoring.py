"""What a worker does with spectra files: read, match to the chains, predict. Plain functions, no Prefect and no store."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from n4a_flows.spectra import Matched, Signal, Spectra, Unit, match, read_spectra
from n4a_flows.storage import ChainPackage, Predictor, ScoredFile, ScoredSample
from n4a_flows.storage.codecs import Trust
from n4a_flows.storage.errors import AxisError, MissingFileError, N4AError, SpectraError
from n4a_flows.tasks.files import file_digest

_MOST_PREDICTORS = 8
_predictors: dict[tuple[str, Trust, tuple[str, ...]], Predictor] = {}
_predictors_lock = threading.Lock()


@dataclass(frozen=True)
class PendingFile:
    """A file that some chains have not seen: its path, the digest of its bytes, and the digests of those chains."""

    path: str
    digest: str
    chain_digests: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """How files are read, and brought to a chain.

    Attributes
    ----------
    unit, signal
        What the axis and the values are where a file does not say; see `read_spectra`.
    resample
        Whether spectra may be interpolated to the chain's grid.
    readers
        Which readers these are: what they refuse is looked at again when others are there.
    """

    unit: Unit | None = None
    signal: Signal | None = None
    resample: bool = False
    readers: str = ""


@dataclass
class ScoredChunk:
    """What became of a chunk of files: per chain digest what is to be recorded, and the paths left for the next run."""

    looked_at: int
    files: dict[str, list[ScoredFile]]
    postponed: list[str] = field(default_factory=list)


def score(
    packages: Sequence[ChainPackage],
    files: Sequence[PendingFile],
    trust: Trust,
    allowed_modules: tuple[str, ...],
    reading: Reading = Reading(),
) -> ScoredChunk:
    """Read each file once, and predict all spectra of the chunk at once with every chain that has not seen them.

    A file that cannot be read, or that does not suit a chain, comes back as quarantined with the reason. One that
    vanished or changed while it was read is postponed: what was read may not belong to the digest under which it
    would be recorded.
    """
    predictors = {package.digest: _predictor(package, trust, allowed_modules) for package in packages}
    chunk = ScoredChunk(len(files), {})
    read: list[tuple[PendingFile, Spectra | SpectraError]] = []
    for file in files:
        spectra = _read(file, reading)
        if spectra is None:
            chunk.postponed.append(file.path)
        else:
            read.append((file, spectra))
    for digest, predictor in predictors.items():
        chunk.files[digest] = _score_with(
            predictor, [(file, spectra) for file, spectra in read if digest in file.chain_digests], reading
        )
    return chunk


def _read(file: PendingFile, reading: Reading) -> Spectra | SpectraError | None:
    """What is in the file, or why it cannot be read; None when it is no longer the file that was listed."""
    spectra: Spectra | SpectraError
    try:
        spectra = read_spectra(file.path, unit=reading.unit, signal=reading.signal)
    except SpectraError as error:
        spectra = error
    except MissingFileError:
        return None
    try:
        return spectra if file_digest(file.path) == file.digest else None
    except OSError:
        return None


def _score_with(
    predictor: Predictor, read: Sequence[tuple[PendingFile, Spectra | SpectraError]], reading: Reading
) -> list[ScoredFile]:
    """Every file with its predictions by one chain, or quarantined; in the order of the files."""
    scored: dict[int, ScoredFile] = {}
    matched: dict[int, tuple[Spectra, Matched]] = {}
    for place, (file, spectra) in enumerate(read):
        try:
            if isinstance(spectra, SpectraError):
                raise spectra
            matched[place] = spectra, match(spectra, predictor.context, resample=reading.resample)
        except (SpectraError, AxisError) as error:
            scored[place] = _quarantined(file, str(error), reading)
    for place, predicted in _predictions(predictor, matched).items():
        file, (spectra, one) = read[place][0], matched[place]
        if isinstance(predicted, str):
            scored[place] = _quarantined(file, predicted, reading)
        else:
            scored[place] = _scored(file, spectra, one, predicted)
    return [scored[place] for place in sorted(scored)]


def _predictions(predictor: Predictor, matched: dict[int, tuple[Spectra, Matched]]) -> dict[int, list[Any] | str]:
    """The predictions of each file, or why there are none."""
    if predictor.axis is not None and len(matched) > 1:
        try:
            # All at once: a prediction costs little more for a thousand spectra than for one.
            y = predictor.predict(np.vstack([one.X for _, one in matched.values()]), predictor.axis).tolist()
        # One spectrum may spoil the others' prediction: then each file is predicted by itself, and says what is wrong.
        except Exception:  # noqa: BLE001
            y = None
        if y is not None:
            ends = np.cumsum([len(one.X) for _, one in matched.values()]).tolist()
            starts = [0, *ends[:-1]]
            return {place: y[start:end] for place, start, end in zip(matched, starts, ends, strict=True)}
    alone: dict[int, list[Any] | str] = {}
    for place, (spectra, one) in matched.items():
        try:
            alone[place] = predictor.predict(one.X, predictor.axis or spectra.axis).tolist()
        except Exception as error:  # noqa: BLE001 - operators are anybody's classes
            alone[place] = str(error) if isinstance(error, N4AError) else f"{type(error).__name__}: {error}"
    return alone


def _scored(file: PendingFile, spectra: Spectra, matched: Matched, predicted: list[Any]) -> ScoredFile:
    by_position = dict(zip(matched.kept.tolist(), predicted, strict=True))
    reasons = dict(matched.rejected)
    detail = {"conversions": matched.conversions} if matched.conversions else {}
    samples = [
        ScoredSample(sample_id, by_position[position], detail=detail)
        if position in by_position
        else ScoredSample(sample_id, None, "rejected", [reasons[position]])
        for position, sample_id in enumerate(spectra.sample_ids)
    ]
    rejected = [{"row": row.row, "line": row.line, "reason": row.reason} for row in spectra.rejected]
    return ScoredFile(file.path, file.digest, "scored", None, samples, {"rejected": rejected} if rejected else {})


def _quarantined(file: PendingFile, reason: str, reading: Reading) -> ScoredFile:
    return ScoredFile(file.path, file.digest, "quarantined", reason, [], {"readers": reading.readers})


def _predictor(package: ChainPackage, trust: Trust, allowed_modules: tuple[str, ...]) -> Predictor:
    """The loaded chain; loaded once per process, not once per task."""
    key = (package.digest, trust, allowed_modules)
    with _predictors_lock:
        if key not in _predictors:
            if len(_predictors) >= _MOST_PREDICTORS:
                del _predictors[next(iter(_predictors))]
            _predictors[key] = package.load(trust=trust, allowed_modules=allowed_modules)
        return _predictors[key]
