"""`Spectra` itself: checked parts, a stable digest, subsets and alignment."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from n4a_flows.spectra import Axis, Spectra, load_tecator
from n4a_flows.storage.errors import AxisError, SpectraError


@pytest.fixture(scope="module")
def tecator() -> Spectra:
    return load_tecator()


def small(**changes) -> Spectra:
    parts = {
        "X": np.array([[1.0, 2.0], [3.0, 5.0]]),
        "axis": Axis(np.array([850.0, 852.0])),
        "sample_ids": ["a", "b"],
        "targets": {"fat": np.array([1.0, np.nan])},
        "metadata": {"split": np.array(["train", "test"])},
        "signal": "absorbance",
    }
    return Spectra(**{**parts, **changes})


def test_the_digest_is_the_same_in_another_process_and_after_pickling(tecator: Spectra) -> None:
    code = "from n4a_flows.spectra import load_tecator; print(load_tecator().digest)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == tecator.digest == pickle.loads(pickle.dumps(tecator)).digest  # noqa: S301
    assert len(other) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"X": np.array([[1.0, 2.0], [3.0, np.nextafter(5.0, 6.0)]])},
        {"axis": Axis(np.array([850.0, 853.0]))},
        {"axis": Axis(np.array([850.0, 852.0]), "cm-1")},
        {"sample_ids": ["a", "c"]},
        {"targets": {"fat": np.array([1.0, 2.0])}},
        {"targets": {"water": np.array([1.0, np.nan])}},
        {"targets": {}},
        {"metadata": {"split": np.array(["train", "train"])}},
        {"signal": "reflectance"},
    ],
)
def test_the_digest_follows_the_content(changes) -> None:
    assert small(**changes).digest != small().digest


def test_the_digest_does_not_follow_names_of_files_or_the_order_of_columns() -> None:
    assert small(name="other").digest == small().digest
    both = {"fat": np.array([1.0, 2.0]), "water": np.array([3.0, 4.0])}
    assert small(targets={"fat": np.array([1.0, -np.nan])}).digest == small().digest  # another bit pattern of NaN
    assert small(targets=both).digest == small(targets=dict(reversed(both.items()))).digest


def test_spectra_cannot_be_changed_and_leave_the_callers_arrays_alone() -> None:
    X = np.array([[1.0, 2.0], [3.0, 5.0]])
    spectra = small(X=X)
    for held in (spectra, pickle.loads(pickle.dumps(spectra))):  # noqa: S301
        for values in (held.X[0], held.targets["fat"]):
            with pytest.raises(ValueError, match="read-only"):
                values[0] = 9.0
    X[0, 0] = 9.0
    assert spectra.X[0, 0] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((2, 3))}, r"shape \(2, 3\), but must be \(samples, 2\)"),
        ({"X": np.array([[1.0, np.nan], [3.0, 5.0]])}, "missing or infinite"),
        ({"sample_ids": ["a"]}, "sample_ids has 1 values for 2 spectra"),
        ({"sample_ids": ["a", "a"]}, "sample id 'a' comes twice"),
        ({"targets": {"fat": np.array([1.0])}}, "fat has 1 values for 2 spectra"),
        ({"metadata": {"split": np.array([["a"], ["b"]])}}, "one value per spectrum"),
        ({"signal": "volts"}, "Unknown signal 'volts'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message: str) -> None:
    with pytest.raises(SpectraError, match=message):
        small(**changes)


def test_take_keeps_rows_together(tecator: Spectra) -> None:
    test = tecator.take(tecator.metadata["split"] == "test")
    assert test.n_samples == 43
    assert test.sample_ids[0] == tecator.sample_ids[172]
    np.testing.assert_array_equal(test.X[0], tecator.X[172])
    assert test.targets["fat"][0] == tecator.targets["fat"][172]
    assert (test.axis, test.signal, test.name) == (tecator.axis, "absorbance", "tecator")

    assert tecator.take([5, 2]).sample_ids == [tecator.sample_ids[5], tecator.sample_ids[2]]


def test_aligned_to_turns_round_and_converts_but_never_resamples(tecator: Spectra) -> None:
    falling = replace(tecator, X=tecator.X[:, ::-1], axis=Axis(tecator.axis.values[::-1]))
    np.testing.assert_array_equal(falling.aligned_to(tecator.axis), tecator.X)
    in_wavenumbers = replace(tecator, axis=tecator.axis.to("cm-1"))
    np.testing.assert_array_equal(in_wavenumbers.aligned_to(tecator.axis), tecator.X)
    with pytest.raises(AxisError, match="another axis"):
        tecator.aligned_to(Axis(tecator.axis.values + 2.0))


def test_repr_is_one_short_line(tecator: Spectra) -> None:
    text = repr(tecator)
    assert "tecator" in text
    assert "215 samples" in text
    assert len(text) < 120
