"""What every chunk needs, a set of spectra or chains: sent to a worker process once, and kept there."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

from n4a_flows.storage.errors import WorkerError
from n4a_flows.tasks.versions import Versions, this_process

T = TypeVar("T")

_MOST_KEPT = 4
_kept: OrderedDict[str, Any] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class Packed(Generic[T]):
    """Something for one task run in another process, as bytes: engines and Prefect would walk through anything else."""

    content: bytes

    @classmethod
    def of(cls, value: T) -> Packed[T]:
        """Pack something."""
        return cls(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))


@dataclass(frozen=True)
class Parcel(Generic[T]):
    """Something for a worker process, or only what it is called: whoever has kept it needs no more.

    Attributes
    ----------
    digest
        SHA-256 of the content.
    versions
        What the sender has; a worker that differs refuses before it looks at the content.
    content
        The pickled thing; None when it is not sent along.
    """

    digest: str
    versions: Versions
    content: bytes | None = None

    @classmethod
    def of(cls, value: T, versions: Versions) -> Parcel[T]:
        """Pack something."""
        content = Packed.of(value).content
        return cls(hashlib.sha256(content).hexdigest(), versions, content)

    def label(self) -> Parcel[T]:
        """The parcel without its content."""
        return replace(self, content=None)


@dataclass(frozen=True)
class Lacking:
    """The answer of a worker process that was sent a label and has not kept the content: send it along."""

    worker: str


def unpacked(sent: T | Packed[T]) -> T:
    """What was sent for one task run: as it is in the process that sent it."""
    if isinstance(sent, Packed):
        return cast(T, pickle.loads(sent.content))  # noqa: S301 - the flow's own, as the call of this very function was
    return sent


def kept(sent: T | Parcel[T]) -> T | Lacking:
    """What was sent to this process: as it is in the process that sent it, and out of its parcel elsewhere.

    Raises
    ------
    WorkerError
        When packages or readers differ here from where it was packed, or the content is not what was sent.
    """
    if not isinstance(sent, Parcel):
        return sent
    sent.versions.refuse_others()
    with _lock:
        if sent.digest in _kept:
            _kept.move_to_end(sent.digest)
            return cast(T, _kept[sent.digest])
        if sent.content is None:
            return Lacking(this_process())
        if hashlib.sha256(sent.content).hexdigest() != sent.digest:
            raise WorkerError(f"What arrived at the worker {this_process()} is not what was sent. Run the flow again.")
        value: T = unpacked(Packed(sent.content))
        _kept[sent.digest] = value
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
        return value
