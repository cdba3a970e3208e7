from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import ExportOptions, export, train_and_record
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError

pytestmark = pytest.mark.prefect


@pytest.fixture
def chain(block: WorkspaceStoreBlock, two_pipelines: list[Any]) -> str:
    return train_and_record(block, "tecator", "fat", two_pipelines).best["fat"]


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
