"""Random sequences of verbs on a real store and on plain dicts: the same answers after every step."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comparison import compare, compare_inside, compare_one_by_one
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from inside import change
from plain_model import Artifact, Chain, Model, Prediction
from small_operators import Shift, Times

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import (
    InvalidInputError,
    ProtectedError,
    StoreClosedError,
    TransactionError,
    UnknownIdError,
)

UNKNOWN = "00000000-0000-4000-8000-000000000000"
FOLDS = ("fold_0", "fold_1", "fold_final")

LARGEST = 12
which = st.integers(0, LARGEST)
"""Picks one of the ids that there are; the largest number picks an unknown one."""
some = st.integers(0, 5)
small = st.integers(0, 2)
objects = st.builds(Shift, small.map(float)) | st.builds(Times, st.integers(1, 3).map(float))
scores = st.none() | st.sampled_from([0.1, 0.2, 0.3])
folds = st.dictionaries(st.sampled_from(FOLDS), some, min_size=1)
transformers = st.sampled_from(["none", "shared", "fold-wise"])


class OnPurposeError(Exception):
    """Leaves a transaction in a test."""


class Workspace(RuleBasedStateMachine):
    """Every rule does the same to the store and to the model."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ws"
        self.store = WorkspaceStore(self.path)
        self.model = Model()
        self.saved: Model | None = None
        """The model as it was when the outermost transaction began."""
        self.depth: list[Any] = []
        self.doomed = False
        self.watched = True
        self.steps = 0
        """Since the store was opened."""
        self.prepared: list[tuple[Any, Any]] = []
        # Most verbs need these, so a short sequence gets further.
        with self.store.transaction():
            for name in "ab":
                self.begin_run(name)
            for number in range(2):
                self.begin_pipeline(number)
            for obj in (Times(2.0), Times(3.0), Shift(1.0)):
                self.save_artifact(obj)
            self.save_chain(0, {"fold_0": 0, "fold_1": 1}, "fold-wise", 0)
            self.save_prediction(0, True, "fold_0", None, 0.2, None)
            self.save_arrays(0, True, True)

    # ------------------------------------------------------------------ help

    @staticmethod
    def pick(ids: Any, number: int) -> str:
        known = list(ids)
        return known[number % len(known)] if known and number < LARGEST else UNKNOWN

    def refused(self, error: type[Exception], verb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """The verb is refused, and an open transaction stays whole."""
        with pytest.raises(error):
            verb(*args, **kwargs)

    def known(self, verb: Callable[..., Any], known: bool, *args: Any) -> bool:
        """Call a verb that must know an id; returns whether it did."""
        if known:
            verb(*args)
        else:
            self.refused(UnknownIdError, verb, *args)
        return known

    # ------------------------------------------------------------------ runs, pipelines, logs

    @precondition(lambda self: not self.doomed)
    @rule(name=st.sampled_from("ab"))
    def begin_run(self, name: str) -> None:
        run_id = self.store.begin_run(name, {"name": name}, [name])
        self.model.runs[run_id] = {"name": name, "status": "running", "summary": None, "error": None}

    @precondition(lambda self: not self.doomed)
    @rule(number=which)
    def begin_pipeline(self, number: int) -> None:
        run_id = self.pick(self.model.runs, number)
        arguments = (run_id, f"p{number}", [{"n": number}], {}, "tecator", "hash")
        if run_id not in self.model.runs:
            return self.refused(UnknownIdError, self.store.begin_pipeline, *arguments)
        pipeline_id = self.store.begin_pipeline(*arguments)
        self.model.pipelines[pipeline_id] = {
            "run_id": run_id, "name": f"p{number}", "status": "running", "best_val": None, "error": None,
        }  # fmt: skip
        return None

    @precondition(lambda self: not self.doomed)
    @rule(number=which, how=st.sampled_from(["run completed", "run failed", "pipeline completed"]), best=some)
    def finish(self, number: int, how: str, best: int) -> None:
        what, status = how.split()
        rows = self.model.runs if what == "run" else self.model.pipelines
        identity = self.pick(rows, number)
        verb, *arguments = {
            "run completed": (self.store.complete_run, {"best": best}),
            "run failed": (self.store.fail_run, "singular"),
            "pipeline completed": (self.store.complete_pipeline, best / 10, None, "rmse", 3),
        }[how]
        if self.known(verb, identity in rows, identity, *arguments):
            changed: dict[str, dict[str, Any]] = {
                "run completed": {"summary": {"best": best}, "error": None},
                "run failed": {"error": "singular"},
                "pipeline completed": {"best_val": best / 10, "error": None},
            }
            rows[identity].update(changed[how], status=status)

    @precondition(lambda self: not self.doomed)
    @rule(number=which)
    def fail_pipeline(self, number: int) -> None:
        pipeline_id = self.pick(self.model.pipelines, number)
        if self.model.protected(self.model.chains_of([pipeline_id])):
            return self.refused(ProtectedError, self.store.fail_pipeline, pipeline_id, "why")
        if self.known(self.store.fail_pipeline, pipeline_id in self.model.pipelines, pipeline_id, "why"):
            self.model.delete_contents([pipeline_id], release=True)
            self.model.pipelines[pipeline_id].update(status="failed", error="why")
        return None

    @precondition(lambda self: not self.doomed)
    @rule(number=which, step=small, event=st.sampled_from(["start", "end"]), level=st.sampled_from(["info", "warning"]))
    def log(self, number: int, step: int, event: str, level: str) -> None:
        pipeline_id = self.pick(self.model.pipelines, number)
        known = pipeline_id in self.model.pipelines
        if self.known(self.store.log_step, known, pipeline_id, step, "SNV", event, 2, None, {"n": step}, level):
            self.model.logs.append({"pipeline_id": pipeline_id, "step_idx": step, "event": event, "level": level})

    # ------------------------------------------------------------------ artifacts

    @precondition(lambda self: not self.doomed)
    @rule(obj=objects, how=st.sampled_from(["save", "prepare", "save prepared"]))
    def save_artifact(self, obj: Any, how: str = "save") -> None:
        """What was prepared is saved later: by then a clean-up may have taken its file."""
        if how == "prepare":
            self.prepared.append((obj, self.store.prepare_artifact(obj, type(obj).__name__, "operator")))
        elif how == "save":
            self._noted(obj, self.store.save_artifact(obj, type(obj).__name__, "operator", "joblib"))
        elif self.prepared:
            obj, prepared = self.prepared.pop(0)
            self._noted(obj, self.store.save_artifact(prepared))

    def _noted(self, obj: Any, artifact_id: str) -> None:
        known = self.model.artifact_of(obj)
        assert known is None or artifact_id == known, "the same bytes are kept once"
        artifact = self.model.artifacts.setdefault(artifact_id, Artifact(obj))
        artifact.refs += 1
        artifact.fresh = True

    @precondition(lambda self: not self.doomed)
    @rule(number=which, name=st.sampled_from(["one", "two"]))
    def register_artifact(self, number: int, name: str) -> None:
        """A second row for a file that is there."""
        of = self.model.artifacts.get(self.pick(self.model.artifacts, number))
        if of is None:
            return
        file = self.store.prepare_artifact(of.obj, "x", "operator")
        content_hash, size = file.serialized.content_hash, len(file.serialized.data)
        arguments = (name, file.relative_path, content_hash, "x", "operator", "joblib", size)
        assert self.store.register_existing_artifact(*arguments) == name
        self.model.artifacts.setdefault(name, Artifact(of.obj, refs=1))

    @precondition(lambda self: not self.doomed)
    @rule(an_hour_later=st.booleans())
    def gc(self, an_hour_later: bool) -> None:
        if an_hour_later and not self.depth:
            change(self.path, "UPDATE artifact_saves SET saved_at = saved_at - INTERVAL 61 MINUTE")
            for artifact in self.model.artifacts.values():
                artifact.fresh = False
        assert self.store.gc_artifacts() == self.model.collect(old_too=True)

    # ------------------------------------------------------------------ chains and aliases

    @precondition(lambda self: not self.doomed)
    @rule(number=which, folds=folds, transformer=transformers, shift=some)
    def save_chain(self, number: int, folds: dict[str, int], transformer: str, shift: int) -> None:
        pipeline_id = self.pick(self.model.pipelines, number)
        of_kind = {
            kind: [key for key, artifact in self.model.artifacts.items() if isinstance(artifact.obj, kind)]
            for kind in (Shift, Times)
        }
        models = {key: self.pick(of_kind[Times], chosen) for key, chosen in folds.items()}
        shifts: dict[str, str] = {}
        if transformer != "none":
            places = ["all"] if transformer == "shared" else list(folds)
            shifts = {key: self.pick(of_kind[Shift], shift + place) for place, key in enumerate(places)}
        steps: list[dict[str, Any]] = [{"step_idx": 2, "operator_class": "Times", "params": {}}]
        if shifts:
            named = {"artifact_ids": [shifts["all"]]} if "all" in shifts else {"fold_artifact_ids": shifts}
            steps.insert(0, {"step_idx": 1, "operator_class": "Shift", "params": {}, **named})
        shared = {"1": shifts["all"]} if "all" in shifts else {}
        arguments = (pipeline_id, steps, 2, "Times", "shift", "per_fold", models, shared)
        chain = Chain(pipeline_id, models, shifts)
        if pipeline_id not in self.model.pipelines or not set(chain.edges()) <= set(self.model.artifacts):
            return self.refused(UnknownIdError, self.store.save_chain, *arguments)
        self.model.chains[self.store.save_chain(*arguments)] = chain
        return None

    @precondition(lambda self: not self.doomed)
    @rule(number=which)
    def summarise(self, number: int) -> None:
        chain_id = self.pick(self.model.chains, number)
        if self.known(self.store.update_chain_summary, chain_id in self.model.chains, chain_id):
            self.model.chains[chain_id].summary = self.model.summary(chain_id)

    @precondition(lambda self: not self.doomed)
    @rule(
        name=st.sampled_from(["champion", "fat/challenger"]), number=which, how=st.sampled_from(["id", "alias", "off"])
    )
    def set_alias(self, name: str, number: int, how: str) -> None:
        """Let it name a chain, by the chain's id or another alias, or nothing."""
        if how == "off":
            if self.known(self.store.remove_alias, name in self.model.current, name):
                self.model.current.remove(name)
            return
        chain_id = self.pick(self.model.chains, number)
        other = next((alias for alias in self.model.current if self.model.aliases[alias][0] == chain_id), chain_id)
        named = other if how == "alias" else chain_id
        if self.known(self.store.set_alias, chain_id in self.model.chains, name, named):
            self.model.aliases.setdefault(name, []).insert(0, chain_id)
            self.model.current.add(name)

    # ------------------------------------------------------------------ predictions

    @precondition(lambda self: not self.doomed)
    @rule(
        number=which,
        with_chain=st.booleans(),
        fold=st.sampled_from(FOLDS[:2]),
        branch=st.sampled_from([None, None, None, 0]),
        score=scores,
        named=st.sampled_from([None, "mine", "other"]),
    )
    def save_prediction(
        self, number: int, with_chain: bool, fold: str, branch: int | None, score: float | None, named: str | None
    ) -> None:
        pipeline_id = self.pick(self.model.pipelines, number)
        own = self.model.chains_of([pipeline_id])
        chain_id = own[-1] if with_chain and own else None
        arguments = (
            pipeline_id, chain_id, "tecator", "Times", "test.Times", fold, "val", score, None, None, "rmse",
            "regression", 3, 2, {"val": {"rmse": score}}, {}, branch, None, 0, 0.0, "", named,
        )  # fmt: skip
        if pipeline_id not in self.model.pipelines:
            return self.refused(UnknownIdError, self.store.save_prediction, *arguments)
        key = (pipeline_id, chain_id, fold, branch)
        same = next((known for known, row in self.model.predictions.items() if row.key == key), None)
        if same is None and named in self.model.predictions:
            return self.refused(InvalidInputError, self.store.save_prediction, *arguments)
        prediction_id = self.store.save_prediction(*arguments)
        if same is not None:
            assert prediction_id == same, "saved again, a prediction keeps its id"
            del self.model.predictions[same]
        elif named is not None:
            assert prediction_id == named
        self.model.predictions[prediction_id] = Prediction(pipeline_id, key, chain_id, fold, score)
        return None

    @precondition(lambda self: not self.doomed)
    @rule(number=which, labels=st.booleans(), proba=st.booleans())
    def save_arrays(self, number: int, labels: bool, proba: bool) -> None:
        prediction_id = self.pick(self.model.predictions, number)
        arrays = {
            "y_true": ["a", "b", "a"] if labels else [1.0, float("nan"), 3.0],
            "y_pred": [0.5, 1.5, 2.5],
            "y_proba": [[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]] if proba else None,
            "sample_indices": [4, 5, 6],
            "weights": None,
        }
        row = self.model.predictions.get(prediction_id)
        error = UnknownIdError if row is None else None if row.arrays is None else InvalidInputError
        if error is not None:
            return self.refused(error, self.store.save_prediction_arrays, prediction_id, *arrays.values())
        self.refused(InvalidInputError, self.store.save_prediction_arrays, prediction_id, [1.0], [1.0, 2.0])
        self.store.save_prediction_arrays(prediction_id, *arrays.values())
        self.model.predictions[prediction_id].arrays = arrays
        return None

    @precondition(lambda self: not self.doomed)
    @rule(number=which)
    def delete_prediction(self, number: int) -> None:
        prediction_id = self.pick(self.model.predictions, number)
        assert self.store.delete_prediction(prediction_id) is (prediction_id in self.model.predictions)
        self.model.predictions.pop(prediction_id, None)

    # ------------------------------------------------------------------ deletion, opening and closing

    @precondition(lambda self: not self.doomed)
    @rule(number=which, delete_artifacts=st.booleans(), force=st.booleans())
    def delete_run(self, number: int, delete_artifacts: bool, force: bool) -> None:
        run_id = self.pick(self.model.runs, number)
        pipelines = self.model.pipelines_of(run_id)
        if not force and self.model.protected(self.model.chains_of(pipelines)):
            return self.refused(ProtectedError, self.store.delete_run, run_id, delete_artifacts)
        rows = self.model.delete_contents(pipelines, release=delete_artifacts)
        rows += len(pipelines) + (self.model.runs.pop(run_id, None) is not None)
        for pipeline_id in pipelines:
            del self.model.pipelines[pipeline_id]
        if delete_artifacts:
            self.model.collect(old_too=False)
        assert self.store.delete_run(run_id, delete_artifacts, force=force) == rows
        return None

    @precondition(lambda self: not self.doomed)
    @rule(number=some)
    def record_again(self, number: int) -> None:
        """Delete a run and keep what it held anew, in one unit."""
        held = [artifact.obj for artifact in self.model.artifacts.values()]
        with self.store.transaction():
            self.delete_run(number, True, True)
            for obj in held[:3]:
                self.save_artifact(obj)

    @precondition(lambda self: not self.depth and self.steps > 8)
    @rule()
    def reopen(self) -> None:
        self.steps = 0
        self.store.close()
        with pytest.raises(StoreClosedError):
            self.store.begin_run("closed", {}, [])
        self.store = WorkspaceStore(self.path)
        compare(self.store, self.model)
        compare_one_by_one(self.store, self.model)

    # ------------------------------------------------------------------ units of work

    @precondition(lambda self: len(self.depth) < 2 and not self.doomed)
    @rule()
    def begin_watched(self) -> None:
        self._begin(watched=True)

    @precondition(lambda self: len(self.depth) < 2 and not self.doomed)
    @rule()
    def begin(self) -> None:
        """This one is not asked anything until it ends, so that its rows stay collected."""
        self._begin(watched=False)

    def _begin(self, *, watched: bool) -> None:
        if not self.depth:
            self.saved = copy.deepcopy(self.model)
            self.watched = watched
        unit = self.store.transaction()
        unit.__enter__()
        self.depth.append(unit)

    @precondition(lambda self: self.depth)
    @rule(error=st.sampled_from([None, None, OnPurposeError, KeyboardInterrupt]))
    def end(self, error: type[BaseException] | None) -> None:
        """An exception that leaves an inner unit dooms the outer, though it is caught in between."""
        unit = self.depth.pop()
        if error is not None:
            assert not unit.__exit__(error, error("on purpose"), None), "the exception goes on"
        elif self.doomed and not self.depth:
            with pytest.raises(TransactionError):
                unit.__exit__(None, None, None)
        else:
            unit.__exit__(None, None, None)
        if self.depth:
            self.doomed |= error is not None
        elif self.doomed or error is not None:
            self._rolled_back()
        self.watched |= not self.depth

    def _rolled_back(self) -> None:
        assert self.saved is not None
        self.model, self.doomed = self.saved, False

    @precondition(lambda self: self.doomed)
    @rule()
    def a_doomed_unit_does_nothing_more(self) -> None:
        for verb in (lambda: self.store.begin_run("late", {}, []), self.store.list_runs):
            with pytest.raises(TransactionError):
                verb()

    # ------------------------------------------------------------------ the same answers

    @invariant()
    def answers_are_the_same(self) -> None:
        self.steps += 1
        if self.watched and not self.doomed:
            # In one unit, which is quicker; `reopen` asks outside of any, and asks more.
            with self.store.transaction():
                compare(self.store, self.model)
            if not self.depth:
                compare_inside(self.store, self.model)

    def teardown(self) -> None:
        while self.depth:
            self.end(OnPurposeError)
        self.watched = True
        self.reopen()
        compare_inside(self.store, self.model)
        self.store.close()
        self.folder.cleanup()


thorough = os.environ.get("N4A_HYPOTHESIS") == "thorough"

Workspace.TestCase.settings = settings(
    max_examples=100 if thorough else 8,
    stateful_step_count=50 if thorough else 30,
    deadline=None,
    derandomize=not thorough,
    database=None,
    suppress_health_check=list(HealthCheck),
    # Making a failure small takes minutes: the thorough profile does it.
    phases=[Phase.generate, Phase.shrink] if thorough else [Phase.generate],
)
TestWorkspace = Workspace.TestCase
