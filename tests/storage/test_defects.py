"""What the reference system is known to do wrong, done right: one test a defect, named after it."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crashes import Verb, crashed
from inside import artifact_files, change, look
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import StandardScaler
from small_operators import AddWavelengths, Shift, Times

from n4a_flows.storage import Axis, WorkspaceStore
from n4a_flows.storage.errors import (
    ArtifactCorruptError,
    InvalidInputError,
    ReplayError,
    UnknownIdError,
    WorkspaceError,
)

MODEL_STEP = {"step_idx": 2, "operator_class": "Times", "params": {}}


def keep(store: WorkspaceStore, obj: Any) -> str:
    return store.save_artifact(obj, type(obj).__name__, "operator", "joblib")


def begin(store: WorkspaceStore, name: str = "run") -> tuple[str, str]:
    """A run and a pipeline in it."""
    run_id = store.begin_run(name, {}, ["tecator"])
    return run_id, store.begin_pipeline(run_id, name, [], {}, "tecator", "hash")


def save_chain(store: WorkspaceStore, pipeline_id: str, models: Sequence[str], shift: str | None = None) -> str:
    step = {"step_idx": 1, "operator_class": "Shift", "params": {}, "artifact_ids": [shift]}
    steps = [MODEL_STEP] if shift is None else [step, MODEL_STEP]
    folds = {f"fold_{number}": artifact_id for number, artifact_id in enumerate(models)}
    return store.save_chain(pipeline_id, steps, 2, "Times", "", "per_fold", folds, {"1": shift} if shift else {})


def save_prediction(store: WorkspaceStore, pipeline_id: str, fold: str = "fold_0", **other: Any) -> str:
    values = {
        "pipeline_id": pipeline_id, "chain_id": None, "dataset_name": "tecator", "model_name": "m", "model_class": "m",
        "fold_id": fold, "partition": "val", "val_score": 0.5, "test_score": None, "train_score": None,
        "metric": "rmse", "task_type": "regression", "n_samples": 2, "n_features": 2, "scores": {}, "best_params": {},
        "branch_id": None, "branch_name": None, "exclusion_count": 0, "exclusion_rate": 0.0,
    }  # fmt: skip
    return store.save_prediction(**{**values, **other})


def references(store: WorkspaceStore) -> dict[str, int]:
    return dict(look(store.workspace_path, "SELECT artifact_id, ref_count FROM artifacts"))


# ---------------------------------------------------------------------- section 2: queries


def test_a_query_that_fails_says_so_and_gives_no_empty_frame(store: WorkspaceStore) -> None:
    _, pipeline_id = begin(store)
    store.log_step(pipeline_id, 1, "SNV", "start")
    assert store.get_pipeline_log(pipeline_id).height == 1
    change(store.workspace_path, "DROP TABLE logs")
    with pytest.raises(WorkspaceError, match="logs"):
        store.get_pipeline_log(pipeline_id)


# ---------------------------------------------------------------------- section 3: a failed pipeline


def test_a_failed_pipeline_gives_its_references_back_once(store: WorkspaceStore) -> None:
    chains = []
    for name in ("fails", "stays"):
        run_id, pipeline_id = begin(store, name)
        store.log_step(pipeline_id, 1, "SNV", "start")
        chains.append((run_id, pipeline_id, save_chain(store, pipeline_id, [keep(store, Times(2.0))])))
    (run_id, pipeline_id, chain_id), (_, _, other) = chains
    store.fail_pipeline(pipeline_id, "singular")
    assert store.get_chain(chain_id) is None
    assert store.get_pipeline_log(pipeline_id).height == 0
    assert list(references(store).values()) == [1]
    store.delete_run(run_id)
    assert list(references(store).values()) == [1], "not given back a second time"
    assert store.replay_chain(other, np.ones((1, 2))).tolist() == [4.0]


# ---------------------------------------------------------------------- section 4: predictions


def test_an_id_of_another_pipelines_prediction_is_refused_and_that_one_stays(store: WorkspaceStore) -> None:
    _, one = begin(store)
    _, other = begin(store)
    prediction_id = save_prediction(store, one, prediction_id="mine")
    store.save_prediction_arrays(prediction_id, [1.0, 2.0], [1.0, 3.0])
    with pytest.raises(InvalidInputError, match="mine"):
        save_prediction(store, other, prediction_id="mine")
    kept = store.get_prediction("mine", load_arrays=True)
    assert kept is not None
    assert (kept["pipeline_id"], list(kept["y_pred"])) == (one, [1.0, 3.0])
    assert store.query_predictions(pipeline_id=other).height == 0


@pytest.mark.parametrize("labels", [["1", "2", "10"], ["a", "b", "a"]])
def test_labels_stay_text_whatever_kind_of_array_holds_them(store: WorkspaceStore, labels: list[str]) -> None:
    _, pipeline_id = begin(store)
    for fold, values in enumerate([labels, np.array(labels), np.array(labels, dtype=object)]):
        prediction_id = save_prediction(store, pipeline_id, f"fold_{fold}")
        store.save_prediction_arrays(prediction_id, values, values)
        arrays = store.get_prediction_arrays(prediction_id)
        assert arrays is not None
        assert arrays["y_true"].tolist() == labels
        assert arrays["y_pred"].tolist() == labels


def test_the_best_prediction_is_the_one_with_the_highest_r2(store: WorkspaceStore) -> None:
    """Which way is better is known from the metric when the caller does not say."""
    _, pipeline_id = begin(store)
    for fold, score in enumerate([0.5, 0.9, 0.7]):
        save_prediction(store, pipeline_id, f"fold_{fold}", metric="r2", val_score=score)
    assert store.top_predictions(1)["val_score"].to_list() == [0.9]
    assert store.top_predictions(1, ascending=True)["val_score"].to_list() == [0.5], "who says so gets it"


# ---------------------------------------------------------------------- section 5: references


@pytest.mark.parametrize("saves", [1, 2])
def test_an_artifact_of_two_chains_survives_the_first_and_goes_with_the_last(store: WorkspaceStore, saves: int) -> None:
    """However often it was saved: what counts is which chains name it."""
    runs = [begin(store) for _ in range(2)]
    for _ in range(saves):
        model = keep(store, Times(2.0))
    chains = [save_chain(store, pipeline_id, [model]) for _, pipeline_id in runs]
    store.delete_run(runs[0][0])
    assert store.gc_artifacts() == 0
    assert store.replay_chain(chains[1], np.ones((1, 2))).tolist() == [4.0]
    store.delete_run(runs[1][0])
    assert artifact_files(store.workspace_path) == set()
    assert references(store) == {}


def test_an_artifact_twice_in_one_chain_does_not_take_it_from_another(store: WorkspaceStore) -> None:
    run_id, pipeline_id = begin(store)
    _, other = begin(store)
    model, _, _ = (keep(store, Times(2.0)) for _ in range(3))
    save_chain(store, pipeline_id, [model, model])
    chain_id = save_chain(store, other, [model])
    assert references(store) == {model: 3}
    store.delete_run(run_id)
    assert references(store) == {model: 1}
    assert store.replay_chain(chain_id, np.ones((1, 2))).tolist() == [4.0]


def test_an_artifact_that_no_chain_ever_named_does_not_stay_for_ever(store: WorkspaceStore) -> None:
    keep(store, Times(2.0))
    assert store.gc_artifacts() == 0, "a recording may still be on its way"
    change(store.workspace_path, "UPDATE artifact_saves SET saved_at = saved_at - INTERVAL 1 DAY")
    assert store.gc_artifacts() == 1
    assert artifact_files(store.workspace_path) == set()


def test_bytes_saved_again_by_the_unit_that_deleted_them_stay(store: WorkspaceStore) -> None:
    run_id, pipeline_id = begin(store)
    save_chain(store, pipeline_id, [keep(store, Times(2.0))])
    with store.transaction():
        store.delete_run(run_id)
        _, pipeline_id = begin(store)
        chain_id = save_chain(store, pipeline_id, [keep(store, Times(2.0))])
    assert store.replay_chain(chain_id, np.ones((1, 2))).tolist() == [4.0]


# ---------------------------------------------------------------------- section 7: replay


def test_a_fitted_step_that_names_its_artifact_only_itself_is_not_skipped(
    store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray
) -> None:
    _, pipeline_id = begin(store)
    scaler = StandardScaler().fit(spectra)
    model = PLSRegression(2).fit(scaler.transform(spectra), y)
    for named in ({"artifact_id": keep(store, scaler)}, {"artifact_ids": [keep(store, scaler)]}):
        steps = [
            {"step_idx": 0, "operator_class": "StandardScaler", "params": {}, "stateless": False, **named},
            MODEL_STEP,
        ]
        chain_id = store.save_chain(
            pipeline_id, steps, 2, "PLS", "", "per_fold", {"fold_final": keep(store, model)}, {}
        )
        np.testing.assert_array_equal(
            store.replay_chain(chain_id, spectra), model.predict(scaler.transform(spectra)).ravel()
        )


def test_an_operator_that_must_be_given_wavelengths_is_never_used_without(store: WorkspaceStore) -> None:
    _, pipeline_id = begin(store)
    step = {"step_idx": 1, "operator_class": "AddWavelengths", "params": {}}
    folds = {"fold_0": keep(store, Times(1.0))}
    positions, X = np.array([1000.0, 1001.0]), np.zeros((1, 2))

    def chain(**more: Any) -> str:
        steps = [{**step, "artifact_ids": [keep(store, AddWavelengths())]}, MODEL_STEP]
        return store.save_chain(pipeline_id, steps, 2, "Times", "", "per_fold", folds, {}, **more)

    with pytest.raises(ReplayError, match="wavelengths"):
        store.replay_chain(chain(), X)
    assert store.replay_chain(chain(), X, positions).tolist() == [2001.0]
    assert store.replay_chain(chain(axis=Axis(positions)), X).tolist() == [2001.0]


def test_a_stateless_operator_that_must_be_given_wavelengths_gets_them(store: WorkspaceStore) -> None:
    _, pipeline_id = begin(store)
    steps = [
        {"step_idx": 1, "operator_class": "small_operators.AddWavelengths", "params": {}, "stateless": True},
        MODEL_STEP,
    ]
    chain_id = store.save_chain(pipeline_id, steps, 2, "Times", "", "per_fold", {"fold_0": keep(store, Times(1.0))}, {})
    allowing = WorkspaceStore(store.workspace_path, allowed_modules=["small_operators"])
    positions, X = np.array([1000.0, 1001.0]), np.zeros((1, 2))
    assert allowing.replay_chain(chain_id, X, positions).tolist() == [2001.0]
    with pytest.raises(ReplayError, match="wavelengths"):
        allowing.replay_chain(chain_id, X)


# ---------------------------------------------------------------------- section 10: the source map


def test_a_source_map_among_shared_artifacts_is_no_step(store: WorkspaceStore, tmp_path: Path) -> None:
    run_id, pipeline_id = begin(store)
    shift, model = keep(store, Shift(1.0)), keep(store, Times(2.0))
    steps = [{"step_idx": 1, "operator_class": "Shift", "params": {}}, MODEL_STEP]
    shared = {"1": [shift], "_source_map": {"1": {"0": [shift]}}}
    chain_id = store.save_chain(pipeline_id, steps, 2, "Times", "", "per_fold", {"fold_final": model}, shared)
    chain = store.get_chain(chain_id)
    assert chain is not None
    assert chain["shared_artifacts"] == shared
    assert store.replay_chain(chain_id, np.ones((1, 2))).tolist() == [8.0]
    assert store.export_chain(chain_id, tmp_path / "chain").is_file()
    store.delete_run(run_id)
    assert references(store) == {}
    assert artifact_files(store.workspace_path) == set()


# ---------------------------------------------------------------------- section 13: handles, crashes, integrity


def test_two_handles_in_one_process_never_drop_a_write(tmp_path: Path) -> None:
    """The reference gave a conflicting write up after five attempts and every later one without a word."""
    handles = [WorkspaceStore(tmp_path / "ws") for _ in range(2)]
    run_id, _ = begin(handles[0])
    given: list[str] = []

    def write(store: WorkspaceStore) -> None:
        for number in range(15):
            with store.transaction():
                store.complete_run(run_id, {"number": number})
                given.append(store.begin_pipeline(run_id, "p", [], {}, "d", "h"))

    threads = [threading.Thread(target=write, args=(store,)) for store in handles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = handles[0].list_pipelines(run_id=run_id).filter(name="p")["pipeline_id"].to_list()
    assert len(given) == 30
    assert sorted(stored) == sorted(given), "every id that was given is stored"
    assert not hasattr(handles[0], "degraded")


def state(workspace: Path) -> dict[str, Any]:
    """All rows without the ids and times, and the files."""
    tables = {
        "runs": "name, status", "pipelines": "name, status", "chains": "model_class", "predictions": "fold_id",
        "prediction_arrays": "y_true", "logs": "event", "artifacts": "content_hash, ref_count",
        "chain_artifacts": "count", "chain_context": "digest", "run_origins": "host",
    }  # fmt: skip
    return {table: sorted(look(workspace, f"SELECT {columns} FROM {table}")) for table, columns in tables.items()}


def check_integrity(workspace: Path) -> None:
    """Every row has its whole file, every file is whole, every chain predicts."""
    store = WorkspaceStore(workspace)
    files = artifact_files(workspace)
    for name in files:
        if not Path(name).name.startswith("."):
            data = (workspace / "artifacts" / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == Path(name).stem, "a file with a final name is whole"
    for artifact_id, path in look(workspace, "SELECT artifact_id, artifact_path FROM artifacts"):
        assert path in files
        store.load_artifact(artifact_id)
    for (chain_id,) in look(workspace, "SELECT chain_id FROM chains"):
        assert store.replay_chain(chain_id, np.ones((1, 2))).shape == (1,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("verb", ["save_artifact", "delete_run", "fail_pipeline", "gc_artifacts"])
def test_a_process_killed_inside_a_verb_leaves_all_of_it_or_nothing(tmp_path: Path, verb: str) -> None:
    store = WorkspaceStore(tmp_path / "ws")
    for name in ("stays", "goes"):
        run_id, pipeline_id = begin(store, name)
        models = [keep(store, Times(factor)) for factor in ((1.0, 2.0) if name == "goes" else (2.0, 3.0))]
        chain_id = save_chain(store, pipeline_id, models, keep(store, Shift(1.0)))
        prediction_id = save_prediction(store, pipeline_id, chain_id=chain_id)
        store.save_prediction_arrays(prediction_id, [1.0, 2.0], [1.0, 2.0])
        store.log_step(pipeline_id, 1, "Times", "end")
    garbage = [keep(store, Times(100.0 + number)) for number in range(3)]
    change(store.workspace_path, f"UPDATE artifacts SET ref_count = 0 WHERE artifact_id IN {tuple(garbage)}")
    arguments = {
        "save_artifact": (Times(9.0), "Times", "operator", "joblib"),
        "delete_run": (run_id,),
        "fail_pipeline": (pipeline_id, "singular"),
        "gc_artifacts": (),
    }[verb]
    before = state(store.workspace_path)
    *killed, whole = _states(store.workspace_path, lambda store: getattr(store, verb)(*arguments))
    assert whole != before
    assert all(found in (before, whole) for found in killed)
    assert before in killed, "some died before the commit"
    assert whole in killed, "and some after it"


def _states(before: Path, verb: Verb) -> list[dict[str, Any]]:
    found = []
    for workspace in crashed(before, verb):
        check_integrity(workspace)
        found.append(state(workspace))
    return found


def _spoil(store: WorkspaceStore, artifact_id: str) -> None:
    path = store.get_artifact_path(artifact_id)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "use",
    [
        lambda store, chain_id, folder: store.replay_chain(chain_id, np.ones((1, 2))),
        lambda store, chain_id, folder: store.load_predictor(chain_id),
        lambda store, chain_id, folder: store.chain_package(chain_id),
        lambda store, chain_id, folder: store.export_chain(chain_id, folder / "chain.n4a"),
    ],
    ids=["replay", "predictor", "package", "export"],
)
def test_damaged_bytes_are_never_used(
    store: WorkspaceStore, tmp_path: Path, use: Callable[[WorkspaceStore, str, Path], Any]
) -> None:
    _, pipeline_id = begin(store)
    model = keep(store, Times(2.0))
    chain_id = store.save_chain(pipeline_id, [MODEL_STEP], 2, "Times", "", "per_fold", {"fold_final": model}, {})
    use(store, chain_id, tmp_path)
    _spoil(store, model)
    (tmp_path / "chain.n4a").unlink(missing_ok=True)
    with pytest.raises(ArtifactCorruptError, match="damaged"):
        use(store, chain_id, tmp_path)
    assert not (tmp_path / "chain.n4a").exists()


def test_writing_to_what_does_not_exist_is_no_silence(store: WorkspaceStore) -> None:
    for write in (
        lambda: store.complete_run("none", {}),
        lambda: store.fail_pipeline("none", "why"),
        lambda: store.log_step("none", 1, "SNV", "start"),
    ):
        with pytest.raises(UnknownIdError, match="none"):
            write()
