"""What must be the same where a chunk is computed and where it is recorded: the versions of packages, and the readers of files."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from n4a_flows.spectra import readers_in_use
from n4a_flows.storage import ChainPackage
from n4a_flows.storage.bundles import requirements
from n4a_flows.storage.errors import WorkerError

ALIKE = ("n4a_flows", "sklearn", "chemotools", "numpy", "scipy", "joblib")
"""Packages, by the names they are imported by, that decide what is fitted, predicted and pickled. Any difference matters: the same
spectra and chain must give the same number to the last bit, and the same fit the same bytes. Of Python, major and minor version do.
"""


@dataclass(frozen=True)
class Versions:
    """What a process has.

    Attributes
    ----------
    packages
        Version by the name of a distribution, and of `python`.
    readers
        Names and versions of the readers of files, where files are read: a worker without one would quarantine what others read.
    """

    packages: Mapping[str, str]
    readers: str | None = None

    @classmethod
    def to_train(cls, modules: Iterable[str]) -> Versions:
        """What this process trains with: classes of these modules."""
        return cls(requirements.versions_of({*ALIKE, *(module.partition(".")[0] for module in modules)}))

    @classmethod
    def to_score(cls, packages: Iterable[ChainPackage]) -> Versions:
        """What this process reads files and predicts with: what loading these chains imports."""
        artifacts = (artifact for package in packages for artifact in package.artifacts.values())
        return cls(requirements.versions_of({*ALIKE, *requirements.imports_of(artifacts)}), readers_in_use())

    def refuse_others(self) -> None:
        """Raise `WorkerError` when this process differs; the message names the worker and what differs."""
        differing = _differing(tuple(self.packages.items()), self.readers)
        if differing:
            raise WorkerError(
                f"The worker {this_process()} would not compute what the flow computes, for it has {'; '.join(differing)}. "
                "Nothing of its chunk was recorded. Give it the packages of the flow's own environment."
            )


def this_process() -> str:
    """Host and process id, for messages."""
    return f"{platform.node()}, process {os.getpid()},"


@cache
def _differing(packages: tuple[tuple[str, str], ...], readers: str | None) -> list[str]:
    """What differs here, in words. Looked at once per process: packages do not change while one runs."""
    said = [
        f"{one.package} {one.installed} in place of {one.recorded}" if one.installed else f"no {one.package}"
        for one in requirements.differences(dict(packages))
    ]
    if readers is None:
        return said
    there, here = set(readers.split(", ")), set(readers_in_use().split(", "))
    if there - here:
        said.append(f"no reader {', '.join(sorted(there - here))}")
    if here - there:
        said.append(f"the reader {', '.join(sorted(here - there))}, which the flow has not")
    return said
