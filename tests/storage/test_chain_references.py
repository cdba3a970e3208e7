"""The artifacts that a chain document names: counting them and exchanging them."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_flows.storage.chain_builder import referenced_artifacts, replace_artifacts
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError


def references(document):
    return referenced_artifacts(document["steps"], document["fold_artifacts"], document["shared_artifacts"])


class TestReferencedArtifacts:
    def test_a_chain_names_each_artifact_once_per_place(self):
        steps = [
            {"step_idx": 1, "artifact_ids": ["snv"]},
            {"step_idx": 2, "artifact_ids": [], "fold_artifact_ids": {"fold_0": "msc0", "fold_1": "msc1"}},
            {"step_idx": 3, "artifact_ids": ["m0", "m1"]},
        ]
        found = referenced_artifacts(steps, {"fold_0": "m0", "fold_1": "m1"}, {"1": ["snv"]})
        assert found == {"snv": 1, "msc0": 1, "msc1": 1, "m0": 1, "m1": 1}

    def test_the_same_model_in_two_folds_is_named_twice(self):
        steps = [{"step_idx": 1, "artifact_ids": ["m", "refit"]}]
        found = referenced_artifacts(steps, {"fold_0": "m", "fold_1": "m", "fold_final": "refit"}, {})
        assert found == {"m": 2, "refit": 1}

    def test_the_same_transformer_in_two_steps_is_named_twice(self):
        steps = [
            {"step_idx": 1, "artifact_ids": ["snv"]},
            {"step_idx": 2, "artifact_ids": ["snv"]},
            {"step_idx": 3, "fold_artifact_ids": {"fold_0": "snv", "fold_1": "snv"}},
        ]
        assert referenced_artifacts(steps, {}, {"1": ["snv"], "2": ["snv"]}) == {"snv": 4}

    @pytest.mark.parametrize(
        ("fields", "shared"),
        [
            ({"artifact_id": "a"}, None),
            ({"artifact_id": "a"}, {"1": "a"}),
            ({"artifact_id": "a", "artifact_ids": ["a"]}, {"1": ["a"]}),
            ({"artifact_ids": ["a", "a"]}, {1: ["a"]}),
            ({}, {"1": ["a"], "_source_map": {"1": {"0": ["a"], "1": ["other"]}}}),
            ({"artifact_ids": ["a"], "fold_artifact_ids": {"0": "a", "fold_0": "a"}}, {}),
        ],
    )
    def test_naming_it_again_in_the_same_place_does_not_count(self, fields, shared):
        assert referenced_artifacts([{"step_idx": 1, **fields}], {}, shared) == {"a": 1}

    def test_folds_may_have_short_keys_and_lists(self):
        steps = [{"step_idx": 1, "artifact_ids": ["m0", "extra", "refit"]}]
        assert referenced_artifacts(steps, {"0": ["m0", "extra"], "final": "refit"}, {}) == {
            "m0": 1,
            "extra": 1,
            "refit": 1,
        }

    def test_nothing_is_no_reference(self):
        steps = [
            {"step_idx": 1, "artifact_id": None, "artifact_ids": None, "fold_artifact_ids": None},
            {"step_idx": 2, "artifact_id": "", "artifact_ids": ["", None]},
            {},
        ]
        found = referenced_artifacts(steps, None, {"1": None, "2": []})
        assert found == Counter()
        assert isinstance(found, Counter)
        assert referenced_artifacts([], {}, {}) == Counter()

    def test_steps_without_an_index_are_places_of_their_own(self):
        assert referenced_artifacts([{"artifact_id": "a"}, {"artifact_id": "a"}], {}, {}) == {"a": 2}

    @pytest.mark.parametrize(
        ("steps", "folds", "shared"),
        [
            ([{"step_idx": 1, "artifact_id": 3}], {}, {}),
            ([{"step_idx": 1, "fold_artifact_ids": {"0": {"id": "a"}}}], {}, {}),
            ([], {"0": [["a"]]}, {}),
            ([], {}, {"1": {"0": ["a"]}}),
        ],
    )
    def test_what_is_no_id_is_refused(self, steps, folds, shared):
        with pytest.raises(InvalidInputError, match="artifact id, or a list of them"):
            referenced_artifacts(steps, folds, shared)


ids = st.sampled_from("abcdef")
id_values = st.none() | st.just("") | ids | st.lists(ids | st.none(), max_size=3)
folds = st.dictionaries(st.sampled_from(["fold_0", "1", "final"]), id_values, max_size=3)
documents = st.fixed_dictionaries(
    {
        "steps": st.lists(
            st.fixed_dictionaries(
                {"step_idx": st.integers(0, 3), "params": st.just({"name": "a"})},
                optional={
                    "artifact_id": st.none() | ids,
                    "artifact_ids": st.lists(ids, max_size=3),
                    "fold_artifact_ids": folds,
                },
            ),
            max_size=4,
        ),
        "fold_artifacts": folds,
        "shared_artifacts": st.dictionaries(st.sampled_from(["0", "1", "2"]), id_values, max_size=3),
        "model_class": st.just("a"),
    }
)


class TestReplaceArtifacts:
    def test_every_id_is_replaced_and_nothing_else(self):
        document = {
            "steps": [
                {"step_idx": 1, "operator_class": "a", "params": {"x": "a"}, "artifact_id": "a", "artifact_ids": ["a"]},
                {"step_idx": 2, "artifact_id": None, "fold_artifact_ids": {"fold_0": "b", "fold_1": ["c"]}},
            ],
            "fold_artifacts": {"fold_0": "d"},
            "shared_artifacts": {"1": ["a", ""], "2": "e", "_source_map": {"1": {"0": ["a", "?"]}}, "_version": 2},
            "model_class": "d",
            "branch_path": None,
        }
        assert replace_artifacts(document, {name: name.upper() for name in "abcde"}) == {
            "steps": [
                {"step_idx": 1, "operator_class": "a", "params": {"x": "a"}, "artifact_id": "A", "artifact_ids": ["A"]},
                {"step_idx": 2, "artifact_id": None, "fold_artifact_ids": {"fold_0": "B", "fold_1": ["C"]}},
            ],
            "fold_artifacts": {"fold_0": "D"},
            "shared_artifacts": {"1": ["A", ""], "2": "E", "_source_map": {"1": {"0": ["A", "?"]}}, "_version": 2},
            "model_class": "d",
            "branch_path": None,
        }

    def test_parts_that_a_document_does_not_have_are_not_made_up(self):
        assert replace_artifacts({"model_class": "PLS", "fold_artifacts": None}, {}) == {
            "model_class": "PLS",
            "fold_artifacts": None,
        }

    @pytest.mark.parametrize(
        "document",
        [
            {"steps": [{"artifact_id": "a"}]},
            {"steps": [{"artifact_ids": ["b", "a"]}]},
            {"steps": [{"fold_artifact_ids": {"fold_0": "a"}}]},
            {"fold_artifacts": {"fold_0": "a"}},
            {"shared_artifacts": {"1": ["a"]}},
        ],
    )
    def test_an_id_without_a_replacement_is_an_error(self, document):
        with pytest.raises(UnknownIdError, match="'a'"):
            replace_artifacts(document, {"b": "B"})

    @given(documents)
    def test_the_references_are_replaced_one_by_one(self, document):
        before = json.dumps(document)
        replaced = replace_artifacts(document, {name: f"hash of {name}" for name in references(document)})
        assert references(replaced) == {f"hash of {name}": count for name, count in references(document).items()}
        assert json.dumps(document) == before

    @given(documents)
    def test_replacing_back_gives_the_same_document(self, document):
        there = {name: name * 2 for name in "abcdef"}
        back = {value: name for name, value in there.items()}
        assert replace_artifacts(replace_artifacts(document, there), back) == document
