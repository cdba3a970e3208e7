"""The type of a step, where a chain of nirs4all does not name it."""

from __future__ import annotations

from typing import Any

import pytest

from n4a_flows.storage.step_types import operator_type


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"operator_type": "transform", "params": {"y_processing": "x"}}, "transform"),
        ({"operator_class": "MinMaxScaler", "params": {"y_processing": "sklearn.MinMaxScaler"}}, "y_processing"),
        ({"operator_class": "SNV, SG", "params": {"feature_augmentation": ["SNV", "SG"]}}, "feature_augmentation"),
        ({"operator_class": "StandardScaler", "params": {"preprocessing": "sklearn.StandardScaler"}}, ""),
        ({"operator_class": "StandardScaler", "params": {"with_mean": True}, "stateless": True}, ""),
        ({"operator_class": "StandardScaler", "params": None}, ""),
        ({}, ""),
        # A splitter leaves nothing behind; what does is none, whatever its name.
        ({"operator_class": "ManiFold", "stateless": False, "artifact_ids": ["a"]}, ""),
        ({"operator_class": "ManiFold", "stateless": True, "artifact_ids": ["a"]}, ""),
    ],
)
def test_the_recorded_type_wins_then_the_keyword(step: dict[str, Any], expected: str) -> None:
    assert operator_type(step) == expected


@pytest.mark.parametrize(
    "name",
    [
        "KFold", "sklearn.model_selection._split.ShuffleSplit", "_FullTrainFoldSplitter", "KennardStoneSplitter", "SPXYGFold",
        "LeaveOneOut", "LeaveOneGroupOut", "LeavePOut", "GroupedSplitterWrapper",
    ],
)  # fmt: skip
def test_splitters_are_known_by_their_names(name: str) -> None:
    assert operator_type({"operator_class": name, "params": {}, "artifact_ids": [], "stateless": True}) == "splitter"
