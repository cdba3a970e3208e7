"""Random sequences of verbs on a real store and on plain dicts: the same answers after every step."""

from __future__ import annotations

import copy
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from inside import artifact_files, change, opened
from plain_model import Artifact, Chain, Model, Prediction, X
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


class OnPurpose(Exception):
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
        self.prepared: list[tuple[Any, Any]] = []
        # Most verbs need these, so a short sequence gets further.
        for name in "ab":
            self.begin_run(name)
        for number in range(2):
            self.begin_pipeline(number)
        for obj in (Times(2.0), Times(3.0), Shift(1.0)):
            self.save_artifact(obj)
        self.save_chain(0, {"fold_0": 0, "fold_1": 1}, "fold-wise", 0)

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
    @rule(number=which, fails=st.booleans())
    def end_run(self, number: int, fails: bool) -> None:
        run_id = self.pick(self.model.runs, number)
        verb = self.store.fail_run if fails else self.store.complete_run
        said: Any = "singular" if fails else {"n": number}
        if self.known(verb, run_id in self.model.runs, run_id, said):
            changed = {"status": "failed", "error": said} if fails else {"status": "completed", "summary": said}
            self.model.runs[run_id].update(changed)

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
    @rule(number=which, best=st.sampled_from([0.1, 0.2, 0.3]))
    def complete_pipeline(self, number: int, best: float) -> None:
        pipeline_id = self.pick(self.model.pipelines, number)
        known = pipeline_id in self.model.pipelines
        if self.known(self.store.complete_pipeline, known, pipeline_id, best, None, "rmse", 3):
            self.model.pipelines[pipeline_id].update(status="completed", best_val=best)

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
    @rule(obj=objects)
    def save_artifact(self, obj: Any) -> None:
        self._noted(obj, self.store.save_artifact(obj, type(obj).__name__, "operator", "joblib"))

    @rule(obj=objects)
    def prepare_artifact(self, obj: Any) -> None:
        self.prepared.append((obj, self.store.prepare_artifact(obj, type(obj).__name__, "operator")))

    @precondition(lambda self: not self.doomed and self.prepared)
    @rule(number=which)
    def save_prepared(self, number: int) -> None:
        obj, prepared = self.prepared[number % len(self.prepared)]
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
    @rule()
    def gc(self) -> None:
        assert self.store.gc_artifacts() == self.model.collect(old_too=True)

    @precondition(lambda self: not self.depth)
    @rule()
    def an_hour_passes(self) -> None:
        change(self.path, "UPDATE artifact_saves SET saved_at = saved_at - INTERVAL 61 MINUTE")
        for artifact in self.model.artifacts.values():
            artifact.fresh = False

    # ------------------------------------------------------------------ chains and aliases

    @precondition(lambda self: not self.doomed)
    @rule(
        number=which,
        folds=st.dictionaries(st.sampled_from(FOLDS), some, min_size=1),
        transformer=st.sampled_from(["none", "shared", "fold-wise"]),
        shift=some,
    )
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
    @rule(name=st.sampled_from(["champion", "fat/challenger"]), number=which, through=st.booleans())
    def set_alias(self, name: str, number: int, through: bool) -> None:
        chain_id = self.pick(self.model.chains, number)
        other = next((alias for alias in self.model.current if self.model.aliases[alias][0] == chain_id), chain_id)
        if self.known(self.store.set_alias, chain_id in self.model.chains, name, other if through else chain_id):
            self.model.aliases.setdefault(name, []).insert(0, chain_id)
            self.model.current.add(name)

    @precondition(lambda self: not self.doomed)
    @rule(name=st.sampled_from(["champion", "fat/challenger"]))
    def remove_alias(self, name: str) -> None:
        if self.known(self.store.remove_alias, name in self.model.current, name):
            self.model.current.remove(name)

    # ------------------------------------------------------------------ predictions

    @precondition(lambda self: not self.doomed)
    @rule(
        number=which,
        with_chain=st.booleans(),
        fold=st.sampled_from(FOLDS[:2]),
        branch=st.sampled_from([None, 0]),
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

    @precondition(lambda self: not self.depth)
    @rule()
    def reopen(self) -> None:
        self.store.close()
        with pytest.raises(StoreClosedError):
            self.store.begin_run("closed", {}, [])
        self.store = WorkspaceStore(self.path)
        self.compare()

    # ------------------------------------------------------------------ units of work

    @precondition(lambda self: len(self.depth) < 2 and not self.doomed)
    @rule(watched=st.booleans())
    def begin(self, watched: bool) -> None:
        """A unit that is not watched is not asked anything until it ends, so that its rows stay collected."""
        if not self.depth:
            self.saved = copy.deepcopy(self.model)
            self.watched = watched
        unit = self.store.transaction()
        unit.__enter__()
        self.depth.append(unit)

    @precondition(lambda self: self.depth)
    @rule()
    def commit(self) -> None:
        unit = self.depth.pop()
        if self.doomed and not self.depth:
            with pytest.raises(TransactionError):
                unit.__exit__(None, None, None)
            self._rolled_back()
        else:
            unit.__exit__(None, None, None)
            self.watched |= not self.depth

    @precondition(lambda self: self.depth)
    @rule(kind=st.sampled_from([OnPurpose, KeyboardInterrupt]))
    def fail(self, kind: type[BaseException]) -> None:
        """An exception leaves the innermost unit; caught outside of an inner one, it dooms the outer all the same."""
        unit, error = self.depth.pop(), kind("on purpose")
        assert not unit.__exit__(kind, error, None), "the exception goes on"
        if self.depth:
            self.doomed = True
        else:
            self._rolled_back()

    def _rolled_back(self) -> None:
        assert self.saved is not None
        self.model, self.doomed, self.watched = self.saved, False, True

    @precondition(lambda self: self.doomed)
    @rule()
    def a_doomed_unit_does_nothing_more(self) -> None:
        for verb in (lambda: self.store.begin_run("late", {}, []), self.store.list_runs):
            with pytest.raises(TransactionError):
                verb()

    # ------------------------------------------------------------------ the same answers

    @invariant()
    def answers_are_the_same(self) -> None:
        if self.watched and not self.doomed:
            # In one unit, which is quicker; `reopen` asks outside of any.
            with self.store.transaction():
                self.compare()
            if not self.depth:
                self.compare_files_and_counters()

    def compare(self) -> None:
        store, model = self.store, self.model
        assert store.list_runs().select("run_id", "name", "status", "error").rows() == [
            (key, row["name"], row["status"], row["error"]) for key, row in reversed(model.runs.items())
        ]
        for run_id, run in model.runs.items():
            answer = store.get_run(run_id)
            assert answer is not None
            assert (answer["summary"], answer["datasets"]) == (run["summary"], [run["name"]])
            of_run = model.pipelines_of(run_id)
            assert store.list_pipelines(run_id=run_id)["pipeline_id"].to_list() == of_run[::-1]
            assert store.get_run_log_summary(run_id).select("pipeline_id", "log_count", "warning_count").rows() == [
                (key, len(lines), sum(line["level"] == "warning" for line in lines))
                for key in of_run
                for lines in [[line for line in model.logs if line["pipeline_id"] == key]]
            ]
        assert store.list_pipelines().select("pipeline_id", "status", "best_val", "error").rows() == [
            (key, row["status"], row["best_val"], row["error"]) for key, row in reversed(model.pipelines.items())
        ]
        for pipeline_id in model.pipelines:
            lines = [line for line in model.logs if line["pipeline_id"] == pipeline_id]
            assert store.get_pipeline_log(pipeline_id).select("step_idx", "event").rows() == [
                (line["step_idx"], line["event"]) for line in sorted(lines, key=lambda line: line["step_idx"])
            ]
        self.compare_chains()
        self.compare_predictions()

    def compare_chains(self) -> None:
        store, model = self.store, self.model
        assert store.query_chain_summaries().select(
            "chain_id", "pipeline_id", "cv_val_score", "cv_fold_count"
        ).rows() == [
            (key, chain.pipeline, pytest.approx(chain.summary[0]), chain.summary[1])
            for key, chain in reversed(model.chains.items())
        ]
        for chain_id, chain in model.chains.items():
            answer = store.get_chain(chain_id)
            assert answer is not None
            assert answer["fold_artifacts"] == chain.folds
            np.testing.assert_allclose(store.replay_chain(chain_id, X), model.predicted(chain_id))
        assert dict(store.list_aliases().select("alias", "chain_id").rows()) == {
            name: model.aliases[name][0] for name in model.current
        }
        for name, history in model.aliases.items():
            assert store.alias_history(name)["chain_id"].to_list() == history
        best = model.best_chain()
        if best is None:
            self.refused(UnknownIdError, store.best_chain, "tecator")
        else:
            assert store.best_chain("tecator") == best

    def compare_predictions(self) -> None:
        store, model = self.store, self.model
        assert store.query_predictions().select("prediction_id", "pipeline_id", "chain_id", "val_score").rows() == [
            (key, row.pipeline, row.chain, row.score) for key, row in reversed(model.predictions.items())
        ]
        assert store.top_predictions(100)["val_score"].to_list() == model.top()
        for prediction_id, row in model.predictions.items():
            answer = store.get_prediction(prediction_id, load_arrays=True)
            assert answer is not None
            for name, values in (row.arrays or dict.fromkeys(["y_true", "y_pred", "y_proba"])).items():
                if values is None:
                    assert answer[name] is None
                else:
                    np.testing.assert_array_equal(answer[name], values)
        for artifact_id, artifact in model.artifacts.items():
            assert store.load_artifact(artifact_id) == artifact.obj

    def compare_files_and_counters(self) -> None:
        model = self.model
        with opened(self.path) as connection:

            def rows(sql: str) -> list[tuple[Any, ...]]:
                return connection.execute(sql).fetchall()

            artifacts = rows("SELECT artifact_id, ref_count, artifact_path FROM artifacts")
            edges = rows("SELECT artifact_id, sum(count)::INTEGER FROM chain_artifacts GROUP BY artifact_id")
            held = {table: rows(f"SELECT count(*) FROM {table}")[0][0] for table in self.ROWS}
        assert {key: count for key, count, _ in artifacts} == {
            key: artifact.refs for key, artifact in model.artifacts.items()
        }
        assert {path for *_, path in artifacts} <= artifact_files(self.path)
        assert Counter(dict(edges)) == model.edges()
        assert held == {table: count(model) for table, count in self.ROWS.items()}, "nothing is left behind"

    ROWS: ClassVar[dict[str, Callable[[Model], int]]] = {
        "run_origins": lambda model: len(model.runs),
        "chain_context": lambda model: len(model.chains),
        "prediction_arrays": lambda model: sum(row.arrays is not None for row in model.predictions.values()),
        "logs": lambda model: len(model.logs),
        "artifact_saves": lambda model: len(model.artifacts),
        "aliases": lambda model: sum(map(len, model.aliases.values())),
    }

    def teardown(self) -> None:
        while self.depth:
            self.fail(OnPurpose)
        self.watched = True
        self.reopen()
        self.compare_files_and_counters()
        self.store.close()
        self.folder.cleanup()


thorough = os.environ.get("N4A_HYPOTHESIS") == "thorough"

Workspace.TestCase.settings = settings(
    max_examples=100 if thorough else 10,
    stateful_step_count=50 if thorough else 30,
    deadline=None,
    derandomize=not thorough,
    database=None,
    suppress_health_check=list(HealthCheck),
    # Making a failure small takes minutes: the thorough profile does it.
    phases=[Phase.generate, Phase.shrink] if thorough else [Phase.generate],
)
TestWorkspace = Workspace.TestCase
