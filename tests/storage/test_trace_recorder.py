"""The trace recorder: what it makes of a training, and what it refuses."""

import pytest

from n4a_flows.storage.errors import N4AError, TraceError
from n4a_flows.storage.trace import ExecutionStep, StepExecutionMode, TraceRecorder


class TestTraceRecorder:
    def test_a_training_as_it_is_recorded(self):
        recorder = TraceRecorder("0001_pls", pipeline_id="p-1", metadata={"dataset": "tecator"})
        step = recorder.start_step(1, "transform", "chemotools.scatter.StandardNormalVariate", {"copy": True})
        recorder.record_input_shapes([172, 100], features_shape=[[172, 1, 100]])
        recorder.record_artifact("snv", is_primary=True, metadata={"bytes": 12})
        recorder.record_output_shapes(output_shape=(172, 100))
        recorder.add_step_metadata("note", "fitted")
        recorder.end_step()
        recorder.start_step(2, operator_type="model", operator_class="PLSRegression")
        recorder.record_artifact("m0", fold_id=0)
        recorder.record_artifact("refit", fold_id="final", is_primary=True)
        assert not recorder.has_model_step()
        recorder.end_step(is_model=True, fold_weights={0: 1.0})
        assert recorder.has_model_step()
        trace = recorder.finalize("SNV", {"samples": 172})

        assert trace is recorder.trace
        assert trace.trace_id == recorder.trace_id
        assert trace.pipeline_uid == "0001_pls"
        assert trace.metadata == {"dataset": "tecator", "pipeline_id": "p-1", "samples": 172}
        assert trace.preprocessing_chain == "SNV"
        assert trace.steps[0] is step
        assert step.operator_config == {"copy": True}
        assert step.metadata == {"note": "fitted"}
        assert (step.input_shape, step.input_features_shape) == ((172, 100), [(172, 1, 100)])
        assert (step.output_shape, step.output_features_shape) == ((172, 100), None)
        assert step.duration_ms > 0
        assert step.artifacts.primary_artifact_id == "snv"
        assert step.artifacts.metadata == {"snv": {"bytes": 12}}
        assert step.artifacts.get_artifact_by_chain("s1.StandardNormalVariate") == "snv"
        assert (trace.model_step_index, trace.fold_weights) == (2, {0: 1.0})
        assert trace.get_fold_artifact_ids() == {"fold_0": "m0", "fold_final": "refit"}
        assert trace.get_model_artifact_id() == "refit"

    def test_the_defaults_of_a_step(self):
        recorder = TraceRecorder()
        step = recorder.start_step(7)
        assert step == ExecutionStep(7)
        assert recorder.finalize().metadata == {}

    def test_what_a_step_is_told_it_keeps(self):
        step = TraceRecorder().start_step(
            3, "transform", "SNV", None, StepExecutionMode.PREDICT, [0, 1], "left", 2, False, substep_index=4
        )
        assert step.execution_mode is StepExecutionMode.PREDICT
        assert (step.branch_path, step.branch_name, step.source_count, step.substep_index) == ([0, 1], "left", 2, 4)

    @pytest.mark.parametrize(
        "call",
        [
            lambda recorder: recorder.record_artifact("a"),
            lambda recorder: recorder.add_step_metadata("k", 1),
            lambda recorder: recorder.record_input_shapes((1, 2)),
            lambda recorder: recorder.record_output_shapes((1, 2)),
            lambda recorder: recorder.end_step(),
        ],
        ids=["record_artifact", "add_step_metadata", "record_input_shapes", "record_output_shapes", "end_step"],
    )
    def test_without_an_open_step_there_is_nothing_to_record_for(self, call):
        recorder = TraceRecorder()
        recorder.start_step(1)
        recorder.end_step()
        with pytest.raises(TraceError, match=r"no open step .*: call start_step first"):
            call(recorder)

    def test_leaving_a_branch_that_was_not_entered_is_refused(self):
        recorder = TraceRecorder()
        recorder.enter_branch(0)
        recorder.exit_branch()
        with pytest.raises(TraceError, match="enter_branch first"):
            recorder.exit_branch()

    def test_misuse_is_a_runtime_error_and_ours(self):
        assert issubclass(TraceError, RuntimeError)
        assert issubclass(TraceError, N4AError)

    def test_finalize_closes_an_open_step(self):
        recorder = TraceRecorder()
        recorder.start_step(1, operator_class="SNV")
        assert recorder.trace.steps == []
        assert [step.step_index for step in recorder.finalize().steps] == [1]
        assert len(recorder.finalize().steps) == 1

    def test_a_step_ends_when_the_next_starts(self):
        recorder = TraceRecorder()
        recorder.start_step(1, operator_class="SNV")
        recorder.start_step(2, operator_class="PLS")
        recorder.record_artifact("m")
        first, second = recorder.finalize().steps
        assert first.artifacts.artifact_ids == []
        assert second.artifacts.artifact_ids == ["m"]
        assert second.input_chain_path == "s1.SNV"

    def test_a_step_ends_when_a_branch_is_entered_or_left(self):
        recorder = TraceRecorder()
        recorder.start_step(1, operator_class="SNV")
        recorder.enter_branch(0)
        with pytest.raises(TraceError, match="no open step"):
            recorder.record_artifact("a")
        step = recorder.start_step(2, operator_class="PLS")
        recorder.exit_branch()
        with pytest.raises(TraceError, match="no open step"):
            recorder.record_artifact("a")
        assert step.input_chain_path == "s1.SNV"

    def test_a_step_can_be_left_out_of_the_trace(self):
        recorder = TraceRecorder()
        recorder.start_step(1, operator_class="Charts")
        recorder.end_step(skip_trace=True)
        step = recorder.start_step(2, operator_class="SNV")
        assert step.input_chain_path == ""
        assert recorder.finalize().steps == [step]

    def test_the_model_cannot_be_left_out(self):
        recorder = TraceRecorder()
        recorder.start_step(1)
        with pytest.raises(TraceError, match="is the model"):
            recorder.end_step(is_model=True, skip_trace=True)

    def test_weights_without_a_model_are_refused(self):
        recorder = TraceRecorder()
        recorder.start_step(1)
        with pytest.raises(TraceError, match="is_model=True"):
            recorder.end_step(fold_weights={0: 1.0})

    def test_a_skipped_step_is_recorded_and_changes_nothing(self):
        recorder = TraceRecorder()
        recorder.start_step(1, operator_class="SNV")
        recorder.mark_step_skipped(1)
        recorder.end_step()
        recorder.start_step(2, operator_class="MSC")
        recorder.end_step()
        recorder.mark_step_skipped(2)
        recorder.mark_step_skipped(3)
        model = recorder.start_step(4, operator_class="PLS")
        trace = recorder.finalize()
        assert [(step.step_index, str(step.execution_mode)) for step in trace.steps] == [
            (1, "skip"),
            (2, "skip"),
            (3, "skip"),
            (4, "train"),
        ]
        assert model.input_chain_path == ""

    def test_skipping_another_step_leaves_the_open_one_open(self):
        recorder = TraceRecorder()
        recorder.start_step(1, operator_class="SNV")
        recorder.mark_step_skipped(2)
        recorder.record_artifact("snv")
        recorder.end_step()
        assert [step.step_index for step in recorder.finalize().steps] == [1, 2]

    def test_a_step_skipped_on_one_branch_is_not_skipped_on_another(self):
        recorder = TraceRecorder()
        recorder.enter_branch(0)
        recorder.start_step(1)
        recorder.exit_branch()
        recorder.enter_branch(1)
        recorder.mark_step_skipped(1)
        modes = {tuple(step.branch_path): str(step.execution_mode) for step in recorder.finalize().steps}
        assert modes == {(0,): "train", (1,): "skip"}


class TestChainPaths:
    def test_branches_start_from_the_path_before_them(self):
        recorder = TraceRecorder()
        recorder.start_step(1, operator_class="MinMaxScaler")
        recorder.end_step()
        for branch, name in enumerate(("SNV", "MSC")):
            recorder.enter_branch(branch)
            recorder.start_step(3, operator_class=name)
            recorder.record_artifact(name.lower())
            recorder.end_step()
            recorder.start_step(4, operator_class="PLS")
            recorder.exit_branch()
        after = recorder.start_step(5, operator_class="Ridge")
        trace = recorder.finalize()
        assert [step.output_chain_paths for step in trace.steps] == [
            ["s1.MinMaxScaler"],
            ["s1.MinMaxScaler>s3.SNV[br=0]"],
            ["s1.MinMaxScaler>s3.SNV[br=0]>s4.PLS[br=0]"],
            ["s1.MinMaxScaler>s3.MSC[br=1]"],
            ["s1.MinMaxScaler>s3.MSC[br=1]>s4.PLS[br=1]"],
            ["s1.MinMaxScaler>s5.Ridge"],
        ]
        assert [step.branch_path for step in trace.steps] == [[], [0], [0], [1], [1], []]
        assert after.input_chain_path == "s1.MinMaxScaler"
        msc = trace.steps[3].artifacts
        assert msc.by_branch == {(1,): ["msc"]}
        assert msc.by_chain == {"s1.MinMaxScaler>s3.MSC[br=1]": "msc"}

    def test_nested_branches_sources_and_parts_stand_in_brackets(self):
        recorder = TraceRecorder()
        recorder.enter_branch(0)
        recorder.enter_branch(1)
        step = recorder.start_step(3, operator_class="SNV", source_count=2, substep_index=2)
        recorder.record_artifact("a", source_index=0)
        recorder.record_artifact("b", source_index=1)
        recorder.end_step()
        assert step.branch_path == [0, 1]
        assert step.output_chain_paths == ["s3.SNV[br=0.1,src=0,sub=2]", "s3.SNV[br=0.1,src=1,sub=2]"]
        assert step.artifacts.get_artifact_by_chain("s3.SNV[br=0.1,src=1,sub=2]") == "b"
        assert recorder.start_step(4).input_chain_path == "s3.SNV[br=0.1,sub=2]"

    def test_a_step_that_opens_branches_stands_before_them_and_adds_nothing(self):
        recorder = TraceRecorder()
        recorder.start_step(2, "branch", produces_branches=True)
        for branch in (0, 1):
            recorder.enter_branch(branch)
            recorder.start_step(3, operator_class="SNV")
            recorder.exit_branch()
        recorder.add_step_metadata("branches", 2)
        recorder.end_step()
        trace = recorder.finalize()
        assert [(step.step_index, step.branch_path) for step in trace.steps] == [(2, []), (3, [0]), (3, [1])]
        assert trace.steps[0].metadata == {"branches": 2}
        assert trace.steps[0].output_chain_paths == []
        assert trace.steps[1].output_chain_paths == ["s3.SNV[br=0]"]

    def test_a_chain_path_that_is_given_is_kept(self):
        recorder = TraceRecorder()
        step = recorder.start_step(1, operator_class="SNV")
        recorder.record_artifact("a", chain_path="elsewhere", branch_path=[5])
        assert step.artifacts.by_chain == {"elsewhere": "a"}
        assert step.artifacts.by_branch == {(5,): ["a"]}

    def test_the_models_of_folds_share_a_path_and_are_found_by_their_fold(self):
        recorder = TraceRecorder()
        step = recorder.start_step(1, operator_class="PLS")
        recorder.record_artifact("m0", fold_id=0)
        recorder.record_artifact("m1", fold_id="fold_1")
        assert step.artifacts.by_chain == {}
        assert step.artifacts.get_fold_artifact_id(1) == "m1"
        assert step.artifacts.artifact_ids == ["m0", "m1"]
