"""Bundles on the command line: what is in one, and how it comes in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from n4a_flows.spectra import load_tecator
from n4a_flows.storage import WorkspaceStore
from n4a_flows.training import PipelineRunner

Command = Callable[..., str]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    runner = PipelineRunner(folder / "ws")
    runner.run(
        ["chemotools.scatter.StandardNormalVariate", "sklearn.cross_decomposition.PLSRegression"], "tecator", "fat"
    )
    with WorkspaceStore(folder / "ws") as store:
        return store.export_chain(str(runner.last_recorded[0].chain_id), folder / "fat.n4a")


def test_inspect_says_what_is_in_it(command: Command, bundle: Path) -> None:
    shown = command("inspect", bundle)
    assert "StandardNormalVariate > PLSRegression" in shown
    assert "100 points, 850 to 1050 nm" in shown
    assert "sklearn" in shown
    told = json.loads(command("inspect", bundle, "--json"))
    assert (told["target"], told["axis"]["unit"], told["has_probe"]) == ("fat", "nm", True)


def test_a_damaged_bundle_is_one_line(command: Command, bundle: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.n4a"
    damaged.write_bytes(bundle.read_bytes()[:-100])
    command("inspect", damaged, code=1)
    command("import", damaged, "-w", tmp_path / "ws", code=1)
    assert not (tmp_path / "ws").exists(), "no workspace is made for it"
    assert "nowhere.n4a" in command("inspect", tmp_path / "nowhere.n4a", code=1)


def test_import_brings_the_chain_in_once(command: Command, bundle: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    report = json.loads(command("import", bundle, "-w", workspace, "--alias", "meat/fat/champion", "--json"))
    assert report["probe"] is None, "nothing is loaded unless it is asked for"
    again = command("import", bundle, "-w", workspace, "--trust", "modules")
    assert "was here already" in again
    assert "predicted as it was when it was trained" in again
    spectra = load_tecator()
    with WorkspaceStore(workspace) as store:
        assert store.get_alias("meat/fat/champion") == report["chain_id"]
        assert store.replay_chain("meat/fat/champion", spectra.X[:3], spectra.axis).shape == (3,)


def test_a_name_that_cannot_be_an_alias_is_refused_before_anything_comes_in(
    command: Command, bundle: Path, tmp_path: Path
) -> None:
    assert "cannot be an alias" in command("import", bundle, "-w", tmp_path / "ws", "--alias", "bad alias//x", code=1)
    assert not (tmp_path / "ws").exists(), "no workspace is made for it"


def test_a_bundle_whose_name_is_no_utf8_comes_in(command: Command, bundle: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"m\xfcller.n4a")
    odd.write_bytes(bundle.read_bytes())
    assert json.loads(command("inspect", odd, "--json"))["target"] == "fat"
    command("import", odd, "-w", tmp_path / "ws", "--alias", "meat/fat")
    with WorkspaceStore(tmp_path / "ws") as store:
        assert store.alias_history("meat/fat")["note"].to_list() == ["imported from m\\udcfcller.n4a"]
