"""Files at URLs: new spectra, laboratory values, exports. `memory://` stands for an object store; tests/engines has S3."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import ValidationError

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import (
    ExportOptions,
    MonitoringOptions,
    PredictionOptions,
    export,
    monitor,
    predict_new_spectra,
    train_and_record,
)
from n4a_flows.monitoring import read_reference_values
from n4a_flows.spectra import Spectra, load_dataset, read_spectra
from n4a_flows.storage.errors import InvalidInputError, MissingFileError, SpectraError
from n4a_flows.storage.places import Place
from n4a_flows.tasks.files import file_digest, list_spectra_files, move_to_quarantine
from n4a_flows.training import TrainingOptions

INCOMING = Place("memory://lab/incoming")


@pytest.fixture(autouse=True)
def _empty_memory() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def uploaded(incoming: Path) -> Place:
    """The files of `incoming`, at a URL."""
    for file in incoming.iterdir():
        (INCOMING / file.name).put(file)
    return INCOMING


def test_files_at_a_url_are_listed_as_those_of_a_folder(uploaded: Place, incoming: Path) -> None:
    here = [file.name for file in list_spectra_files(str(incoming))]
    for name in ("notes.md", ".hidden.csv", "quarantine/old.csv", ".git/x.csv", "sub/more.csv"):
        (uploaded / name).write(b"x")
    there = list_spectra_files(str(uploaded))
    assert [file.name for file in there] == sorted(
        [*here, "more.csv"], key=lambda name: ("sub/" if "more" in name else "") + name
    )
    assert [file.name for file in list_spectra_files(f"{uploaded}/*.md")] == ["notes.md"]
    assert list_spectra_files([str(uploaded / "notes.md"), str(incoming)])[-1] == uploaded / "notes.md"
    assert list_spectra_files("memory://lab/nothing-yet/") == [], "an object store has no empty folders"
    with pytest.raises(MissingFileError, match="memory://lab/nothing: check the URL"):
        list_spectra_files("memory://lab/nothing")
    assert file_digest(there[0]) == hashlib.sha256((INCOMING / there[0].name).read()).hexdigest()


def test_a_file_at_a_url_is_read_and_named_by_its_url(uploaded: Place, incoming: Path) -> None:
    name = next(file.name for file in incoming.iterdir() if file.name != "broken.csv")
    assert read_spectra(f"{uploaded}/{name}").digest == read_spectra(incoming / name).digest
    assert read_spectra(uploaded / name).name == Path(name).stem
    assert load_dataset([f"{uploaded}/{name}"]).digest == read_spectra(incoming / name).digest
    with pytest.raises(SpectraError, match=r"^memory://lab/incoming/broken\.csv has no axis"):
        read_spectra(uploaded / "broken.csv")
    with pytest.raises(MissingFileError, match="memory://lab/gone"):
        read_spectra("memory://lab/gone.csv")


def test_a_bad_file_at_a_url_is_moved_beside_its_reason(uploaded: Place) -> None:
    moved = move_to_quarantine(uploaded / "broken.csv", "no text")
    assert str(moved) == "memory://lab/incoming/quarantine/broken.csv"
    assert b"no text" in Place(f"{moved}.reason.txt").read()
    (uploaded / "broken.csv").write(b"again")
    assert str(move_to_quarantine(uploaded / "broken.csv", "no text")).endswith("quarantine/broken-2.csv")
    assert not (uploaded / "broken.csv").is_file()


@pytest.mark.prefect
def test_new_spectra_at_a_url_are_predicted_as_those_of_a_folder(
    block: WorkspaceStoreBlock, chain: str, uploaded: Place, incoming: Path
) -> None:
    block.export_folders.append("memory://lab/results")
    options = PredictionOptions(quarantine="move", csv_file="memory://lab/results/today/lims.csv")
    there = predict_new_spectra(block, chain, str(uploaded), options)
    assert (there.scored, there.quarantined, there.postponed) == (5, 1, 0)
    assert there.quarantined_files[0].path == "memory://lab/incoming/broken.csv"
    assert (uploaded / "quarantine" / "broken.csv").is_file()
    assert there.csv_path == "memory://lab/results/today/lims.csv"
    assert type(there).model_validate_json(there.model_dump_json()).model_dump() == there.model_dump()
    table = pl.read_parquet(there.predictions_path)
    assert pl.read_csv(Place(str(there.csv_path)).read())["y"].to_list() == table["y"].to_list()
    assert table["file"].str.starts_with("memory://lab/incoming/").all()

    here = predict_new_spectra(block, chain, str(incoming))
    assert (here.scored, here.skipped) == (0, 6), "the same bytes are the same files, wherever they lie"
    assert predict_new_spectra(block, chain, str(uploaded)).skipped == 5


@pytest.mark.prefect
def test_laboratory_values_at_a_url_come_in(
    block: WorkspaceStoreBlock, chain: str, new_spectra: Spectra, incoming: Path, tmp_path: Path
) -> None:
    rows = [f"{name},{value}" for name, value in zip(new_spectra.sample_ids, new_spectra.targets["fat"], strict=True)]
    file = Place("memory://lab/values.csv")
    file.write("\n".join(["sample_id,fat", *rows, "x1,< 0.5"]).encode())
    assert len(read_reference_values("memory://lab/values.csv", {"fat": "fat"}).values["fat"]) == 5
    predict_new_spectra(block, chain, str(incoming))
    summary = monitor(block, MonitoringOptions(reference_file=str(file), target="fat"))
    assert summary.values_added == summary.agreement[0].n == 5
    with block.open() as store:
        assert set(store.reference_values()["source"]) == {"values.csv"}
    with pytest.raises(MissingFileError, match="memory://lab/none"):
        read_reference_values("memory://lab/none.csv", {"fat": "fat"})


@pytest.mark.prefect
@pytest.mark.parametrize(("what", "name"), [("chain", "fat"), ("predictions", "all.parquet"), ("pipeline", "p.json")])
def test_exports_go_to_a_url_that_the_block_allows(
    block: WorkspaceStoreBlock, chain: str, what: str, name: str, tmp_path: Path
) -> None:
    block.export_folders.append("memory://lab/exports")
    said = {"what": what, "file_name": f"memory://lab/exports/july/{name}"}
    if what == "pipeline":
        with block.open() as store:
            said["pipeline"] = store.list_pipelines()["pipeline_id"][0]
    elif what == "chain":
        said["chain"] = chain
    summary = export(block, ExportOptions(**said))
    written = Place(str(summary.path))
    assert str(written).startswith("memory://lab/exports/july/")
    assert (written.sha256(), written.size()) == (summary.sha256, summary.size)
    if what == "chain":
        assert written.name == "fat.n4a"
        written.fetch(tmp_path / "fat.n4a")
        with WorkspaceStoreBlock(path=tmp_path / "other").open() as other:
            assert other.import_bundle(tmp_path / "fat.n4a", trust="modules").probe is not None


@pytest.mark.parametrize(
    "url",
    [
        "memory://lab/other/fat.n4a",
        "memory://lab/exports-not/fat.n4a",
        "memory://lab/exports/../other/fat.n4a",
        "memory://lab/exports/./../other/fat.n4a",
        "memory://lab/exports/%2e%2e/other/fat.n4a",
        "memory://lab/exports//fat.n4a",
        "memory://lab/exports/",
        "memory://lab/exports",
        "memory://user:s3cret@lab/exports/fat.n4a",
        "s3://lab/exports/fat.n4a",
        "simplecache::memory://lab/exports/fat.n4a",
        "file:///etc/passwd",
        "local:///etc/passwd",
        "https://lab/exports/fat.n4a?x=memory://lab/exports/",
    ],
)
def test_no_url_leads_an_export_elsewhere(tmp_path: Path, url: str) -> None:
    block = WorkspaceStoreBlock(path=tmp_path / "ws", export_folders=["memory://lab/exports"])
    with pytest.raises(InvalidInputError) as caught:
        block.export_target(url)
    assert "s3cret" not in str(caught.value)
    assert block.export_target("memory://lab/exports/a/fat.n4a") == Place("memory://lab/exports/a/fat.n4a")
    assert block.export_target("fat.n4a") == block.export_target(f"file://{tmp_path}/ws/exports/fat.n4a")
    with pytest.raises(InvalidInputError, match="there are none"):
        WorkspaceStoreBlock(path=tmp_path / "ws").export_target("memory://lab/exports/fat.n4a")


def test_a_block_holds_no_credentials(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="leave them to the environment") as caught:
        WorkspaceStoreBlock(path=tmp_path / "ws", export_folders=["sftp://lab:s3cret@host/exports"])
    assert "written with credentials" in str(caught.value)


def test_a_verb_that_writes_files_of_this_machine_refuses_a_url(
    block: WorkspaceStoreBlock,
) -> None:
    with block.open() as store, pytest.raises(InvalidInputError, match="is not on this machine"):
        store.export_predictions_parquet("memory://lab/all")


@pytest.mark.prefect
def test_training_files_may_lie_at_urls_and_no_password_is_recorded(
    block: WorkspaceStoreBlock,
) -> None:
    spectra = load_dataset("tecator")
    header = "sample_id,fat," + ",".join(map(repr, spectra.axis.values.tolist()))
    for name, rows in (("train", range(60)), ("test", range(60, 80))):
        lines = [",".join([f"s{i}", *map(str, [spectra.targets["fat"][i], *spectra.X[i].tolist()])]) for i in rows]
        Place(f"memory://user:s3cret@lab/{name}.csv").write("\n".join([header, *lines]).encode())
    options = TrainingOptions(test_files=("memory://user:s3cret@lab/test.csv",), replay_sample=0)
    definition = [{"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 3}}}]
    summary = train_and_record(block, "memory://user:s3cret@lab/train.csv", "fat", definition, options)
    with block.open() as store:
        run = store.get_run(summary.run_id)
    assert "memory://lab/test.csv" in str(run)
    assert "s3cret" not in str(run)
