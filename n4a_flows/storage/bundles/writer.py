"""`.n4a` bundles: a chain as one ZIP file that predicts elsewhere.

`artifacts/step_<N>_...` are the operators that nirs4all's loader reads (see `layout`), `artifacts/<SHA-256>...` those that only we
need: the folds beside a refit, or everything when that loader would predict something else. `chain.json` says which artifact is
where.
Bytes are those of the artifact files, never serialised anew.
"""

from __future__ import annotations

import io
import logging
import stat
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

from n4a_flows.storage.artifacts import StoredArtifact
from n4a_flows.storage.bundles.layout import Layout, Member, lay_out
from n4a_flows.storage.bundles.manifest import CHAIN, LIMITS, MANIFEST, PROBE, manifest_of
from n4a_flows.storage.chain_replay import ChainPackage
from n4a_flows.storage.chains import DOCUMENT_KEYS
from n4a_flows.storage.codecs import extension
from n4a_flows.storage.json_values import to_json

logger = logging.getLogger(__name__)

_COMPRESSED = (b"\x78", b"PK")  # as joblib, skops and npz leave it: deflating it again takes time and gains nothing
_TIME = (1980, 1, 1, 0, 0, 0)  # the same chain gives the same members, byte by byte


def to_bundle(package: ChainPackage) -> bytes:
    """The bytes of the bundle of a chain with all its artifacts, and with its probe and limits if it has them.

    Raises
    ------
    ReplayError
        When the chain cannot be replayed.
    """
    layout = lay_out(package)
    if layout.why_not is not None:
        logger.warning(
            "nirs4all's loader will refuse the bundle of chain %s, for %s. n4a_flows reads it.",
            package.context.chain_id,
            layout.why_not,
        )
    artifacts = [found for key, found in package.artifacts.items() if key not in package.context.companions]
    members = [*layout.members, *_others(artifacts, layout)]
    contents = {
        CHAIN: _json(_chain(package, members), CHAIN),
        **_documents(layout),
        **{member.name: member.artifact.data for member in members},
    }
    probe = package.artifacts.get(package.context.probe_artifact_id or "")
    if probe is not None:
        contents[PROBE] = probe.data
    if package.limits is not None:
        contents[LIMITS] = package.limits
    manifest = _json(manifest_of(package, contents, layout.why_not), MANIFEST)
    return _zipped({MANIFEST: manifest, **contents})


def _others(artifacts: Iterable[StoredArtifact], layout: Layout) -> list[Member]:
    """The artifacts that nirs4all's loader is not given, under names that it passes over."""
    given = {member.artifact.artifact_id for member in layout.members}
    others = [found for found in artifacts if found.artifact_id not in given]
    members = [Member(f"artifacts/{found.content_hash}{extension(found.format)}", found) for found in others]
    return sorted(members, key=lambda member: member.name)


def _chain(package: ChainPackage, members: Iterable[Member]) -> dict[str, Any]:
    described = {
        member.artifact.artifact_id: {
            "member": member.name,
            "format": member.artifact.format,
            "operator_class": member.artifact.operator_class,
            "artifact_type": member.artifact.artifact_type,
        }
        for member in members
    }
    return {**{key: package.document[key] for key in DOCUMENT_KEYS}, "artifacts": described}


def _documents(layout: Layout) -> dict[str, bytes]:
    documents: Mapping[str, Any] = {"trace.json": layout.trace, "fold_weights.json": layout.fold_weights}
    return {name: _json(document, name) for name, document in documents.items() if document is not None}


def _json(document: Any, name: str) -> bytes:
    return (to_json(document, name, indent=1) or "").encode()


def _zipped(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, data, zipfile.ZIP_STORED if data.startswith(_COMPRESSED) else zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
