"""What a worker does with spectra files: read, match to the chains, predict. Plain functions, no Prefect and no store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.monitoring import BatchTally
from n4a_flows.reports.prediction_figures import DrawnSpectrum
from n4a_flows.spectra import Matched, Signal, Spectra, Unit, match
from n4a_flows.spectra.reader import fetched, read_file
from n4a_flows.storage import ChainPackage, ScoredFile, ScoredSample
from n4a_flows.storage.codecs import Trust
from n4a_flows.storage.errors import (
    AxisError,
    FileChangedError,
    MissingFileError,
    N4AError,
    PlaceError,
    SpectraError,
    WorkerError,
)
from n4a_flows.storage.places import Place
from n4a_flows.storage.texts import storable
from n4a_flows.tasks.files import file_digest
from n4a_flows.tasks.judging import AS_USUAL, Judging, Said, Scorer, SeveralTargetsError, scorer, worst

_MOST_SPOILERS = 100
"""Spectra of a file for which a chain may fail while the others of the file are predicted."""


@dataclass(frozen=True)
class PendingFile:
    """A file that some chains have not seen: where it is, the digest of its bytes, and the digests of those chains."""

    where: Path | Place
    digest: str
    chain_digests: tuple[str, ...]

    @property
    def path(self) -> str:
        """Where it is, as the ledger has it: without credentials, and with what is no UTF-8 in its name escaped."""
        return storable(str(self.where))


@dataclass(frozen=True)
class Reading:
    """How files are read, and brought to a chain.

    Attributes
    ----------
    unit, signal, id_column
        What the axis and the values are where a file does not say, and which column holds the ids; see `read_spectra`.
    resample
        Whether spectra may be interpolated to the chain's grid.
    readers
        Which readers these are, and what they are told: what they refuse is looked at again when either is another.
    about
        What else is known of the files, such as the instrument; it stands in their detail.
    """

    unit: Unit | None = None
    signal: Signal | None = None
    id_column: str | None = None
    resample: bool = False
    readers: str = ""
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Together:
    """What is known of the spectra of a chunk together, small however many they are.

    Attributes
    ----------
    tally
        What judging the batch needs; None while there are no spectra, and for a chain without limits.
    odd
        The worst of the spectra, on the axis of the chain and in its signal, the worst first.
    limits
        Warning and outlier limit by the name of a statistic.
    digests
        The files that these spectra are from.
    """

    tally: BatchTally | None = None
    odd: list[DrawnSpectrum] = field(default_factory=list)
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    digests: set[str] = field(default_factory=set)

    def add(self, other: Together) -> None:
        """Add what is known of other spectra of the batch."""
        self.tally = _sum(self.tally, other.tally)
        self.odd = worst([*self.odd, *other.odd])
        self.limits = self.limits or other.limits
        self.digests |= other.digests

    def of_only(self, files: Sequence[ScoredFile]) -> Together:
        """What is known of some of the files alone: no more than their verdicts."""
        tally = None
        if self.tally is not None:
            counts = Counter(sample.verdict or "rejected" for file in files for sample in file.samples)
            counts["rejected"] += sum(len(file.detail.get("rejected", ())) for file in files)
            tally = BatchTally(dict(+counts))
        return Together(tally, [], self.limits, _scored_digests(files))


def _sum(one: BatchTally | None, other: BatchTally | None) -> BatchTally | None:
    return one + other if one is not None and other is not None else one if other is None else other


@dataclass
class ScoredChunk:
    """What became of a chunk of files: per chain digest what is to be recorded, and the paths left for the next run.

    Of the latter, `unseen` are not there, to the worker.
    """

    looked_at: int
    files: dict[str, list[ScoredFile]]
    postponed: list[str] = field(default_factory=list)
    unseen: list[PendingFile] = field(default_factory=list)
    together: dict[str, Together] = field(default_factory=dict)


def score(
    packages: Sequence[ChainPackage],
    files: Sequence[PendingFile],
    trust: Trust,
    allowed_modules: tuple[str, ...],
    reading: Reading = Reading(),
    judging: Judging = AS_USUAL,
) -> ScoredChunk:
    """Read each file once, and predict all spectra of the chunk at once with every chain that has not seen them.

    A file that cannot be read, or that does not suit a chain, comes back as quarantined with the reason. One that
    vanished or changed while it was read is postponed: what was read may not belong to the digest under which it
    would be recorded. `SeveralTargetsError` is raised for a chain that predicts several targets at once.
    """
    scorers = {package.digest: scorer(package, trust, allowed_modules, judging) for package in packages}
    chunk = ScoredChunk(len(files), {})
    read: list[tuple[PendingFile, Spectra | SpectraError]] = []
    for file in files:
        try:
            spectra = _read(file, reading)
        except (MissingFileError, FileNotFoundError):
            spectra = None
            chunk.unseen.append(file)
        if spectra is None:
            chunk.postponed.append(file.path)
        else:
            read.append((file, spectra))
    for digest, chain in scorers.items():
        mine = [(file, spectra) for file, spectra in read if digest in file.chain_digests]
        chunk.files[digest], chunk.together[digest] = _score_with(chain, mine, reading)
    return chunk


def refuse_unseen(chunk: ScoredChunk) -> None:
    """Raise `WorkerError` when a worker saw none of its files, which are there: other runs would see no more."""
    for file in chunk.unseen:
        if len(chunk.unseen) == chunk.looked_at and file.where.is_file():
            raise WorkerError(
                f"A worker does not see {file.path}, which is there. Put new files where all workers see them under the same "
                "path, or give a URL such as s3://bucket/incoming."
            )


def _read(file: PendingFile, reading: Reading) -> Spectra | SpectraError | None:
    """What is in the file, or why it cannot be read; None when it is no longer the file that was listed."""
    try:
        with fetched(file.where) as (path, fetched_from):
            try:
                return read_file(
                    path,
                    unit=reading.unit,
                    signal=reading.signal,
                    id_column=reading.id_column,
                    fetched_from=fetched_from,
                    sha256=file.digest,
                )
            except FileChangedError:
                return None
            except SpectraError as error:
                # What cannot be opened any more is not judged by it.
                return error if file_digest(path) == file.digest else None
    except SpectraError as error:  # too large to be fetched
        return error
    except (MissingFileError, FileNotFoundError, PlaceError):
        raise
    except OSError:
        return None


def _score_with(
    chain: Scorer, read: Sequence[tuple[PendingFile, Spectra | SpectraError]], reading: Reading
) -> tuple[list[ScoredFile], Together]:
    """Every file with its predictions by one chain, or quarantined, in the order of the files; and all spectra together."""
    scored: dict[int, ScoredFile] = {}
    matched: dict[int, tuple[Spectra, Matched]] = {}
    for place, (file, spectra) in enumerate(read):
        try:
            if isinstance(spectra, SpectraError):
                raise spectra
            matched[place] = spectra, match(spectra, chain.context, resample=reading.resample)
        except (SpectraError, AxisError) as error:
            scored[place] = _quarantined(file, str(error), reading)
    together = Together(limits=chain.limits)
    for places, said in _predictions(chain, matched):
        if isinstance(said, str):
            scored |= {place: _quarantined(read[place][0], said, reading) for place in places}
            continue
        start = 0
        for place in places:
            file, (spectra, one) = read[place][0], matched[place]
            scored[place] = _scored(file, spectra, one, said, start, reading)
            start += len(one.X)
        # Neither rows that are no spectra nor those that cannot be brought to the chain have a prediction.
        rejected = sum(
            len(spectra.rejected) + len(one.rejected) for spectra, one in (matched[place] for place in places)
        )
        together.add(
            Together(_sum(said.tally, chain.rejected(rejected) if rejected else None), _odd(said, places, matched))
        )
    files = [scored[place] for place in sorted(scored)]
    together.digests = _scored_digests(files)
    return files, together


def _scored_digests(files: Sequence[ScoredFile]) -> set[str]:
    return {file.file_digest for file in files if file.status == "scored"}


def _predictions(
    chain: Scorer, matched: MutableMapping[int, tuple[Spectra, Matched]]
) -> list[tuple[list[int], Said | str]]:
    """What the chain says of the spectra of some files, one after the other; or why it says nothing.

    Spectra that make the chain fail become rejected ones in `matched`.
    """
    places = list(matched)
    if chain.context.axis is not None and len(matched) > 1:
        try:
            # All at once: a prediction costs little more for a thousand spectra than for one.
            return [(places, _say(chain, [matched[place] for place in places]))]
        except SeveralTargetsError:
            raise
        # One spectrum may spoil the others' prediction: then each file is predicted by itself.
        except Exception:  # noqa: BLE001
            pass
    alone: list[tuple[list[int], Said | str]] = []
    for place in places:
        said = _attempt(chain, matched[place])
        if isinstance(said, str) and (others := _without_spoilers(chain, matched[place])) is not None:
            matched[place] = others
            said = _attempt(chain, others)
        alone.append(([place], said))
    return alone


def _attempt(chain: Scorer, matched: tuple[Spectra, Matched]) -> Said | str:
    """What the chain says of the spectra of a file; or why it says nothing."""
    try:
        return _say(chain, [matched])
    except SeveralTargetsError:
        raise
    except Exception as error:  # noqa: BLE001 - operators are anybody's classes
        return str(error) if isinstance(error, N4AError) else f"{type(error).__name__}: {error}"


def _without_spoilers(chain: Scorer, matched: tuple[Spectra, Matched]) -> tuple[Spectra, Matched] | None:
    """A file of which the chain can predict the most, but not these: they are found by halving, and rejected.

    None when the chain predicts nothing of it, or fails for so many that it does not fit the file.
    """
    spectra, one = matched
    spoilers: dict[int, str] = {}
    parts = [np.arange(len(one.X))]
    while parts:
        rows = parts.pop()
        said = _attempt(chain, (spectra, replace(one, X=one.X[rows])))
        if not isinstance(said, str):
            continue
        if len(rows) > 1:
            parts += np.array_split(rows, 2)
            continue
        spoilers[int(rows[0])] = said
        if len(spoilers) > min(_MOST_SPOILERS, len(one.X) - 1):
            return None
    kept = np.array([row not in spoilers for row in range(len(one.X))])
    rejected = [(int(one.kept[row]), reason) for row, reason in spoilers.items()]
    return spectra, replace(one, X=one.X[kept], kept=one.kept[kept], rejected=[*one.rejected, *rejected])


def _say(chain: Scorer, matched: Sequence[tuple[Spectra, Matched]]) -> Said:
    return chain.say(np.vstack([one.X for _, one in matched]), matched[0][0].axis)


def _odd(said: Said, places: Sequence[int], matched: Mapping[int, tuple[Spectra, Matched]]) -> list[DrawnSpectrum]:
    """The worst spectra, to be drawn."""
    ends = np.cumsum([len(matched[place][1].X) for place in places])
    drawn = []
    for row, severity in said.odd:
        number = int(np.searchsorted(ends, row, side="right"))
        spectra, one = matched[places[number]]
        inside = row - int(ends[number] - len(one.X))
        values: npt.NDArray[np.floating[Any]] = one.X[inside].astype(np.float32)
        drawn.append(DrawnSpectrum(spectra.sample_ids[one.kept[inside]], str(said.verdicts[row]), values, severity))
    return drawn


def _scored(
    file: PendingFile, spectra: Spectra, matched: Matched, said: Said, start: int, reading: Reading
) -> ScoredFile:
    rows = {position: start + number for number, position in enumerate(matched.kept.tolist())}
    reasons = dict(matched.rejected)
    more = {"conversions": matched.conversions} if matched.conversions else {}
    samples = [
        ScoredSample(sample_id, said.y[row], said.verdicts[row], said.reasons[row], {**said.details[row], **more})
        if (row := rows.get(position)) is not None
        else ScoredSample(sample_id, None, "rejected", [reasons[position]])
        for position, sample_id in enumerate(spectra.sample_ids)
    ]
    rejected = [{"row": row.row, "line": row.line, "reason": row.reason} for row in spectra.rejected]
    detail = {**reading.about, **({"rejected": rejected} if rejected else {})}
    return ScoredFile(file.path, file.digest, "scored", None, samples, detail)


def _quarantined(file: PendingFile, reason: str, reading: Reading) -> ScoredFile:
    detail = {**reading.about, "readers": reading.readers}
    return ScoredFile(file.path, file.digest, "quarantined", storable(reason), [], detail)
