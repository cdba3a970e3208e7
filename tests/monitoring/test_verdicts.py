"""What a lab would notice of the verdicts: few false alarms, intervals that hold, and no trouble that is called ok."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from troubles import shifted, troubled

from n4a_flows.monitoring import Judge, Judged, Limits, judge_batch
from n4a_flows.spectra import Spectra, load_tecator, read_spectra
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.training.definition import expand
from n4a_flows.training.engine import train_pipelines
from n4a_flows.training.options import TrainingOptions
from n4a_flows.training.record import record_pipelines

SNV = "chemotools.scatter.StandardNormalVariate"
PLS = "sklearn.cross_decomposition.PLSRegression"
SVR = [SNV, "sklearn.preprocessing.StandardScaler", {"model": {"class": "sklearn.svm.SVR", "params": {"C": 100.0}}}]
LDA = [SNV, PLS, {"model": "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"}]

LONG = bool(os.environ.get("N4A_LONG"))


def pls(components: int) -> list[object]:
    return [SNV, {"model": {"class": PLS, "params": {"n_components": components}}}]


def part(spectra: Spectra, target: str, rows: np.ndarray) -> Spectra:
    return Spectra(
        spectra.X[rows],
        spectra.axis,
        [spectra.sample_ids[row] for row in rows],
        {target: spectra.targets[target][rows]},
        signal=spectra.signal,
        name=spectra.name,
    )


def judge_for(workspace: Path, training: Spectra, target: str, definition: object, **judged: float) -> Judge:
    """A judge for a chain that was trained, recorded and loaded again."""
    [trained] = train_pipelines([(one, target) for one in expand(definition)], training, TrainingOptions())
    assert trained.error is None
    with WorkspaceStore(workspace) as store:
        [recorded] = record_pipelines(store, store.begin_run("verdicts", {}, [training.name]), [trained])
        limits = store.get_limits(recorded.chain_id)
        assert limits is not None
        return Judge(store.load_predictor(recorded.chain_id), Limits.from_bytes(limits), **judged)


def split(spectra: Spectra, target: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    known = np.flatnonzero(np.isfinite(spectra.targets[target]))
    order = np.random.default_rng(seed).permutation(known)
    return np.sort(order[: int(0.7 * len(order))]), order[int(0.7 * len(order)) :]


@pytest.fixture(scope="module")
def held_out() -> Spectra:
    tecator = load_tecator()
    return part(tecator, "fat", split(tecator, "fat", 0)[1])


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    tecator = load_tecator()
    return judge_for(
        tmp_path_factory.mktemp("judge"), part(tecator, "fat", split(tecator, "fat", 0)[0]), "fat", pls(10)
    )


def not_ok(judged: Judged) -> float:
    return float(np.mean([verdict != "ok" for verdict in judged.verdicts]))


def shared_set(name: str) -> Spectra:
    place = Path(os.environ.get("N4A_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data") / "sets" / name
    if not place.is_dir():
        pytest.skip("no shared data (N4A_TEST_DATA, ../shared/data)")
    return read_spectra(next(place.glob("*.csv")))


SETS = {"tecator": ("fat", pls(10)), "nirsoil": ("Ciso", pls(12)), "barley_auroranir": ("protein", pls(5))}


@pytest.mark.parametrize("name", list(SETS) if LONG else ["tecator"])
def test_false_alarms_and_intervals_keep_their_rates_on_held_out_spectra(name: str, tmp_path: Path) -> None:
    spectra = load_tecator() if name == "tecator" else shared_set(name)
    target, definition = SETS[name]
    alarms, covered, batches = [], [], []
    for seed in range(20 if LONG else 10):
        inside, outside = split(spectra, target, seed)
        judge = judge_for(tmp_path / str(seed), part(spectra, target, inside), target, definition)
        judged = judge.predict(spectra.X[outside], spectra.axis)
        y = spectra.targets[target][outside]
        assert judged.lower is not None
        alarms.append(not_ok(judged))
        covered.append(np.mean((judged.lower <= y) & (y <= judged.upper)))
        batches.append(judge_batch(judged.tally, judge.limits).verdict)
    print(f"{name}: joint false alarms {np.mean(alarms):.3f}, coverage {np.mean(covered):.3f}, batches {batches}")
    assert 0.03 <= np.mean(alarms) <= 0.08
    assert 0.92 <= np.mean(covered) <= 0.98
    assert batches.count("ok") >= 0.9 * len(batches)


def test_no_trouble_is_called_ok(judge: Judge, held_out: Spectra) -> None:
    for trouble, X in troubled(held_out.X, held_out.axis.values).items():
        judged = judge.predict(X)
        assert not_ok(judged) == 1.0, trouble
        assert all(judged.reasons), trouble
        assert judge_batch(judged.tally, judge.limits).verdict == "outlier", trouble


def test_the_reasons_say_what_is_wrong_and_where(judge: Judge, held_out: Spectra) -> None:
    spike = held_out.X[:1].copy()
    spike[0, 40] += 0.3
    assert any("a spike or step at" in reason for reason in judge.predict(spike).reasons[0])
    saturated = np.minimum(held_out.X[:1], held_out.X[0, 60])
    [reasons] = judge.predict(saturated).reasons
    assert "neighbouring points have exactly the same value: a saturated or dead band" in reasons[0]


def test_a_constant_spectrum_gets_no_prediction_and_spoils_no_other(judge: Judge, held_out: Spectra) -> None:
    X = held_out.X[:3].copy()
    alone = judge.predict(X[[0, 2]])
    X[1] = 2.5
    judged = judge.predict(X)
    assert judged.verdicts[1] == "rejected"
    assert judged.reasons[1] == ("all its points have the same value: it is no spectrum",)
    assert np.isnan(judged.y[1])
    assert judged.y[[0, 2]].tolist() == alone.y.tolist()
    assert judged.tally.counts["rejected"] == 1


def test_predictions_are_those_of_the_chain_to_the_last_bit(judge: Judge, held_out: Spectra) -> None:
    assert judge.predict(held_out.X).y.tolist() == judge.predictor.predict(held_out.X).tolist()


def test_verdicts_do_not_depend_on_the_others_in_the_batch(judge: Judge, held_out: Spectra) -> None:
    together = judge.predict(held_out.X)
    parts = [judge.predict(held_out.X[rows]) for rows in np.array_split(np.arange(len(held_out.X)), 5)]
    assert [verdict for one in parts for verdict in one.verdicts] == together.verdicts
    tally = parts[0].tally
    for one in parts[1:]:
        tally += one.tally
    whole, added = judge_batch(together.tally, judge.limits), judge_batch(tally, judge.limits)
    assert (whole.verdict, whole.reasons) == (added.verdict, added.reasons)


def test_the_user_sets_the_rates(judge: Judge, held_out: Spectra) -> None:
    strict = Judge(judge.predictor, judge.limits, false_alarms=0.3, coverage=0.5)
    usual, more = judge.predict(held_out.X), strict.predict(held_out.X)
    assert not_ok(more) > not_ok(usual)
    assert np.all(more.upper - more.lower < usual.upper - usual.lower)
    with pytest.raises(InvalidInputError, match="false_alarms is a share between 0 and 1, not 5"):
        Judge(judge.predictor, judge.limits, false_alarms=5)


def test_a_silent_shift_that_spoils_predictions_raises_the_batch_verdict(judge: Judge, held_out: Spectra) -> None:
    fat, wavelengths = held_out.targets["fat"], held_out.axis.values
    usual = np.sqrt(np.mean((judge.predict(held_out.X).y - fat) ** 2))
    spoiled = 0
    for by in (1.0, 2.0, 4.0, 6.0):
        judged = judge.predict(shifted(held_out.X, wavelengths, by))
        if np.sqrt(np.mean((judged.y - fat) ** 2)) > 1.2 * usual:
            spoiled += 1
            assert judge_batch(judged.tally, judge.limits).verdict != "ok", by
    assert spoiled >= 2


@pytest.mark.parametrize("value", [-3.4028235e38, 1e39, 1e300])
def test_values_that_are_none_are_never_called_ok(judge: Judge, held_out: Spectra, value: float) -> None:
    X = held_out.X[:5].copy()
    X[1, 40] = value
    judged = judge.predict(X)
    assert judged.verdicts[1] == "outlier"
    assert judged.reasons[1]
    assert judged.verdicts[0] == judge.predict(held_out.X[:1]).verdicts[0]


def test_one_wild_spectrum_does_not_condemn_the_batch(tmp_path: Path, held_out: Spectra) -> None:
    tecator = load_tecator()
    raw = judge_for(tmp_path, part(tecator, "fat", split(tecator, "fat", 0)[0]), "fat", pls(10)[1:])
    assert judge_batch(raw.predict(held_out.X).tally, raw.limits).verdict == "ok"
    X = held_out.X.copy()
    X[7] *= 1e5  # counts
    judged = raw.predict(X)
    assert judged.verdicts[7] == "outlier"
    assert judge_batch(judged.tally, raw.limits).verdict == "ok"


def test_a_batch_of_a_single_spectrum_is_as_that_spectrum_is(judge: Judge, held_out: Spectra) -> None:
    singles = [judge.predict(held_out.X[row : row + 1]) for row in range(len(held_out.X))]
    normal = [judge_batch(one.tally, judge.limits).verdict for one in singles if one.verdicts == ["ok"]]
    assert normal.count("ok") >= 0.97 * len(normal)
    for trouble in (10 ** -held_out.X[:1], np.full((1, held_out.X.shape[1]), 0.5)):
        judged = judge.predict(trouble)
        assert judge_batch(judged.tally, judge.limits).verdict == "outlier", judged.verdicts


def test_a_hundred_spectra_with_two_decimals_keep_the_rate_too(tmp_path: Path) -> None:
    tecator, alarms = load_tecator(), []
    rounded = Spectra(
        np.round(tecator.X, 2), tecator.axis, tecator.sample_ids, tecator.targets, signal=tecator.signal, name="rounded"
    )
    for seed in range(10):
        inside, outside = split(rounded, "fat", seed)
        inside = np.sort(np.random.default_rng(seed).choice(inside, 100, replace=False))
        judge = judge_for(tmp_path / str(seed), part(rounded, "fat", inside), "fat", pls(2))
        alarms.append(not_ok(judge.predict(rounded.X[outside])))
    assert np.mean(alarms) < 0.065


def test_replicates_of_one_normal_sample_are_no_drift(judge: Judge, held_out: Spectra) -> None:
    random = np.random.default_rng(1)
    normal = [row for row, verdict in enumerate(judge.predict(held_out.X).verdicts) if verdict == "ok"][:20]
    alike = 0
    for row in normal:
        scans = held_out.X[row] + 1e-5 * random.standard_normal((6, held_out.X.shape[1]))
        alike += judge_batch(judge.predict(scans).tally, judge.limits).verdict == "ok"
    assert alike >= 18


def test_an_empty_batch_is_ok(judge: Judge) -> None:
    from n4a_flows.monitoring import BatchTally

    assert judge_batch(BatchTally({}), judge.limits).verdict == "ok"


def test_a_model_without_scores_is_judged_by_principal_components(tmp_path: Path, held_out: Spectra) -> None:
    tecator = load_tecator()
    judge = judge_for(tmp_path, part(tecator, "fat", split(tecator, "fat", 0)[0]), "fat", SVR)
    assert judge.limits.components is not None
    assert not_ok(judge.predict(held_out.X)) < 0.2
    for trouble, X in troubled(held_out.X, held_out.axis.values).items():
        assert not_ok(judge.predict(X)) == 1.0, trouble


def test_classes_are_judged_without_intervals(tmp_path: Path, held_out: Spectra) -> None:
    tecator = load_tecator()
    inside, _ = split(tecator, "fat", 0)
    classes = Spectra(
        tecator.X[inside],
        tecator.axis,
        [tecator.sample_ids[row] for row in inside],
        {"kind": np.where(tecator.targets["fat"][inside] > 20, "fat", "lean")},
        signal=tecator.signal,
        name="kinds",
    )
    judge = judge_for(tmp_path, classes, "kind", LDA)
    judged = judge.predict(held_out.X)
    assert judged.lower is None
    assert judged.upper is None
    assert set(judged.y) == {"fat", "lean"}
    assert not_ok(judged) < 0.2
    assert "y_excess" not in judge.limits.calibration
    flat = judge.predict(np.ones((2, held_out.X.shape[1])))
    assert flat.verdicts == ["rejected", "rejected"]


def test_limits_are_the_same_after_they_were_stored(judge: Judge, held_out: Spectra) -> None:
    stored = judge.limits.to_artifact()
    again = Limits.from_bytes(stored.data)
    assert again.to_artifact().content_hash == stored.content_hash
    assert Judge(judge.predictor, again).predict(held_out.X).reasons == judge.predict(held_out.X).reasons
    with pytest.raises(InvalidInputError, match="hold no limits"):
        Limits.from_bytes(_other_arrays())


def _other_arrays() -> bytes:
    from n4a_flows.storage.codecs import serialize

    return serialize({"version": np.array(1), "a": np.zeros(3)}, "a.B", "limits", "npz").data


def test_few_spectra_have_no_limits_and_are_trained_all_the_same(tmp_path: Path) -> None:
    tecator = load_tecator()
    few = part(tecator, "fat", np.arange(8))
    [trained] = train_pipelines([(one, "fat") for one in expand(pls(2))], few, TrainingOptions())
    assert (trained.error, trained.limits) == (None, None)
