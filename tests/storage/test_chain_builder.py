"""From traces to chain documents, and on to the store and to predictions."""

import inspect
import json

import numpy as np
import pytest
from chemotools.scatter import MultiplicativeScatterCorrection, StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression

from n4a_flows.spectra import load_tecator
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.chain_builder import ChainBuilder, referenced_artifacts
from n4a_flows.storage.errors import TraceError, UnknownIdError
from n4a_flows.storage.trace import ExecutionStep, ExecutionTrace, StepArtifacts, StepExecutionMode, TraceRecorder


def step(index, kind="transform", *, ids=(), folds=None, branch=(), name="", **values):
    """A step that left these artifacts."""
    found = StepArtifacts(artifact_ids=[*ids, *(folds or {}).values()], fold_artifact_ids=folds or {})
    return ExecutionStep(index, kind, name, artifacts=found, branch_path=list(branch), **values)


def model(index, branch=(), name="PLSRegression", **folds):
    return step(index, "model", folds=folds or {"0": f"m{index}"}, branch=branch, name=name)


def trace_of(*steps, **values):
    return ExecutionTrace(steps=list(steps), **values)


def build(*steps, **values):
    return ChainBuilder(trace_of(*steps, **values)).build()


def indexes(document):
    return [step["step_idx"] for step in document["steps"]]


def references(document):
    return referenced_artifacts(document["steps"], document["fold_artifacts"], document["shared_artifacts"])


class TestBuild:
    def test_an_empty_trace_gives_an_empty_document(self):
        expected = {
            "steps": [],
            "model_step_idx": 0,
            "model_class": "",
            "preprocessings": "",
            "fold_strategy": "shared",
            "fold_artifacts": {},
            "shared_artifacts": {},
            "branch_path": None,
            "source_index": None,
        }
        assert build() == expected
        assert build(step(1, execution_mode=StepExecutionMode.SKIP)) == expected
        assert ChainBuilder(ExecutionTrace()).build_all() == []

    def test_a_cross_validated_pipeline(self):
        document = build(
            step(1, name="chemotools.scatter.StandardNormalVariate", ids=["snv"], operator_config={"copy": True}),
            step(2, "splitter", name="KFold", operator_config={"n_splits": 2}),
            step(3, "model", name="PLSRegression", folds={"0": "m0", "1": "m1", "final": "refit"}),
            model_step_index=3,
            preprocessing_chain="SNV",
        )
        assert document == {
            "steps": [
                {
                    "step_idx": 1,
                    "operator_class": "chemotools.scatter.StandardNormalVariate",
                    "operator_type": "transform",
                    "params": {"copy": True},
                    "artifact_ids": ["snv"],
                    "stateless": False,
                },
                {
                    "step_idx": 2,
                    "operator_class": "KFold",
                    "operator_type": "splitter",
                    "params": {"n_splits": 2},
                    "artifact_ids": [],
                    "stateless": True,
                },
                {
                    "step_idx": 3,
                    "operator_class": "PLSRegression",
                    "operator_type": "model",
                    "params": {},
                    "artifact_ids": ["m0", "m1", "refit"],
                    "stateless": False,
                },
            ],
            "model_step_idx": 3,
            "model_class": "PLSRegression",
            "preprocessings": "SNV",
            "fold_strategy": "per_fold",
            "fold_artifacts": {"fold_0": "m0", "fold_1": "m1", "fold_final": "refit"},
            "shared_artifacts": {"1": ["snv"]},
            "branch_path": None,
            "source_index": None,
        }

    def test_steps_may_be_counted_from_zero(self):
        document = build(step(0, ids=["scaler"]), model(1))
        assert document["model_step_idx"] == 1
        assert document["shared_artifacts"] == {"0": ["scaler"]}

    def test_a_model_without_folds_is_shared(self):
        document = build(step(1, ids=["scaler"]), step(2, "model", ids=["whole"]))
        assert document["fold_strategy"] == "shared"
        assert document["fold_artifacts"] == {}
        assert document["shared_artifacts"] == {"1": ["scaler"]}
        assert document["steps"][1]["artifact_ids"] == ["whole"]

    def test_an_operator_type_stands_in_the_step_only_when_there_is_one(self):
        document = build(step(1, "y_processing", ids=["scaler"]), step(2, "", folds={"0": "m"}))
        assert document["steps"][0]["operator_type"] == "y_processing"
        assert "operator_type" not in document["steps"][1]

    def test_a_transformer_fitted_inside_the_folds_belongs_to_each_fold(self):
        document = build(
            step(1, folds={"0": "msc0", "final": "msc"}, name="MSC"), model(2, fold_0="m0", fold_final="m")
        )
        msc = document["steps"][0]
        assert msc["fold_artifact_ids"] == {"fold_0": "msc0", "fold_final": "msc"}
        assert msc["artifact_ids"] == []
        assert msc["stateless"] is False
        assert document["shared_artifacts"] == {}
        assert document["fold_artifacts"] == {"fold_0": "m0", "fold_final": "m"}
        assert "fold_artifact_ids" not in document["steps"][1]

    def test_skipped_steps_and_steps_after_the_model_are_left_out(self):
        document = build(
            step(1, ids=["a"]),
            step(2, ids=["b"], execution_mode=StepExecutionMode.SKIP),
            model(3),
            step(4, "chart", ids=["plot"]),
        )
        assert indexes(document) == [1, 3]
        assert document["shared_artifacts"] == {"1": ["a"]}

    def test_a_recorded_training_becomes_its_chain(self):
        recorder = TraceRecorder()
        recorder.start_step(1, "transform", "SNV")
        recorder.record_artifact("snv", is_primary=True)
        recorder.end_step()
        recorder.start_step(2, "model", "PLS", {"n_components": 4})
        recorder.record_artifact("m0", fold_id=0)
        recorder.record_artifact("refit", fold_id="final")
        recorder.end_step(is_model=True)
        document = ChainBuilder(recorder.finalize("SNV")).build()
        assert indexes(document) == [1, 2]
        assert document["steps"][1]["params"] == {"n_components": 4}
        assert document["fold_artifacts"] == {"fold_0": "m0", "fold_final": "refit"}
        assert document["shared_artifacts"] == {"1": ["snv"]}
        assert document["preprocessings"] == "SNV"

    def test_the_document_is_json_and_the_trace_stays_as_it_was(self):
        trace = trace_of(step(1, ids=["a"], operator_config={"window": [3]}), model(2))
        before = trace.to_dict()
        document = ChainBuilder(trace).build()
        assert json.loads(json.dumps(document)) == document
        document["steps"][0]["params"]["window"].append(5)
        document["fold_artifacts"].clear()
        document["steps"][1]["artifact_ids"].clear()
        assert trace.to_dict() == before

    def test_the_ids_of_a_trace_can_be_exchanged_for_those_of_the_store(self):
        trace = trace_of(step(1, ids=["a"]), step(2, folds={"0": "b"}), model(3, fold_0="m"))
        registry = {"a": "id-a", "b": "id-b", "m": "id-m"}
        document = ChainBuilder(trace, registry).build()
        assert references(document) == {"id-a": 1, "id-b": 1, "id-m": 1}
        assert ChainBuilder(trace, artifact_registry=registry).build_all() == [document]
        with pytest.raises(UnknownIdError, match="'m'"):
            ChainBuilder(trace, {"a": "id-a", "b": "id-b"}).build()


class TestWhichModel:
    def test_the_one_the_trace_names_else_the_last(self):
        steps = [step(1, ids=["a"]), model(2, name="PLS"), model(3, name="Ridge")]
        assert build(*steps, model_step_index=2)["model_class"] == "PLS"
        assert build(*steps, model_step_index=3)["model_class"] == "Ridge"
        assert build(*steps)["model_class"] == "Ridge"

    def test_every_model_has_its_own_chain(self):
        trace = trace_of(step(1, ids=["a"]), model(2, name="PLS"), step(3, ids=["b"]), model(4, name="Ridge"))
        first, second = ChainBuilder(trace).build_all()
        assert (first["model_class"], indexes(first), first["fold_artifacts"]) == ("PLS", [1, 2], {"fold_0": "m2"})
        assert (second["model_class"], indexes(second), second["fold_artifacts"]) == (
            "Ridge",
            [1, 3, 4],
            {"fold_0": "m4"},
        )
        assert second["shared_artifacts"] == {"1": ["a"], "3": ["b"]}

    def test_a_step_without_a_type_is_a_model_when_it_has_artifacts_of_folds(self):
        trace = trace_of(step(1, "", ids=["a"]), step(2, "", folds={"0": "m"}, name="PLS"))
        (document,) = ChainBuilder(trace).build_all()
        assert (document["model_step_idx"], document["model_class"]) == (2, "PLS")

    def test_the_named_step_is_a_model_whatever_its_type(self):
        trace = trace_of(step(1, ids=["a"]), step(2, "calibration", folds={"0": "m"}), model_step_index=2)
        (document,) = ChainBuilder(trace).build_all()
        assert document["fold_artifacts"] == {"fold_0": "m"}
        assert document == ChainBuilder(trace).build()

    def test_models_come_in_the_order_they_ran(self):
        trace = trace_of(step(1, "calibration", folds={"0": "m1"}), model(2), model_step_index=1)
        assert [document["model_step_idx"] for document in ChainBuilder(trace).build_all()] == [1, 2]

    def test_a_trace_without_a_model_has_no_chain(self):
        trace = trace_of(step(1, ids=["a"]))
        assert ChainBuilder(trace).build_all() == []
        with pytest.raises(TraceError, match="no model step"):
            ChainBuilder(trace).build()

    @pytest.mark.parametrize("steps", [[], [step(1)], [step(4, "model", ids=["m"], execution_mode="skip")]])
    def test_a_named_model_that_did_not_run_is_an_error(self, steps):
        builder = ChainBuilder(trace_of(*steps, model_step_index=4))
        with pytest.raises(TraceError, match="names step 4 as its model"):
            builder.build()
        with pytest.raises(TraceError, match="names step 4 as its model"):
            builder.build_all()

    def test_a_model_that_learns_from_other_models_is_no_line(self):
        steps = [model(1), model(2), step(3, "meta_model", folds={"0": "meta"})]
        with pytest.raises(TraceError, match="learns from other models"):
            build(*steps)
        assert build(*steps, model_step_index=1)["fold_artifacts"] == {"fold_0": "m1"}

    def test_a_meta_model_without_other_models_is_a_model(self):
        document = build(step(1, ids=["a"]), step(2, "meta_model", folds={"0": "meta"}), model(3), model_step_index=2)
        assert document["fold_artifacts"] == {"fold_0": "meta"}
        assert indexes(document) == [1, 2]

    def test_a_step_in_several_parts_is_no_line(self):
        with pytest.raises(TraceError, match="Step 1 ran in 2 parts"):
            build(step(1, ids=["a"], substep_index=0), step(1, ids=["b"], substep_index=1), model(2))
        with pytest.raises(TraceError, match="Step 2 ran in 2 parts"):
            build(step(2, ids=["a"], substep_index=0), model(2))


class TestBranches:
    BRANCHED = (
        step(1, ids=["trunk"]),
        step(2, ids=["left"], branch=[0], name="SNV"),
        model(3, branch=[0], fold_0="m left"),
        step(2, ids=["right"], branch=[1], name="MSC"),
        model(3, branch=[1], fold_0="m right"),
    )

    def test_each_branch_has_the_steps_of_its_own_path(self):
        left, right = ChainBuilder(trace_of(*self.BRANCHED)).build_all()
        assert left["branch_path"] == [0]
        assert left["shared_artifacts"] == {"1": ["trunk"], "2": ["left"]}
        assert [step["operator_class"] for step in left["steps"]] == ["", "SNV", "PLSRegression"]
        assert left["fold_artifacts"] == {"fold_0": "m left"}
        assert right["branch_path"] == [1]
        assert right["shared_artifacts"] == {"1": ["trunk"], "2": ["right"]}
        assert [step["operator_class"] for step in right["steps"]] == ["", "MSC", "PLSRegression"]
        assert right["fold_artifacts"] == {"fold_0": "m right"}

    def test_the_named_model_is_the_first_with_its_index(self):
        trace = trace_of(*self.BRANCHED, model_step_index=3)
        document = ChainBuilder(trace).build()
        assert document["branch_path"] == [0]
        assert document["fold_artifacts"] == trace.get_fold_artifact_ids()

    def test_steps_of_parent_branches_are_on_the_path(self):
        document = build(
            step(1, ids=["a"], branch=[0]),
            step(2, ids=["b"], branch=[0, 1]),
            step(3, ids=["c"], branch=[0, 2]),
            model(4, branch=[0, 1]),
        )
        assert document["shared_artifacts"] == {"1": ["a"], "2": ["b"]}
        assert document["branch_path"] == [0, 1]

    def test_a_model_after_a_single_branch_has_the_last_branch_seen(self):
        document = build(step(1, ids=["a"], branch=[0]), step(2, ids=["b"], branch=[0, 1]), model(3))
        assert document["branch_path"] == [0, 1]
        assert document["shared_artifacts"] == {"1": ["a"], "2": ["b"]}

    @pytest.mark.parametrize("branch", [[], [7]])
    def test_a_model_fed_by_several_branches_is_no_line(self, branch):
        with pytest.raises(TraceError, match="fed by several branches"):
            build(step(1, branch=[*branch, 0]), step(2, branch=[*branch, 1]), model(3, branch=branch))

    def test_a_step_outside_the_branches_may_keep_artifacts_of_each(self):
        both = step(1)
        both.artifacts.add_artifact("anywhere")
        both.artifacts.add_artifact("trunk", branch_path=[])
        both.artifacts.add_artifact("left", branch_path=[0])
        both.artifacts.add_artifact("right", branch_path=[1])
        document = build(both, model(2, branch=[1]))
        assert document["shared_artifacts"] == {"1": ["anywhere", "trunk", "right"]}
        assert document["steps"][0]["artifact_ids"] == ["anywhere", "trunk", "right"]

    def test_a_step_fitted_on_another_branch_only_is_not_taken_for_stateless(self):
        elsewhere = step(1)
        elsewhere.artifacts.add_artifact("left", branch_path=[0])
        document = build(elsewhere, model(2, branch=[1]))
        assert document["steps"][0]["artifact_ids"] == []
        assert document["steps"][0]["stateless"] is False


class TestSources:
    def test_a_step_on_several_sources_says_which_artifact_is_whose(self):
        several = step(1, source_count=2)
        several.artifacts.add_artifact("nir", source_index=0)
        several.artifacts.add_artifact("mir", source_index=1)
        document = build(several, step(2, ids=["b"]), model(3))
        assert document["shared_artifacts"] == {
            "1": ["nir", "mir"],
            "2": ["b"],
            "_source_map": {"1": {"0": ["nir"], "1": ["mir"]}},
        }
        assert references(document) == {"nir": 1, "mir": 1, "b": 1, "m3": 1}

    def test_the_map_holds_what_the_chain_holds(self):
        several = step(1)
        several.artifacts.add_artifact("left", branch_path=[0], source_index=0)
        several.artifacts.add_artifact("right", branch_path=[1], source_index=0)
        several.artifacts.add_artifact("both", source_index=1)
        document = build(several, model(2, branch=[1]))
        assert document["shared_artifacts"] == {
            "1": ["right", "both"],
            "_source_map": {"1": {"0": ["right"], "1": ["both"]}},
        }

    def test_one_source_needs_no_map(self):
        one = step(1)
        one.artifacts.add_artifact("nir", source_index=0)
        assert build(one, model(2))["shared_artifacts"] == {"1": ["nir"]}


def test_the_document_has_the_arguments_of_save_chain():
    document = build(step(1, ids=["a"]), model(2))
    parameters = list(inspect.signature(WorkspaceStore.save_chain).parameters)
    assert list(document) == parameters[2 : 2 + len(document)]


def test_a_recorded_training_is_kept_and_predicts_as_it_did(tmp_path):
    spectra = load_tecator()
    X, y = spectra.X, spectra.targets["fat"]
    halves = np.arange(len(X)) % 2
    expected = []
    with WorkspaceStore(tmp_path) as store:

        def keep(operator):
            return store.save_artifact(operator, type(operator).__qualname__, "operator", "joblib")

        recorder = TraceRecorder()
        snv = StandardNormalVariate().fit(X)
        recorder.start_step(0, "transform", "chemotools.scatter.StandardNormalVariate")
        recorder.record_artifact(keep(snv), is_primary=True)
        fitted = []
        for half in (0, 1):
            treated = snv.transform(X[halves == half])
            msc = MultiplicativeScatterCorrection().fit(treated)
            fitted.append((msc, PLSRegression(8).fit(msc.transform(treated), y[halves == half])))
            expected.append(fitted[-1][1].predict(msc.transform(snv.transform(X))))
        for index, kind in enumerate(("transform", "model")):
            recorder.start_step(index + 1, kind, type(fitted[0][index]).__name__)
            for half, operators in enumerate(fitted):
                recorder.record_artifact(keep(operators[index]), fold_id=str(half))
            recorder.end_step(is_model=kind == "model")
        document = ChainBuilder(recorder.finalize("SNV>MSC")).build()

        run_id = store.begin_run("trace", {}, [{"name": "tecator"}])
        pipeline_id = store.begin_pipeline(run_id, "pls", [], [], "tecator", spectra.digest)
        chain_id = store.save_chain(pipeline_id=pipeline_id, **document)
        kept = store.get_chain(chain_id)
        assert {name: kept[name] for name in document} == document
        assert set(kept["fold_artifacts"]) == {"fold_0", "fold_1"}
        np.testing.assert_allclose(store.replay_chain(chain_id, X), np.mean(expected, axis=0).ravel(), rtol=1e-12)


def test_the_refit_of_a_recorded_training_predicts_alone(tmp_path):
    spectra = load_tecator()
    X, y = spectra.X, spectra.targets["fat"]
    fold_model, refit = PLSRegression(2).fit(X[:100], y[:100]), PLSRegression(8).fit(X, y)
    with WorkspaceStore(tmp_path) as store:
        recorder = TraceRecorder()
        recorder.start_step(1, "model", "PLSRegression")
        for fold_id, operator in (("0", fold_model), ("final", refit)):
            recorder.record_artifact(store.save_artifact(operator, "PLSRegression", "model", "joblib"), fold_id=fold_id)
        recorder.end_step(is_model=True)
        document = ChainBuilder(recorder.finalize()).build()
        assert set(document["fold_artifacts"]) == {"fold_0", "fold_final"}
        run_id = store.begin_run("trace", {}, ["tecator"])
        pipeline_id = store.begin_pipeline(run_id, "pls", [], [], "tecator", spectra.digest)
        chain_id = store.save_chain(pipeline_id, **document)
        np.testing.assert_allclose(store.replay_chain(chain_id, X), refit.predict(X).ravel(), rtol=1e-12)
