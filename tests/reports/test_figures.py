from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest

from n4a_flows.reports import predicted_against_measured
from n4a_flows.spectra import load_tecator
from n4a_flows.storage.errors import InvalidInputError


def test_the_picture_is_a_square_png_that_two_runs_draw_alike() -> None:
    fat = load_tecator().targets["fat"]
    predicted = fat + np.random.default_rng(0).normal(scale=0.8, size=fat.size)

    picture = predicted_against_measured(fat, predicted, quantity="fat", unit="%", title="tecator")

    pixels = matplotlib.image.imread(io.BytesIO(picture), format="png")
    assert pixels.shape[:2] == (750, 750)
    assert pixels[..., :3].std() > 0.05
    assert predicted_against_measured(fat, predicted, quantity="fat", unit="%", title="tecator") == picture


def test_samples_without_a_laboratory_value_are_left_out() -> None:
    y, y_hat = np.array([1.0, 2.0, 3.0]), np.array([1.1, 2.1, 2.9])

    with_gap = predicted_against_measured(np.append(y, np.nan), np.append(y_hat, 9.0), quantity="fat")

    assert with_gap == predicted_against_measured(y, y_hat, quantity="fat")


def test_a_single_sample_can_be_drawn() -> None:
    assert predicted_against_measured([5.0], [5.0], quantity="fat").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("measured", "predicted", "message"),
    [([1.0, 2.0], [1.0], "One prediction per laboratory value"), ([np.nan], [1.0], "no sample with both")],
)
def test_what_cannot_be_drawn_is_refused(measured: list[float], predicted: list[float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        predicted_against_measured(measured, predicted, quantity="fat")
