"""Objects to bytes and back, and what may be loaded.

Unpickling runs code. A content hash shows that bytes are those that were recorded; only the operator's `Trust` says whether
they may be loaded at all:

* `"all"`: whatever is stored under a verified hash (what this workspace recorded itself);
* `"modules"`: only classes of allowed modules, enforced while unpickling;
* `"none"`: nothing is ever unpickled.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from n4a_flows.storage.errors import ArtifactLoadError, InvalidInputError, UntrustedError

Trust = Literal["all", "modules", "none"]

DEFAULT_ALLOWED_MODULES: tuple[str, ...] = ("sklearn", "chemotools", "numpy", "scipy", "n4a_flows")
"""Modules whose classes a pipeline definition may name and a store with trust `"modules"` may load."""

EXTENSIONS = {"joblib": ".joblib", "pickle": ".pkl", "cloudpickle": ".pkl", "skops": ".skops", "npz": ".npz"}

# Harmless helpers that pickles of arrays and estimators call. Classes need no entry here, functions do: with a function of
# an allowed module a hostile pickle could reach exec (numpy's test helpers have one).
_HARMLESS_FUNCTIONS = frozenset(
    {
        ("copyreg", "_reconstructor"),
        ("copyreg", "__newobj__"),
        ("copyreg", "__newobj_ex__"),
        ("_codecs", "encode"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("sklearn.neighbors._ball_tree", "newObj"),
        ("sklearn.neighbors._kd_tree", "newObj"),
        ("numpy.random._pickle", "__generator_ctor"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._pickle", "__randomstate_ctor"),
    }
)
_PLAIN_TYPES = object, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, slice, range
_HARMLESS_CLASSES = frozenset(
    {("joblib.numpy_pickle", "NumpyArrayWrapper"), ("collections", "OrderedDict"), ("collections", "defaultdict")}
    | {("builtins", kind.__name__) for kind in _PLAIN_TYPES}
)


@dataclass(frozen=True)
class SerializedArtifact:
    """An object as bytes, with what the workspace wants to know of it. Can be made anywhere: no store is needed.

    Attributes
    ----------
    data
        The serialised bytes.
    content_hash
        SHA-256 of `data`, 64 hexadecimal digits.
    operator_class, artifact_type, format
        As `WorkspaceStore.save_artifact` takes them.
    """

    data: bytes
    content_hash: str
    operator_class: str
    artifact_type: str
    format: str


def content_hash(data: bytes) -> str:
    """SHA-256 of the bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def extension(format: str) -> str:
    """File name ending for a format; `.bin` for one that is not known."""
    return EXTENSIONS.get(format, ".bin")


def serialize(obj: Any, operator_class: str, artifact_type: str, format: str = "joblib") -> SerializedArtifact:
    """Turn an object into bytes and their hash.

    `joblib` is what joblib loads: a pickle, compressed with zlib where that pays (joblib's own writer takes ten times as long for
    small estimators, and writes an array twice that they hold under two names). `cloudpickle` takes classes and functions defined
    in a script or notebook, `skops` needs the extra of that name, `npz` takes a dict of plain arrays and is read without
    unpickling; every other format is a pickle of the highest protocol.

    Raises
    ------
    InvalidInputError
        When the object cannot be serialised, or `skops` is asked for and not installed.

    Examples
    --------
    >>> artifact = serialize(np.arange(3), "numpy.ndarray", "limits")
    >>> store.load_artifact(store.save_artifact(store.prepare_artifact(artifact)))
    array([0, 1, 2])
    """
    if type(obj).__module__ == "__main__" and format != "cloudpickle":
        raise InvalidInputError(
            f"{type(obj).__name__} was defined in a script or notebook, and no other process could load it from format "
            f"{format!r}: use format 'cloudpickle'."
        )
    try:
        data = _dumps(obj, format)
    except (pickle.PicklingError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidInputError(
            f"{operator_class or type(obj).__name__} cannot be stored with format {format!r}: {error}. "
            "Classes defined in a script or notebook need format 'cloudpickle'."
        ) from error
    return SerializedArtifact(data, content_hash(data), operator_class, artifact_type, format)


def _dumps(obj: Any, format: str) -> bytes:
    if format == "joblib":
        return _compressed_if_it_pays(pickle.dumps(obj, protocol=pickle.HIGHEST_PROTOCOL))
    if format == "cloudpickle":
        import cloudpickle

        return bytes(cloudpickle.dumps(obj, protocol=pickle.HIGHEST_PROTOCOL))
    if format == "skops":
        return bytes(_skops().dumps(obj))
    if format == "npz":
        buffer = io.BytesIO()
        # Members carry no time, so equal arrays give equal bytes; spectra and scores hardly shrink.
        np.savez(buffer, allow_pickle=False, **obj)
        return buffer.getvalue()
    return pickle.dumps(obj, protocol=pickle.HIGHEST_PROTOCOL)


_SAMPLE = 4_096
_WORTH = 0.85


def _compressed_if_it_pays(data: bytes) -> bytes:
    """A pickle as joblib loads it: with zlib where that makes it clearly smaller. Scores and loadings of a PLS hardly shrink."""
    if len(data) <= _SAMPLE:
        return data  # a file takes a block of the disk all the same
    middle = data[max(0, len(data) // 2 - _SAMPLE // 2) :][:_SAMPLE]
    return zlib.compress(data, 3) if len(zlib.compress(middle, 1)) < _WORTH * len(middle) else data


def deserialize(
    data: bytes, format: str, trust: Trust = "all", allowed_modules: Iterable[str] = DEFAULT_ALLOWED_MODULES
) -> Any:
    """Turn bytes, whose hash has been verified, back into the object.

    Raises
    ------
    UntrustedError
        When `trust` does not allow what the bytes hold; nothing of it has run then.
    ArtifactLoadError
        When a package that it was made of is not installed, or the bytes are none of this format.
    """
    if format == "npz":
        return _arrays(data)
    refuse_untrusting(trust)
    allowed = tuple(allowed_modules)
    try:
        return _loads(data, format, trust, allowed)
    except (ImportError, AttributeError) as error:
        raise ArtifactLoadError(
            f"The artifact cannot be loaded here, for what it was made of is not installed: {error}. Install the package versions "
            "it was recorded with; classes of a script or notebook need format 'cloudpickle'."
        ) from error


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    # Plain arrays run no code, so they need no trust.
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as members:
            return {name: members[name] for name in members.files}
    except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile, AttributeError, MemoryError) as error:
        raise ArtifactLoadError(f"The bytes are no arrays of format 'npz': {error}") from error


def _loads(data: bytes, format: str, trust: Trust, allowed: tuple[str, ...]) -> Any:
    if format == "skops":
        return _skops_loads(data, trust, allowed)
    if format == "joblib":
        data = _decompressed(data)
        if data[:1] != pickle.PROTO or _ARRAY_OF_JOBLIB in data:
            return _joblib_loads(data, trust, allowed)
    if trust == "all":
        return pickle.loads(data)  # noqa: S301
    return _AllowedUnpickler(io.BytesIO(data), allowed).load()


# What joblib's own writer puts in place of arrays. Pickles without it need no more than pickle, which is ten times as fast.
_ARRAY_OF_JOBLIB = b"ArrayWrapper"


def _joblib_loads(data: bytes, trust: Trust, allowed: tuple[str, ...]) -> Any:
    # Imported here, for it takes a while and only files of others need it.
    import joblib
    from joblib.numpy_pickle import NumpyUnpickler

    if trust == "all":
        return joblib.load(io.BytesIO(data))

    class AllowedNumpyUnpickler(NumpyUnpickler):  # type: ignore[misc]
        # joblib hands object arrays to a second unpickler, which asks this find_class too (since joblib 1.6).
        def find_class(self, module: str, name: str) -> Any:
            return _found_if_allowed(self, NumpyUnpickler.find_class, module, name, allowed)

    return AllowedNumpyUnpickler("", io.BytesIO(data), ensure_native_byte_order=True).load()


def refuse_untrusting(trust: Trust) -> None:
    """Raise `UntrustedError` when nothing may be loaded at all."""
    check_trust(trust)
    if trust == "none":
        raise UntrustedError(
            "Loading artifacts would unpickle them, and this store was opened with trust 'none'. "
            "Open it with trust 'modules' or 'all' if you trust where they come from."
        )


def check_trust(trust: str) -> None:
    """Refuse a trust that is not one of the three."""
    if trust not in get_args(Trust):
        raise InvalidInputError(f"Unknown trust {trust!r}: use one of {', '.join(get_args(Trust))}.")


def class_allowed(module: str, allowed_modules: Iterable[str]) -> bool:
    """Whether a module is one of the allowed ones or lies below one of them."""
    return any(module == prefix or module.startswith(prefix + ".") for prefix in allowed_modules)


def _found_if_allowed(unpickler: Any, find: Any, module: str, name: str, allowed: tuple[str, ...]) -> Any:
    if (module, name) in _HARMLESS_FUNCTIONS or (module, name) in _HARMLESS_CLASSES:
        return find(unpickler, module, name)
    if class_allowed(module, allowed):
        found = find(unpickler, module, name)
        # A dotted name or a re-export may lead out of the module, so what was found is judged by where it was defined.
        home = getattr(found, "__module__", None) or ""
        if isinstance(found, type) and loadable_class(found, allowed):
            return found
        if name.startswith("__pyx_unpickle_") and class_allowed(home, allowed):
            return found
    raise UntrustedError(
        f"The artifact wants to load {module}.{name}, which is not a class of an allowed module "
        f"({', '.join(allowed)}). Add its module to allowed_modules if you trust it."
    )


# Of these packages only what operators are made of: others of their classes run text as code or write files when they are built.
_NARROW = {
    "numpy": ("numpy", "numpy.dtypes", "numpy.random"),
    "scipy": ("scipy.sparse", "scipy.interpolate", "scipy.spatial"),
    "n4a_flows": (),
}


def loadable_class(kind: type, allowed_modules: Iterable[str]) -> bool:
    """Whether a class may be built from stored bytes or a stored class path, with trust `"modules"`."""
    home = kind.__module__
    if home.startswith("numpy") and (not issubclass(kind, _NUMPY_DATA) or issubclass(kind, np.memmap)):
        return False
    return _loadable_home(home, allowed_modules)


def _loadable_home(module: str, allowed_modules: Iterable[str]) -> bool:
    package = module.partition(".")[0]
    return class_allowed(module, allowed_modules) and (
        package not in _NARROW or class_allowed(module, _NARROW[package])
    )


_NUMPY_DATA = (np.ndarray, np.generic, np.dtype, np.random.RandomState, np.random.Generator, np.random.BitGenerator)


class _AllowedUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, allowed: tuple[str, ...]) -> None:
        super().__init__(file)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        return _found_if_allowed(self, pickle.Unpickler.find_class, module, name, self._allowed)


def _decompressed(data: bytes) -> bytes:
    if data[:1] == b"\x78":
        return zlib.decompress(data)
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    return data


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise InvalidInputError("Format 'skops' needs the extra: pip install 'n4a-flows[skops]'.") from error
    return skops.io


def _skops_loads(data: bytes, trust: Trust, allowed: tuple[str, ...]) -> Any:
    skops_io = _skops()
    unknown = list(skops_io.get_untrusted_types(data=data))
    if trust == "modules":
        refused = [name for name in unknown if not _loadable_home(name.rpartition(".")[0], allowed)]
        if refused:
            raise UntrustedError(
                f"The artifact wants to load {', '.join(refused)}, outside the allowed modules "
                f"({', '.join(allowed)}). Add their modules to allowed_modules if you trust them."
            )
    return skops_io.loads(data, trusted=unknown)
