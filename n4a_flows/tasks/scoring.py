"""What a worker does with spectra files: read, check, predict. Plain functions, no Prefect and no store."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from n4a_flows.spectra import Spectra, read_spectra
from n4a_flows.storage import ChainPackage, Predictor, ScoredFile, ScoredSample
from n4a_flows.storage.codecs import Trust
from n4a_flows.storage.errors import AxisError, MissingFileError, SpectraError
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


@dataclass
class ScoredChunk:
    """What became of a chunk of files: per chain digest what is to be recorded, and the paths left for the next run."""

    looked_at: int
    files: dict[str, list[ScoredFile]]
    postponed: list[str] = field(default_factory=list)


def score(
    packages: Sequence[ChainPackage], files: Sequence[PendingFile], trust: Trust, allowed_modules: tuple[str, ...]
) -> ScoredChunk:
    """Read each file once and predict it with every chain that has not seen it.

    A file that cannot be read, or that does not suit a chain, comes back as quarantined with the reason. One that
    vanished or changed while it was read is postponed: what was read may not belong to the digest under which it
    would be recorded.
    """
    predictors = {package.digest: _predictor(package, trust, allowed_modules) for package in packages}
    chunk = ScoredChunk(len(files), {digest: [] for digest in predictors})
    for file in files:
        spectra = _read(file)
        if spectra is None:
            chunk.postponed.append(file.path)
            continue
        for digest in file.chain_digests:
            chunk.files[digest].append(_score_file(predictors[digest], file, spectra))
    return chunk


def _read(file: PendingFile) -> Spectra | SpectraError | None:
    """What is in the file, or why it cannot be read; None when it is no longer the file that was listed."""
    spectra: Spectra | SpectraError
    try:
        spectra = read_spectra(file.path)
    except SpectraError as error:
        spectra = error
    except MissingFileError:
        return None
    try:
        return spectra if file_digest(file.path) == file.digest else None
    except OSError:
        return None


def _score_file(predictor: Predictor, file: PendingFile, spectra: Spectra | SpectraError) -> ScoredFile:
    try:
        if isinstance(spectra, SpectraError):
            raise spectra
        predicted = predictor.predict(spectra.X, spectra.axis)
    except (SpectraError, AxisError) as error:
        return ScoredFile(file.path, file.digest, "quarantined", str(error), [], {})
    samples = [ScoredSample(*pair) for pair in zip(spectra.sample_ids, predicted.tolist(), strict=True)]
    rejected = [{"row": row.row, "line": row.line, "reason": row.reason} for row in spectra.rejected]
    return ScoredFile(file.path, file.digest, "scored", None, samples, {"rejected": rejected} if rejected else {})


def _predictor(package: ChainPackage, trust: Trust, allowed_modules: tuple[str, ...]) -> Predictor:
    """The loaded chain; loaded once per process, not once per task."""
    key = (package.digest, trust, allowed_modules)
    with _predictors_lock:
        if key not in _predictors:
            if len(_predictors) >= _MOST_PREDICTORS:
                del _predictors[next(iter(_predictors))]
            _predictors[key] = package.load(trust=trust, allowed_modules=allowed_modules)
        return _predictors[key]
