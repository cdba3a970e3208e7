"""The end of a run: a fresh process must predict what training did, and champions are challenged by what is pooled out of fold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from n4a_flows.spectra import Spectra
from n4a_flows.storage import ProbeReport, WorkspaceStore
from n4a_flows.storage.errors import UnknownIdError
from n4a_flows.training import (
    PipelineRunner,
    RecordedPipeline,
    TrainingError,
    TrainingOptions,
    challenge,
    champion_alias,
    conclude_run,
    replay_afresh,
    to_replay,
)
from n4a_flows.training.champion import pooled_scores

PLS = "sklearn.cross_decomposition.PLSRegression"
RIDGE = "sklearn.linear_model.RidgeClassifier"
LDA = "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"


def definition(*sizes: int) -> list[object]:
    return [{"model": {"class": PLS, "params": {"n_components": {"_or_": list(sizes)}}}}]


@pytest.fixture
def runner(tmp_path: Path, tecator: Spectra) -> PipelineRunner:
    runner = PipelineRunner(tmp_path)
    runner.run(definition(3, 6, 9), tecator, "fat")
    return runner


def test_a_fresh_process_predicts_what_training_did(runner: PipelineRunner, tmp_path: Path) -> None:
    chains = [one.chain_id for one in runner.last_recorded if one.chain_id]
    with WorkspaceStore(tmp_path) as store:
        reports = replay_afresh(store, [*chains, "unknown"])
    assert [(report.chain_id, report.agrees, report.difference) for report in reports[:-1]] == [
        (chain_id, True, 0.0) for chain_id in chains
    ]
    assert "No chain has the id 'unknown'" in str(reports[-1].problem)


def test_a_process_that_dies_is_an_error_with_its_last_words(runner: PipelineRunner, tmp_path: Path) -> None:
    store = WorkspaceStore(tmp_path)
    (tmp_path / "store.duckdb").write_bytes(b"no database")
    with pytest.raises(TrainingError, match=r"fresh process, which ended with: .*cannot be opened"):
        replay_afresh(store, ["any"])


def test_what_a_replay_does_not_confirm_is_failed_and_not_the_best(tmp_path: Path, tecator: Spectra) -> None:
    runner = PipelineRunner(tmp_path)
    runner.run(definition(3, 6, 9), tecator, "fat")
    recorded = runner.last_recorded
    first, second = sorted(recorded, key=lambda one: one.best_val or 0)[:2]
    with WorkspaceStore(tmp_path) as store:
        reports = [ProbeReport(str(first.chain_id), False, 3.0, "Predictions of the probe differ.")]
        checked, summary = conclude_run(store, str(runner.last_run_id), recorded, "rmse", TrainingOptions(), [*reports])
        assert summary["best"]["fat"]["chain_id"] == second.chain_id
        assert (summary["failed"], summary["replayed"]) == (1, {"chains": 1, "failed": 1})
        pipeline = store.get_pipeline(first.pipeline_id)
        assert pipeline is not None
        assert pipeline["status"] == "failed"
        assert "A fresh process does not predict what training did" in pipeline["error"]
        assert store.get_chain(str(first.chain_id)) is None
        assert store.best_chain("tecator") == second.chain_id
    assert [one.error is None for one in checked].count(False) == 1


def test_the_best_and_a_sample_of_the_others_are_replayed(runner: PipelineRunner) -> None:
    chains = [str(one.chain_id) for one in runner.last_recorded]
    assert to_replay(runner.last_recorded, chains[:1], 0, 42) == chains[:1]
    assert sorted(to_replay(runner.last_recorded, chains[1:2], 10, 42)) == sorted(chains)
    drawn = {tuple(to_replay(runner.last_recorded, chains[:1], 1, seed)) for seed in range(20)}
    assert drawn == {(chains[0], chains[1]), (chains[0], chains[2])}


def test_a_better_chain_takes_the_alias_and_a_worse_one_does_not(tmp_path: Path, tecator: Spectra) -> None:
    runner = PipelineRunner(tmp_path)
    options = TrainingOptions(champion=True, champion_margin=0.1)
    decisions = []
    for sizes in ((4,), (9,), (6,), (9,), (10,)):
        runner.run(definition(*sizes), tecator, "fat", options)
        with WorkspaceStore(tmp_path) as store:
            run = store.get_run(str(runner.last_run_id))
            assert run is not None
            decisions.append(run["summary"]["champions"]["fat"])
    with WorkspaceStore(tmp_path) as store:
        assert [one["promoted"] for one in decisions] == [True, True, False, False, False]
        assert "There was no champion" in decisions[0]["reason"]
        assert decisions[1]["reason"].startswith("Better: rmse ")
        assert "Not better by enough" in decisions[2]["reason"]
        assert decisions[3]["reason"] == "It is the champion already."
        assert "margin 0.1" in decisions[4]["reason"], "ten components are better, but by less than the margin"
        assert store.get_alias("tecator/fat/champion") == decisions[1]["chain_id"]
        history = store.alias_history("tecator/fat/champion")
        assert history["chain_id"].to_list() == [decisions[1]["chain_id"], decisions[0]["chain_id"]]
        assert history["note"][0] == decisions[1]["reason"]
        for one in decisions[:2]:
            assert pooled_scores(store, one["chain_id"])["rmse"] == pytest.approx(one["score"], rel=1e-12)


def test_more_of_an_accuracy_is_better(tmp_path: Path, tecator: Spectra) -> None:
    kinds = (tecator.targets["fat"] > 15).astype(float)
    spectra = replace(tecator, targets={"fatty": kinds})
    runner = PipelineRunner(tmp_path)
    options = TrainingOptions(champion=True, metric="roc_auc")
    promoted = []
    for size in (1, 6, 1):
        runner.run([{"class": PLS, "params": {"n_components": size}}, LDA], spectra, "fatty", options)
        with WorkspaceStore(tmp_path) as store:
            run = store.get_run(str(runner.last_run_id))
            assert run is not None
            promoted.append(run["summary"]["champions"]["fatty"]["promoted"])
    assert promoted == [True, True, False]


def test_a_champion_without_the_metric_is_not_replaced_by_guess(runner: PipelineRunner, tmp_path: Path) -> None:
    chains = [str(one.chain_id) for one in runner.last_recorded]
    with WorkspaceStore(tmp_path) as store:
        challenge(store, "tecator", "fat", chains[0], 3.0, "rmse")
        decision = challenge(store, "tecator", "fat", chains[1], 0.9, "accuracy")
        assert not decision.promoted
        assert "no accuracy to compare with" in decision.reason
        with pytest.raises(UnknownIdError):
            challenge(store, "tecator", "moisture", "unknown", 3.0, "rmse")
        assert store.list_aliases().height == 1
    assert champion_alias("meat (2024)", "../fat") == "meat-2024/fat/champion"


def test_a_champion_of_one_property_is_never_replaced_by_a_chain_for_another(tmp_path: Path, tecator: Spectra) -> None:
    runner = PipelineRunner(tmp_path)
    with WorkspaceStore(tmp_path) as store:
        first, other = (
            str(one.chain_id)
            for target in ("fat", "fat (%)")
            for one in recorded(runner, replace(tecator, targets={target: tecator.targets["fat"]}), target)
        )
        assert champion_alias("meat", "fat") == champion_alias("meat", "fat (%)")
        challenge(store, "meat", "fat", first, 3.0, "rmse")
        decision = challenge(store, "meat", "fat (%)", other, 0.1, "rmse")
        assert not decision.promoted
        assert "predicts 'fat', not 'fat (%)'" in decision.reason
        assert store.get_alias("meat/fat/champion") == first


def recorded(runner: PipelineRunner, spectra: Spectra, target: str) -> list[RecordedPipeline]:
    runner.run(definition(3), spectra, target)
    return runner.last_recorded


def test_names_in_another_script_keep_apart() -> None:
    names = [
        "зерно",
        "овёс",
        "зерно 2024",
        "овёс 2024",
        "зерно_NIR",
        "овёс_NIR",
        "玉米 v2",
        "小麦 v2",
        "v2",
        "2024",
        "%",
        "#",
    ]
    assert len({champion_alias(name, "fat") for name in names}) == len(names)
    assert champion_alias("Eiweiß", "Protéine") == "Eiwei/Prot-ine/champion"


def test_a_model_without_the_deciding_score_has_failed(tmp_path: Path, tecator: Spectra) -> None:
    kinds = np.where(tecator.targets["fat"] > 15, "fat", "lean")
    spectra = replace(tecator, targets={"kind": kinds})
    runner, options = PipelineRunner(tmp_path), TrainingOptions(metric="roc_auc")
    with pytest.raises(
        TrainingError,
        match=r"All 1 pipelines failed; .*RidgeClassifier.* no roc_auc.* predict_proba.* balanced_accuracy",
    ):
        runner.run([RIDGE], spectra, "kind", options)
    runner.run([{"model": {"_or_": [RIDGE, LDA]}}], spectra, "kind", options)
    errors = {one.name: one.error for one in runner.last_recorded}
    assert [error is None for error in errors.values()] == [False, True]
    with WorkspaceStore(tmp_path) as store:
        run = store.get_run(str(runner.last_run_id))
    assert run is not None
    assert (run["status"], run["summary"]["failed"], list(run["summary"]["best"])) == ("completed", 1, ["kind"])
    # Labels alone are enough for others.
    runner.run([RIDGE], spectra, "kind", TrainingOptions(metric="kappa"))
    assert runner.last_recorded[0].error is None


def test_a_class_that_the_folds_do_not_all_hold_leaves_no_score(tmp_path: Path, tecator: Spectra) -> None:
    kinds = np.array(["a", "b"] * 20 + ["rare"])
    spectra = replace(tecator.take(range(41)), targets={"kind": kinds}, metadata={})
    folds = {"class": "sklearn.model_selection.KFold", "params": {"n_splits": 4}}
    with pytest.raises(TrainingError, match=r"no roc_auc .*a class is missing in a fold"):
        PipelineRunner(tmp_path).run([folds, LDA], spectra, "kind", TrainingOptions(metric="roc_auc"))


def test_an_undefined_score_of_numbers_is_a_failure(tmp_path: Path, tecator: Spectra) -> None:
    spectra = replace(tecator, targets={"same": np.full(tecator.n_samples, 2.0)})
    with pytest.raises(TrainingError, match=r"Ridge.* no r2 .*same, .* such as rmse"):
        PipelineRunner(tmp_path).run(["sklearn.linear_model.Ridge"], spectra, "same", TrainingOptions(metric="r2"))
