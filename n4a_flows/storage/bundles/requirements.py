"""What must be importable to load a bundle, and in which versions it was recorded. Found in the bytes without loading them."""

from __future__ import annotations

import platform
import re
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec

from n4a_flows.storage.artifacts import StoredArtifact

PYTHON = "python"
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # looking through all that is installed takes a second

# How pickles of protocol 4 and later name a class: two short texts, each perhaps remembered, and STACK_GLOBAL. Takes linear time.
_STACK_GLOBAL = re.compile(rb"\x8c.([A-Za-z_][\w.]*)(?:\x94|q.)?(?:\x8c.[A-Za-z_][\w.]*(?:\x94|q.)?|h.)\x93", re.DOTALL)
_LONGEST_LOOK = 256 * 1024**2
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class VersionDifference:
    """A package that is here in another version than a bundle was recorded with.

    Attributes
    ----------
    package
        Name of the distribution, or `python`.
    recorded
        Its version where the bundle was written.
    installed
        Its version here; None when it is not installed.
    """

    package: str
    recorded: str
    installed: str | None


def imports_of(artifacts: Iterable[StoredArtifact]) -> list[str]:
    """Names of the packages outside the standard library that loading the artifacts imports, sorted."""
    found = {"joblib"}
    for artifact in artifacts:
        found.add(artifact.operator_class.partition(".")[0] if "." in artifact.operator_class else "")
        if artifact.format == "skops":
            found.add("skops")
        else:
            found |= _named(artifact.data)
    return sorted(name for name in found if _NAME.fullmatch(name) and _is_third_party(name))


def versions_of(imports: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of the distributions that packages come from; what is no distribution is left out."""
    versions = {PYTHON: ".".join(platform.python_version_tuple()[:2])}
    for name in imports:
        for distribution in _distributions(name):
            versions[distribution] = version(distribution)
    return dict(sorted(versions.items()))


def differences(recorded: Mapping[str, str]) -> tuple[VersionDifference, ...]:
    """The packages that are here in another version than was recorded, or not at all."""
    here = versions_of([])
    return tuple(
        VersionDifference(package, expected, installed)
        for package, expected in recorded.items()
        if (installed := here[PYTHON] if package == PYTHON else _installed(package)) != expected
    )


def missing(imports: Iterable[str]) -> tuple[str, ...]:
    """The packages that cannot be imported here; none of them is."""
    return tuple(name for name in imports if name not in sys.modules and not _can_be_found(name))


def _named(data: bytes) -> set[str]:
    return {match[1].decode().partition(".")[0] for match in _STACK_GLOBAL.finditer(_unfolded(data))}


def _unfolded(data: bytes) -> bytes:
    if data[:1] != b"\x78":
        return data[:_LONGEST_LOOK]
    try:
        return zlib.decompressobj().decompress(data, _LONGEST_LOOK)
    except zlib.error:
        return b""


def _is_third_party(name: str) -> bool:
    return name not in sys.stdlib_module_names and name != "__main__"


def _distributions(name: str) -> list[str]:
    name = _DISTRIBUTIONS.get(name, name)
    if _installed(name) is not None:
        return [name]
    return sorted(set(_by_package().get(name, ())))


@cache
def _by_package() -> Mapping[str, list[str]]:
    return packages_distributions()


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except (PackageNotFoundError, ValueError):
        return None


def _can_be_found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
