"""Pipeline definitions: one canonical form, and everything wrong refused before any training, naming the step."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from chemotools.derivative import SavitzkyGolay
from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import BaggingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, RepeatedKFold, ShuffleSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from n4a_flows.storage.errors import DefinitionError
from n4a_flows.training import TrainingOptions, definition_document, expand
from n4a_flows.training.operators import build, canonical_step

PLS = "sklearn.cross_decomposition.PLSRegression"
SNV = "chemotools.scatter.StandardNormalVariate"
ALLOWED = TrainingOptions().modules


def one(definition, **options):
    plans = expand(definition, TrainingOptions(**options))
    assert len(plans) == 1
    return plans[0]


@pytest.mark.parametrize(
    "forms",
    [
        [SNV, {"class": SNV}, {"class": SNV, "params": {}}, StandardNormalVariate(), StandardNormalVariate],
        ["chemotools.scatter._standard_normal_variate.StandardNormalVariate", StandardNormalVariate()],
        [{"class": PLS, "params": {"n_components": 5, "scale": True}}, PLSRegression(n_components=5), PLSRegression(5)],
        [PLS, PLSRegression(2), {"class": PLS, "params": {"n_components": np.int64(2), "tol": 1e-6}}],
        [Ridge(alpha=2), Ridge(alpha=2.0), {"class": "sklearn.linear_model.Ridge", "params": {"alpha": 2}}],
        [
            MinMaxScaler(feature_range=(0, 2)),
            {"class": "sklearn.preprocessing.MinMaxScaler", "params": {"feature_range": [0, 2]}},
        ],
        [
            BaggingRegressor(PLSRegression(4), n_estimators=10),
            {"class": "sklearn.ensemble.BaggingRegressor", "params": {"estimator": {"class": PLS, "params": {"n_components": 4}}}},
            {"class": "sklearn.ensemble.BaggingRegressor", "params": {"estimator": PLSRegression(4)}},
        ],
        [
            RepeatedKFold(n_splits=3, n_repeats=2),
            {"class": "sklearn.model_selection.RepeatedKFold", "params": {"n_splits": 3, "n_repeats": 2}},
        ],
        [KFold(5), "sklearn.model_selection.KFold", {"class": "sklearn.model_selection.KFold", "params": None}],
    ],
)  # fmt: skip
def test_the_same_object_has_one_canonical_form(forms) -> None:
    written = {json.dumps(canonical_step(form, ALLOWED, "Step 1")) for form in forms}
    assert len(written) == 1


def test_the_canonical_form_names_the_public_class_and_only_what_differs_from_the_defaults() -> None:
    assert canonical_step(SavitzkyGolay(11, 2, 1), ALLOWED, "Step 1") == {
        "class": "chemotools.derivative.SavitzkyGolay",
        "params": {"polyorder": 2, "window_length": 11},
    }


def test_what_is_built_from_the_canonical_form_is_the_same_object() -> None:
    original = Pipeline([("snv", StandardNormalVariate()), ("range", MinMaxScaler((0, 2))), ("ridge", Ridge(3.0))])
    rebuilt = build(json.loads(json.dumps(canonical_step(original, ALLOWED, "Step 1"))), ALLOWED, "Step 1")
    X, y = np.random.default_rng(0).random((20, 6)), np.arange(20.0)
    np.testing.assert_array_equal(rebuilt.fit(X, y).predict(X), original.fit(X, y).predict(X))
    assert rebuilt.named_steps["range"].feature_range == (0, 2)


def test_a_whole_definition_hashes_the_same_however_it_is_written() -> None:
    forms = [
        [SNV, {"model": {"class": PLS, "params": {"n_components": 4}}}],
        {"pipeline": [StandardNormalVariate(), {"model": PLSRegression(4)}]},
        {"name": "mine", "steps": [{"class": SNV, "params": {}}, PLSRegression(4)]},
        [SNV, KFold(5, shuffle=True, random_state=42), {"model": PLSRegression(4), "name": "PLS4"}],
    ]
    plans = [one(form) for form in forms]
    assert len({plan.definition_hash for plan in plans}) == 1
    assert len(plans[0].definition_hash) == 64
    assert plans[0].definition_hash != one([SNV, PLSRegression(5)]).definition_hash
    assert [plan.model_name for plan in plans] == ["PLSRegression"] * 3 + ["PLS4"]


def test_the_expanded_steps_are_json_and_expand_to_themselves() -> None:
    definition = [{"y_processing": StandardScaler()}, ShuffleSplit(3), SNV, {"model": PLSRegression(4), "name": "PLS"}]
    plan = one(definition)
    assert plan.steps == [
        {"class": "sklearn.model_selection.ShuffleSplit", "params": {"n_splits": 3, "random_state": 42}},
        {"y_processing": {"class": "sklearn.preprocessing.StandardScaler", "params": {}}},
        {"class": SNV, "params": {}},
        {"model": {"class": PLS, "params": {"n_components": 4}}, "name": "PLS"},
    ]
    again = one(json.loads(json.dumps(plan.steps)))
    assert (again.steps, again.definition_hash, again.name) == (plan.steps, plan.definition_hash, plan.name)


def test_the_default_splitter_and_every_seed_are_written_out() -> None:
    plan = one([{"model": RandomForestRegressor(n_estimators=10)}], seed=7)
    assert plan.splitter == {"class": "sklearn.model_selection.KFold", "params": {"random_state": 7, "shuffle": True}}
    assert plan.model["params"] == {"n_estimators": 10, "random_state": 7}

    given = one([KFold(3), {"model": BaggingRegressor(RandomForestRegressor(random_state=1))}], seed=7)
    assert given.splitter["params"] == {"n_splits": 3}  # takes the rows as they come, and would refuse a seed
    assert given.model["params"]["random_state"] == 7
    assert given.model["params"]["estimator"]["params"] == {"random_state": 1}


def test_names_tell_pipelines_apart() -> None:
    model = {"model": {"class": PLS, "params": {"n_components": {"_or_": [8, 12]}}}, "name": "PLS"}
    names = [plan.name for plan in expand([{"_or_": [None, SNV]}, {"_or_": [KFold(3), KFold(5)]}, model])]
    assert len(set(names)) == 8
    assert names[0] == "KFold(n_splits=3) > PLS(n_components=8)"
    forests = [RandomForestRegressor(random_state=seed) for seed in (1, 2)]
    assert [plan.name for plan in expand([{"_or_": forests}])] == [
        "RandomForestRegressor #1",
        "RandomForestRegressor #2",
    ]


def test_a_pipeline_that_comes_twice_is_there_once() -> None:
    twice = [{"_or_": [None, SNV, StandardNormalVariate(), []]}, {"_or_": [PLS, PLSRegression(2), PLSRegression(3)]}]
    plans = expand(twice)
    assert [plan.name for plan in plans] == [
        "PLSRegression",
        "PLSRegression(n_components=3)",
        "StandardNormalVariate > PLSRegression",
        "StandardNormalVariate > PLSRegression(n_components=3)",
    ]
    assert [[choice["option"] for choice in plan.choices] for plan in plans] == [[0, 0], [0, 2], [1, 0], [1, 2]]


def test_json_yaml_and_python_say_the_same() -> None:
    in_python = [
        {"y_processing": StandardScaler()},
        {"_or_": [SavitzkyGolay(11), StandardNormalVariate], "pick": [1, 2], "count": 2, "_seed_": 5},
        KFold(3, shuffle=True),
        {
            "model": {"class": "sklearn.linear_model.Ridge", "params": {"alpha": {"_log_range_": [0.001, 10, 3]}}},
            "name": "ridge",
        },
    ]
    in_json = json.dumps(definition_document(in_python))
    in_yaml = """
    pipeline:
      - y_processing: sklearn.preprocessing.StandardScaler
      - _or_:
          - {class: chemotools.derivative.SavitzkyGolay, params: {window_length: 11}}
          - chemotools.scatter.StandardNormalVariate
        pick: [1, 2]
        count: 2
        _seed_: 5
      - {class: sklearn.model_selection.KFold, params: {n_splits: 3, shuffle: true}}
      - model:
          class: sklearn.linear_model.Ridge
          params:
            alpha: {_log_range_: [0.001, 10, 3]}
        name: ridge
    """
    plans = expand(in_python)
    assert len(plans) == 6
    for other in (json.loads(in_json), yaml.safe_load(in_yaml)):
        assert [(plan.name, plan.steps, plan.definition_hash) for plan in expand(other)] == [
            (plan.name, plan.steps, plan.definition_hash) for plan in plans
        ]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"branch": [[SNV], []]}, "Step 1 has 'branch': branches are not trained; write .* in '_or_'"),
        ({"merge": "predictions"}, "Step 1 has 'merge': branches are not trained"),
        ({"meta_model": PLS}, r"Step 1 has 'meta_model': .*\(stacking\) are not trained"),
        ({"stacking": [PLS]}, r"Step 1 has 'stacking': .* are not trained"),
        ({"sources": [[SNV], [SNV]]}, "Step 1 has 'sources': several sources are not trained"),
        ({"merge_sources": "concat"}, "Step 1 has 'merge_sources': several sources are not trained"),
        ({"feature_augmentation": {"_or_": [SNV], "size": 1}}, "Step 1 has 'feature_augmentation': .* are not trained"),
        ({"concat_transform": [SNV, SNV]}, "Step 1 has 'concat_transform': .*FeatureUnion"),
        ({"sample_augmentation": {"transformers": [SNV], "count": 2}}, "Step 1 has 'sample_augmentation': samples are not"),
        ({"model": PLS, "finetune_params": {"n_trials": 5}}, "Step 1 has 'finetune_params': .*'_range_'"),
        ({"_or_": [None, [SNV, {"branch": [[SNV]]}]]}, "Step 1.2 has 'branch'"),
        ({"_or_": [SNV, {"branch": [[SNV]]}], "pick": 1}, "Step 1.2 has 'branch'"),
    ],
)  # fmt: skip
def test_words_of_nirs4all_that_are_not_trained_are_refused_by_name(step, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        expand([step, {"model": PLS}])
    if "sources" in step:
        with pytest.raises(DefinitionError, match="The definition has 'sources': several sources are not trained"):
            expand({"pipeline": [PLS], **step})


def test_a_definition_that_holds_itself_or_is_nested_without_end_is_refused() -> None:
    circle: dict = {"class": PLS, "params": {}}
    circle["params"]["estimator"] = circle
    deep: object = SNV
    for _ in range(2000):
        deep = {"_or_": [deep]}
    for step in (circle, deep):
        with pytest.raises(DefinitionError, match="nested too deeply, or holds itself"):
            expand([step, {"model": PLS}])


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ([SNV], "no model"),
        ([], "at least one step"),
        ("nightly", "must be a list"),
        ({"steps": [PLS], "branches": 2}, "unknown keyword 'branches'"),
        ({"name": "x"}, "needs its list of steps"),
        ([{"model": PLS}, {"model": PLS}], "Step 2 is a second model"),
        ([{"model": PLS}, SNV], r"Step 2 \(chemotools.scatter.StandardNormalVariate\) stands after the model"),
        ([KFold(3), KFold(4), PLS], r"Step 2 is a second splitter"),
        ([{"y_processing": StandardScaler()}] * 2 + [PLS], "Step 2 is a second y_processing"),
        ([{"y_processing": SNV}, PLS], "Step 1: StandardNormalVariate cannot be undone"),
        ([SNV, {"model": SNV}], "Step 2: StandardNormalVariate cannot predict"),
        ([{"preprocess": SNV}, PLS], "Step 1 has the unknown keyword 'preprocess'; a step has 'class' and 'params', 'model'"),
        ([{"model": PLS, "nmae": "x"}], "Step 1 has the unknown keyword 'nmae'; did you mean 'name'"),
        ({"pipline": [PLS]}, "The definition has the unknown keyword 'pipline'; did you mean 'pipeline'"),
        ([{"class": PLS, "parms": {}}], "Step 1 has the unknown keyword 'parms'"),
        ([{"model": PLS, "name": 3}], "Step 1: the name of a model must be text"),
        ([{}, PLS], "Step 1 is an empty dict"),
        ([3, PLS], r"Step 1 is 3 \(int\), which is no step"),
        ([None, PLS], r"Step 1 is None \(NoneType\), which is no step"),
        (["chemotools.scatter.SNV", PLS], "Step 1: the module 'chemotools.scatter' has no class 'SNV'"),
        (["chemotools.scatterer.SNV", PLS], "Step 1: there is no module 'chemotools.scatterer'"),
        (["PLSRegression"], "is no class path"),
        (["sklearn.__main__.X", PLS], "is no class path"),
        (["sklearn.metrics.r2_score", PLS], "is not a class"),
        ([{"class": "numpy.memmap", "params": {"filename": "x"}}, PLS], "neither an estimator .* nor a splitter"),
        ([SNV, {"class": PLS, "params": {"components": 3}}], "Step 2: PLSRegression has no parameter 'components'; it takes n_c"),
        ([SNV, {"class": PLS, "params": {"n_components": 0}}], "Step 2: The 'n_components' parameter of PLSRegression must be"),
        ([SNV, {"class": PLS, "params": {"n_components": "8"}}], "Step 2: The 'n_components' parameter of PLSRegression must be"),
        ([SNV, {"class": PLS, "params": [8]}], "Step 2: 'params' must be a dict"),
        ([{"class": "sklearn.model_selection.KFold", "params": {"n_splits": 1}}, PLS], "Step 1: k-fold cross-validation requires"),
        (["sklearn.model_selection.PredefinedSplit", PLS], "Step 1: PredefinedSplit needs the parameter 'test_fold'"),
        ([{"_or_": [PLS, "sklearn.linear_model.LogisticRegression"]}], "mixes models for numbers with classifiers"),
        ([{"class": "sklearn.linear_model.Ridge", "params": {"alpha": float("nan")}}], "'alpha' is nan; only finite"),
        ([RandomForestRegressor(random_state=np.random.RandomState(0))], "'random_state' is .*RandomState"),
        ([Pipeline([("pls", PLSRegression())], memory="cache")], "may not keep a cache of its own"),
        (["sklearn.dummy.DummyRegressor", {"model": PLS}], "Step 2 is a second model"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_naming_the_step(definition, message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        expand(definition)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "step",
    [
        "os.system",
        {"class": "subprocess.Popen", "params": {"args": ["touch", "pwned"]}},
        {"model": "os.system"},
        {"class": "sklearn.ensemble.BaggingRegressor", "params": {"estimator": {"class": "os.system"}}},
        {"y_processing": "os.system"},
    ],
)
def test_a_class_outside_the_allowed_modules_is_refused_without_importing_it(step) -> None:
    with pytest.raises(DefinitionError, match=r"Step 1.*outside the allowed modules"):
        expand([step, {"model": PLS}])


def test_a_module_is_not_imported_before_it_is_allowed(tmp_path, monkeypatch) -> None:
    (tmp_path / "lab_steps.py").write_text(
        "from sklearn.preprocessing import StandardScaler\n"
        "open(__file__ + '.imported', 'w').close()\n"
        "class Scaler(StandardScaler):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    definition = ["lab_steps.Scaler", {"model": PLS}]
    with pytest.raises(DefinitionError, match="add its module to the option allowed_modules"):
        expand(definition)
    assert not (tmp_path / "lab_steps.py.imported").exists()
    assert one(definition, allowed_modules=["lab_steps"]).transformers == [{"class": "lab_steps.Scaler", "params": {}}]


def test_an_instance_of_a_class_that_cannot_be_imported_is_refused() -> None:
    class Local(StandardScaler):
        pass

    with pytest.raises(DefinitionError, match="Step 1"):
        expand([Local(), {"model": PLS}], TrainingOptions(allowed_modules=(Local.__module__,)))
