"""The commands that look after a workspace, without Prefect."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from n4a_flows.cli import commands
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.backup import holding_off_gc


class Ran(NamedTuple):
    """What a command left: its exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Ran]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with one artifact that no chain needs."""
    WorkspaceStore(tmp_path / "ws").save_artifact("loose", "str", "model", "joblib")
    return tmp_path / "ws"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process, for one of its own takes seconds to start."""

    def call(*arguments: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["n4a-flows", *map(str, arguments)])
        capsys.readouterr()
        try:
            code = commands.run()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Ran(code, *capsys.readouterr())

    return call


def test_gc_shows_its_plan_and_carries_it_out(run: Run, workspace: Path) -> None:
    files = [path for path in (workspace / "artifacts").rglob("*") if path.is_file()]
    dry = run("gc", "-w", workspace, "--grace", "0", "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "no chain references it" in dry.stdout
    assert "1 files" in dry.stdout
    assert files[0].exists()
    assert "0 files" in run("gc", "-w", workspace).stdout, "it was saved lately"
    done = json.loads(run("gc", "-w", workspace, "--grace", "0", "--json").stdout)
    assert done["report"]["removed_files"] == done["plan"]["files"] == 1
    assert not files[0].exists()


@pytest.mark.parametrize("hours", ["inf", "nan", "1e12", "-1"])
def test_a_grace_that_is_no_time_is_one_line(run: Run, workspace: Path, hours: str) -> None:
    refused = run("gc", "-w", workspace, "--grace", hours)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "grace period" in refused.stderr


def test_vacuum_says_what_it_did(run: Run, workspace: Path) -> None:
    dry = json.loads(run("vacuum", "-w", workspace, "--min-dead-share", "0", "--dry-run", "--json").stdout)
    assert (dry["compacted"], dry["bytes_after"]) == (False, dry["bytes_before"])
    assert "nothing done" in run("vacuum", "-w", workspace, "--min-dead-share", "1").stdout
    report = json.loads(run("vacuum", "-w", workspace, "--min-dead-share", "0", "--json").stdout)
    assert report["compacted"] is True
    assert report["bytes_after"] == (workspace / "store.duckdb").stat().st_size


def test_damage_is_found_and_a_backup_brings_it_back(run: Run, workspace: Path, tmp_path: Path) -> None:
    assert run("check", "-w", workspace, "--full").returncode == 0
    done = run("backup", tmp_path / "backup", "-w", workspace)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 artifacts" in done.stdout
    (file,) = [path for path in (workspace / "artifacts").rglob("*") if path.is_file()]
    good = file.read_bytes()
    file.write_bytes(good[:-1] + b"?")
    assert run("check", "-w", workspace).returncode == 0, "only the full check reads the bytes"
    found = run("check", "-w", workspace, "--full", "--json")
    assert found.returncode == 3
    assert file.name in found.stdout
    assert json.loads(found.stdout)["ok"] is False
    dry = run("restore", tmp_path / "backup", tmp_path / "again", "--dry-run")
    assert (dry.returncode, "could be restored" in dry.stdout, (tmp_path / "again").exists()) == (0, True, False)
    assert run("restore", tmp_path / "backup", tmp_path / "again").returncode == 0
    assert (tmp_path / "again" / "artifacts" / file.parent.name / file.name).read_bytes() == good
    assert run("restore", tmp_path / "backup", workspace).returncode == 1


def test_retention_shows_its_plan_and_carries_it_out(run: Run, workspace: Path) -> None:
    with WorkspaceStore(workspace) as store:
        for name in ("older", "newer"):
            store.complete_run(store.begin_run(name, {}, []), {})
    dry = run("retain", "-w", workspace, "--last-runs", "1", "--dry-run")
    assert (dry.returncode, "older" in dry.stdout, "newer" in dry.stdout) == (0, True, False)
    refused = run("retain", "-w", workspace)
    assert (refused.returncode, "has no rule" in refused.stderr) == (1, True)
    done = json.loads(run("retain", "-w", workspace, "--last-runs", "1", "--json").stdout)
    assert (done["plan"]["runs"], done["report"]["removed_runs"]) == (1, 1)
    assert WorkspaceStore(workspace).list_runs()["name"].to_list() == ["newer"]


def test_reap_ends_what_a_dead_process_left(run: Run, workspace: Path) -> None:
    begin = "import sys; from n4a_flows.storage import WorkspaceStore as W; W(sys.argv[1]).begin_run('lost', {}, [])"
    subprocess.run([sys.executable, "-c", begin, workspace], check=True)
    assert "1 runs had died" in run("reap", "-w", workspace, "--dry-run").stdout
    [reaped] = json.loads(run("reap", "-w", workspace, "--json").stdout)
    assert reaped["name"] == "lost"
    assert "0 runs had died" in run("reap", "-w", workspace).stdout


def test_a_busy_workspace_has_an_exit_code_of_its_own(run: Run, workspace: Path, tmp_path: Path) -> None:
    with holding_off_gc(workspace):
        busy = run("gc", "-w", workspace, "--grace", "0")
    assert (busy.returncode, len(busy.stderr.splitlines())) == (4, 1)


@pytest.mark.parametrize("command", ["gc", "vacuum", "check", "retain", "reap"])
def test_a_mistyped_workspace_is_one_line_and_makes_nothing(run: Run, tmp_path: Path, command: str) -> None:
    result = run(command, "-w", tmp_path / "nowhere")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: There is no workspace in")
    assert not (tmp_path / "nowhere").exists()


def test_upgrade_says_when_there_is_nothing_to_do(run: Run, workspace: Path, tmp_path: Path) -> None:
    assert "up to date already" in run("upgrade", workspace).stdout
    refused = run("upgrade", tmp_path / "nowhere")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "no workspace to upgrade" in refused.stderr
