"""Aliases name chains everywhere, keep their history and keep their chains safe."""

from __future__ import annotations

import numpy as np
import pytest
from processes import record_pipeline
from sklearn.cross_decomposition import PLSRegression

from n4a_flows.storage import ScoredFile, WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError, ProtectedError, UnknownIdError


def train(store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray, components: int = 2) -> tuple[str, str]:
    """A run with one chain; returns the ids of both."""
    run_id = store.begin_run(f"{components} components", {}, ["tecator"])
    pipeline_id = store.begin_pipeline(run_id, "pls", [], {}, "tecator", "hash")
    model = store.save_artifact(PLSRegression(components).fit(spectra, y), "PLSRegression", "model", "joblib")
    steps = [{"step_idx": 1, "operator_class": "PLSRegression", "params": {}}]
    chain_id = store.save_chain(
        pipeline_id, steps, 1, "PLSRegression", "", "per_fold", {"fold_final": model}, {}, target="fat"
    )
    store.complete_pipeline(pipeline_id, float(components), None, "rmse", 1)
    return run_id, chain_id


def test_an_alias_stands_wherever_a_chain_id_does(store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray) -> None:
    _, chain_id = train(store, spectra, y)
    store.set_alias("tecator/fat/champion", chain_id, note="first")
    name = "tecator/fat/champion"
    assert store.get_alias(name) == chain_id
    np.testing.assert_array_equal(store.replay_chain(name, spectra), store.replay_chain(chain_id, spectra))
    assert store.load_predictor(name).chain_id == chain_id
    assert store.get_chain_context(name).digest == store.get_chain_context(chain_id).digest
    chain = store.get_chain(name)
    assert chain is not None
    assert chain["chain_id"] == chain_id
    assert store.export_chain(name, store.workspace_path / "exports" / "x").is_file()
    assert store.query_chain_summaries(chain_id=name).height == 1
    assert store.get_chain_predictions(name).height == 0
    store.record_scoring(name, [ScoredFile("a.csv", "0" * 64, "scored")])
    assert store.scored_files(chain_id=name)["chain_id"].to_list() == [chain_id]
    store.update_chain_summary(name)


def test_an_alias_moves_and_its_history_stays(store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray) -> None:
    chains = [train(store, spectra, y, components)[1] for components in (1, 2)]
    for chain_id in chains:
        store.set_alias("champion", chain_id)
    store.set_alias("copy", "champion")
    assert store.get_alias("champion") == chains[1]
    assert store.list_aliases()["alias"].to_list() == ["champion", "copy"]
    assert store.alias_history("champion")["chain_id"].to_list() == chains[::-1]
    store.remove_alias("champion")
    assert store.get_alias("champion") is None
    assert store.get_alias("copy") == chains[1]
    assert store.alias_history("champion")["ended_at"].null_count() == 0
    with pytest.raises(UnknownIdError):
        store.remove_alias("champion")


@pytest.mark.parametrize("name", ["", "../x", "a b", "/a", "a//b", "best", "123e4567-e89b-12d3-a456-426614174000"])
def test_bad_names_are_refused(store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray, name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be an alias"):
        store.set_alias(name, train(store, spectra, y)[1])
    with pytest.raises(UnknownIdError):
        store.set_alias("fine", "no such chain")
    assert store.list_aliases().height == 0


def test_the_current_chain_and_the_last_three_are_not_deleted(
    store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray
) -> None:
    trained = [train(store, spectra, y, components) for components in (1, 2, 3, 4, 5)]
    for _, chain_id in trained:
        store.set_alias("champion", chain_id)
    for _ in range(4):
        store.set_alias("champion", "champion")
    assert store.delete_run(trained[0][0]) > 0, "the fifth last is free to go"
    for run_id, chain_id in trained[1:]:
        with pytest.raises(ProtectedError, match="champion"):
            store.delete_run(run_id)
        assert store.replay_chain(chain_id, spectra).shape == (60,)
    pipeline_id = store.list_pipelines(run_id=trained[4][0])["pipeline_id"][0]
    with pytest.raises(ProtectedError):
        store.fail_pipeline(pipeline_id, "too late")
    assert store.get_pipeline(pipeline_id)["status"] == "completed"  # type: ignore[index]
    assert store.delete_run(trained[4][0], force=True) > 0
    assert store.get_alias("champion") is None
    assert store.alias_history("champion").height == 9


def test_best_is_the_pooled_score_and_says_when_it_is_not_clear(
    store: WorkspaceStore, spectra: np.ndarray, y: np.ndarray
) -> None:
    chains = [train(store, spectra, y, components)[1] for components in (3, 1, 2)]
    assert store.best_chain("tecator") == chains[1]
    with pytest.raises(UnknownIdError, match="protein"):
        store.best_chain("tecator", target="protein")
    with pytest.raises(UnknownIdError):
        store.best_chain("teca")
    record_pipeline(store, store.begin_run("other target", {}, []), "m")
    assert store.best_chain("made up", metric="rmse")
