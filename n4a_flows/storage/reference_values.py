"""Laboratory values that come after the prediction, and the predictions that they belong to.

Rows are only added: the latest of a sample and target counts, the earlier ones say what was corrected and when.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from numbers import Real
from typing import Any

from n4a_flows.storage.clock import naive_utc, now
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.session import Session

_LATEST = (
    "SELECT sample_id, target, value, source, added_at, rowid AS place FROM reference_values "
    "QUALIFY row_number() OVER (PARTITION BY sample_id, target ORDER BY rowid DESC) = 1"
)


def add(session: Session, values: Mapping[str, float], target: str, source: str | None) -> int:
    """Add values by sample id, those that are new or differ from the latest one; returns how many these are.

    Raises
    ------
    InvalidInputError
        When they are no mapping, an id or the target is no text or blank, or a value is no finite number; nothing is added then.
    """
    _refuse_blank("The target of laboratory values", target)
    if not isinstance(values, Mapping):
        raise InvalidInputError(f"Laboratory values must be a mapping by sample id, not a {type(values).__name__}.")
    checked = {_checked_id(sample_id): _checked(sample_id, value) for sample_id, value in values.items()}
    known = dict(
        session.rows(
            f"SELECT sample_id, value FROM ({_LATEST}) WHERE target = ? AND sample_id IN (SELECT unnest(?::VARCHAR[]))",
            [target, list(checked)],
        )
    )
    added_at = now()
    new = {sample_id: value for sample_id, value in checked.items() if known.get(sample_id) != value}
    for sample_id, value in new.items():
        session.append(
            "reference_values",
            {"sample_id": sample_id, "target": target, "value": value, "source": source, "added_at": added_at},
        )
    return len(new)


def latest(session: Session, target: str | None, sample_ids: Sequence[str] | None) -> pl.DataFrame:
    """The value that counts of each sample and target, in the order they were added."""
    terms, parameters = _terms(target=target)
    if sample_ids is not None:
        terms.append("sample_id IN (SELECT unnest(?::VARCHAR[]))")
        parameters.append(list(sample_ids))
    return session.frame(
        f"SELECT sample_id, target, value, source, added_at FROM ({_LATEST}){_where(terms)} ORDER BY place",
        parameters,
    )


def pairs(session: Session, chain_id: str | None, target: str | None, since: datetime | None) -> pl.DataFrame:
    """Predicted numbers beside the laboratory value of their sample.

    Of a file that a chain digest scored twice the latest counts, with the moment of the first. So it does of each sample of a file
    that was changed under its path and still holds some of the same spectra, which are known by their predictions: one that grew,
    or was put right. What was written over with other spectra stays, for it may be the same sample measured again.
    """
    terms, parameters = _terms(**{"f.target": target})
    if chain_id is not None:
        # Equal chains score a file once: what one of them predicted, the others would have predicted too.
        terms.append(
            "f.chain_digest IN (SELECT digest FROM chain_context WHERE chain_id = ? "
            "UNION SELECT chain_digest FROM scored_files WHERE chain_id = ?)"
        )
        parameters += [chain_id, chain_id]
    parameters += [naive_utc(since)] * 2
    return session.frame(
        "WITH files AS (SELECT *, rowid AS place, first_value(scored_at) OVER "
        "(PARTITION BY chain_digest, target, file_digest ORDER BY rowid) AS first_at "
        "FROM scored_files WHERE status = 'scored' QUALIFY row_number() OVER "
        "(PARTITION BY chain_digest, target, file_digest ORDER BY rowid DESC) = 1), "
        "revisions AS (SELECT * FROM (SELECT scoring_id, lag(scoring_id) OVER "
        "(PARTITION BY chain_digest, target, path ORDER BY place) AS before FROM files) WHERE before IS NOT NULL), "
        "going_on AS (SELECT DISTINCT v.scoring_id FROM revisions v JOIN scored_samples new ON new.scoring_id = v.scoring_id "
        "JOIN scored_samples old ON old.scoring_id = v.before AND format('{:.9e}', old.y) = format('{:.9e}', new.y)), "
        "sittings AS (SELECT f.*, count(*) FILTER (g.scoring_id IS NULL) OVER "
        "(PARTITION BY chain_digest, target, path ORDER BY place) AS sitting "
        "FROM files f LEFT JOIN going_on g USING (scoring_id)) "
        "SELECT * EXCLUDE (place) FROM ("
        "SELECT s.sample_id, f.target, s.y, r.value AS reference, s.verdict, f.chain_id, f.chain_digest, "
        "json_extract_string(f.detail, '$.instrument') AS instrument, json_extract_string(f.detail, '$.product') AS product, "
        "f.path, s.position, min(f.first_at) OVER measured AS scored_at, r.added_at, f.place "
        "FROM sittings f JOIN scored_samples s USING (scoring_id) "
        f"JOIN ({_LATEST}) r ON r.sample_id = s.sample_id AND r.target = f.target"
        f"{_where(terms)} WINDOW sample AS (PARTITION BY f.chain_digest, f.target, f.path, f.sitting, s.sample_id), "
        # The same sample with another prediction is another measurement of it.
        "measured AS (PARTITION BY f.chain_digest, f.target, f.path, f.sitting, s.sample_id, format('{:.9e}', s.y)) "
        "QUALIFY f.place = max(f.place) OVER sample) "
        "WHERE y IS NOT NULL AND (?::TIMESTAMP IS NULL OR scored_at >= ?) ORDER BY scored_at, place, position",
        parameters,
    )


def _terms(**equal: str | None) -> tuple[list[str], list[Any]]:
    asked = {column: value for column, value in equal.items() if value is not None}
    return [f"{column} = ?" for column in asked], list(asked.values())


def _where(terms: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(terms)}" if terms else ""


def _checked_id(sample_id: Any) -> str:
    _refuse_blank("The sample id of a laboratory value", sample_id)
    return str(sample_id)


def _refuse_blank(what: str, text: Any) -> None:
    if not isinstance(text, str) or not text.strip():
        raise InvalidInputError(f"{what} must be text that is not blank, not {text!r}.")


def _checked(sample_id: str, value: Any) -> float:
    number = math.nan
    if isinstance(value, Real) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            number = float(value)
    if not math.isfinite(number):
        raise InvalidInputError(f"The laboratory value of sample {sample_id!r} must be a finite number, not {value!r}.")
    return number
