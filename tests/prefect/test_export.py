from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import ExportOptions, ExportSummary, export, train_and_record
from n4a_flows.storage import PipelineLibrary, WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError, MissingFileError, UnknownIdError

pytestmark = pytest.mark.prefect


def test_a_bundle_is_written_into_the_exports_folder(block: WorkspaceStoreBlock, chain: str) -> None:
    summary = export(block, ExportOptions(chain=chain, file_name="fat.n4a"))

    content = (block.workspace_path / "exports" / "fat.n4a").read_bytes()
    assert summary.path == block.workspace_path / "exports" / "fat.n4a"
    assert summary.sha256 == hashlib.sha256(content).hexdigest()
    assert summary.size == len(content)
    with zipfile.ZipFile(summary.path) as bundle:
        assert json.loads(bundle.read("manifest.json"))["chain_id"] == chain


def test_the_best_chain_under_its_own_name(block: WorkspaceStoreBlock, chain: str) -> None:
    summary = export(block, ExportOptions(dataset="tecator", target="fat"))

    assert summary.chain_id == chain
    assert summary.path.name == f"{chain}.n4a"
    with pytest.raises(InvalidInputError, match="dataset"):
        export(block)


def test_exports_stay_where_the_block_allows(block: WorkspaceStoreBlock, chain: str, tmp_path: Path) -> None:
    for name in ("../fat.n4a", str(tmp_path / "fat.n4a"), "/tmp/../tmp/fat.n4a"):
        with pytest.raises(InvalidInputError):
            export(block, ExportOptions(chain=chain, file_name=name))
    assert not list(tmp_path.rglob("*.n4a"))

    allowing = block.model_copy(update={"export_folders": [str(tmp_path / "shared")]})
    summary = export(allowing, ExportOptions(chain=chain, file_name=tmp_path / "shared" / "fat.n4a"))
    assert summary.path == tmp_path / "shared" / "fat.n4a"


def test_an_unknown_chain_leaves_no_file(block: WorkspaceStoreBlock, chain: str) -> None:
    with pytest.raises(UnknownIdError, match="no-such-chain"):
        export(block, ExportOptions(chain="no-such-chain", file_name="x.n4a"))
    assert not list(block.workspace_path.rglob("*.n4a"))


# ---------------------------------------------------------------------- the other kinds


def loaded(summary: ExportSummary) -> dict[str, Any]:
    """The names that the code of a report leaves behind."""
    names: dict[str, Any] = {}
    exec(summary.load, names)
    return names


def last_report() -> str:
    with get_client(sync_client=True) as client:
        [artifact] = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["n4a-export"])),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
    return str(artifact.data)


def test_every_kind_is_exported_and_the_report_says_how_to_load_it(
    block: WorkspaceStoreBlock, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with block.open() as store:
        pipeline_id = store.get_chain(trained.best["fat"])["pipeline_id"]  # type: ignore[index]
        digest = store.get_chain_context(trained.best["fat"]).digest
        validation = store.query_predictions(run_id=trained.run_id, partition="val")
    chain_id = trained.best["fat"]
    asked = {
        "chain": ExportOptions(chain=chain_id),
        "pipeline": ExportOptions(what="pipeline", pipeline=pipeline_id),
        "run": ExportOptions(what="run", run=trained.run_id),
        "predictions": ExportOptions(what="predictions", run=trained.run_id, partition="val", arrays=True),
        "template": ExportOptions(what="template", template="SNV PLS"),
    }
    done = {}
    for what, options in asked.items():
        summary = done[what] = export(block, options)
        content = summary.path.read_bytes()
        assert (summary.what, summary.size, summary.chain_id) == (
            what,
            len(content),
            chain_id if what == "chain" else None,
        )
        assert summary.sha256 == hashlib.sha256(content).hexdigest()
        assert summary.path.parent == block.workspace_path / "exports"
        report = last_report()
        assert all(said in report for said in (summary.sha256, str(summary.path), f"{summary.size:,}", summary.load))

    assert {what: summary.path.name for what, summary in done.items()} == {
        "chain": f"{chain_id}.n4a",
        "pipeline": f"pipeline-{pipeline_id}.json",
        "run": f"run-{trained.run_id}.yaml",
        "predictions": f"predictions-{trained.run_id}-val-arrays.parquet",
        "template": "template-snv_pls.json",
    }
    assert loaded(done["run"])["run"] == yaml.safe_load(done["run"].path.read_text())
    frame = loaded(done["predictions"])["predictions"]
    assert frame["prediction_id"].to_list() == validation["prediction_id"].to_list()
    assert frame["y_pred"].list.len().sum() == 2 * 172
    imported = loaded(done["chain"])["report"]
    loaded(done["pipeline"])
    with WorkspaceStore(tmp_path / "another-workspace") as other:
        assert other.get_chain_context(imported.chain_id).digest == digest
        assert other.list_runs()["status"].to_list() == ["completed", "completed"]
    loaded(done["template"])
    assert PipelineLibrary("another-workspace").list_templates()[0]["name"] == "SNV PLS"


def test_a_script_says_the_command_that_predicts_with_it(block: WorkspaceStoreBlock, chain: str) -> None:
    summary = export(block, ExportOptions(chain=chain, format="n4a.py", file_name="fat.n4a.py"))
    assert summary.load == "python fat.n4a.py spectra.csv predictions.csv"
    assert summary.path.name == "fat.n4a.py"


def test_template_training_export_and_template_again(block: WorkspaceStoreBlock, two_pipelines: list[Any]) -> None:
    with block.open():
        library = PipelineLibrary(block.workspace_path)
    library.save_template(two_pipelines[1:], "first")
    run = train_and_record(block, "tecator", "fat", "first")
    with block.open() as store:
        [pipeline_id] = store.list_pipelines(run.run_id)["pipeline_id"]
    library.import_template(export(block, ExportOptions(what="pipeline", pipeline=pipeline_id)).path, name="second")
    again = train_and_record(block, "tecator", "fat", "second")
    with block.open() as store:
        chains = [store.get_chain_context(found.best["fat"]) for found in (run, again)]
    assert chains[0].digest == chains[1].digest


def test_a_dot_in_a_file_name_is_no_suffix(block: WorkspaceStoreBlock, trained: Any, chain: str) -> None:
    block.export_folders.append("memory://lab/dots")
    for folder in ("", "memory://lab/dots/"):
        for what, name in (("run", "fat v1.2.yaml"), ("chain", "fat v1.2.n4a")):
            said = {"what": what, what: trained.run_id if what == "run" else chain}
            summary = export(block, ExportOptions(**said, file_name=f"{folder}fat v1.2"))
            assert summary.path.name == name if folder == "" else str(summary.path).endswith(name)


def test_other_kinds_stay_in_the_exports_folder_too(block: WorkspaceStoreBlock, trained: Any) -> None:
    asked: list[dict[str, Any]] = [
        {"what": "run", "run": trained.run_id},
        {"what": "predictions"},
        {"what": "template", "template": "raw_pls"},
    ]
    for options, name in zip(asked, ("../out.file", "/tmp/out.file", "a/../../out.file"), strict=True):
        with pytest.raises(InvalidInputError, match=r"out\.file"):
            export(block, ExportOptions(**options, file_name=name))
    assert not list(block.workspace_path.parent.rglob("out.file*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"what": "run", "run": "x", "arrays": True}, "'arrays' says nothing.*a run.*fits is run and"),
        ({"what": "predictions", "chain": "x"}, "'chain' says nothing.*predictions"),
        ({"what": "template", "template": "raw_pls", "format": "n4a.py"}, "'format' says nothing"),
        ({"what": "pipeline", "dataset": "tecator"}, "'dataset' says nothing"),
        ({"what": "pipeline", "pipeline": "x", "partition": "val"}, "'partition' says nothing"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        ExportOptions(**options).refuse_what_does_not_fit()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"template": "raw_pls"}, InvalidInputError, "'template' says nothing.*a chain"),
        ({"what": "run"}, InvalidInputError, "Say which run"),
        ({"what": "pipeline", "pipeline": "no-such"}, UnknownIdError, "no-such"),
        ({"what": "predictions", "run": "no-such"}, UnknownIdError, "No run has the id 'no-such'"),
        ({"what": "predictions", "pipeline": "no-such"}, UnknownIdError, "No pipeline has the id 'no-such'"),
        ({"what": "template", "template": "no such"}, MissingFileError, "raw_pls"),
        ({"what": "template", "template": "../x"}, InvalidInputError, "name of a template"),
    ],
)
def test_what_is_not_there_is_one_clear_error(
    block: WorkspaceStoreBlock, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    block.open().close()
    with pytest.raises(error, match=said):
        export(block, ExportOptions(**options))
    assert [path for path in block.workspace_path.glob("exports/*") if path.is_file()] == []


def test_no_predictions_are_an_empty_file(block: WorkspaceStoreBlock) -> None:
    block.open().close()
    summary = export(block, ExportOptions(what="predictions"))
    assert (summary.path.name, summary.name) == ("predictions.parquet", "all")
    assert pl.read_parquet(summary.path).height == 0


def test_the_form_describes_every_field() -> None:
    for name, field in ExportOptions.model_json_schema()["properties"].items():
        assert field["description"].endswith("."), name
