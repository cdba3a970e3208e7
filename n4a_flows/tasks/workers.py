"""Tasks that compute. They get all they need as arguments and return what is to be recorded; none opens a store.

In another process than the flow's, what is for one chunk comes `Packed`, and what all chunks need as a `Parcel`, which the process
keeps; one that was sent only its label and has not kept it answers `Lacking`.
"""

from __future__ import annotations

from collections.abc import Sequence

from n4a_flows.spectra import Spectra
from n4a_flows.storage import ChainPackage
from n4a_flows.storage.codecs import Trust
from n4a_flows.tasks._task import worker_task
from n4a_flows.tasks.judging import Judging
from n4a_flows.tasks.parcels import Lacking, Packed, Parcel, kept, unpacked
from n4a_flows.tasks.scoring import PendingFile, Reading, ScoredChunk, score
from n4a_flows.training import TrainedPipeline, TrainingOptions
from n4a_flows.training import train_pipelines as train
from n4a_flows.training.engine import Work


@worker_task("train pipelines")
def train_pipelines(
    work: Sequence[Work] | Packed[Sequence[Work]], spectra: Spectra | Parcel[Spectra], options: TrainingOptions
) -> list[TrainedPipeline] | Lacking:
    """Cross-validate and refit pipelines, each for the target given with it; one that fails comes back with its error."""
    known = kept(spectra)
    return known if isinstance(known, Lacking) else train(unpacked(work), known, options)


@worker_task("score files")
def score_files(
    packages: Sequence[ChainPackage] | Parcel[Sequence[ChainPackage]],
    files: Sequence[PendingFile] | Packed[Sequence[PendingFile]],
    trust: Trust,
    allowed_modules: tuple[str, ...],
    reading: Reading,
    judging: Judging,
) -> ScoredChunk | Lacking:
    """Read, predict and judge a chunk of spectra files; one that cannot be read comes back with its reason."""
    known = kept(packages)
    return (
        known if isinstance(known, Lacking) else score(known, unpacked(files), trust, allowed_modules, reading, judging)
    )
