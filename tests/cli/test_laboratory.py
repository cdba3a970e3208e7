"""The commands about laboratory values, without Prefect."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from n4a_flows.spectra import load_tecator
from n4a_flows.storage import ScoredFile, ScoredSample, WorkspaceStore
from n4a_flows.training import PipelineRunner

Command = Callable[..., str]


@pytest.fixture
def workspace(tmp_path: Path) -> tuple[Path, str]:
    """A workspace with a chain that has predicted 43 samples on each of two instruments, the second 4 % too high."""
    runner = PipelineRunner(tmp_path / "ws")
    runner.run(
        [{"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 8}}}],
        "tecator",
        "fat",
    )
    chain = str(runner.last_recorded[0].chain_id)
    tecator = load_tecator()
    # In no order: neighbours in the set are alike, and so are their errors.
    new = tecator.take(np.random.default_rng(0).permutation(np.flatnonzero(tecator.metadata["split"] == "test")))
    with WorkspaceStore(tmp_path / "ws") as store:
        y = store.replay_chain(chain, new.X)
        for name, more in (("NIR-1", 0.0), ("NIR-2", 4.0)):
            samples = [ScoredSample(i, value) for i, value in zip(new.sample_ids, (y + more).tolist(), strict=True)]
            digest = hashlib.sha256(name.encode()).hexdigest()
            file = ScoredFile(f"{name}.csv", digest, "scored", samples=samples, detail={"instrument": name})
            store.record_scoring(chain, [file])
    rows = [f"{name},{fat}" for name, fat in zip(new.sample_ids, new.targets["fat"].tolist(), strict=True)]
    (tmp_path / "lab.csv").write_text("\n".join(["sample,Fat (%)", *rows, "last,?"]) + "\n")
    return tmp_path / "ws", chain


def test_values_are_added_monitored_and_correct_a_chain(
    command: Command, workspace: tuple[Path, str], tmp_path: Path
) -> None:
    ws, chain = workspace
    assert "no laboratory value has come in" in command("monitor", "-w", ws)
    said = command("reference", "add", tmp_path / "lab.csv", "-t", "fat=Fat (%)", "-w", ws)
    assert said.splitlines() == [
        "fat: 43 values, 43 of them new or changed",
        "rejected: line 45: 'Fat (%)' of sample 'last' is no number ('?').",
    ]
    again = json.loads(command("reference", "add", tmp_path / "lab.csv", "-t", "fat=Fat (%)", "-w", ws, "--json"))
    assert (again["added"], again["values"], len(again["rejected"])) == ({"fat": 0}, {"fat": 43}, 1)

    shown = command("monitor", "-w", ws, "--html", tmp_path / "fat.html", code=5)
    assert f"fat, chain {chain[:8]}, NIR-2: " in shown
    assert "NIR-1: " not in shown
    assert (tmp_path / "fat.html").read_text().count("<img") == 4
    assert chain[:8] in command("monitor", "-w", ws, "--days", "1e9", code=5)  # longer than there are calendars
    found = json.loads(command("monitor", "-w", ws, "--chain", chain[:8], "--days", "1", "--json", code=5))
    assert [(group["instrument"], group["n"], group["bias_differs"]) for group in found["chains"][0]["groups"]] == [
        ("NIR-1", 43, False), ("NIR-2", 43, True),
    ]  # fmt: skip

    dry = command("correct", chain[:8], "--instrument", "NIR-2", "--kind", "bias", "--dry-run", "-w", ws)
    assert "by 43 samples" in dry
    with WorkspaceStore(ws) as store:
        assert store.list_runs().height == 1
    done = json.loads(command("correct", chain[:8], "--instrument", "NIR-2", "--kind", "bias", "-w", ws, "--json"))
    assert (done["parent_chain_id"], done["needed"], done["correction"]["kind"]) == (chain, True, "bias")
    with WorkspaceStore(ws) as store:
        X = load_tecator().X[:5]
        difference = store.replay_chain(done["chain_id"], X) - store.replay_chain(chain, X)
        assert difference == pytest.approx(done["correction"]["intercept"])
        assert store.limit_crossings().is_empty(), "the command only reads"
    more = command("correct", chain[:8], "--instrument", "NIR-1", "--dry-run", "-w", ws)
    assert "nothing needed to be corrected" in more


def test_what_cannot_be_done_is_one_line(command: Command, workspace: tuple[Path, str], tmp_path: Path) -> None:
    ws, chain = workspace
    assert "no table with the columns 'fat'" in command(
        "reference", "add", tmp_path / "lab.csv", "-t", "fat", "-w", ws, code=1
    )
    assert "at least 10 samples, not 0" in command("correct", chain[:8], "-w", ws, code=1)
    assert "There is no workspace in" in command("monitor", "-w", tmp_path / "nowhere", code=1)
    assert not (tmp_path / "nowhere").exists()
