"""A bundle file becomes what it holds, or is refused. Nothing in it is ever unpickled here."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from n4a_flows.storage.bundles import foreign, strict_json
from n4a_flows.storage.bundles.archive import MAX_BYTES, Archive, archive_in, open_archive
from n4a_flows.storage.bundles.contents import BundleContents, BundleInfo, with_digest
from n4a_flows.storage.bundles.formats import check_format, check_limits, check_probe
from n4a_flows.storage.bundles.manifest import CHAIN, FORMAT_VERSION, MANIFEST, OUR_FORMAT, info_of
from n4a_flows.storage.bundles.strict_json import text
from n4a_flows.storage.chains import DOCUMENT_KEYS, ChainContext
from n4a_flows.storage.codecs import SerializedArtifact, content_hash
from n4a_flows.storage.errors import BundleError
from n4a_flows.storage.probes import ARTIFACT_TYPE, Probe


def inspect_bundle(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> BundleInfo:
    """What a `.n4a` bundle says of itself. Nothing of it is unpickled.

    Parameters
    ----------
    path
        A bundle of n4a_flows or of nirs4all.
    max_bytes
        What its members may hold together.

    Raises
    ------
    MissingFileError
        When there is no such file.
    BundleError
        When it is no bundle, is unsafe to read, of a newer format, or its documents are damaged.

    Examples
    --------
    >>> path = store.export_chain(chain_id, folder / "fat")
    >>> info = inspect_bundle(path)
    >>> info.target, info.folds[-1], info.imports
    ('fat', 'fold_final', ('chemotools', 'joblib', 'numpy', 'sklearn'))
    """
    with open_archive(path, max_bytes) as archive:
        manifest = _manifest(archive)
        if OUR_FORMAT not in manifest:
            return foreign.read(archive, manifest, Path(path)).info
        _listed_members(archive, manifest)
        return info_of(archive, manifest, strict_json.parse(_checked(archive, manifest, CHAIN), CHAIN), Path(path))


def verify_bundle(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> BundleInfo:
    """Compare every byte of a bundle with the digests that it lists, and its chain with the chain's digest. Nothing is unpickled.

    It shows that a bundle is whole, not that it comes from somebody you trust. A bundle of nirs4all lists no digests: of it only
    the checksums of the ZIP file are compared.

    Parameters
    ----------
    path, max_bytes
        As in `inspect_bundle`.

    Returns
    -------
    What `inspect_bundle` gives.

    Raises
    ------
    MissingFileError
        When there is no such file.
    BundleError
        When anything in it is not as it should be; the message says what.

    Examples
    --------
    >>> verify_bundle(store.export_chain(chain_id, folder / "fat")).origin
    'n4a_flows'
    """
    return read_bundle(path, max_bytes).info


def read_bundle(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> BundleContents:
    """All that a bundle holds, compared with its digests; raises as `verify_bundle` does."""
    with open_archive(path, max_bytes) as archive:
        return _read(archive, Path(path))


def verify_bytes(data: bytes, path: Path) -> None:
    """Compare a bundle that is about to be written to `path`; raises as `verify_bundle` does."""
    # Deflated bytes hold at most about a thousand times their number.
    with archive_in(io.BytesIO(data), path.name, 1100 * len(data)) as archive:
        _read(archive, path)


def _read(archive: Archive, path: Path) -> BundleContents:
    manifest = _manifest(archive)
    if OUR_FORMAT not in manifest:
        return with_digest(foreign.read(archive, manifest, path))
    data = {name: _checked(archive, manifest, name) for name in _listed_members(archive, manifest)}
    chain = strict_json.parse(data[CHAIN], CHAIN)
    info = info_of(archive, manifest, chain, path)
    context = ChainContext(
        chain_id=info.chain_id or "",
        digest=info.digest or "",
        axis=info.axis,
        signal=info.signal,
        x_range=info.x_range,
        target=info.target,
        task_type=info.task_type,
        parent_digest=info.parent_digest,
        unit=info.unit,
    )
    document = {key: chain.get(key) for key in DOCUMENT_KEYS}
    operators = _artifacts(chain, data)
    contents = with_digest(
        BundleContents(info, document, context, operators, _probe(manifest, data), _limits(manifest, data))
    )
    if contents.context.digest != info.digest:
        raise BundleError("The chain in the bundle is not the one that its digest was made of.")
    return contents


def _manifest(archive: Archive) -> dict[str, Any]:
    manifest = strict_json.parse(archive.read(MANIFEST), MANIFEST)
    version = manifest.get(OUR_FORMAT, FORMAT_VERSION)
    if type(version) is not int or version < 1:
        raise BundleError(f"The bundle has the format version {str(version)[:40]!r}, which is none.")
    if version > FORMAT_VERSION:
        raise BundleError(
            f"The bundle has format {version}; this n4a_flows reads up to {FORMAT_VERSION}. Install a newer n4a_flows."
        )
    return manifest


def _listed_members(archive: Archive, manifest: Mapping[str, Any]) -> list[str]:
    listed = manifest.get("members")
    if not isinstance(listed, dict) or not all(isinstance(member, dict) for member in listed.values()):
        raise BundleError("The manifest of the bundle does not list its members.")
    here = set(archive.names) - {MANIFEST}
    if here != set(listed) or CHAIN not in here:
        odd = sorted(here ^ set(listed)) or [CHAIN]
        raise BundleError(f"The bundle and its manifest do not list the same members: {', '.join(odd)[:200]}.")
    return list(listed)


def _checked(archive: Archive, manifest: Mapping[str, Any], name: str) -> bytes:
    member = manifest["members"][name]
    if member.get("size") != archive.size(name):
        raise BundleError(f"The member {name} of the bundle has not the size that its manifest gives.")
    data = archive.read(name)
    if member.get("sha256") != content_hash(data):
        raise BundleError(f"The member {name} of the bundle is damaged: its SHA-256 is not that of the manifest.")
    return data


def _artifacts(chain: Mapping[str, Any], data: Mapping[str, bytes]) -> dict[str, SerializedArtifact]:
    described = chain.get("artifacts")
    if not isinstance(described, dict) or not all(isinstance(item, dict) for item in described.values()):
        raise BundleError("The chain in the bundle does not describe its artifacts.")
    return {artifact_id: _artifact(item, data) for artifact_id, item in described.items()}


def _artifact(described: Mapping[str, Any], data: Mapping[str, bytes]) -> SerializedArtifact:
    member, format = text(described, "member"), text(described, "format")
    found = data.get(member or "")
    if found is None or format is None:
        raise BundleError(f"The bundle describes an artifact in {str(member)[:80]!r}, which it does not have.")
    check_format(found, format)
    return SerializedArtifact(
        found,
        content_hash(found),
        text(described, "operator_class") or "",
        text(described, "artifact_type") or "",
        format,
    )


def _probe(manifest: Mapping[str, Any], data: Mapping[str, bytes]) -> SerializedArtifact | None:
    found = _companion(manifest, data, "probe")
    if found is None:
        return None
    check_probe(found)
    return SerializedArtifact(
        found, content_hash(found), f"{Probe.__module__}.{Probe.__qualname__}", ARTIFACT_TYPE, "npz"
    )


def _limits(manifest: Mapping[str, Any], data: Mapping[str, bytes]) -> SerializedArtifact | None:
    found = _companion(manifest, data, "limits")
    if found is None:
        return None
    check_limits(found)
    return SerializedArtifact(found, content_hash(found), "", "limits", "npz")


def _companion(manifest: Mapping[str, Any], data: Mapping[str, bytes], what: str) -> bytes | None:
    name = text(manifest, what)
    if name is None:
        return None
    if name not in data:
        raise BundleError(f"The bundle has no {name[:80]}, in which its {what} should be.")
    return data[name]
