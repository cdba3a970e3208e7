"""`n4a-flows train` with a template, and `n4a-flows export` of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from n4a_flows.storage import PipelineLibrary, WorkspaceStore

Command = Callable[..., str]

pytestmark = pytest.mark.prefect


def test_a_template_is_trained_and_what_came_of_it_exported(command: Command, tmp_path: Path) -> None:
    at = ("--workspace", tmp_path / "ws")
    WorkspaceStore(tmp_path / "ws")
    PipelineLibrary(tmp_path / "ws").save_template(["sklearn.cross_decomposition.PLSRegression"], "plain pls")
    shown = command("train", "tecator", "--target", "fat", "--pipeline", "Plain PLS", *at)
    run_id = shown.split("run ")[1].split()[0]
    with WorkspaceStore(tmp_path / "ws") as store:
        [pipeline_id] = store.list_pipelines(run_id)["pipeline_id"]

    def exported(*arguments: object) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads(command("export", *arguments, *at, "--json"))
        assert Path(summary["path"]).parent == tmp_path / "ws" / "exports"
        assert Path(summary["path"]).stat().st_size == summary["size"]
        return summary

    assert exported(run_id, "--what", "run")["name"] == run_id
    assert exported(pipeline_id, "--what", "pipeline", "--file-name", "p.json")["path"].endswith("p.json")
    assert exported("snv_pls", "--what", "template")["what"] == "template"
    predictions = exported("--what", "predictions", "--run", run_id, "--partition", "val", "--arrays")
    assert pl.read_parquet(predictions["path"])["y_pred"].list.len().sum() == 172


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x", "--arrays"], "'arrays' says nothing"),
        (["x", "--what", "predictions"], "leave it out"),
        (["x", "--what", "run", "--run", "y"], "leave it out"),
        (["x", "--what", "run", "--format", "n4a.py"], "'format' says nothing"),
        (["x", "--what", "run", "--workspace", "nowhere"], "no workspace"),
    ],
)
def test_what_does_not_fit_is_one_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in command("export", *arguments, code=1)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_is_wrong_usage(command: Command) -> None:
    command("export", "--what", "everything", code=2)


def test_an_unknown_template_is_one_line_that_lists_what_there_is(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "snv_pls" in command("train", "tecator", "--target", "fat", "--pipeline", "nothing", code=1)
    assert list(tmp_path.iterdir()) == []
