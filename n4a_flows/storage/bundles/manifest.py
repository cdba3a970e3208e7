"""`manifest.json`: what a bundle says of itself, written and read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from n4a_flows.storage.axis import SIGNALS, Axis
from n4a_flows.storage.bundles import requirements
from n4a_flows.storage.bundles.archive import Archive
from n4a_flows.storage.bundles.contents import BundleInfo
from n4a_flows.storage.bundles.layout import has_refit
from n4a_flows.storage.bundles.strict_json import text
from n4a_flows.storage.chain_replay import ChainPackage
from n4a_flows.storage.clock import now
from n4a_flows.storage.codecs import content_hash
from n4a_flows.storage.errors import AxisError, BundleError

MANIFEST = "manifest.json"
CHAIN = "chain.json"
PROBE = "probe.npz"
LIMITS = "limits.npz"
OUR_FORMAT = "n4a_flows_format"
FORMAT_VERSION = 1
"""Of bundles of ours; a reader refuses a higher one."""

_NIRS4ALL_FORMAT = "1.0"


def manifest_of(package: ChainPackage, contents: Mapping[str, bytes], nirs4all_cannot: str | None) -> dict[str, Any]:
    """The manifest of a chain and the other members of its bundle.

    Its keys are those of nirs4all's manifests and ours together.
    """
    document, context = package.document, package.context
    refit = has_refit(document)
    exported_at = now().isoformat(timespec="seconds") + "+00:00"
    operators = [found for key, found in package.artifacts.items() if key not in context.companions]
    imports = requirements.imports_of(operators)
    # Newer releases of its loader name the version that they cannot read: so whoever tries is told why.
    readable = _NIRS4ALL_FORMAT if nirs4all_cannot is None else f"n4a_flows only: {nirs4all_cannot}"
    return {
        "bundle_format_version": readable,
        OUR_FORMAT: FORMAT_VERSION,
        "source_type": "chain",
        "pipeline_uid": context.chain_id,
        "chain_id": context.chain_id,
        "chain_digest": package.digest,
        "model_class": document["model_class"],
        "model_step_index": document["model_step_idx"],
        "preprocessings": document["preprocessings"],
        "preprocessing_chain": document["preprocessings"],
        "fold_strategy": "single_refit" if refit else document["fold_strategy"],
        "cross_validation": document["fold_strategy"],
        "has_refit": refit,
        "exported_at": exported_at,
        "created_at": exported_at,
        "dataset_name": document["dataset_name"],
        "target": context.target,
        "task_type": context.task_type,
        "signal": context.signal,
        "axis": None if context.axis is None else context.axis.to_dict(),
        "x_range": context.x_range,
        "unit": context.unit,
        "parent_digest": context.parent_digest,
        "imports": imports,
        "packages": requirements.versions_of(imports),
        "nirs4all_cannot": nirs4all_cannot,
        "probe": PROBE if PROBE in contents else None,
        "limits": LIMITS if LIMITS in contents else None,
        "members": {name: {"sha256": content_hash(data), "size": len(data)} for name, data in contents.items()},
    }


def info_of(archive: Archive, manifest: Mapping[str, Any], chain: Mapping[str, Any], path: Path) -> BundleInfo:
    """What a manifest and its chain document say; `BundleError` when they say it in a way that is not ours."""
    steps, folds = chain.get("steps"), chain.get("fold_artifacts")
    if not isinstance(steps, list) or not isinstance(folds, dict | None):
        raise BundleError("The chain in the bundle has no list of steps, or no folds by name.")
    return BundleInfo(
        path=path,
        sha256=archive.sha256,
        origin="n4a_flows",
        chain_id=text(manifest, "chain_id"),
        digest=text(manifest, "chain_digest"),
        model_class=text(manifest, "model_class") or "",
        preprocessings=text(manifest, "preprocessings") or "",
        fold_strategy=text(manifest, "cross_validation") or "",
        dataset_name=text(manifest, "dataset_name"),
        steps=tuple(str(step.get("operator_class", "")) for step in steps if isinstance(step, dict)),
        folds=tuple(folds or ()),
        target=text(manifest, "target"),
        task_type=text(manifest, "task_type"),
        signal=_signal(manifest),
        axis=_axis(manifest),
        x_range=_x_range(manifest),
        imports=_imports(manifest),
        packages=_packages(manifest),
        members={name: archive.size(name) for name in archive.names if name != MANIFEST},
        has_probe=manifest.get("probe") is not None,
        nirs4all_cannot=text(manifest, "nirs4all_cannot"),
        exported_at=text(manifest, "exported_at"),
        has_limits=manifest.get("limits") is not None,
        unit=text(manifest, "unit"),
        parent_digest=_parent_digest(manifest),
    )


def _signal(manifest: Mapping[str, Any]) -> str | None:
    signal = text(manifest, "signal")
    if signal is not None and signal not in SIGNALS:
        raise BundleError(f"The bundle has an unknown signal, {signal[:80]!r}.")
    return signal


def _axis(manifest: Mapping[str, Any]) -> Axis | None:
    axis = manifest.get("axis")
    if axis is None:
        return None
    try:
        return Axis.from_dict(axis)
    except (AxisError, TypeError) as error:
        raise BundleError(f"The axis in the bundle is none: {error}") from error


def _x_range(manifest: Mapping[str, Any]) -> tuple[float, float] | None:
    x_range = manifest.get("x_range")
    if x_range is None:
        return None
    numbers = [item for item in x_range if type(item) in (int, float)] if isinstance(x_range, list) else []
    if len(numbers) != 2 or len(x_range) != 2 or not np.all(np.isfinite(np.asarray(numbers, dtype=np.float64))):
        raise BundleError("The x_range of the bundle is no pair of numbers.")
    return float(numbers[0]), float(numbers[1])


def _parent_digest(manifest: Mapping[str, Any]) -> str | None:
    digest = text(manifest, "parent_digest")
    if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest):
        raise BundleError(f"The bundle names a parent by {digest[:80]!r}, which is no digest.")
    return digest


def _imports(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    imports = manifest.get("imports", [])
    if not isinstance(imports, list) or not all(isinstance(name, str) and name.isidentifier() for name in imports):
        raise BundleError("The bundle does not list the packages that it imports by their names.")
    return tuple(imports)


def _packages(manifest: Mapping[str, Any]) -> dict[str, str]:
    packages = manifest.get("packages", {})
    if not isinstance(packages, dict) or not all(isinstance(found, str) for found in packages.values()):
        raise BundleError("The bundle does not list packages with their versions.")
    return packages
