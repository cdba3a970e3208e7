"""Files in S3, which here is a local server: `moto` answers as S3 does, and s3fs talks to it over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from clusters import Dask, need

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import ExportOptions, MonitoringOptions, PredictionOptions, export, monitor, predict_new_spectra
from n4a_flows.spectra import load_tecator, read_spectra
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError, MissingFileError, PlaceError
from n4a_flows.storage.places import Place

pytestmark = pytest.mark.prefect

NewBlock = Callable[[], WorkspaceStoreBlock]
WriteFiles = Callable[[Path, int], Path]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    need("s3", "s3fs")
    need("engines", "moto")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket; where it is and who may use it stands in the environment, as it does for workers."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "lab",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()
    files = fsspec.filesystem("s3")
    files.mkdir("lab")
    yield "s3://lab"
    files.rm("lab", recursive=True)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def incoming(bucket: str, tmp_path: Path, write_files: WriteFiles) -> Place:
    """Forty new files, one of them broken."""
    folder = Place(f"{bucket}/incoming")
    for file in write_files(tmp_path / "incoming", 40).iterdir():
        (folder / file.name).put(file)
    return folder


def test_dask_workers_fetch_from_s3_what_threads_read_from_a_folder(
    tmp_path: Path, dask: Dask, incoming: Place, new_block: NewBlock, chain: str
) -> None:
    dask.worker(), dask.worker()
    there, here = new_block(), new_block()
    options = PredictionOptions(settle_seconds=0, files_per_task=10, quarantine="move")
    summary = predict_new_spectra(there, chain, str(incoming), options, runner=f"dask={dask.address}")
    assert (summary.scored, summary.quarantined, summary.postponed) == (39, 1, 0)
    assert summary.quarantined_files[0].path == "s3://lab/incoming/s0000.csv"
    assert (incoming / "quarantine" / "s0000.csv.reason.txt").is_file()

    predict_new_spectra(here, chain, str(tmp_path / "incoming"), options)
    wanted = "sample_id", "y", "verdict", "reasons", "detail", "file_digest"
    with there.open() as one, here.open() as other:
        ledgers = [store.scored_samples().select(wanted).sort("sample_id") for store in (one, other)]
        assert one.scored_files()["path"].str.starts_with("s3://lab/incoming/").all()
    assert ledgers[0].equals(ledgers[1]), "the same digests and numbers, to the last bit"
    assert predict_new_spectra(there, chain, str(incoming), options).skipped == 39


def test_a_folder_of_s3_may_be_empty_and_a_bucket_must_be_there(bucket: str, new_block: NewBlock, chain: str) -> None:
    block = new_block()
    assert predict_new_spectra(block, chain, f"{bucket}/nothing-yet/").scored == 0
    with pytest.raises(MissingFileError, match="s3://lab/nothing"):
        predict_new_spectra(block, chain, f"{bucket}/nothing")
    with pytest.raises((MissingFileError, PlaceError), match="s3://nobody/incoming"):
        predict_new_spectra(block, chain, "s3://nobody/incoming/a.csv")


def test_exports_and_files_for_the_lims_go_to_s3_where_the_block_says_so(
    bucket: str, incoming: Place, tmp_path: Path, new_block: NewBlock, chain: str
) -> None:
    block = new_block().model_copy(update={"export_folders": [f"{bucket}/exports"]})
    summary = export(block, ExportOptions(chain=chain, file_name=f"{bucket}/exports/fat.n4a"))
    written = Place(str(summary.path))
    assert str(written) == "s3://lab/exports/fat.n4a"
    assert (written.sha256(), written.size()) == (summary.sha256, summary.size)
    written.fetch(tmp_path / "fat.n4a")
    with WorkspaceStore(tmp_path / "other") as other:
        assert other.import_bundle(tmp_path / "fat.n4a", trust="modules").probe is not None
    with pytest.raises(InvalidInputError, match="lies outside"):
        export(block, ExportOptions(chain=chain, file_name=f"{bucket}/other/fat.n4a"))

    options = PredictionOptions(csv_file=f"{bucket}/exports/lims.csv", settle_seconds=0)
    predicted = predict_new_spectra(block, chain, str(incoming), options)
    assert pl.read_csv(Place(str(predicted.csv_path)).read()).height == 39


def test_laboratory_values_and_spectra_are_read_from_s3(
    bucket: str, incoming: Place, tmp_path: Path, new_block: NewBlock, chain: str
) -> None:
    assert read_spectra(incoming / "s0001.csv").digest == read_spectra(tmp_path / "incoming" / "s0001.csv").digest
    fat = load_tecator().targets["fat"]
    lines = ["sample_id,fat", *(f"s{number},{fat[number]}" for number in range(1, 40))]
    Place(f"{bucket}/laboratory/july.csv").write("\n".join(lines).encode())
    block = new_block()
    predict_new_spectra(block, chain, str(incoming))
    summary = monitor(block, MonitoringOptions(reference_file=f"{bucket}/laboratory/july.csv", target="fat"))
    assert summary.values_added == summary.agreement[0].n == 39


def test_a_backup_goes_to_s3_and_comes_back(bucket: str, tmp_path: Path, new_block: NewBlock, chain: str) -> None:
    with new_block().open() as store:
        report = store.backup(f"{bucket}/backups/ws")
        assert report.copied_artifacts == report.artifacts > 0
        assert store.backup(f"{bucket}/backups/ws").copied_artifacts == 0
        y = store.replay_chain(chain, load_tecator().X)
    WorkspaceStore.restore(f"{bucket}/backups/ws", tmp_path / "again")
    with WorkspaceStore(tmp_path / "again") as again:
        assert again.check("replay").ok
        assert (again.replay_chain(chain, load_tecator().X) == y).all()
