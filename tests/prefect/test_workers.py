"""What is sent to workers, what they keep, and what they refuse. Real clusters are in tests/engines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from n4a_flows import WorkspaceStoreBlock, tasks
from n4a_flows.flows import predict_new_spectra
from n4a_flows.flows.chunks import MOST_CHUNKS, chunked
from n4a_flows.flows.workers import Workers, known_runner
from n4a_flows.spectra import Spectra, load_tecator
from n4a_flows.storage.errors import InvalidInputError, WorkerError
from n4a_flows.tasks import parcels
from n4a_flows.tasks.parcels import Lacking, Packed, Parcel, kept, unpacked
from n4a_flows.tasks.scoring import PendingFile, ScoredChunk, refuse_unseen
from n4a_flows.tasks.versions import Versions
from n4a_flows.training import TrainedPipeline, TrainingOptions, expand


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    parcels._kept.clear()
    yield
    parcels._kept.clear()


@pytest.mark.parametrize("text", ["slurm", "", "dask=", "ray= ", "threads=4", "processes=2", "Dask"])
def test_a_runner_that_there_is_not_is_refused_and_the_others_are_named(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"use threads, processes, dask, dask=ADDRESS, ray or ray=ADDRESS"):
        known_runner(text)


def test_a_runner_whose_package_is_missing_says_which_extra_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.startswith("prefect_ray")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InvalidInputError, match=r"pip install 'n4a-flows\[ray\]'"):
        known_runner("ray=ray://head:10001")
    assert known_runner("processes") == "processes"


def test_a_process_keeps_what_it_was_sent_once_and_says_when_it_lacks_something() -> None:
    spectra = load_tecator()
    parcel = Parcel.of(spectra, Versions.to_train(()))
    lacking = kept(parcel.label())
    assert isinstance(lacking, Lacking)
    assert f"process {os.getpid()}" in lacking.worker
    first = kept(parcel)
    assert isinstance(first, Spectra)
    assert first.digest == spectra.digest
    assert kept(parcel.label()) is first
    assert kept(parcel) is first, "it is not unpacked again"
    for number in range(10):
        kept(Parcel.of(number, Versions.to_train(())))
    assert isinstance(kept(parcel.label()), Lacking), "what was not asked for lately is forgotten"
    assert kept(spectra) is spectra
    assert unpacked(Packed.of([1, 2])) == unpacked([1, 2]) == [1, 2]


def test_a_worker_that_differs_is_refused_before_it_looks_at_what_it_was_sent() -> None:
    here = Versions.to_score([])
    bomb: Parcel[Any] = Parcel("0" * 64, replace(here, packages={**here.packages, "scikit-learn": "0.1"}), b"no pickle")
    with pytest.raises(WorkerError, match=r"it has scikit-learn \S+ in place of 0\.1"):
        kept(bomb)
    with pytest.raises(WorkerError, match="no xgboost"):
        kept(replace(bomb, versions=replace(here, packages={"xgboost": "3.0"})))
    with pytest.raises(WorkerError, match="no reader nicolet 4"):
        kept(replace(bomb, versions=replace(here, readers=f"{here.readers}, nicolet 4")))
    with pytest.raises(WorkerError, match="not what was sent"):
        kept(replace(bomb, versions=here))
    assert "readers" not in str(Versions.to_train(["sklearn"]).packages)
    assert {"python", "scikit-learn", "numpy", "chemotools", "joblib", "n4a_flows"} <= set(here.packages)


def test_what_loading_a_chain_imports_is_compared_too(block: WorkspaceStoreBlock, chain: str) -> None:
    with block.open() as store:
        package = store.chain_package(chain)
    artifact = next(iter(package.artifacts.values()))
    other = replace(artifact, operator_class="pydantic.main.BaseModel")
    assert "pydantic" in Versions.to_score([replace(package, artifacts={"a": other})]).packages


def test_a_worker_that_sees_no_file_is_told_from_files_that_have_gone(tmp_path: Any) -> None:
    there, gone = (PendingFile(tmp_path / name, "0" * 64, ()) for name in ("a.csv", "b.csv"))
    (tmp_path / "a.csv").write_text("x")
    refuse_unseen(ScoredChunk(1, {}, unseen=[gone]))
    refuse_unseen(ScoredChunk(2, {}, unseen=[there]))
    with pytest.raises(WorkerError, match=r"does not see .*a\.csv, which is there"):
        refuse_unseen(ScoredChunk(2, {}, unseen=[gone, there]))


def test_as_many_workers_as_there_are_have_chunks() -> None:
    assert len(chunked(range(100_000), 500)) == MOST_CHUNKS
    assert len(chunked(range(100_000), 500, workers=100)) == 200
    assert len(chunked(range(1000), 500, workers=100)) == 2, "chunks are not made smaller for that"


@pytest.mark.prefect
def test_who_lacks_something_is_sent_it_and_every_piece_is_done_once(two_pipelines: list[Any]) -> None:
    spectra, options = load_tecator(), TrainingOptions()
    planned = expand(two_pipelines, options)
    work = [[(one, target)] for target in ("fat", "protein") for one in planned]

    @flow(persist_result=False)
    def train() -> list[TrainedPipeline]:
        with ThreadPoolTaskRunner(max_workers=2) as runner:
            # As if its threads were processes, and none of them was sent the spectra at first.
            crew = Workers(runner, 0, apart=True)
            found = crew.results(
                tasks.train_pipelines,
                work,
                lambda chunk, sent: {"work": chunk, "spectra": sent, "options": options},
                shared=spectra,
                versions=lambda: Versions.to_train(options.modules),
            )
            return [one for trained in found for one in trained]

    trained = train()
    assert sorted((one.target, one.planned.name) for one in trained) == sorted(
        (target, one.name) for [(one, target)] in work
    )
    assert all(one.error is None for one in trained)


@pytest.mark.prefect
def test_a_flow_refuses_a_runner_that_there_is_not(block: WorkspaceStoreBlock, chain: str) -> None:
    with pytest.raises(Exception, match="There is no runner 'slurm'"):
        predict_new_spectra(block, chain, runner="slurm")
