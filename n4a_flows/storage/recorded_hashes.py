"""Which content hashes may be recorded, without asking the database for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from n4a_flows.storage.session import Session

_KEPT = "recorded hashes"
_FEW = 3


class RecordedHashes:
    """The beginnings of the content hashes of a workspace: bytes whose hash begins otherwise are new.

    Looking for one hash or for many reads all of them, and fetching all beginnings takes as long as three looks. So they are
    fetched at the fourth, and kept until another process changes the file.
    """

    def __init__(self) -> None:
        self._looks = 0
        self._fetched: npt.NDArray[np.int64] | None = None
        self._added: set[int] = set()

    @classmethod
    def of(cls, session: Session) -> RecordedHashes:
        """Those kept of the file that a session works on."""
        kept: RecordedHashes = session.kept.setdefault(_KEPT, cls())
        return kept

    def possible(self, session: Session, content_hashes: Iterable[str]) -> list[str]:
        """Those of the hashes that a row may have; the others certainly have none."""
        if self._fetched is None:
            self._looks += 1
            if self._looks <= _FEW:
                return list(content_hashes)
            # A hash that is none, of a row that was registered with it, is no number; nothing is looked for by it either.
            sql = "SELECT TRY_CAST('0x' || content_hash[1:15] AS BIGINT) FROM artifacts"
            self._fetched = np.unique(session.numbers(sql))
        return [one for one in content_hashes if self._may_have(_beginning(one), self._fetched)]

    def add(self, content_hash: str) -> None:
        """Note the hash of a new row; that some are rolled back does no harm."""
        with contextlib.suppress(ValueError):
            self._added.add(_beginning(content_hash))

    def _may_have(self, beginning: int, fetched: npt.NDArray[np.int64]) -> bool:
        place = np.searchsorted(fetched, beginning)
        return beginning in self._added or bool(place < len(fetched) and fetched[place] == beginning)


def _beginning(content_hash: str) -> int:
    return int(content_hash[:15], 16)
