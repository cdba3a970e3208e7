"""Generators: how many pipelines, which ones, and what was chosen."""

from __future__ import annotations

import pytest

from n4a_flows.storage.errors import DefinitionError
from n4a_flows.training import TrainingOptions, expand

PLS = "sklearn.cross_decomposition.PLSRegression"
SNV = "chemotools.scatter.StandardNormalVariate"
SCALER = "sklearn.preprocessing.StandardScaler"
SG = "chemotools.derivative.SavitzkyGolay"


def chains(definition) -> list[list[str]]:
    """The class names and parameters of each pipeline, without the splitter."""
    return [plan.name.split(" > ") for plan in expand(definition)]


def pls(components) -> dict:
    return {"model": {"class": PLS, "params": {"n_components": components}}}


def test_or_in_the_place_of_a_step_takes_nothing_a_step_or_several() -> None:
    assert chains([{"_or_": [None, SNV, [SCALER, SNV]]}, {"model": PLS}]) == [
        ["PLSRegression"],
        ["StandardNormalVariate", "PLSRegression"],
        ["StandardScaler", "StandardNormalVariate", "PLSRegression"],
    ]


def test_or_and_range_in_the_place_of_a_value() -> None:
    components = [plan.model["params"].get("n_components", 2) for plan in expand([pls({"_range_": [1, 7, 3]})])]
    assert components == [1, 4, 7]
    windows = expand([{"class": SG, "params": {"window_length": {"_or_": [5, 7]}}}, pls({"_or_": [3, 4, 5]})])
    assert [(p.transformers[0]["params"]["window_length"], p.model["params"]["n_components"]) for p in windows] == [
        (5, 3), (5, 4), (5, 5), (7, 3), (7, 4), (7, 5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ([1, 3], [1, 2, 3]),
        ([3, 1, -1], [3, 2, 1]),
        ([1, 6, 2], [1, 3, 5]),
        ([4, 4], [4]),
        ([0.1, 0.3, 0.1], [0.1, 0.2, 0.3]),
    ],
)
def test_a_range_includes_its_last_number_when_it_meets_it(content, values) -> None:
    ridge = {"class": "sklearn.linear_model.Ridge", "params": {"alpha": {"_range_": content}}}
    alphas = [plan.model["params"].get("alpha", 1.0) for plan in expand([{"model": ridge}])]
    assert alphas == pytest.approx(values)


def test_generators_inside_generators_and_inside_nested_estimators() -> None:
    nested = {"_or_": [{"_or_": [None, SNV]}, [{"_or_": [SCALER, SNV]}, {"class": SG}]]}
    assert [chain[:-1] for chain in chains([nested, {"model": PLS}])] == [
        [],
        ["StandardNormalVariate"],
        ["StandardScaler", "SavitzkyGolay"],
        ["StandardNormalVariate", "SavitzkyGolay"],
    ]
    bagging = {
        "class": "sklearn.ensemble.BaggingRegressor",
        "params": {"estimator": {"class": PLS, "params": {"n_components": {"_or_": [4, 5]}}}},
    }
    plans = expand([{"model": bagging}])
    assert [plan.model["params"]["estimator"]["params"] for plan in plans] == [{"n_components": 4}, {"n_components": 5}]


def test_a_whole_definition_may_be_a_choice_of_lists() -> None:
    definition = {"pipeline": {"_or_": [[SNV, {"model": PLS}], [{"model": PLS}]]}}
    assert chains(definition) == [["StandardNormalVariate", "PLSRegression"], ["PLSRegression"]]


def test_choices_say_where_and_what() -> None:
    plans = expand([{"_or_": [None, [SNV, {"class": SG, "params": {"deriv": {"_or_": [1, 2]}}}]]}, pls({"_or_": [8]})])
    assert [plan.choices for plan in plans] == [
        [{"at": "1", "option": 0, "value": None}, {"at": "2.model.params.n_components", "option": 0, "value": 8}],
        [
            {"at": "1", "option": 1, "value": [SNV, {"class": SG, "params": {"deriv": 1}}]},
            {"at": "1.2.params.deriv", "option": 0, "value": 1},
            {"at": "2.model.params.n_components", "option": 0, "value": 8},
        ],
        [
            {"at": "1", "option": 1, "value": [SNV, {"class": SG, "params": {"deriv": 2}}]},
            {"at": "1.2.params.deriv", "option": 1, "value": 2},
            {"at": "2.model.params.n_components", "option": 0, "value": 8},
        ],
    ]


def test_too_many_pipelines_are_refused_before_any_is_made() -> None:
    huge = [{"_or_": [None, SNV]}, pls({"_range_": [1, 10**12]})]
    with pytest.raises(DefinitionError, match=f"{2 * 10**12} pipelines, more than the 1000 allowed"):
        expand(huge)
    with pytest.raises(DefinitionError, match="3 pipelines, more than the 2 allowed"):
        expand([pls({"_range_": [1, 3]})], TrainingOptions(max_pipelines=2))


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        ({"_or_": []}, "'_or_' needs a list of at least one option"),
        ({"_or_": 3}, "'_or_' needs a list"),
        ({"_or_": [1, 2], "pick": 2}, "'_or_' stands alone in its dict; take out 'pick'"),
        ({"_range_": [1]}, r"needs \[first, last\]"),
        ({"_range_": [1, "x"]}, "all numbers"),
        ({"_range_": [1, 5, 0]}, "is empty"),
        ({"_range_": [5, 1]}, "is empty"),
        ({"_range_": [1, float("inf")]}, "all numbers"),
        ({"_grid_": {"x": [1]}}, "unknown keyword '_grid_'; known are _or_, _range_"),
    ],
)
def test_generators_written_wrong_are_refused(generator, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        expand([pls(generator)])
    with pytest.raises(DefinitionError, match=r"Step 1 is 1 \(int\), which is no step"):
        expand([{"_range_": [1, 2]}, {"model": PLS}])
