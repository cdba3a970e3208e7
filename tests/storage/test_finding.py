"""Finding: what a name stands for, chains listed and ranked."""

from __future__ import annotations

import pytest

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError


def trained(
    store: WorkspaceStore, score: float, *, target: str = "fat", metric: str = "rmse", size: int = 8
) -> tuple[str, str, str]:
    """A run with a pipeline and a chain of this score: their ids. The size of the model makes it another chain."""
    with store.transaction():
        run_id = store.begin_run("night", {}, ["meat"])
        pipeline_id = store.begin_pipeline(run_id, f"PLS({size})", {}, {}, "meat", "h")
        model = store.save_artifact({"size": size}, "dict", "model")
        step = {"step_idx": 1, "operator_class": "PLS", "operator_type": "model", "params": {}}
        chain_id = store.save_chain(
            pipeline_id, [step], 1, "PLS", "", "per_fold", {"final": model}, {}, target=target, task_type="regression"
        )
        store.complete_pipeline(pipeline_id, score, None, metric, 10)
    return run_id, pipeline_id, chain_id


def test_an_id_the_beginning_of_one_and_an_alias_are_found(store: WorkspaceStore) -> None:
    run_id, pipeline_id, chain_id = trained(store, 2.0)
    store.set_alias("meat/fat/champion", chain_id)

    for kind, identity in (("run", run_id), ("pipeline", pipeline_id), ("chain", chain_id)):
        assert store.identify(identity) == (kind, identity)
        assert store.identify(identity[:10].upper()) == (kind, identity)
    assert store.identify("meat/fat/champion") == ("chain", chain_id)
    with pytest.raises(UnknownIdError, match="No run has an id that begins with"):
        store.identify(chain_id, "run")
    with pytest.raises(UnknownIdError):
        store.identify("")
    with pytest.raises(UnknownIdError):
        store.identify("%")


def test_several_ids_with_one_beginning_are_listed(store: WorkspaceStore) -> None:
    _, pipeline_id, chain_id = trained(store, 2.0)
    for name in ("aa-1", "aa-12"):
        store.save_prediction(
            *(pipeline_id, chain_id, "meat", name, "PLS", "f0", "val", 1.0, None, None, "rmse", "regression", 1, 1),
            *({}, {}, None, None, None, None),
            prediction_id=name,
        )

    with pytest.raises(InvalidInputError, match="prediction aa-12, prediction aa-1"):
        store.identify("aa")
    assert store.identify("aa-1") == ("prediction", "aa-1"), "a whole id is never ambiguous"


def test_chains_are_ranked_by_pooled_score_within_dataset_target_and_metric(store: WorkspaceStore) -> None:
    _, _, good = trained(store, 2.0)
    trained(store, 2.0)  # the same training another night
    _, _, worse = trained(store, 3.0, size=9)
    trained(store, float("nan"), size=10)
    _, _, r2 = trained(store, 0.9, metric="r2", size=11)
    trained(store, 0.8, metric="r2", size=12)
    trained(store, 1.0, metric="oddness", size=13)
    _, _, water = trained(store, 7.0, target="water", size=14)

    best = store.rank_chains(1)
    assert best.select("target", "metric", "rank", "chain_id").rows() == [
        ("fat", "r2", 1, r2),
        ("fat", "rmse", 1, good),
        ("water", "rmse", 1, water),
    ]
    assert store.rank_chains(5, target="fat", metric="rmse")["chain_id"].to_list() == [good, worse]
    assert store.best_chain("meat", "fat", "rmse") == good


def test_a_metric_is_found_in_upper_and_lower_case(store: WorkspaceStore) -> None:
    _, _, first = trained(store, 2.0)
    _, _, second = trained(store, 3.0, metric="RMSE", size=9)
    for metric in ("RMSE", "rmse"):
        assert store.rank_chains(metric=metric)["chain_id"].to_list() == [first, second]
        assert store.list_chains(metric=metric)["chain_id"].to_list() == [second, first]
        assert store.best_chain("meat", "fat", metric) == first
    assert store.best_chain("meat", "fat") == first, "it is one metric"


def test_chains_are_listed_the_newest_first_with_their_aliases(store: WorkspaceStore) -> None:
    run_id, _, first = trained(store, 2.0)
    _, _, second = trained(store, 3.0, size=9)
    for alias in ("meat/fat/b", "meat/fat/a"):
        store.set_alias(alias, first)

    listed = store.list_chains()
    assert listed.select("chain_id", "aliases").rows() == [(second, None), (first, ["meat/fat/a", "meat/fat/b"])]
    assert store.list_chains(run_id=run_id)["chain_id"].to_list() == [first]
    assert store.list_chains(limit=1, offset=1)["chain_id"].to_list() == [first]
    assert store.list_chains(target="water").is_empty()
