"""`.n4a` bundles: chains as files that predict elsewhere. Written, looked into, verified and imported."""

from n4a_flows.storage.bundles.archive import MAX_BYTES
from n4a_flows.storage.bundles.contents import BundleInfo
from n4a_flows.storage.bundles.generator import FORMATS, BundleGenerator
from n4a_flows.storage.bundles.importing import ImportReport
from n4a_flows.storage.bundles.reader import inspect_bundle, verify_bundle
from n4a_flows.storage.bundles.requirements import VersionDifference

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "BundleGenerator",
    "BundleInfo",
    "ImportReport",
    "VersionDifference",
    "inspect_bundle",
    "verify_bundle",
]
