"""Check samples hold a batch back when they are wrong, or not there."""

from __future__ import annotations

import math

import pytest

from n4a_flows.monitoring import checked_samples


@pytest.mark.parametrize(
    ("predicted", "tolerance", "reason"),
    [
        ([("qc", 12.4, 11.2, 13.6)], None, None),
        ([("qc", 13.2, 12.0, 14.4)], None, None),
        ([("qc", 13.3, 12.1, 14.5)], None, "check sample qc: 13.3 was predicted, 10.8 to 13.2 is allowed"),
        ([("qc", 12.4, 11.2, 13.6)], 0.3, "11.7 to 12.3 is allowed (its known value is 12)"),
        ([("qc", 12.3, 0.0, 99.0)], 0.3, None),
        ([("qc", 12.3, None, None)], 0.3, None),
        ([("qc", 12.3, None, None)], None, "no prediction interval"),
        ([("qc", None, None, None)], 0.3, "could not be predicted"),
        ([("qc", math.nan, None, None)], 0.3, "could not be predicted"),
        ([("other", 12.0, 11.0, 13.0)], None, "check sample qc is not in the batch"),
        ([], None, "check sample qc is not in the batch"),
    ],
)
def test_a_check_sample_passes_or_says_why_not(predicted, tolerance, reason) -> None:
    [checked] = checked_samples({"qc": 12.0}, predicted, tolerance)
    assert checked.passed == (reason is None)
    assert reason is None or reason in checked.reason


def test_every_spectrum_of_a_check_sample_counts() -> None:
    good, bad = ("qc", 12.0, 11.0, 13.0), ("qc", 20.0, 19.0, 21.0)
    assert [each.passed for each in checked_samples({"qc": 12.0}, [good, bad, good])] == [True, False, True]
