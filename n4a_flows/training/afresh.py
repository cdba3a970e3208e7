"""Whether what was recorded predicts in another process what training predicted in this one.

A chain that only works in the process that made it (a class that cannot be imported elsewhere, a state that pickling loses) is
found here, before a lab relies on it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from n4a_flows.storage import ProbeReport, WorkspaceStore
from n4a_flows.training.fitting import TrainingError
from n4a_flows.training.record import RecordedPipeline

_MINUTES = 10.0


def replay_afresh(store: WorkspaceStore, chain_ids: Sequence[str]) -> list[ProbeReport]:
    """Replay the probes of chains in a process of their own, with the same trust and search path as here.

    Raises
    ------
    TrainingError
        When the process ends without an answer.
    """
    settings = {name: value for name, value in store.__getstate__().items() if name != "closed"}
    settings["workspace_path"] = str(settings["workspace_path"])
    asked = {"path": sys.path, "settings": settings, "chain_ids": list(chain_ids)}
    done = subprocess.run(
        [sys.executable, "-m", "n4a_flows.storage.answer_probes"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60 * _MINUTES,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TrainingError(f"The recorded chains could not be replayed in a fresh process, which ended with: {said}")
    return [ProbeReport(**report) for report in json.loads(done.stdout.splitlines()[-1])]


def to_replay(recorded: Sequence[RecordedPipeline], best: Sequence[str], sample: int, seed: int) -> list[str]:
    """The chains to replay: the best ones, and a sample of the others."""
    others = [one.chain_id for one in recorded if one.chain_id is not None and one.chain_id not in best]
    drawn = np.random.default_rng(seed).choice(len(others), size=min(sample, len(others)), replace=False)
    return [*best, *(others[i] for i in sorted(drawn.tolist()))]


def fail_those_that_differ(
    store: WorkspaceStore, recorded: Sequence[RecordedPipeline], reports: Sequence[ProbeReport]
) -> list[RecordedPipeline]:
    """Fail the pipelines whose chains do not predict what training did; they come back with the error, the others as they are."""
    problems = {report.chain_id: report.problem for report in reports if not report.agrees}
    checked = []
    for one in recorded:
        problem = problems.get(one.chain_id or "")
        if problem is not None:
            error = f"A fresh process does not predict what training did. {problem}"
            store.fail_pipeline(one.pipeline_id, error)
            one = replace(one, chain_id=None, best_val=None, best_test=None, error=error)
        checked.append(one)
    return checked
