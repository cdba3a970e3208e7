"""`n4a-flows library`, without Prefect."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from n4a_flows.storage import PipelineLibrary, WorkspaceStore

PLS = ["sklearn.cross_decomposition.PLSRegression"]


Command = Callable[..., str]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    WorkspaceStore(tmp_path / "ws")
    return tmp_path / "ws"


def test_templates_are_added_listed_shown_and_deleted(command: Command, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "pls.json").write_text(json.dumps(PLS))
    assert "Plain PLS is in" in command(
        "library", "add", tmp_path / "pls.json", "--name", "Plain PLS", "--category", "meat", "-w", workspace
    )
    taken = command("library", "add", tmp_path / "pls.json", "--name", "plain pls", "-w", workspace, code=1)
    assert "has a template 'plain pls' already" in taken
    listed = json.loads(command("library", "list", "-w", workspace, "--json"))
    assert {item["name"] for item in listed if not item["shipped"]} == {"Plain PLS"}
    assert len(listed) == 6
    assert command("library", "list", "-w", workspace, "--category", "meat") == "Plain PLS (meat, workspace)\n"
    shown = json.loads(command("library", "show", "plain pls", "-w", workspace, "--json"))
    assert (shown["definition"], shown["category"]) == (PLS, "meat")
    assert "PLSRegression" in command("library", "show", "plain pls", "-w", workspace)
    assert "deleted" in command("library", "delete", "plain pls", "-w", workspace)
    assert "raw_pls" in command("library", "show", "plain pls", "-w", workspace, code=1)


def test_a_definition_in_yaml_is_added(command: Command, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "pls.yaml").write_text(f"- model: {{class: {PLS[0]}, params: {{tol: 1e-06}}}}\n")
    command("library", "add", tmp_path / "pls.yaml", "-w", workspace)
    shown = json.loads(command("library", "show", "pls", "-w", workspace, "--json"))
    assert shown["definition"] == [{"model": {"class": PLS[0], "params": {"tol": 1e-06}}}]


def test_a_workspace_that_cannot_be_looked_at_is_one_line(command: Command, tmp_path: Path) -> None:
    for words in (("library", "list"), ("library", "show", "snv_pls"), ("top",), ("gc",)):
        assert "cannot be read" in command(*words, "-w", tmp_path / ("x" * 300), code=1)


@pytest.mark.parametrize("words", [("library", "list"), ("library", "list", "--json")])
def test_a_reader_that_has_seen_enough_is_no_error(words: tuple[str, ...], tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("n4a-flows"), *words]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141


def test_a_pipeline_becomes_a_template(command: Command, workspace: Path) -> None:
    with WorkspaceStore(workspace) as store:
        pipeline_id = store.begin_pipeline(store.begin_run("r", {}, []), "p", PLS, {}, "tecator", "h")
        store.complete_pipeline(pipeline_id, 2.5, 3.0, "rmse", 10)
    arguments = ("add", pipeline_id, "--name", "best", "--description", "of July", "--tag", "fat", "-w", workspace)
    assert json.loads(command("library", *arguments, "--json"))["metrics"] == {
        "metric": "rmse",
        "best_val": 2.5,
        "best_test": 3.0,
    }
    command("library", *arguments, "--overwrite")
    assert PipelineLibrary(workspace).load_template("best") == PLS
    assert "--name" in command("library", "add", pipeline_id, "-w", workspace, code=1)
    assert "no-such" in command("library", "add", "no-such", "--name", "x", "-w", workspace, code=1)
    assert "nowhere.json" in command("library", "add", "nowhere.json", "-w", workspace, code=1)


def test_shipped_templates_are_seen_without_a_workspace(command: Command, tmp_path: Path) -> None:
    assert "SNV PLS (regression, package): " in command(
        "library", "list", "-w", tmp_path / "nowhere", "--tag", "scatter"
    )
    assert "no such template" in command("library", "list", "-w", tmp_path / "nowhere", "--tag", "none")
    assert "chemotools.scatter" in command("library", "show", "snv_pls", "-w", tmp_path / "nowhere")
    assert "no workspace" in command("library", "delete", "snv_pls", "-w", tmp_path / "nowhere", code=1)
    assert "name of a template" in command("library", "show", "../x", "-w", tmp_path / "nowhere", code=1)
    assert not (tmp_path / "nowhere").exists()
