"""`n4a-flows top | chains | runs | show`, which need no Prefect and change nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from n4a_flows.storage import WorkspaceStore
from n4a_flows.training import PipelineRunner

Command = Callable[..., str]


class Recorded(NamedTuple):
    """A workspace with a run of two pipelines on tecator's fat, a champion, and a run that failed."""

    workspace: Path
    run_id: str
    pipeline_id: str
    chain_id: str


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    workspace = tmp_path_factory.mktemp("looking") / "ws"
    runner = PipelineRunner(workspace)
    pls = "sklearn.cross_decomposition.PLSRegression"
    runner.run([{"model": {"class": pls, "params": {"n_components": {"_or_": [2, 8]}}}}], "tecator", "fat")
    best = min(runner.last_recorded, key=lambda one: one.best_val or 0)
    with WorkspaceStore(workspace) as store:
        store.set_alias("tecator/fat/champion", str(best.chain_id))
        store.fail_run(store.begin_run("no light", {}, ["tecator"]), "the lamp is off")
    return Recorded(workspace, str(runner.last_run_id), best.pipeline_id, str(best.chain_id))


def test_top_ranks_and_says_which_is_the_champion(command: Command, recorded: Recorded) -> None:
    heading, header, first, second = command("top", "-w", recorded.workspace).splitlines()
    assert heading == "tecator: fat"
    assert header.split() == ["#", "rmse", "test", "chain", "aliases", "pipeline"]
    assert (first.split()[0], first.split()[3:5]) == ("1", [recorded.chain_id[:8], "tecator/fat/champion"])
    assert second.split()[0] == "2"
    (best,) = json.loads(command("top", "-n", 1, "--run", recorded.run_id[:8], "-w", recorded.workspace, "--json"))
    assert best["chain_id"] == recorded.chain_id
    assert "no such chain" in command("top", "--target", "sugar", "-w", recorded.workspace)


def test_chains_and_runs_are_listed(command: Command, recorded: Recorded) -> None:
    assert recorded.chain_id[:8] in command("chains", "--dataset", "tecator", "-w", recorded.workspace)
    assert len(json.loads(command("chains", "-n", 1, "-w", recorded.workspace, "--json"))) == 1
    failed, completed = command("runs", "-w", recorded.workspace).splitlines()[1:]
    assert "the lamp is off" in failed
    assert completed.startswith(recorded.run_id[:8])
    (run,) = json.loads(command("runs", "--status", "completed", "-w", recorded.workspace, "--json"))
    assert (run["pipelines"], run["failed_pipelines"], run["datasets"][0]["name"]) == (2, 0, "tecator")
    command("runs", "--status", "odd", "-w", recorded.workspace, code=2)


def test_a_number_that_nobody_has_is_one_line(command: Command, recorded: Recorded) -> None:
    for words in (("chains",), ("runs",), ("top",)):
        said = command(*words, "-n", 10**20, "-w", recorded.workspace, code=1)
        assert "must be a whole number of at least 0" in said
        assert "SELECT" not in said
        command(*words, "-n", -1, "-w", recorded.workspace, code=2)


def test_top_takes_the_metric_in_any_case(command: Command, recorded: Recorded) -> None:
    (best,) = json.loads(command("top", "-n", 1, "--metric", "RMSE", "-w", recorded.workspace, "--json"))
    assert best["chain_id"] == recorded.chain_id


def test_show_takes_ids_beginnings_and_aliases(command: Command, recorded: Recorded) -> None:
    def document(name: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(command("show", name, "-w", recorded.workspace, "--json"))
        return shown

    run = document(recorded.run_id[:8])
    assert (run["kind"], run["status"], len(run["pipelines"])) == ("run", "completed", 2)
    pipeline = document(recorded.pipeline_id[:8])
    assert (pipeline["kind"], pipeline["chains"][0]["chain_id"]) == ("pipeline", recorded.chain_id)
    chain = document("tecator/fat/champion")
    assert (chain["kind"], chain["chain_id"], chain["axis"]["unit"]) == ("chain", recorded.chain_id, "nm")
    shown = command("show", recorded.chain_id, "-w", recorded.workspace).split("\nprediction ")[1].splitlines()[-1]
    prediction = document(shown.split()[0])
    assert (prediction["kind"], prediction["chain_id"]) == ("prediction", recorded.chain_id)

    for name, said in (
        (recorded.run_id, recorded.chain_id[:8]),
        (recorded.pipeline_id, "of all out-of-fold predictions"),
        (recorded.chain_id, "100 points, 850 to 1050 nm, absorbance"),
        (prediction["prediction_id"], "rmse"),
    ):
        assert said in command("show", name, "-w", recorded.workspace)


def test_what_is_not_there_is_one_line(command: Command, recorded: Recorded, tmp_path: Path) -> None:
    assert "begins with 'zz'" in command("show", "zz", "-w", recorded.workspace, code=1)
    assert "No run" in command("top", "--run", "zz", "-w", recorded.workspace, code=1)
    for name in ("top", "chains", "runs"):
        assert "no workspace" in command(name, "-w", tmp_path / "nowhere", code=1)
    assert not (tmp_path / "nowhere").exists()


def test_looking_imports_neither_prefect_nor_what_draws(recorded: Recorded) -> None:
    script = (
        "import sys\n"
        "from n4a_flows.cli.commands import run\n"
        f"sys.argv = ['n4a-flows', 'top', '-w', {str(recorded.workspace)!r}]\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('prefect', 'matplotlib', 'sklearn') if name in sys.modules])\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"
