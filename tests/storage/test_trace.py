"""Traces: steps, their artifacts, and the documents they turn into."""

import json
from dataclasses import fields
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.trace import ExecutionStep, ExecutionTrace, StepArtifacts, StepExecutionMode

ids = st.text(min_size=1, max_size=4)
small = st.integers(0, 20)
json_dicts = st.dictionaries(st.text(max_size=4), st.none() | st.booleans() | small | st.text(max_size=4), max_size=3)
shapes = st.none() | st.lists(small, min_size=2, max_size=2).map(tuple)
features = st.none() | st.lists(st.tuples(small, small, small), max_size=2)
artifacts = st.builds(
    StepArtifacts,
    artifact_ids=st.lists(ids, max_size=3, unique=True),
    primary_artifact_id=st.none() | ids,
    fold_artifact_ids=st.dictionaries(small.map("fold_{}".format) | st.just("fold_final"), ids, max_size=3),
    primary_artifacts=st.dictionaries(ids, ids, max_size=2),
    by_branch=st.dictionaries(st.lists(small, max_size=3).map(tuple), st.lists(ids, max_size=2), max_size=3),
    by_source=st.dictionaries(small, st.lists(ids, max_size=2), max_size=2),
    by_chain=st.dictionaries(ids, ids, max_size=2),
    metadata=json_dicts,
)
steps = st.builds(
    ExecutionStep,
    step_index=small,
    operator_type=st.text(max_size=4),
    operator_class=st.text(max_size=4),
    operator_config=json_dicts,
    execution_mode=st.sampled_from(StepExecutionMode),
    artifacts=artifacts,
    branch_path=st.lists(small, max_size=3),
    branch_name=st.text(max_size=4),
    duration_ms=st.floats(0, 1e9),
    metadata=json_dicts,
    input_chain_path=st.text(max_size=4),
    output_chain_paths=st.lists(ids, max_size=2),
    source_count=small,
    produces_branches=st.booleans(),
    substep_index=st.none() | small,
    input_shape=shapes,
    output_shape=shapes,
    input_features_shape=features,
    output_features_shape=features,
)
traces = st.builds(
    ExecutionTrace,
    trace_id=ids,
    pipeline_uid=st.text(max_size=4),
    steps=st.lists(steps, max_size=2),
    model_step_index=st.none() | small,
    fold_weights=st.none() | st.dictionaries(small, st.floats(0, 1), max_size=3),
    preprocessing_chain=st.text(max_size=4),
    metadata=json_dicts,
)


def trace_of(*indexes, **values):
    return ExecutionTrace(steps=[ExecutionStep(step_index=index) for index in indexes], **values)


class TestDocuments:
    @given(artifacts)
    def test_artifacts_come_back_as_they_were(self, record):
        assert StepArtifacts.from_dict(record.to_dict()) == record

    @given(steps)
    def test_a_step_comes_back_as_it_was(self, record):
        assert ExecutionStep.from_dict(record.to_dict()) == record

    @given(traces)
    def test_a_trace_comes_back_as_it_was_from_json_too(self, record):
        assert ExecutionTrace.from_dict(record.to_dict()) == record
        assert ExecutionTrace.from_dict(json.loads(json.dumps(record.to_dict()))) == record

    @pytest.mark.parametrize(
        "record", [StepArtifacts(), ExecutionStep(1), ExecutionTrace()], ids=lambda r: type(r).__name__
    )
    def test_the_keys_are_the_names_of_the_fields(self, record):
        assert list(record.to_dict()) == [item.name for item in fields(record)]

    def test_changing_a_document_leaves_the_trace_alone(self):
        trace = trace_of(1, metadata={"set": {"name": "tecator"}})
        trace.steps[0].artifacts.add_artifact("snv")
        document = trace.to_dict()
        document["metadata"]["set"]["name"] = "other"
        document["steps"][0]["artifacts"]["artifact_ids"].append("stray")
        assert trace.metadata == {"set": {"name": "tecator"}}
        assert trace.get_artifact_ids() == ["snv"]

    def test_what_is_absent_null_or_unknown_takes_the_default(self):
        step = ExecutionStep.from_dict({"step_index": 2, "operator_config": None, "written_by_a_later_version": 1})
        assert step == ExecutionStep(step_index=2)
        assert StepArtifacts.from_dict({}) == StepArtifacts()

    def test_short_fold_keys_and_text_keys_are_read(self):
        record = StepArtifacts.from_dict(
            {
                "fold_artifact_ids": {"0": "a", "final": "b", "fold_1": "c"},
                "by_branch": {"": ["t"], "0.1": ["u"]},
                "by_source": {"1": ["v"]},
            }
        )
        assert record.fold_artifact_ids == {"fold_0": "a", "fold_final": "b", "fold_1": "c"}
        assert record.by_branch == {(): ["t"], (0, 1): ["u"]}
        assert record.by_source == {1: ["v"]}
        assert record.to_dict()["by_branch"] == {"": ["t"], "0.1": ["u"]}

    def test_fold_weights_are_numbered_in_the_trace_and_in_its_document(self):
        trace = ExecutionTrace.from_dict({"fold_weights": {"0": 0.6, "1": 0.4}})
        assert trace.fold_weights == {0: 0.6, 1: 0.4}
        assert trace.to_dict()["fold_weights"] == {0: 0.6, 1: 0.4}

    @pytest.mark.parametrize(
        ("reading", "document", "message"),
        [
            (ExecutionStep, {"operator_class": "SNV"}, "needs a step_index"),
            (ExecutionStep, {"step_index": 1, "execution_mode": "dream"}, "use one of train, predict, skip"),
            (StepArtifacts, {"by_branch": {"left": []}}, "must read like"),
            (StepArtifacts, {"by_source": {"nir": []}}, "must read like"),
            (StepArtifacts, {"fold_artifact_ids": {"0": "a", "fold_0": "b"}}, "Two artifacts are given for fold_0"),
            (ExecutionTrace, {"fold_weights": {"final": 1.0}}, "not to 'final'"),
        ],
    )
    def test_a_wrong_document_is_refused(self, reading, document, message):
        with pytest.raises(InvalidInputError, match=message):
            reading.from_dict(document)


class TestStepExecutionMode:
    def test_text_and_value_are_the_same(self):
        assert [str(mode) for mode in StepExecutionMode] == ["train", "predict", "skip"]
        assert [mode.value for mode in StepExecutionMode] == ["train", "predict", "skip"]
        assert StepExecutionMode("predict") is StepExecutionMode.PREDICT
        assert isinstance(StepExecutionMode.SKIP, str)


class TestStepArtifacts:
    def test_it_starts_empty(self):
        record = StepArtifacts()
        assert record.to_dict() == {
            "artifact_ids": [],
            "primary_artifact_id": None,
            "fold_artifact_ids": {},
            "primary_artifacts": {},
            "by_branch": {},
            "by_source": {},
            "by_chain": {},
            "metadata": {},
        }

    def test_an_artifact_is_listed_once_and_primary_only_when_asked(self):
        record = StepArtifacts()
        record.add_artifact("0001:1:all")
        record.add_artifact("0001:1:all")
        assert record.artifact_ids == ["0001:1:all"]
        assert record.primary_artifact_id is None
        record.add_artifact("0001:1:main", is_primary=True)
        record.add_artifact("0001:1:late")
        assert record.artifact_ids == ["0001:1:all", "0001:1:main", "0001:1:late"]
        assert record.primary_artifact_id == "0001:1:main"

    def test_an_artifact_is_found_by_chain_branch_and_source(self):
        record = StepArtifacts()
        record.add_artifact("a", is_primary=True, chain_path="s1.SNV", branch_path=[0], source_index=1)
        record.add_artifact("b", chain_path="s1.MSC", branch_path=[0], source_index=1)
        record.add_artifact("b", chain_path="s1.MSC", branch_path=[0], source_index=1)
        assert record.by_chain == {"s1.SNV": "a", "s1.MSC": "b"}
        assert record.primary_artifacts == {"s1.SNV": "a"}
        assert record.by_branch == {(0,): ["a", "b"]}
        assert record.by_source == {1: ["a", "b"]}
        assert record.get_artifact_by_chain("s1.MSC") == "b"
        assert record.get_artifact_by_chain("s1") is None
        assert record.get_artifacts_for_source(1) == ["a", "b"]
        assert record.get_artifacts_for_source(0) == []

    def test_a_branch_has_its_own_artifacts_those_of_its_parents_and_of_the_trunk(self):
        record = StepArtifacts()
        for artifact_id, branch_path in {"trunk": [], "0": [0], "01": [0, 1], "012": [0, 1, 2], "1": [1]}.items():
            record.add_artifact(artifact_id, branch_path=branch_path)
        assert record.get_artifacts_for_branch([0, 1]) == ["trunk", "0", "01"]
        assert record.get_artifacts_for_branch((1,)) == ["trunk", "1"]
        assert record.get_artifacts_for_branch([2]) == ["trunk"]
        assert record.get_artifacts_for_branch([]) == ["trunk"]

    def test_fold_artifacts_have_canonical_keys_and_are_listed(self):
        record = StepArtifacts()
        record.add_fold_artifact(0, "m0", chain_path="s4.PLS", branch_path=[1])
        record.add_fold_artifact("1", "m1")
        record.add_fold_artifact("final", "refit")
        assert record.fold_artifact_ids == {"fold_0": "m0", "fold_1": "m1", "fold_final": "refit"}
        assert record.artifact_ids == ["m0", "m1", "refit"]
        assert record.by_chain == {"s4.PLS": "m0"}
        assert record.by_branch == {(1,): ["m0"]}
        assert record.get_fold_artifact_id("fold_0") == record.get_fold_artifact_id(0) == "m0"
        assert record.get_fold_artifact_id("avg") is None

    def test_fold_keys_given_at_once_are_canonical_too(self):
        assert StepArtifacts(fold_artifact_ids={"0": "m0"}).fold_artifact_ids == {"fold_0": "m0"}

    def test_lists_that_are_handed_out_are_copies(self):
        record = StepArtifacts()
        record.add_artifact("a", branch_path=[], source_index=0)
        record.get_artifacts_for_source(0).append("stray")
        record.get_artifacts_for_branch([]).append("stray")
        assert record.by_source == {0: ["a"]}
        assert record.by_branch == {(): ["a"]}

    def test_merging_adds_what_is_new_and_keeps_what_is_there(self):
        mine, other = StepArtifacts(metadata={"k": 1}), StepArtifacts(metadata={"k": 2, "l": 3})
        mine.add_artifact("a", is_primary=True, chain_path="p", branch_path=[0], source_index=0)
        mine.add_fold_artifact(0, "m0")
        other.add_artifact("b", is_primary=True, chain_path="p", branch_path=[0], source_index=1)
        other.add_artifact("a", branch_path=[1])
        other.add_fold_artifact(0, "other m0")
        other.add_fold_artifact(1, "m1")
        mine.merge(other)
        assert mine.artifact_ids == ["a", "m0", "b", "other m0", "m1"]
        assert mine.primary_artifact_id == "a"
        assert mine.fold_artifact_ids == {"fold_0": "m0", "fold_1": "m1"}
        assert mine.by_chain == mine.primary_artifacts == {"p": "a"}
        assert mine.by_branch == {(0,): ["a", "b"], (1,): ["a"]}
        assert mine.by_source == {0: ["a"], 1: ["b"]}
        assert mine.metadata == {"k": 1, "l": 3}

    def test_merging_takes_a_primary_artifact_when_there_is_none(self):
        mine, other = StepArtifacts(), StepArtifacts()
        other.add_artifact("b", is_primary=True, branch_path=[])
        mine.merge(other)
        assert mine.primary_artifact_id == "b"
        mine.add_artifact("c", branch_path=[])
        assert other.by_branch == {(): ["b"]}


class TestExecutionStep:
    def test_defaults(self):
        assert ExecutionStep(step_index=3).to_dict() == {
            "step_index": 3,
            "operator_type": "",
            "operator_class": "",
            "operator_config": {},
            "execution_mode": "train",
            "artifacts": StepArtifacts().to_dict(),
            "branch_path": [],
            "branch_name": "",
            "duration_ms": 0.0,
            "metadata": {},
            "input_chain_path": "",
            "output_chain_paths": [],
            "source_count": 1,
            "produces_branches": False,
            "substep_index": None,
            "input_shape": None,
            "output_shape": None,
            "input_features_shape": None,
            "output_features_shape": None,
        }

    def test_the_index_is_required(self):
        with pytest.raises(TypeError, match="step_index"):
            ExecutionStep()

    def test_modes_may_be_text_and_shapes_lists(self):
        step = ExecutionStep(1, execution_mode="predict", input_shape=[215, 100], input_features_shape=[[215, 2, 100]])
        assert step.execution_mode is StepExecutionMode.PREDICT
        assert step.input_shape == (215, 100)
        assert step.input_features_shape == [(215, 2, 100)]

    def test_it_knows_whether_it_left_artifacts(self):
        step = ExecutionStep(1)
        assert step.has_artifacts() is False
        step.artifacts.add_artifact("snv")
        assert step.has_artifacts() is True
        assert ExecutionStep(1, artifacts=StepArtifacts(fold_artifact_ids={"0": "m"})).has_artifacts() is True

    def test_an_output_chain_is_noted_once(self):
        step = ExecutionStep(1)
        step.add_output_chain("s1.SNV")
        step.add_output_chain("s1.SNV")
        assert step.output_chain_paths == ["s1.SNV"]


class TestExecutionTrace:
    def test_defaults(self):
        trace = ExecutionTrace()
        assert len(trace.trace_id) == 12
        assert trace.trace_id != ExecutionTrace().trace_id
        assert (trace.pipeline_uid, trace.steps, trace.preprocessing_chain, trace.metadata) == ("", [], "", {})
        assert trace.model_step_index is None
        assert trace.fold_weights is None
        assert datetime.fromisoformat(trace.created_at).utcoffset().total_seconds() == 0

    def test_steps_are_found_by_index(self):
        trace = ExecutionTrace()
        trace.add_step(ExecutionStep(1, operator_type="transform"))
        trace.add_step(ExecutionStep(4, operator_type="model"))
        assert trace.get_step(4).operator_type == "model"
        assert trace.get_step(2) is None

    def test_steps_before_an_index_leave_it_out(self):
        assert [step.step_index for step in trace_of(1, 2, 3, 4).get_steps_before(3)] == [1, 2]

    def test_steps_up_to_the_model_take_it_in(self):
        assert [step.step_index for step in trace_of(1, 2, 3, 4, model_step_index=3).get_steps_up_to_model()] == [
            1,
            2,
            3,
        ]
        assert [step.step_index for step in trace_of(0, 1, model_step_index=0).get_steps_up_to_model()] == [0]

    def test_without_a_model_they_are_all_steps(self):
        trace = trace_of(1, 2)
        assert trace.get_steps_up_to_model() == trace.steps
        trace.get_steps_up_to_model().clear()
        assert len(trace.steps) == 2

    def test_artifacts_are_listed_once_for_the_trace_and_for_a_step(self):
        trace = trace_of(1, 2, 2)
        for step, names in zip(trace.steps, (["a"], ["b", "c"], ["c", "d"]), strict=True):
            for name in names:
                step.artifacts.add_artifact(name)
        assert trace.get_artifact_ids() == ["a", "b", "c", "d"]
        assert trace.get_artifacts_by_step(2) == ["b", "c", "d"]
        assert trace.get_artifacts_by_step(9) == []

    def test_the_artifacts_of_the_model(self):
        trace = trace_of(1, 4)
        trace.steps[1].artifacts.add_artifact("whole", is_primary=True)
        trace.steps[1].artifacts.add_fold_artifact(0, "m0")
        assert trace.get_model_artifact_id() is None
        assert trace.get_fold_artifact_ids() == {}
        trace.set_model_step(4, fold_weights={0: 1.0})
        assert trace.get_model_artifact_id() == "whole"
        assert trace.get_fold_artifact_ids() == {"fold_0": "m0"}
        trace.get_fold_artifact_ids().clear()
        assert trace.steps[1].artifacts.fold_artifact_ids == {"fold_0": "m0"}

    def test_a_model_step_that_is_not_there_has_no_artifacts(self):
        trace = trace_of(1, model_step_index=9)
        assert trace.get_model_artifact_id() is None
        assert trace.get_fold_artifact_ids() == {}

    def test_another_model_step_has_its_own_weights(self):
        trace = trace_of(1, 2)
        trace.set_model_step(1, fold_weights={0: 0.52, 1: 0.48})
        assert (trace.model_step_index, trace.fold_weights) == (1, {0: 0.52, 1: 0.48})
        trace.set_model_step(2)
        assert (trace.model_step_index, trace.fold_weights) == (2, None)

    def test_finalize_merges_metadata(self):
        trace = ExecutionTrace(metadata={"dataset": "wheat", "samples": 90}, preprocessing_chain="SNV")
        trace.finalize(metadata={"samples": 100})
        assert trace.preprocessing_chain == "SNV"
        trace.finalize(preprocessing_chain="SNV>SG")
        assert trace.preprocessing_chain == "SNV>SG"
        assert trace.metadata == {"dataset": "wheat", "samples": 100}

    def test_repr_says_which_trace_and_how_long(self):
        trace = trace_of(1, trace_id="abc", model_step_index=4)
        trace.steps[0].artifacts.add_artifact("a")
        assert (
            repr(trace) == "ExecutionTrace(trace_id='abc', pipeline_uid='', steps=1, model_step_index=4, artifacts=1)"
        )
