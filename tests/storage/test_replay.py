"""Rule 7: replay never guesses."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler

from n4a_flows.storage import Axis, WorkspaceStore, replay_chain
from n4a_flows.storage.errors import AxisError, InvalidInputError, ReplayError, UnknownIdError, UntrustedError


class Vote:
    """A model without scikit-learn: always the same label."""

    def __init__(self, label: str) -> None:
        self.label = label

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.full(len(X), self.label)


class AddWavelengths:
    """A step that knows where the points lie."""

    def transform(self, X: np.ndarray, wavelengths: np.ndarray | None = None) -> np.ndarray:
        return X if wavelengths is None else X + wavelengths


class NeedsWavelengths(AddWavelengths):
    _requires_wavelengths = True


class Sum:
    def predict(self, X: np.ndarray) -> np.ndarray:
        return X.sum(axis=1)


def step(number: int, kind: str = "transform", **more: Any) -> dict[str, Any]:
    return {"step_idx": number, "operator_class": f"test.Step{number}", "params": {}, "operator_type": kind, **more}


class Recorder:
    """Saves objects and chains in one pipeline."""

    def __init__(self, store: WorkspaceStore, pipeline_id: str) -> None:
        self.store, self.pipeline_id = store, pipeline_id

    def keep(self, obj: Any) -> str:
        return self.store.save_artifact(obj, type(obj).__qualname__, "operator", "joblib")

    def chain(self, steps: list[dict[str, Any]], folds: dict[str, Any], shared: Any = None, **context: Any) -> str:
        folds = {key: self.keep(model) for key, model in folds.items()}
        return self.store.save_chain(
            self.pipeline_id, steps, steps[-1]["step_idx"], "model", "", "per_fold", folds, shared or {}, **context
        )


@pytest.fixture
def recorder(store: WorkspaceStore, pipeline_id: str) -> Recorder:
    return Recorder(store, pipeline_id)


def test_folds_use_their_own_transformers(recorder: Recorder, spectra: np.ndarray, y: np.ndarray) -> None:
    expected, scalers, models = [], {}, {}
    for number, (train, _) in enumerate(KFold(3).split(spectra)):
        scaler = StandardScaler().fit(spectra[train])
        model = PLSRegression(2).fit(scaler.transform(spectra[train]), y[train])
        expected.append(model.predict(scaler.transform(spectra)))
        scalers[f"fold_{number}"] = recorder.keep(scaler)
        models[f"fold_{number}"] = model
    chain_id = recorder.chain([step(1, fold_artifact_ids=scalers), step(2, "model")], models)
    np.testing.assert_allclose(recorder.store.replay_chain(chain_id, spectra), np.mean(expected, axis=0), rtol=1e-12)

    del scalers["fold_1"]
    broken = recorder.chain([step(1, fold_artifact_ids=scalers), step(2, "model")], models)
    with pytest.raises(ReplayError, match="nothing is stored for fold_1"):
        recorder.store.replay_chain(broken, spectra)


def test_a_refit_predicts_alone_and_averages_are_no_folds(recorder: Recorder) -> None:
    X = np.ones((2, 3))
    folds = {"fold_0": Ridge().fit(X, [1, 1]), "1": Ridge().fit(X, [3, 3]), "fold_avg": Ridge().fit(X, [99, 99])}
    chain_id = recorder.chain([step(5, "model")], folds)
    assert recorder.store.replay_chain(chain_id, X).tolist() == pytest.approx([2, 2])
    final = recorder.chain([step(5, "model")], {**folds, "final": Ridge().fit(X, [7, 7])})
    assert recorder.store.replay_chain(final, X).tolist() == pytest.approx([7, 7])
    with pytest.raises(RuntimeError, match="Chain has no fold model artifacts"):
        recorder.store.replay_chain(recorder.chain([step(5, "model")], {}), X)


def test_models_of_any_make_are_averaged(recorder: Recorder) -> None:
    X = np.arange(6.0).reshape(2, 3)
    chain_id = recorder.chain([step(1, "model")], {"fold_0": Sum(), "fold_1": Ridge().fit(X, [0, 0])})
    assert recorder.store.replay_chain(chain_id, X).tolist() == pytest.approx([1.5, 6.0])


def test_operators_that_work_in_place_do_not_spoil_other_folds(
    recorder: Recorder, spectra: np.ndarray, y: np.ndarray
) -> None:
    scalers, models, expected = {}, {}, []
    for number, (train, _) in enumerate(KFold(3).split(spectra)):
        scaler = StandardScaler(copy=False).fit(spectra[train])
        model = make_pipeline(StandardScaler(copy=False), Ridge()).fit(scaler.transform(spectra[train]), y[train])
        expected.append(model.predict(scaler.transform(spectra.copy())))
        scalers[f"fold_{number}"], models[f"fold_{number}"] = recorder.keep(scaler), model
    chain_id = recorder.chain([step(1, fold_artifact_ids=scalers), step(2, "model")], models)
    np.testing.assert_allclose(recorder.store.replay_chain(chain_id, spectra), np.mean(expected, axis=0), rtol=1e-9)
    bare = {
        key: make_pipeline(StandardScaler(copy=False), Ridge()).fit(spectra.copy(), y) for key in ("fold_0", "fold_1")
    }
    chain_id = recorder.chain([step(2, "model")], bare)
    np.testing.assert_allclose(
        recorder.store.replay_chain(chain_id, spectra), bare["fold_0"].predict(spectra.copy()), rtol=1e-9
    )


def test_what_replay_would_leave_out_is_refused(recorder: Recorder, spectra: np.ndarray, y: np.ndarray) -> None:
    model = PLSRegression(2).fit(spectra, y)
    scaler = recorder.keep(StandardScaler().fit(spectra))
    ids = {"fold_0": recorder.keep(model), "0": recorder.keep(model)}

    def save(steps: list[dict[str, Any]], folds: dict[str, str], shared: dict[str, Any]) -> str:
        return recorder.store.save_chain(recorder.pipeline_id, steps, 2, "m", "", "per_fold", folds, shared)

    one = {"fold_0": ids["fold_0"]}
    for steps, folds, shared, message in (
        ([step(2, "model"), step(3, artifact_ids=[scaler])], one, {}, "comes after the model"),
        ([step(2, "model"), step(3, "y_processing", artifact_ids=[scaler])], one, {}, "comes after the model"),
        ([step(2, "model")], one, {"1": [scaler]}, "steps that it does not have: 1"),
        ([step(2, "model")], ids, {}, "names a fold twice"),
        ([{"operator_class": "x"}, step(2, "model")], one, {}, "no step_idx"),
        ([step(2, "model", fold_weights={"0": np.nan, "1": 1})], {**one, "fold_1": ids["0"]}, {}, "cannot be used"),
        ([step(1, "y_processing", stateless=True), step(2, "model")], one, {}, "no artifact of it is stored"),
    ):
        with pytest.raises(ReplayError, match=message):
            recorder.store.replay_chain(save(steps, folds, shared), spectra)


def test_a_pipeline_as_a_step_works_with_an_axis(
    recorder: Recorder, spectra: np.ndarray, y: np.ndarray, axis: Axis
) -> None:
    treat = make_pipeline(StandardScaler()).fit(spectra)
    model = PLSRegression(2).fit(treat.transform(spectra), y)
    steps = [step(1, artifact_ids=[recorder.keep(treat)]), step(2, "model")]
    chain_id = recorder.chain(steps, {"fold_final": model}, axis=axis)
    np.testing.assert_array_equal(
        recorder.store.replay_chain(chain_id, spectra), model.predict(treat.transform(spectra))
    )


def test_the_task_type_is_part_of_the_digest(recorder: Recorder) -> None:
    folds = {"fold_0": Ridge().fit([[0.0]], [1]), "fold_1": Ridge().fit([[0.0]], [2])}
    chains = [recorder.chain([step(1, "model")], folds, task_type=kind) for kind in ("regression", "classification")]
    assert len({recorder.store.get_chain_context(chain_id).digest for chain_id in chains}) == 2
    assert recorder.store.replay_chain(chains[0], [[0.0]]).tolist() == [1.5]
    assert recorder.store.replay_chain(chains[1], [[0.0]]).tolist() == [1.0]


def test_a_stored_document_cannot_run_code(recorder: Recorder, tmp_path: Any) -> None:
    victim = tmp_path / "victim"
    model = {"fold_final": Sum()}
    for operator, params in (
        ("numpy.savetxt", {"fname": str(victim), "X": [1.0]}),
        ("numpy.testing._private.utils.runstring", {"astr": f"open({str(victim)!r}, 'w')", "dict": {}}),
        ("n4a_flows.storage.workspace_store.WorkspaceStore", {"workspace_path": str(victim)}),
    ):
        chain_id = recorder.chain(
            [step(1, stateless=True, operator_class=operator, params=params), step(2, "model")], model
        )
        for trust in ("all", "modules", "none"):
            with pytest.raises(UntrustedError):
                WorkspaceStore(recorder.store.workspace_path, trust=trust).replay_chain(chain_id, np.ones((1, 2)))
    assert not victim.exists()


def test_fold_weights_are_used(recorder: Recorder) -> None:
    X = np.ones((2, 3))
    folds = {"fold_0": Ridge().fit(X, [0, 0]), "fold_1": Ridge().fit(X, [4, 4])}
    chain_id = recorder.chain([step(1, "model", fold_weights={"0": 3.0, "1": 1.0})], folds)
    assert recorder.store.replay_chain(chain_id, X).tolist() == pytest.approx([1, 1])


def test_a_scaler_of_y_is_inverted_and_never_touches_x(recorder: Recorder, spectra: np.ndarray, y: np.ndarray) -> None:
    scaler = StandardScaler().fit(y.reshape(-1, 1))
    model = PLSRegression(2).fit(spectra, scaler.transform(y.reshape(-1, 1)).ravel())
    y_step = step(1, "y_processing", artifact_ids=[recorder.keep(scaler)])
    shared = {"1": y_step["artifact_ids"]}
    chain_id = recorder.chain([y_step, step(2, "model")], {"fold_final": model}, shared)
    expected = scaler.inverse_transform(model.predict(spectra).reshape(-1, 1)).ravel()
    np.testing.assert_allclose(recorder.store.replay_chain(chain_id, spectra), expected, rtol=1e-12)


def test_classes_come_from_mean_probabilities(recorder: Recorder, spectra: np.ndarray, y: np.ndarray) -> None:
    labels = np.where(y > np.median(y), "high", "low")
    models = [LinearDiscriminantAnalysis().fit(spectra[i::3, ::4], labels[i::3]) for i in range(3)]
    steps = [step(1, stateless=True, operator_class="sklearn.preprocessing.FunctionTransformer"), step(2, "model")]
    chain_id = recorder.chain(steps, {f"fold_{i}": model for i, model in enumerate(models)})
    mean = np.mean([model.predict_proba(spectra[:, ::4]) for model in models], axis=0)
    expected = models[0].classes_[mean.argmax(axis=1)]
    np.testing.assert_array_equal(recorder.store.replay_chain(chain_id, spectra[:, ::4]), expected)


def test_classes_are_voted_and_ties_go_to_the_first_label(recorder: Recorder) -> None:
    X = np.ones((2, 3))
    votes = {"fold_0": Vote("veal"), "fold_1": Vote("pork"), "fold_2": Vote("veal")}
    assert recorder.store.replay_chain(recorder.chain([step(1, "model")], votes), X).tolist() == ["veal"] * 2
    del votes["fold_2"]
    assert recorder.store.replay_chain(recorder.chain([step(1, "model")], votes), X).tolist() == ["pork"] * 2


def test_integer_classes_are_never_averaged(recorder: Recorder) -> None:
    X = np.array([[0.0], [1.0], [2.0]])
    models = {
        f"fold_{i}": KNeighborsClassifier(1).fit(X, classes)
        for i, classes in enumerate([[1, 3, 5], [1, 3, 6], [1, 4, 5]])
    }
    assert recorder.store.replay_chain(recorder.chain([step(1, "model")], models), X).tolist() == [1, 3, 5]


def test_encoded_labels_are_decoded(recorder: Recorder) -> None:
    X, labels = np.array([[0.0], [1.0]]), ["pork", "veal"]
    encoder = LabelEncoder().fit(labels)
    y_step = step(1, "y_processing", artifact_ids=[recorder.keep(encoder)])
    models = {f"fold_{i}": KNeighborsClassifier(1).fit(X, encoder.transform(labels)) for i in range(2)}
    assert recorder.store.replay_chain(recorder.chain([y_step, step(2, "model")], models), X).tolist() == labels


def test_a_missing_step_is_an_error(recorder: Recorder, spectra: np.ndarray, y: np.ndarray) -> None:
    model = {"fold_final": PLSRegression(2).fit(spectra, y)}
    for steps, message in (
        ([step(1, stateless=False), step(2, "model")], "no artifact of it is stored"),
        ([step(1, stateless=True, operator_class="sklearn.nothing.Here"), step(2, "model")], "cannot be rebuilt"),
        (
            [step(1, stateless=True, operator_class="sklearn.preprocessing.StandardScaler"), step(2, "model")],
            "declared stateless",
        ),
        ([step(1, stateless=True, operator_class="SNV"), step(2, "model")], "no module"),
        ([step(1, "feature_augmentation"), step(2, "model")], "feature_augmentation step"),
        ([step(2, artifact_ids=["x"]), step(2, "model")], None),
    ):
        if message is None:
            with pytest.raises(UnknownIdError):
                recorder.chain(steps, model)
            continue
        with pytest.raises(ReplayError, match=message):
            recorder.store.replay_chain(recorder.chain(steps, model), spectra)
    scaler = recorder.keep(StandardScaler().fit(spectra))
    with pytest.raises(ReplayError, match="same step_idx"):
        recorder.store.replay_chain(recorder.chain([step(2, artifact_ids=[scaler]), step(2, "model")], model), spectra)


def test_a_stateless_step_is_rebuilt_from_class_and_parameters(
    recorder: Recorder, spectra: np.ndarray, y: np.ndarray
) -> None:
    snv = "chemotools.scatter.StandardNormalVariate"
    treated = (spectra - spectra.mean(axis=1, keepdims=True)) / spectra.std(axis=1, keepdims=True)
    model = PLSRegression(2).fit(treated, y)
    chain_id = recorder.chain([step(1, stateless=True, operator_class=snv), step(2, "model")], {"fold_final": model})
    np.testing.assert_allclose(recorder.store.replay_chain(chain_id, spectra), model.predict(treated), rtol=1e-9)
    foreign = recorder.chain(
        [step(1, stateless=True, operator_class="os.system"), step(2, "model")], {"fold_final": model}
    )
    with pytest.raises(UntrustedError, match=r"os\.system"):
        recorder.store.replay_chain(foreign, spectra)


def test_wavelength_aware_steps_get_the_axis(recorder: Recorder, axis: Axis) -> None:
    X = np.zeros((1, 40))
    steps = [step(1, artifact_ids=[recorder.keep(AddWavelengths())]), step(2, "model")]
    with_axis = recorder.chain(steps, {"fold_final": Sum()}, axis=axis)
    total = axis.values.sum()
    assert recorder.store.replay_chain(with_axis, X).tolist() == pytest.approx([total])
    assert recorder.store.replay_chain(with_axis, X, axis.values).tolist() == pytest.approx([total])
    assert recorder.store.replay_chain(with_axis, X, axis.to("cm-1")).tolist() == pytest.approx([total])
    without = recorder.chain(
        [step(1, artifact_ids=[recorder.keep(NeedsWavelengths())]), step(2, "model")], {"fold_final": Sum()}
    )
    assert recorder.store.replay_chain(without, X, axis.values).tolist() == pytest.approx([total])
    with pytest.raises(ReplayError, match="needs the wavelengths"):
        recorder.store.replay_chain(without, X)


def test_spectra_off_the_axis_are_refused_and_turned_ones_turned_round(
    recorder: Recorder, spectra: np.ndarray, y: np.ndarray, axis: Axis
) -> None:
    chain_id = recorder.chain(
        [step(1, "model")], {"fold_final": PLSRegression(2).fit(spectra, y)}, axis=axis, signal="absorbance"
    )
    predictor = recorder.store.load_predictor(chain_id)
    expected = predictor.predict(spectra)
    np.testing.assert_array_equal(predictor.predict(spectra[:, ::-1], axis.values[::-1]), expected)
    np.testing.assert_array_equal(predictor.predict(spectra[:, ::-1], Axis(1e7 / axis.values[::-1], "cm-1")), expected)
    for wrong, message in (
        (axis.values + 2.0, "another axis.*largest difference 2 nm"),
        (Axis(axis.values / 1e3, "nm"), "another axis"),
        (axis.values[:-1], "40 points, but their axis has 39"),
    ):
        with pytest.raises(AxisError, match=message):
            predictor.predict(spectra, wrong)
    with pytest.raises(AxisError, match="39 points"):
        predictor.predict(spectra[:, :-1])
    bare = recorder.chain([step(1, "model")], {"fold_final": PLSRegression(2).fit(spectra, y)})
    with pytest.raises(AxisError, match="39 points, the chain was trained on 40"):
        recorder.store.replay_chain(bare, spectra[:, :-1])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones(40), "two dimensions"),
        (np.ones((0, 40)), "no spectra"),
        (np.full((2, 40), np.nan), "must be finite"),
        ([["a"] * 40], "must be numbers"),
        (np.ones((1, 2, 40)), "two dimensions"),
    ],
)
def test_what_is_no_matrix_of_spectra_is_refused(
    recorder: Recorder, spectra: np.ndarray, y: np.ndarray, X: Any, message: str
) -> None:
    chain_id = recorder.chain([step(1, "model")], {"fold_final": PLSRegression(2).fit(spectra, y)})
    with pytest.raises(InvalidInputError, match=message):
        recorder.store.replay_chain(chain_id, X)


def test_x_is_never_changed(recorder: Recorder) -> None:
    class Spoils:
        def transform(self, X: np.ndarray) -> np.ndarray:
            X *= 0
            return X

    chain = [
        step(1, artifact_ids=[recorder.store.save_artifact(Spoils(), "Spoils", "t", "cloudpickle")]),
        step(2, "model"),
    ]
    chain_id = recorder.chain(chain, {"fold_final": Sum()})
    X = np.ones((2, 3))
    assert recorder.store.replay_chain(chain_id, X).tolist() == [0, 0]
    assert X.min() == 1


def test_spectra_are_shown_after_every_step_before_the_model(
    recorder: Recorder, spectra: np.ndarray, y: np.ndarray
) -> None:
    """Also where a step works in place, and of several folds those of the first."""
    center = StandardScaler(with_std=False, copy=False).fit(spectra.copy())
    folds = {}
    for key, rows in (("fold_0", slice(0, 30)), ("fold_1", slice(30, None))):
        folds[key] = StandardScaler().fit(center.transform(spectra[rows].copy()))
    model = Ridge().fit(folds["fold_0"].transform(center.transform(spectra.copy())), y)
    chain_id = recorder.chain(
        [
            step(1, artifact_ids=[recorder.keep(center)]),
            step(2, fold_artifact_ids={key: recorder.keep(scaler) for key, scaler in folds.items()}),
            step(3, "model"),
        ],
        dict.fromkeys(folds, model),
    )
    given = spectra.copy()
    first, second = recorder.store.load_predictor(chain_id).treated(given)
    np.testing.assert_array_equal(given, spectra)
    np.testing.assert_allclose(first, spectra - spectra.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(second, (first - folds["fold_0"].mean_) / folds["fold_0"].scale_, atol=1e-12)
    bare = recorder.chain([step(1, "model")], {"fold_final": model})
    assert recorder.store.load_predictor(bare).treated(spectra) == []


class Counts:
    """A step that counts how often it is used, and leaves its result in columns."""

    uses = 0

    def transform(self, X: np.ndarray) -> np.ndarray:
        self.uses += 1
        return np.asfortranarray(X - X.mean(axis=1, keepdims=True))


@pytest.mark.parametrize("keys", [("fold_final",), ("fold_0", "fold_1")])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_predicting_and_treating_in_one_pass_is_the_same_to_the_bit(
    recorder: Recorder, spectra: np.ndarray, y: np.ndarray, keys: tuple[str, ...], steps: int
) -> None:
    """Also for a model that works in place, which must not spoil what is shown."""
    counts, center = Counts(), StandardScaler(with_std=False, copy=False).fit(spectra.copy())
    before = [
        step(1, artifact_ids=[recorder.keep(counts)]),
        step(2, fold_artifact_ids=dict.fromkeys(keys, recorder.keep(center))),
    ][:steps]
    models = {key: make_pipeline(StandardScaler(copy=False), PLSRegression(n)).fit(spectra.copy(), y)
              for n, key in enumerate(keys, 2)}  # fmt: skip
    predictor = recorder.store.load_predictor(recorder.chain([*before, step(3, "model")], models))
    given = spectra.copy()
    expected, stages = predictor.predict(given), predictor.treated(given)
    uses = [operator.uses for operator in predictor.transformers[:1]]
    predicted, treated = predictor.predict_and_treat(given)
    np.testing.assert_array_equal(predicted, expected)
    np.testing.assert_array_equal(treated, [given, *stages][-1])
    np.testing.assert_array_equal(given, spectra)
    assert [operator.uses for operator in predictor.transformers[:1]] == [count + 1 for count in uses]
    assert [type(operator) for operator in predictor.transformers] == [Counts, StandardScaler][:steps]
    if len(keys) == 1:
        np.testing.assert_array_equal(predictor.model.predict(treated.copy(order="K")).ravel(), predicted)
    assert predictor.model[-1].n_components == 2, "of several folds the first"


def test_the_module_function_hands_over_to_the_store(recorder: Recorder, spectra: np.ndarray, y: np.ndarray) -> None:
    chain_id = recorder.chain([step(1, "model")], {"fold_final": PLSRegression(2).fit(spectra, y)})
    np.testing.assert_array_equal(
        replay_chain(recorder.store, chain_id, spectra), recorder.store.replay_chain(chain_id, spectra)
    )
    with pytest.raises(UnknownIdError):
        replay_chain(recorder.store, "none", spectra)


def test_a_package_travels_and_gives_the_same_digest_for_the_same_training(
    recorder: Recorder, spectra: np.ndarray, y: np.ndarray, axis: Axis
) -> None:
    def train(components: int, on: Axis | None) -> str:
        return recorder.chain([step(1, "model")], {"fold_final": PLSRegression(components).fit(spectra, y)}, axis=on)

    one, again, other, elsewhere = train(2, axis), train(2, axis), train(1, axis), train(2, None)
    packages = [recorder.store.chain_package(chain_id) for chain_id in (one, again, other, elsewhere)]
    assert one != again
    assert packages[0].digest == packages[1].digest
    assert len({package.digest for package in packages}) == 3
    travelled = pickle.loads(pickle.dumps(packages[0])).load("modules")  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(travelled.predict(spectra), recorder.store.replay_chain(one, spectra))
    assert (travelled.chain_id, travelled.axis) == (one, axis)
