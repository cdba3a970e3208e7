"""Generators: how many pipelines, which ones, and what was chosen."""

from __future__ import annotations

import json
import time
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n4a_flows.storage.errors import DefinitionError
from n4a_flows.training import TrainingOptions, expand
from n4a_flows.training.generators import variants_of

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
        ({"_or_": [1, 2], "pick": 3}, "'pick' takes 3 options, and '_or_' has 2"),
        ({"_or_": [1, 2], "pick": [2, 1]}, "'pick' is how many options to take together"),
        ({"_or_": [1, 2], "pick": 0}, "'pick' is how many options to take together"),
        ({"_or_": [1, 2], "pick": True}, "'pick' is how many options to take together"),
        ({"_or_": [1, 2], "pick": [1, 2, 3]}, "'pick' is how many options to take together"),
        ({"_or_": [1, 2], "picks": 1}, "the dict of '_or_' has the unknown keyword 'picks'; did you mean 'pick'"),
        ({"_or_": [1, 2], "arrange": 2}, "has 'arrange': orders are not generated"),
        ({"_or_": [1, 2], "count": 0}, "'count' is how many variants to take at most"),
        ({"_or_": [1, 2], "count": 1.5}, "'count' is how many variants to take at most"),
        ({"_or_": [1, 2], "count": 1, "_seed_": -1}, "'_seed_' is a whole number from 0"),
        ({"_or_": [1, 2], "_seed_": 1}, "'_seed_' .* stands beside a 'count'"),
        ({"_seed_": 1}, "'_seed_' stands beside a generator"),
        ({"_range_": [1, 10**9], "count": 10**8}, "a 'count' may be at most 100000"),
        ({"_or_": [1, 2], "_range_": [1, 2]}, "'_or_' and '_range_' cannot stand in one dict"),
        ({"_range_": [1, 3], "pick": 2}, "the dict of '_range_' has the unknown keyword 'pick'; what may stand there is 'count'"),
        ({"_range_": [1]}, r"needs \[first, last\]"),
        ({"_range_": [1, "x"]}, "all numbers"),
        ({"_range_": [1, 5, 0]}, "is empty"),
        ({"_range_": [5, 1]}, "is empty"),
        ({"_range_": [1, float("inf")]}, "all numbers"),
        ({"_range_": [0, 1, 1e-300]}, "too small a step"),
        ({"_range_": {"first": 1, "last": 2}}, "or a dict with 'from', 'to', 'step'"),
        ({"_range_": {"from": 1}}, "all numbers"),
        ({"_log_range_": [1, 10]}, r"'_log_range_' needs \[first, last, number\]"),
        ({"_log_range_": [0, 10, 3]}, "first and last above 0 and different"),
        ({"_log_range_": [1, 1, 3]}, "first and last above 0 and different"),
        ({"_log_range_": [1, 10, 1]}, "a whole one from 2"),
        ({"_log_range_": [1, 10, 2.5]}, "a whole one from 2"),
        ({"_log_range_": ["1e-3", 1, 4]}, "'1e-3' is text .YAML wants 1.0e-3"),
        ({"_grid_": {}}, "'_grid_' needs a dict"),
        ({"_grid_": [1, 2]}, "'_grid_' needs a dict"),
        ({"_grid_": {"x": []}}, "'_grid_' has no value for 'x'"),
        ({"_grid_": {"_or_": [1]}}, "'_grid_' has the name '_or_'"),
        ({"_ranges_": [1, 2]}, "unknown keyword '_ranges_'; did you mean '_range_'"),
        ({"_logrange_": [1, 2]}, "unknown keyword '_logrange_'; did you mean '_log_range_'"),
        ({"_any_": [1, 2]}, "unknown keyword '_any_'; known are _or_, _range_, _log_range_, _grid_"),
        ({"_zip_": {"a": [1]}}, "has '_zip_': write the values that go together as dicts in '_or_'"),
    ],
)  # fmt: skip
def test_generators_written_wrong_are_refused(generator, message: str) -> None:
    with pytest.raises(DefinitionError, match=f"^Step 1.model.params.n_components.*{message}"):
        expand([pls(generator)])


def test_a_generator_beside_a_step_is_shown_where_it_belongs() -> None:
    with pytest.raises(
        DefinitionError, match=r"Step 1: '_range_' .* write {'class': ..., 'params': {'n_components': {'_range_'"
    ):
        expand([{"_range_": [1, 5], "param": "n_components", "model": PLS}])
    with pytest.raises(DefinitionError, match=r"Step 1 is 1 \(int\), which is no step"):
        expand([{"_range_": [1, 2]}, {"model": PLS}])


def values(generator, seed: int = 0) -> list:
    """What a generator stands for in the place of a value."""
    return [variant.steps[0][1]["x"] for variant in variants_of([{"x": generator}], seed)]


def test_pick_takes_combinations_in_the_order_in_which_they_are_written() -> None:
    assert values({"_or_": ["a", "b", "c"], "pick": 2}) == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert values({"_or_": ["a", "b", "c"], "pick": [0, 1]}) == [[], ["a"], ["b"], ["c"]]
    assert chains([{"_or_": [SNV, SG, [SCALER, SNV]], "pick": [1, 2]}, {"model": PLS}]) == [
        ["StandardNormalVariate", "PLSRegression"],
        ["SavitzkyGolay", "PLSRegression"],
        ["StandardScaler", "StandardNormalVariate", "PLSRegression"],
        ["StandardNormalVariate", "SavitzkyGolay", "PLSRegression"],
        ["StandardNormalVariate", "StandardScaler", "StandardNormalVariate", "PLSRegression"],
        ["SavitzkyGolay", "StandardScaler", "StandardNormalVariate", "PLSRegression"],
    ]


def test_a_picked_generator_is_one_option() -> None:
    assert values({"_or_": ["a", {"_or_": ["x", "y"]}, "c"], "pick": 2}) == [
        ["a", "x"], ["a", "y"], ["a", "c"], ["x", "c"], ["y", "c"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([0.001, 1, 4], [0.001, 0.01, 0.1, 1]),
        ([1, 1000, 4], [1, 10, 100, 1000]),
        ([100, 1, 3], [100, 10, 1]),
        ([1, 10, 3], [1, 3.16227766017, 10]),
        ([1e-300, 1e300, 3], [1e-300, 1, 1e300]),
        ({"from": 1, "to": 64, "num": 7}, [1, 2, 4, 8, 16, 32, 64]),
    ],
)
def test_a_log_range_includes_both_ends_and_grows_evenly(content, expected) -> None:
    assert values({"_log_range_": content}) == expected


def test_whole_numbers_stay_whole_where_they_are_written_so() -> None:
    assert json.dumps(values({"_log_range_": [1, 100, 5]})) == "[1, 3.16227766017, 10, 31.6227766017, 100]"
    assert json.dumps(values({"_log_range_": [1.0, 100, 3]})) == "[1.0, 10.0, 100]"
    assert json.dumps(values({"_range_": [1, 3]})) == "[1, 2, 3]"
    assert (
        json.dumps(values({"_range_": {"from": -0.3, "to": 0.3, "step": 0.1}}))
        == "[-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]"
    )
    assert json.dumps(values({"_range_": {"from": 2, "to": 3}})) == "[2, 3]"
    forest = {
        "class": "sklearn.ensemble.RandomForestRegressor",
        "params": {"n_estimators": {"_log_range_": [10, 1000, 3]}},
    }
    assert [plan.model["params"].get("n_estimators", 100) for plan in expand([{"model": forest}])] == [10, 100, 1000]


def test_a_grid_is_every_combination_and_is_recorded_name_by_name() -> None:
    grid = {"_grid_": {"alpha": {"_log_range_": [0.1, 10, 3]}, "fit_intercept": [True, False], "solver": "svd"}}
    plans = expand([{"model": {"class": "sklearn.linear_model.Ridge", "params": grid}}])
    assert [tuple(plan.model["params"].get(name) for name in ("alpha", "fit_intercept")) for plan in plans] == [
        (0.1, None), (0.1, False), (None, None), (None, False), (10.0, None), (10.0, False),
    ]  # fmt: skip
    assert {plan.model["params"]["solver"] for plan in plans} == {"svd"}
    assert plans[5].choices == [
        {"at": "1.model.params.alpha", "option": 2, "value": 10},
        {"at": "1.model.params.fit_intercept", "option": 1, "value": False},
    ]
    assert values({"_grid_": {"a": [1, {"_or_": [2, 3]}], "b": [[4, 5]]}}) == [
        {"a": 1, "b": [4, 5]}, {"a": 2, "b": [4, 5]}, {"a": 3, "b": [4, 5]},
    ]  # fmt: skip


def test_choices_of_picks_name_all_that_was_picked() -> None:
    derivative = {"class": SG, "params": {"deriv": {"_or_": [1, 2]}}}
    plans = expand([{"_or_": [SNV, SCALER, derivative], "pick": 2}, {"model": PLS}])
    assert plans[0].choices == [{"at": "1", "option": [0, 1], "value": [SNV, SCALER]}]
    assert plans[2].choices == [
        {"at": "1", "option": [0, 2], "value": [SNV, {"class": SG, "params": {"deriv": 2}}]},
        {"at": "1.3.params.deriv", "option": 1, "value": 2},
    ]
    with pytest.raises(DefinitionError, match=r"Step 1\.3: SavitzkyGolay has no parameter 'window'"):
        expand([{"_or_": [SNV, SCALER, {"class": SG, "params": {"window": 5}}], "pick": 2}, {"model": PLS}])


def test_count_takes_some_at_random_in_their_order() -> None:
    all_of_them = values({"_range_": [1, 1000]})
    some = values({"_range_": [1, 1000], "count": 10, "_seed_": 1})
    assert len(set(some)) == 10
    assert some == sorted(set(some) & set(all_of_them))
    assert some == values({"_range_": [1, 1000], "count": 10, "_seed_": 1}, seed=5)
    assert some != values({"_range_": [1, 1000], "count": 10, "_seed_": 2})
    assert values({"_or_": ["a", "b"], "count": 5}) == ["a", "b"]
    picked = values({"_or_": list("abcdef"), "pick": 3, "count": 4})
    assert len(picked) == 4
    assert all(tuple(each) in set(combinations("abcdef", 3)) for each in picked)


def test_without_a_seed_of_its_own_a_draw_follows_the_seed_of_the_options() -> None:
    definition = [pls({"_range_": [1, 10**6], "count": 5})]

    def drawn(seed: int) -> list[int]:
        return [plan.choices[0]["value"] for plan in expand(definition, TrainingOptions(seed=seed))]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    # An added step changes nothing.
    assert [plan.choices[0]["value"] for plan in expand([SNV, *definition], TrainingOptions(seed=1))] == drawn(1)


def test_every_variant_is_as_likely_as_another() -> None:
    drawn = [tuple(values({"_or_": [0, 1, 2, 3], "count": 2, "_seed_": seed})) for seed in range(1200)]
    often = [drawn.count(pair) for pair in combinations(range(4), 2)]
    assert sum(often) == 1200
    assert all(150 < n < 250 for n in often)


def test_an_enormous_generator_is_refused_at_once_and_a_few_of_it_are_drawn_at_once() -> None:
    smoothing = {"class": SG, "params": {"window_length": {"_range_": [5, 10**9, 2]}}}
    enormous = {"_or_": [smoothing] * 60, "pick": [10, 30]}
    began = time.perf_counter()
    with pytest.raises(DefinitionError, match="stands for about 1e278 pipelines, more than the 1000 allowed"):
        expand([enormous, {"model": PLS}])
    few = list(variants_of([{**enormous, "count": 7}, {"model": PLS}], 1))
    assert time.perf_counter() - began < 0.5
    assert len({json.dumps(variant.steps) for variant in few}) == 7
    assert values({"_or_": [{**enormous, "count": 50_000}], "count": 2, "_seed_": 3})
    with pytest.raises(DefinitionError, match="Step 1: 'pick' of 500 out of 1000 options is too much"):
        expand([{"_or_": [SNV] * 1000, "pick": 500, "count": 3}, {"model": PLS}])


NUMBERS = st.integers(-3, 3)
COUNTED = st.fixed_dictionaries({}, optional={"count": st.integers(1, 6)})


@st.composite
def picked(draw, options) -> dict:
    content = draw(st.lists(options, min_size=1, max_size=4))
    most = draw(st.integers(1, len(content)))
    pick = draw(st.one_of(st.just(most), st.tuples(st.integers(0, most), st.just(most)).map(list)))
    return {"_or_": content, "pick": pick, **draw(COUNTED)}


def nested(inner):
    return st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
        st.builds(
            lambda options, counted: {"_or_": options, **counted}, st.lists(inner, min_size=1, max_size=4), COUNTED
        ),
        picked(inner),
        st.builds(
            lambda named, counted: {"_grid_": named, **counted},
            st.dictionaries(st.sampled_from("abc"), st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=2),
            COUNTED,
        ),
    )


LEAVES = st.one_of(
    NUMBERS,
    st.none(),
    st.builds(
        lambda first, more, counted: {"_range_": [first, first + more], **counted}, NUMBERS, st.integers(0, 4), COUNTED
    ),
    st.builds(lambda size, counted: {"_log_range_": [1, 100, size], **counted}, st.integers(2, 5), COUNTED),
)
GENERATORS = st.recursive(LEAVES, nested, max_leaves=6)


def written_out(value) -> list:
    """What a definition without draws stands for, the long way."""
    if isinstance(value, list):
        found: list = [[]]
        for item in value:
            found = [[*before, each] for before in found for each in written_out(item)]
        return found
    if not isinstance(value, dict):
        return [value]
    if "_range_" in value:
        return list(range(value["_range_"][0], value["_range_"][1] + 1))
    if "_log_range_" in value:
        return values(value)
    if "_grid_" in value:
        return written_out({name: {"_or_": options} for name, options in value["_grid_"].items()})
    if "pick" in value:
        least, most = value["pick"] if isinstance(value["pick"], list) else (value["pick"], value["pick"])
        return [
            each
            for size in range(least, most + 1)
            for options in combinations(value["_or_"], size)
            for each in written_out(list(options))
        ]
    if "_or_" in value:
        return [each for option in value["_or_"] for each in written_out(option)]
    return [dict(zip(value, found, strict=True)) for found in written_out(list(value.values()))]


def without_draws(value):
    if isinstance(value, list):
        return [without_draws(item) for item in value]
    if isinstance(value, dict):
        return {key: without_draws(item) for key, item in value.items() if key != "count"}
    return value


@settings(max_examples=200, deadline=None)
@given(GENERATORS.map(without_draws))
def test_what_is_counted_and_made_is_what_is_written_out_the_long_way(generator) -> None:
    expected = written_out(generator)
    space = variants_of([{"x": generator}], 0)
    assert space.size == len(expected)
    if len(expected) <= 500:
        assert sorted(map(json.dumps, values(generator))) == sorted(map(json.dumps, expected))


@settings(max_examples=200, deadline=None)
@given(GENERATORS, st.integers(0, 2**32 - 1))
def test_as_many_are_made_as_were_counted_the_same_for_equal_seeds(generator, seed) -> None:
    space = variants_of([{"x": generator}], seed)
    if space.size <= 500:
        made = list(space)
        assert len(made) == space.size
        assert made == list(variants_of([{"x": generator}], seed))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10**30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_what_is_drawn_is_never_drawn_twice(last, count, seed) -> None:
    digits = {"_grid_": {str(place): {"_range_": [0, 999]} for place in range(len(str(last)) // 3 + 1)}}
    made = [json.dumps(each) for each in values({**digits, "count": count, "_seed_": seed})]
    assert len(set(made)) == len(made) == count
