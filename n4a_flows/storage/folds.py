"""Fold keys: how a fold is named in chains, and how the same fold is named elsewhere.

Chains use the canonical key: `fold_0`, `fold_1` ... for the folds of cross-validation, `fold_final` for the refit on
all training rows, `fold_avg` and `fold_w_avg` for averages over folds. Other programs write the same folds as `0`,
`"0"` or `"final"`.
"""

from __future__ import annotations

import re
from numbers import Integral

from n4a_flows.storage.errors import InvalidInputError

PREFIX = "fold_"

_NUMBER = re.compile(r"-?[0-9]+")


def normalize_fold_key(fold_id: int | str) -> str:
    """The canonical key of a fold: `0` and `"0"` give `fold_0`, `"final"` gives `fold_final`.

    Any other text `x` gives `fold_x`; a key that is canonical already comes back unchanged.

    Raises
    ------
    InvalidInputError
        When the fold is neither a whole number nor text.

    Examples
    --------
    >>> normalize_fold_key(0), normalize_fold_key("final")
    ('fold_0', 'fold_final')
    """
    if isinstance(fold_id, bool) or not isinstance(fold_id, (str, Integral)):
        raise InvalidInputError(f"A fold is named by a whole number or a text, not by {fold_id!r}.")
    text = str(fold_id)
    return text if text.startswith(PREFIX) else PREFIX + text


def fold_key_candidates(fold_id: int | str) -> list[str]:
    """The two ways a fold may be written, the canonical one first: `["fold_0", "0"]`. Raises as `normalize_fold_key` does."""
    key = normalize_fold_key(fold_id)
    return [key, key.removeprefix(PREFIX)]


def parse_numeric_fold_key(fold_id: int | str) -> int | None:
    """The number of a fold (`"fold_3"`, `"3"` and `3` give 3), or None for `final`, `avg` and other names.

    Raises as `normalize_fold_key` does.
    """
    name = normalize_fold_key(fold_id).removeprefix(PREFIX)
    return int(name) if _NUMBER.fullmatch(name) else None
