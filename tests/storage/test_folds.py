"""Fold keys: every spelling of a fold leads to one key."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_flows.storage.errors import InvalidInputError, N4AError
from n4a_flows.storage.folds import fold_key_candidates, normalize_fold_key, parse_numeric_fold_key
from n4a_flows.storage.trace import execution_trace

fold_ids = st.integers() | st.text()


@pytest.mark.parametrize(
    ("given_as", "key"),
    [
        (0, "fold_0"),
        ("0", "fold_0"),
        (np.int64(7), "fold_7"),
        ("fold_3", "fold_3"),
        ("final", "fold_final"),
        ("fold_final", "fold_final"),
        ("avg", "fold_avg"),
        ("w_avg", "fold_w_avg"),
        ("-1", "fold_-1"),
        (-1, "fold_-1"),
        ("outer", "fold_outer"),
    ],
)
def test_every_spelling_gives_the_canonical_key(given_as, key):
    assert normalize_fold_key(given_as) == key


@pytest.mark.parametrize("no_fold", [None, 0.0, True, ["0"]])
def test_what_names_no_fold_is_refused(no_fold):
    with pytest.raises(InvalidInputError, match="whole number or a text"):
        normalize_fold_key(no_fold)


def test_the_refusal_is_a_value_error_and_ours():
    assert issubclass(InvalidInputError, ValueError)
    assert issubclass(InvalidInputError, N4AError)


@given(fold_ids)
def test_a_canonical_key_stays_as_it_is(fold_id):
    key = normalize_fold_key(fold_id)
    assert key.startswith("fold_")
    assert normalize_fold_key(key) == key


@given(fold_ids)
def test_both_candidates_are_the_same_fold(fold_id):
    canonical, short = fold_key_candidates(fold_id)
    assert canonical == normalize_fold_key(fold_id)
    assert canonical == f"fold_{short}"


def test_candidates_start_with_the_canonical_key():
    assert fold_key_candidates(2) == ["fold_2", "2"]
    assert fold_key_candidates("fold_final") == ["fold_final", "final"]


@pytest.mark.parametrize(
    ("fold_id", "number"),
    [(0, 0), ("0", 0), ("fold_12", 12), ("-1", -1), ("fold_-1", -1)]
    + [(name, None) for name in ("final", "fold_final", "avg", "fold_w_avg", "f0", "1.5", "", "1_0", " 1", "²")],
)
def test_only_numbered_folds_have_a_number(fold_id, number):
    assert parse_numeric_fold_key(fold_id) == number


@given(st.integers())
def test_a_fold_number_survives_its_key(number):
    assert parse_numeric_fold_key(normalize_fold_key(number)) == number


def test_the_trace_exports_the_same_functions():
    assert execution_trace.normalize_fold_key is normalize_fold_key
    assert execution_trace.fold_key_candidates is fold_key_candidates
    assert execution_trace.parse_numeric_fold_key is parse_numeric_fold_key
