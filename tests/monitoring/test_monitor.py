"""Laboratory values that come in are compared with what was predicted: by chain, instrument and product."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from n4a_flows.monitoring import monitor, save_corrected_chain
from n4a_flows.spectra import Spectra, load_tecator, read_spectra
from n4a_flows.storage import ScoredFile, ScoredSample, WorkspaceStore
from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import UnknownIdError
from n4a_flows.training import PipelineRunner
from n4a_flows.training.metrics import rmse

Score = Callable[..., None]

SHARED = Path(os.environ.get("N4A_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
NIRSOIL = SHARED / "sets" / "nirsoil" / "nirsoil_4nm.csv"
PLS = "sklearn.cross_decomposition.PLSRegression"


def laboratory(store: WorkspaceStore, spectra: Spectra, more: float = 0.0) -> None:
    fat = (spectra.targets["fat"] + more).tolist()
    store.add_reference_values(dict(zip(spectra.sample_ids, fat, strict=True)), "fat")


def test_figures_are_those_of_the_samples_and_the_limits_those_of_cross_validation(
    store: WorkspaceStore, chain: str, new: Spectra, score: Score
) -> None:
    score(store, chain, new.X, new.sample_ids)
    assert monitor(store).chains == (), "no laboratory value has come in"
    laboratory(store, new.take(range(40)))
    [found] = monitor(store, chain).chains
    predicted = store.replay_chain(chain, new.X[:40])
    assert (found.agreement.n, found.target, found.unit, found.chain_id) == (40, "fat", "%", chain)
    assert found.agreement.rmsep == pytest.approx(rmse(new.targets["fat"][:40], predicted))
    [pipeline] = store.list_pipelines().to_dicts()
    assert found.error == pytest.approx(pipeline["best_val"]), "the RMSECV of all out-of-fold predictions together"
    assert found.error_from == chain
    [group] = found.groups
    assert group.chart.action_limit == pytest.approx(3 * found.error)
    assert list(group.chart.sample_ids) == new.sample_ids[:40], "in the order of the file"
    laboratory(store, new)
    assert monitor(store).chains[0].agreement.n == 86


def test_each_instrument_and_product_has_its_chart(
    store: WorkspaceStore, chain: str, new: Spectra, score: Score, second_instrument: Callable[[Spectra], np.ndarray]
) -> None:
    pork, beef = new.take(range(40)), new.take(range(40, 86))
    score(store, chain, pork.X, pork.sample_ids, "1.csv", instrument="NIR-1", product="pork")
    score(store, chain, beef.X, beef.sample_ids, "2.csv", instrument="NIR-1", product="beef")
    score(store, chain, second_instrument(new), new.sample_ids, "3.csv", instrument="NIR-2")
    laboratory(store, new)
    report = monitor(store)
    [found] = report.chains
    assert [(group.instrument, group.product, group.chart.agreement.n) for group in found.groups] == [
        ("NIR-1", "beef", 46), ("NIR-1", "pork", 40), ("NIR-2", None, 86),
    ]  # fmt: skip
    assert found.agreement.n == 172
    charts = {(group.instrument, group.product): group.chart for group in found.groups}
    assert not charts["NIR-1", "pork"].agreement.bias_differs
    assert charts["NIR-2", None].agreement.bias_differs
    crossed = [crossing for crossing in report.crossings if crossing.rule == "bias"]
    assert {crossing.instrument for crossing in crossed} == {"NIR-2"}
    assert crossed[0].said.startswith(f"fat, chain {chain[:8]}, NIR-2: The ")
    document = report.to_dict()
    assert document["chains"][0]["groups"][2]["bias_differs"] is True
    assert len(document["crossings"]) == len(report.crossings)


def test_a_chain_that_was_trained_again_to_the_same_result_is_the_same(
    store: WorkspaceStore, chain: str, new: Spectra, score: Score
) -> None:
    pipeline = store.get_pipeline(store.get_chain(chain)["pipeline_id"])
    runner = PipelineRunner(store=store)
    runner.run(pipeline["expanded_config"], "tecator", "fat")
    [again] = [str(one.chain_id) for one in runner.last_recorded]
    score(store, chain, new.X[:40], new.sample_ids[:40], "1.csv")
    score(store, again, new.X[40:], new.sample_ids[40:], "2.csv")
    laboratory(store, new)
    for name in (None, chain, again):
        [found] = monitor(store, name).chains
        assert (found.chain_id, found.agreement.n) == (again, 86)


def test_what_was_predicted_outlives_its_chain_and_only_recent_samples_can_be_asked_for(
    store: WorkspaceStore, chain: str, new: Spectra, score: Score
) -> None:
    score(store, chain, new.X, new.sample_ids)
    laboratory(store, new, more=5.0)
    before = monitor(store)
    assert monitor(store, since=now() + timedelta(days=1)).chains == ()
    assert monitor(store, since=now() - timedelta(days=1)).chains[0].agreement.n == 86
    [run] = store.list_runs()["run_id"]
    store.delete_run(run)
    [found] = monitor(store).chains
    assert found.agreement == before.chains[0].agreement
    assert (found.error, found.error_from, found.groups[0].chart.action_limit) == (None, None, None)
    assert [one.rule for one in found.groups[0].chart.crossings] == ["bias"]


def test_an_imported_chain_has_limits_too(store: WorkspaceStore, chain: str, new: Spectra, score: Score) -> None:
    bundle = store.export_chain(chain, store.workspace_path / "fat.n4a")
    other = WorkspaceStore(store.workspace_path.parent / "other")
    imported = other.import_bundle(bundle).chain_id
    score(other, imported, new.X, new.sample_ids)
    laboratory(other, new)
    score(store, chain, new.X, new.sample_ids)
    laboratory(store, new)
    there, here = (monitor(each).chains[0] for each in (other, store))
    assert there.error == pytest.approx(here.error, rel=1e-6)
    assert there.agreement == here.agreement


def test_a_corrected_chain_is_judged_by_the_error_of_its_parent(
    store: WorkspaceStore, chain: str, new: Spectra, score: Score
) -> None:
    score(store, chain, new.X, new.sample_ids)
    laboratory(store, new, more=5.0)
    assert any(crossing.rule == "action" for crossing in monitor(store).crossings)
    corrected = save_corrected_chain(store, chain, "bias")
    score(store, corrected, new.X, new.sample_ids, "again.csv")
    [found] = monitor(store, corrected).chains
    assert (found.chain_id, found.error_from) == (corrected, chain)
    assert abs(found.agreement.bias) < 1e-9
    assert len(monitor(store).chains) == 2


def test_the_same_crossing_has_the_same_name_when_more_samples_come(
    store: WorkspaceStore, chain: str, new: Spectra, score: Score
) -> None:
    score(store, chain, new.X, new.sample_ids)
    laboratory(store, new.take(range(30)), more=6.0)
    first = monitor(store).crossings
    assert first
    assert store.record_crossings(first) == [one.crossing_id for one in first]
    laboratory(store, new, more=6.0)
    later = monitor(store).crossings
    assert {one.crossing_id for one in first} <= {one.crossing_id for one in later}
    new_ones = store.record_crossings(later)
    assert len(new_ones) == len(later) - len(first)
    assert store.record_crossings(later) == []
    assert store.limit_crossings(chain)["crossing_id"].n_unique() == len(later)


def test_the_same_crossing_has_the_same_name_when_its_file_grows(
    store: WorkspaceStore, chain: str, new: Spectra
) -> None:
    y = store.replay_chain(chain, new.X).tolist()
    laboratory(store, new, more=6.0)
    for number in (30, 60, 60):
        samples = [ScoredSample(name, value) for name, value in zip(new.sample_ids[:number], y, strict=False)]
        store.record_scoring(chain, [ScoredFile("day.csv", f"{number:064}", "scored", samples=samples)])
        found = monitor(store).crossings
        if number == 30:
            first = {one.crossing_id for one in found}
            assert first
        assert first <= {one.crossing_id for one in found}


def test_what_began_before_the_time_that_is_looked_at_is_the_same_crossing(
    store: WorkspaceStore, chain: str, new: Spectra, score: Score
) -> None:
    score(store, chain, new.X[:40], new.sample_ids[:40], "1.csv", instrument="NIR-1")
    moment = now()
    score(store, chain, new.X[40:], new.sample_ids[40:], "2.csv", instrument="NIR-1")
    laboratory(store, new, more=1.5)
    whole, recent = monitor(store), monitor(store, since=moment)
    assert recent.chains[0].agreement.n == 46
    [chart] = [group.chart for group in recent.chains[0].groups]
    assert list(chart.sample_ids) == new.sample_ids[40:]
    [bias] = [one for one in chart.crossings if one.rule == "bias"]
    assert bias.members[0] == 0, "it lasts since before the chart begins"
    assert bias.began_at < moment
    assert {one.crossing_id for one in recent.crossings} < {one.crossing_id for one in whole.crossings}
    store.record_crossings(whole.crossings)
    assert store.record_crossings(recent.crossings) == []


@pytest.mark.skipif(not NIRSOIL.is_file(), reason="no shared data (N4A_TEST_DATA, ../shared/data)")
def test_soils_that_were_not_trained_on_are_in_control_until_the_instrument_changes(
    tmp_path: Path, score: Score
) -> None:
    """Nitrogen of 160 soils, RMSEP in its unit: 0.80 as they are, 0.85 with wavelengths 4 nm off, 0.80 with the bias corrected."""
    soils = read_spectra(NIRSOIL, target="Nt", signal="absorbance")
    runner = PipelineRunner(tmp_path / "ws")
    runner.run(
        ["chemotools.scatter.StandardNormalVariate", {"model": {"class": PLS, "params": {"n_components": 12}}}],
        soils,
        "Nt",
    )
    chain = str(runner.last_recorded[0].chain_id)
    held_out = np.flatnonzero((soils.metadata["split"] == "test") & np.isfinite(soils.targets["Nt"]))
    new = soils.take(np.random.default_rng(0).permutation(held_out))
    nm = soils.axis.values
    shifted = CubicSpline(nm, new.X, axis=1)(nm + 4.0)
    with WorkspaceStore(tmp_path / "ws") as store:
        score(store, chain, new.X, new.sample_ids, "1.csv", instrument="NIR-1")
        score(store, chain, shifted, new.sample_ids, "2.csv", instrument="NIR-2")
        store.add_reference_values(dict(zip(new.sample_ids, new.targets["Nt"].tolist(), strict=True)), "Nt")
        [found] = monitor(store).chains
        first, second = (group.chart for group in found.groups)
        assert not first.agreement.bias_differs
        assert second.agreement.bias_differs
        assert ["bias" in {one.rule for one in each.crossings} for each in (first, second)] == [False, True]
        # Errors of soils are not normal: as in cross-validation, some lie beyond the action limits.
        assert found.beyond_action is not None
        assert 0.01 < found.beyond_action < 0.03
        corrected = save_corrected_chain(store, chain, "bias", instrument="NIR-2")
        score(store, corrected, shifted, new.sample_ids, "3.csv", instrument="NIR-2")
        [mended] = monitor(store, corrected).chains
        assert mended.agreement.rmsep < 0.96 * second.agreement.rmsep
        assert mended.agreement.rmsep == pytest.approx(first.agreement.rmsep, rel=0.02)


def test_classes_are_left_out_and_an_unknown_chain_is_refused(
    store: WorkspaceStore, new: Spectra, score: Score
) -> None:
    tecator = load_tecator()
    kinds = Spectra(
        tecator.X, tecator.axis, tecator.sample_ids, {"kind": np.where(tecator.targets["fat"] > 20, "fat", "lean")}
    )
    runner = PipelineRunner(store=store)
    runner.run(
        ["sklearn.preprocessing.StandardScaler", {"model": "sklearn.neighbors.KNeighborsClassifier"}], kinds, "kind"
    )
    score(store, str(runner.last_recorded[0].chain_id), new.X, new.sample_ids)
    store.add_reference_values(dict.fromkeys(new.sample_ids, 1.0), "kind")
    assert monitor(store).chains == ()
    with pytest.raises(UnknownIdError):
        monitor(store, "no-such-chain")
