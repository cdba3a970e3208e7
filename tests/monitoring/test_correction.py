"""Slope and bias corrections: what they mend, when they are refused, and that a corrected chain is a chain like any other."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from n4a_flows.monitoring import Limits, fit_correction, save_corrected_chain
from n4a_flows.spectra import Spectra, load_tecator
from n4a_flows.storage import WorkspaceStore, verify_bundle
from n4a_flows.storage.errors import ArtifactCorruptError, InvalidInputError, UnknownIdError
from n4a_flows.training import PipelineRunner
from n4a_flows.training.metrics import rmse

Score = Callable[..., None]
SecondInstrument = Callable[[Spectra], np.ndarray]


def fifteen(spectra: Spectra) -> tuple[Spectra, Spectra]:
    """15 samples to correct by, and the others."""
    order = np.random.default_rng(0).permutation(spectra.n_samples)
    return spectra.take(np.sort(order[:15])), spectra.take(np.sort(order[15:]))


def laboratory(store: WorkspaceStore, spectra: Spectra) -> None:
    store.add_reference_values(dict(zip(spectra.sample_ids, spectra.targets["fat"].tolist(), strict=True)), "fat")


@pytest.mark.parametrize("kind", ["bias", "slope_bias"])
def test_fifteen_samples_bring_a_chain_to_a_second_instrument(
    store: WorkspaceStore, chain: str, new: Spectra, score: Score, second_instrument: SecondInstrument, kind: str
) -> None:
    """RMSEP of the 71 others in % fat: 0.76 on the first instrument, 1.9 on the second, 1.2 corrected."""
    some, others = fifteen(new)
    score(store, chain, new.X, new.sample_ids, "first.csv", instrument="NIR-1")
    score(store, chain, second_instrument(some), some.sample_ids, "second.csv", instrument="NIR-2")
    laboratory(store, some)

    corrected = save_corrected_chain(store, chain, kind, instrument="NIR-2")  # type: ignore[arg-type]

    fat, X = others.targets["fat"], second_instrument(others)
    own, before, after = (
        rmse(fat, store.replay_chain(*each)) for each in ((chain, others.X), (chain, X), (corrected, X))
    )
    assert before > 2.4 * own
    assert after < 0.7 * before
    [run] = store.list_runs().filter(store.list_runs()["name"].str.contains("correction")).to_dicts()
    assert run["name"] == f"{'bias' if kind == 'bias' else 'slope and bias'} correction of fat on NIR-2"
    said = store.get_run(run["run_id"])["config"]["correction"]
    assert (said["parent"], said["kind"], said["n"], said["instrument"]) == (chain, kind, 15, "NIR-2")
    assert sorted(said["samples"]) == sorted(some.sample_ids)
    assert said["before"]["rmsep"] > said["after"]["rmsep"]


def test_a_corrected_chain_is_the_line_through_what_its_parent_predicts(
    store: WorkspaceStore, chain: str, new: Spectra
) -> None:
    predicted = store.replay_chain(chain, new.X)
    correction = fit_correction(1.1 * predicted[:15] + 2.0, new.targets["fat"][:15])
    corrected = save_corrected_chain(store, chain, correction, name="by hand")
    again = store.replay_chain(corrected, new.X)
    assert np.array_equal(again, correction.intercept + correction.slope * predicted), "to the last bit"

    parent, context = store.get_chain_context(chain), store.get_chain_context(corrected)
    assert (context.parent_chain_id, context.parent_digest) == (chain, parent.digest)
    assert (context.axis, context.signal, context.x_range, context.target, context.task_type, context.unit) == (
        parent.axis, parent.signal, parent.x_range, "fat", "regression", "%",
    )  # fmt: skip
    assert context.digest != parent.digest
    assert context.limits_artifact_id == parent.limits_artifact_id
    assert Limits.from_bytes(store.get_limits(corrected) or b"").calibration
    assert store.replay_probe(corrected).difference == 0.0
    assert np.array_equal(store.get_probe(corrected).X, store.get_probe(chain).X)
    assert store.check("replay").ok
    run = store.get_run(store.get_pipeline(store.get_chain(corrected)["pipeline_id"])["run_id"])
    assert (run["name"], run["status"]) == ("by hand", "completed")
    assert store.best_chain("tecator", "fat") == chain, "it has no validation score"


def test_the_artifacts_of_the_parent_are_used_and_not_written_anew(
    store: WorkspaceStore, chain: str, new: Spectra
) -> None:
    before = set((store.workspace_path / "artifacts").rglob("*.*"))
    predicted = store.replay_chain(chain, new.X)
    corrected = save_corrected_chain(store, chain, fit_correction(predicted, new.targets["fat"]))
    assert len(set((store.workspace_path / "artifacts").rglob("*.*")) - before) == 2, "the scaler and the probe"
    own, parents = (store.get_chain(each) for each in (corrected, chain))
    assert own["fold_artifacts"] == parents["fold_artifacts"]
    assert [step["artifact_ids"] for step in own["steps"][1:]] == [step["artifact_ids"] for step in parents["steps"]]
    # It stands by itself: the parent may go.
    store.delete_run(store.get_pipeline(parents["pipeline_id"])["run_id"])
    store.gc_artifacts()
    assert store.check("replay").ok
    assert store.replay_probe(corrected).agrees


def test_it_leaves_as_a_bundle_and_as_a_script_and_comes_in_elsewhere(
    store: WorkspaceStore, chain: str, new: Spectra
) -> None:
    predicted = store.replay_chain(chain, new.X)
    corrected = save_corrected_chain(store, chain, fit_correction(predicted, new.targets["fat"]))
    expected = store.replay_chain(corrected, new.X)
    bundle = store.export_chain(corrected, store.workspace_path / "corrected.n4a")
    assert verify_bundle(bundle).nirs4all_cannot is None
    other = WorkspaceStore(store.workspace_path.parent / "other")
    imported = other.import_bundle(bundle, trust="modules").chain_id
    assert np.array_equal(other.replay_chain(imported, new.X), expected)
    assert other.get_chain_context(imported).parent_digest == store.get_chain_context(chain).digest
    script = store.export_chain(corrected, store.workspace_path / "corrected.n4a.py", format="n4a.py")
    assert np.allclose(runpy.run_path(str(script))["predict"](new.X), expected, rtol=1e-12)


def corrected_again(store: WorkspaceStore, chain: str) -> str:
    return save_corrected_chain(store, chain, fit_correction(np.arange(12.0), 2 * np.arange(12.0) + 1))


def test_a_corrected_chain_can_be_corrected(store: WorkspaceStore, chain: str, new: Spectra) -> None:
    first = corrected_again(store, chain)
    second = corrected_again(store, first)
    predicted = store.replay_chain(chain, new.X)
    assert np.allclose(store.replay_chain(second, new.X), 1 + 2 * (1 + 2 * predicted))
    assert store.get_chain_context(second).parent_chain_id == first
    assert store.replay_probe(second).agrees
    assert corrected_again(store, chain) != first
    assert store.get_chain_context(corrected_again(store, chain)).digest == store.get_chain_context(first).digest


@pytest.mark.parametrize(
    "steps",
    [
        [{"y_processing": "sklearn.preprocessing.StandardScaler"}, "sklearn.preprocessing.StandardScaler"],
        [{"y_processing": "sklearn.preprocessing.PowerTransformer"}],
    ],
)
def test_the_correction_comes_after_a_scaler_of_y(store: WorkspaceStore, new: Spectra, steps: list[object]) -> None:
    runner = PipelineRunner(store=store)
    runner.run([*steps, {"model": "sklearn.cross_decomposition.PLSRegression"}], "tecator", "fat")
    parent = str(runner.last_recorded[0].chain_id)
    corrected = corrected_again(store, parent)
    assert np.array_equal(store.replay_chain(corrected, new.X), 1 + 2 * store.replay_chain(parent, new.X))


def test_folds_without_a_refit_are_corrected_too(store: WorkspaceStore, chain: str, new: Spectra) -> None:
    document, context = store.get_chain(chain), store.get_chain_context(chain)
    folds = {key: value for key, value in document["fold_artifacts"].items() if key != "fold_final"}
    # Counted from 0, as some chains are.
    steps = [{**step, "step_idx": number} for number, step in enumerate(document["steps"])]
    shared = {str(number): step["artifact_ids"] for number, step in enumerate(steps) if step["artifact_ids"]}
    pipeline = (document["pipeline_id"], steps, len(steps) - 1, document["model_class"], "", "per_fold", folds, shared)
    parent = store.save_chain(*pipeline, axis=context.axis, target="fat")
    corrected = corrected_again(store, parent)
    assert np.allclose(store.replay_chain(corrected, new.X), 1 + 2 * store.replay_chain(parent, new.X), rtol=1e-13)
    assert store.get_probe(corrected) is None


def test_the_t_tests_say_whether_there_is_anything_to_correct() -> None:
    rng = np.random.default_rng(3)
    reference = rng.uniform(10, 40, 20)
    noise = rng.normal(0, 0.5, 20)
    chance = fit_correction(reference + noise, reference)
    assert (chance.needed, chance.before.bias_differs, chance.before.slope_differs) == (False, False, False)
    shifted = fit_correction(reference + noise + 1.0, reference, "bias")
    assert (shifted.needed, shifted.slope, shifted.before.bias_differs) == (True, 1.0, True)
    assert shifted.intercept == pytest.approx(-1.0 - noise.mean())
    assert shifted.after.bias == pytest.approx(0, abs=1e-12)
    turned = fit_correction(25 + 0.8 * (reference - 25) + noise - noise.mean(), reference)
    assert (turned.needed, turned.before.slope_differs) == (True, True)
    line = stats.linregress(25 + 0.8 * (reference - 25) + noise - noise.mean(), reference)
    assert (turned.slope, turned.intercept) == (pytest.approx(line.slope), pytest.approx(line.intercept))
    assert turned.after.slope == pytest.approx(1)


@pytest.mark.parametrize(
    ("predicted", "reference", "kind", "message"),
    [
        (range(4), range(4), "bias", "at least 5 samples, not 4"),
        (range(9), range(9), "slope_bias", "at least 10 samples, not 9"),
        ([5.0] * 12, range(12), "slope_bias", "are the same"),
        (range(12), [5, 3, 8, 1, 9, 4, 6, 2, 7, 5, 3, 6], "slope_bias", "do not rise with"),
        (range(12), range(12, 0, -1), "slope_bias", "do not rise with"),
        ([*range(11), np.nan], range(12), "bias", "1 of 12 pairs"),
        (range(12), range(11), "bias", "One prediction for each"),
        (range(12), range(12), "slope", "use one of bias, slope_bias"),
    ],
)
def test_what_makes_no_sense_is_refused(
    predicted: Sequence[float], reference: Sequence[float], kind: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        fit_correction(list(predicted), list(reference), kind)  # type: ignore[arg-type]


def test_instruments_are_not_mixed_and_too_few_samples_leave_nothing(
    store: WorkspaceStore, chain: str, new: Spectra, score: Score, second_instrument: SecondInstrument
) -> None:
    score(store, chain, new.X, new.sample_ids, "1.csv", instrument="NIR-1")
    score(store, chain, second_instrument(new), new.sample_ids, "2.csv", instrument="NIR-2")
    laboratory(store, new)
    with pytest.raises(InvalidInputError, match=r"several instruments \('NIR-1', 'NIR-2'\)"):
        save_corrected_chain(store, chain)
    with pytest.raises(InvalidInputError, match="at least 10 samples, not 0"):
        save_corrected_chain(store, chain, instrument="NIR-3")
    assert store.list_runs().height == 1


def test_replicates_count_as_one_sample(store: WorkspaceStore, chain: str, new: Spectra, score: Score) -> None:
    twelve = new.take(range(12))
    score(store, chain, twelve.X, twelve.sample_ids, "1.csv")
    score(store, chain, twelve.X * 1.001, twelve.sample_ids, "2.csv")
    laboratory(store, twelve)
    corrected = save_corrected_chain(store, chain, "bias")
    run = store.get_run(store.get_pipeline(store.get_chain(corrected)["pipeline_id"])["run_id"])
    assert run["config"]["correction"]["n"] == 12


def test_classes_and_damaged_parents_are_refused(store: WorkspaceStore, chain: str) -> None:
    correction = fit_correction(np.arange(12.0), np.arange(12.0) + 1, "bias")
    tecator = load_tecator()
    kinds = Spectra(
        tecator.X, tecator.axis, tecator.sample_ids, {"kind": np.where(tecator.targets["fat"] > 20, "fat", "lean")}
    )
    runner = PipelineRunner(store=store)
    runner.run([{"model": "sklearn.neighbors.KNeighborsClassifier"}], kinds, "kind")
    with pytest.raises(InvalidInputError, match="predicts classes"):
        save_corrected_chain(store, str(runner.last_recorded[0].chain_id), correction)
    with pytest.raises(UnknownIdError):
        save_corrected_chain(store, "no-such-chain", correction)
    path = store.get_artifact_path(store.get_chain(chain)["fold_artifacts"]["fold_final"])
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    runs = store.list_runs().height
    with pytest.raises(ArtifactCorruptError):
        save_corrected_chain(store, chain, correction)
    assert store.list_runs().height == runs
