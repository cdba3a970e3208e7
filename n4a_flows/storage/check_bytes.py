"""What a check reads besides rows and the names of files: their bytes, and the predictions of chains for their probes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from n4a_flows.storage.artifact_files import ArtifactFiles
from n4a_flows.storage.check import RESTORE, Finding, missing
from n4a_flows.storage.errors import ArtifactCorruptError, ArtifactMissingError, N4AError, WorkspaceError
from n4a_flows.storage.probes import ProbeReport

T = TypeVar("T")


def sampled(items: Iterable[T], share: float) -> list[T]:
    """A share of some things chosen at random, rounded up."""
    listed = list(items)
    return random.sample(listed, math.ceil(share * len(listed)))


def hash_files(files: ArtifactFiles, hashes: Mapping[str, tuple[str, str]]) -> list[Finding]:
    """Compare the SHA-256 of files with their rows; `hashes` is artifact id -> (relative path, SHA-256)."""
    findings = []
    for artifact_id, (relative, digest) in hashes.items():
        try:
            files.read(relative, digest)
        except ArtifactMissingError:
            findings.append(missing(artifact_id, relative))
        except ArtifactCorruptError:
            said = f"The bytes of {relative} are not those that were recorded. {RESTORE}"
            findings.append(Finding("damaged_file", artifact_id, said, mendable=False))
        except WorkspaceError as error:
            findings.append(Finding("unreadable_file", artifact_id, f"{error} Mend the disk or its rights.", False))
    return findings


def replay_probes(replay: Callable[[str], ProbeReport], chain_ids: Iterable[str]) -> list[Finding]:
    """Chains that do not predict what they did when they were trained, or that cannot predict any more."""
    findings = []
    for chain_id in chain_ids:
        try:
            problem = replay(chain_id).problem
        except N4AError as error:
            problem = f"It cannot be replayed: {error}"
        if problem is not None:
            said = f"{problem} Compare the installed packages with those it was trained with, or restore a backup."
            findings.append(Finding("probe", chain_id, said, mendable=False))
    return findings
