from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from lab import wait_for

from n4a_flows.cli import flows
from n4a_flows.cli.demo import write_incoming
from n4a_flows.spectra import load_tecator
from n4a_flows.storage import WorkspaceStore
from n4a_flows.training import PipelineRunner

pytestmark = pytest.mark.prefect

PIPELINE = """
- {_or_: [null, chemotools.scatter.StandardNormalVariate]}
- {class: sklearn.model_selection.KFold, params: {n_splits: 3}}
- model: {class: sklearn.cross_decomposition.PLSRegression, params: {n_components: 6}}
"""

Run = Callable[..., subprocess.CompletedProcess[str]]

COMMAND = str(Path(sys.executable).with_name("n4a-flows"))


@pytest.fixture
def environment(prefect_server: str) -> dict[str, str]:
    """The environment of a command that uses the test server."""
    usual = {name: value for name, value in os.environ.items() if name != "PREFECT_LOGGING_LEVEL"}
    return usual | {"PREFECT_API_URL": prefect_server, "COLUMNS": "200"}


@pytest.fixture
def n4a_flows(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Runs the command in a folder of its own, against the test server."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=tmp_path,
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def only_line(result: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that failed."""
    assert result.returncode == 1
    assert "Traceback" not in result.stderr + result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_the_demo_shows_the_main_job_and_a_second_one_scores_nothing_twice(n4a_flows: Run, tmp_path: Path) -> None:
    first = n4a_flows("demo", "--workspace", "ws")
    assert (first.returncode, first.stderr) == (0, "")
    assert "43 predicted, 1 quarantined" in first.stdout
    assert "broken.csv" in first.stdout
    assert re.search(r"^verdicts: (3\d|4\d) ok", first.stdout, re.MULTILINE)
    covered = re.search(r"(\d+) of 43 laboratory values lie in the 95 % interval", first.stdout)
    assert covered is not None
    assert int(covered[1]) >= 38
    rmsep = next(line for line in first.stdout.splitlines() if line.startswith("RMSEP for fat: "))
    assert float(rmsep.split()[3]) <= 2.3
    paths = [
        line.split(maxsplit=1)[1] for line in first.stdout.splitlines() if line.startswith(("bundle", "pred", "pict"))
    ]
    assert [Path(path).suffix for path in paths] == [".n4a", ".parquet", ".png"]
    assert all(Path(path).is_file() for path in paths)
    assert len(pl.read_parquet(paths[1])) == 43
    assert Path(paths[2]).read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "ws" / "incoming").iterdir())) == 44
    files = sorted((tmp_path / "ws" / "artifacts").rglob("*"))

    second = n4a_flows("demo", "--workspace", "ws")

    assert (second.returncode, second.stderr) == (0, "")
    assert "43 predicted, 1 quarantined (0 of them now" in second.stdout
    assert rmsep in second.stdout
    assert sorted((tmp_path / "ws" / "artifacts").rglob("*")) == files
    with WorkspaceStore(tmp_path / "ws") as store:
        assert store.list_runs()["status"].to_list() == ["completed", "completed"]
        assert len(store.list_pipelines()) == 24
        assert sorted(store.scored_files()["status"].to_list()) == ["quarantined"] + 43 * ["scored"]


def test_train_predict_and_export(command: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pls.yaml").write_text(PIPELINE)
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "broken.csv").write_text("garbage")

    trained = command("train", "tecator", "--target", "fat", "--pipeline", "pls.yaml")
    chain_id = trained.split("best chain for fat: ")[1].strip()
    predicted = command("predict", chain_id, "incoming")
    assert predicted.startswith("0 scored, 0 skipped, 1 quarantined")
    assert "broken.csv" in predicted
    exported = command("export", "best", "--dataset", "tecator", "--file-name", "fat.n4a")
    assert exported.startswith(str(tmp_path / "workspace" / "exports" / "fat.n4a"))
    assert (tmp_path / "workspace" / "exports" / "fat.n4a").is_file()

    assert "outside" in command("export", chain_id, "--file-name", tmp_path / "fat.n4a", code=1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pls.json", '[\n\t{"class": "%s", "params": {"n_components": 2, "tol": 1e-05}}\n]\n'),
        ("pls.yaml", "- class: %s\n  params: {n_components: 2, tol: 1e-05}\n"),
    ],
)
def test_numbers_of_a_definition_are_numbers(command: Callable[..., str], tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text % "sklearn.cross_decomposition.PLSRegression")
    command("train", "tecator", "-t", "fat", "-p", tmp_path / name, "-w", tmp_path / "ws")
    with WorkspaceStore(tmp_path / "ws") as store:
        assert '"tol": 1e-05' in store.list_pipelines()["expanded_config"].item()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.csv", "--target", "fat", "--pipeline", "pls.yaml"], "nowhere.csv"),
        (["tecator", "--target", "sugar", "--pipeline", "pls.yaml"], "moisture, fat, protein"),
        (["tecator", "--target", "fat", "--pipeline", "forbidden.yaml"], "os.system"),
        (["tecator", "--target", "fat", "--pipeline", "nowhere.yaml"], "nowhere.yaml"),
        (["tecator", "--target", "fat", "--pipeline", "broken.yaml"], "broken.yaml"),
    ],
)
def test_a_mistake_is_one_clear_line_and_leaves_nothing_behind(
    command: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pls.yaml").write_text(PIPELINE)
    (tmp_path / "broken.yaml").write_text("[: {")
    (tmp_path / "forbidden.yaml").write_text("[os.system, sklearn.cross_decomposition.PLSRegression]")

    assert said in command("train", *arguments, code=1)
    assert not (tmp_path / "workspace").exists()


def test_a_workspace_that_cannot_be_written_or_is_not_there(
    n4a_flows: Run, command: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "pls.yaml").write_text(PIPELINE)

    assert "file/ws" in command("demo", "--workspace", "file/ws", code=1)
    assert "file/ws" in only_line(n4a_flows("train", "tecator", "-t", "fat", "-p", "pls.yaml", "-w", "file/ws"))
    assert "no workspace" in command("predict", "best", "incoming", "--workspace", "nowhere", code=1)
    assert not (tmp_path / "nowhere").exists()


def test_a_server_that_cannot_be_reached(n4a_flows: Run, tmp_path: Path) -> None:
    (tmp_path / "pls.yaml").write_text(PIPELINE)

    result = n4a_flows("train", "tecator", "-t", "fat", "-p", "pls.yaml", PREFECT_API_URL="http://127.0.0.1:9/api")

    assert "http://127.0.0.1:9/api" in only_line(result)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("group_colum=kind", "group_colum: Extra inputs are not permitted"),
        ("seed=often", "seed: Input should be a valid integer"),
        ("champion", "write it as NAME=VALUE"),
        ("test_fraction=1.5", "less than 1"),
    ],
)
def test_a_wrong_option_of_training_is_one_line_and_makes_nothing(
    command: Callable[..., str], tmp_path: Path, option: str, said: str
) -> None:
    refused = command("train", "tecator", "-t", "fat", "-p", "snv_pls", "-o", option, "-w", tmp_path / "ws", code=1)
    assert said in refused
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("looks", [1, 2])
def test_a_look_that_fails_does_not_end_the_watch(
    command: Callable[..., str], tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    runner = PipelineRunner(tmp_path / "ws")
    runner.run(["sklearn.cross_decomposition.PLSRegression"], "tecator", "fat")
    write_incoming(load_tecator().take(range(2)), tmp_path / "incoming")
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == looks:
            raise KeyboardInterrupt

    monkeypatch.setattr(flows, "sleep", pause)
    arguments = ["predict", str(runner.last_recorded[0].chain_id), tmp_path / "incoming", "-w", tmp_path / "ws"]
    said = command(*arguments, "--watch", "60", "-o", "check_samples={QC1: 999}", code=1 if looks == 1 else 0)
    assert ("QC1" in said) if looks == 1 else ("0 scored, 3 skipped" in said)
    assert pauses == [60] * looks
    arguments[2] = tmp_path / "nowhere"
    assert "nowhere" in command(*arguments, "--watch", "60", code=1)
    assert pauses == [60] * looks, "a mistake ends it before anybody waits"


def test_a_name_that_is_no_text_is_one_clear_line(command: Callable[..., str], tmp_path: Path) -> None:
    WorkspaceStore(tmp_path / "ws").close()
    assert "name its folder" in command("predict", "c", "m\udcfcller.csv", "-w", tmp_path / "ws", code=1)


def test_ctrl_c_says_what_is_waited_for_and_a_second_one_ends_at_once(
    environment: dict[str, str], tmp_path: Path
) -> None:
    # One pipeline that takes minutes, and that nothing can stop but the end of the process.
    forest = {"class": "sklearn.ensemble.RandomForestRegressor", "params": {"n_estimators": 20_000}}
    (tmp_path / "slow.json").write_text(json.dumps([{"model": forest}]))
    store = WorkspaceStore(tmp_path / "ws")
    command = [COMMAND, "train", "tecator", "-t", "fat", "-p", "slow.json", "-w", "ws"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_for("a run", lambda: process.poll() is not None or store.running_runs(), timeout=120)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "Ctrl-C again" in process.stderr.readline()
        wait_for("the end of the run", lambda: not store.running_runs())
        assert process.poll() is None, "the chunk goes on"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    finally:
        process.kill()
    assert store.list_runs()["status"].to_list() == ["failed"]


def test_predict_looks_again_until_it_is_interrupted(
    command: Callable[..., str], tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spectra = load_tecator()
    runner = PipelineRunner(tmp_path / "ws")
    runner.run(["sklearn.cross_decomposition.PLSRegression"], "tecator", "fat")
    incoming = tmp_path / "incoming"
    write_incoming(spectra.take(range(2)), incoming)
    looks = []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt
        write_incoming(spectra.take(range(3)), incoming)

    monkeypatch.setattr(flows, "sleep", pause)
    chain = str(runner.last_recorded[0].chain_id)
    shown = command("predict", chain, incoming, "--watch", "60", "-o", "settle_seconds=0", "-w", tmp_path / "ws")
    assert looks == [60, 60]
    assert "2 scored, 0 skipped, 1 quarantined" in shown
    assert "1 scored, 3 skipped, 0 quarantined" in shown
