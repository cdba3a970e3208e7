"""What a lab notices of verdicts when it predicts new files: intervals, reasons, the batch, and batches that are held back."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect.artifacts import Artifact, create_markdown_artifact

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import PredictionOptions, predict_new_spectra
from n4a_flows.monitoring import Limits
from n4a_flows.spectra import Spectra
from n4a_flows.storage.errors import BatchNotReleasedError, InvalidInputError
from n4a_flows.tasks import files as listing

pytestmark = pytest.mark.prefect

Writer = Callable[[Path, Spectra], None]


@pytest.fixture(autouse=True)
def _complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_FRESH", 0.0)


@pytest.fixture
def day(tmp_path: Path, new_spectra: Spectra, write_csv: Writer) -> Path:
    """A file with five new spectra; the second is reflectance, which nobody said."""
    X = new_spectra.X.copy()
    X[1] = 10 ** -X[1]
    folder = tmp_path / "in"
    write_csv(folder / "day.csv", replace(new_spectra, X=X))
    return folder


def test_rows_that_are_no_spectra_are_told_and_count_in_the_batch(
    block: WorkspaceStoreBlock, chain: str, day: Path
) -> None:
    lines = (day / "day.csv").read_text().splitlines()
    width = lines[1].count(",")
    dead = [",".join([f"dead{number}", *["0.5"] * width]) for number in range(6)]
    (day / "day.csv").write_text("\n".join([*lines, *dead]) + "\n")

    summary = predict_new_spectra(block, chain, day, PredictionOptions(settle_seconds=0))

    assert len(summary.rejected_rows) == 6
    assert summary.rejected_rows[0].endswith(f"line {len(lines) + 1}: the spectrum is constant: every value is 0.5")
    [batch] = summary.batches
    assert batch.verdict == "outlier"
    assert any("of 11 spectra are outliers or have no prediction" in reason for reason in batch.reasons)


@pytest.fixture
def odd(new_spectra: Spectra) -> Spectra:
    """Five spectra that no calibration knows: reflectance, which nobody said."""
    return replace(new_spectra, X=10**-new_spectra.X, sample_ids=[f"odd{number}" for number in range(5)])


@pytest.fixture
def without_limits(block: WorkspaceStoreBlock, chain: str) -> str:
    """The same chain as it was stored before there were limits."""
    with block.open() as store:
        row, context = store.get_chain(chain), store.get_chain_context(chain)
        kept = (
            "pipeline_id", "steps", "model_step_idx", "model_class", "preprocessings", "fold_strategy", "fold_artifacts",
            "shared_artifacts", "dataset_name",
        )  # fmt: skip
        return store.save_chain(
            **{name: row[name] for name in kept}, axis=context.axis, signal=context.signal, target=context.target
        )


def report() -> str:
    artifact = Artifact.get("n4a-prediction")
    assert artifact is not None
    return str(artifact.data)


def test_each_sample_has_an_interval_and_a_verdict_and_the_batch_one(
    block: WorkspaceStoreBlock, chain: str, day: Path, new_spectra: Spectra
) -> None:
    with block.open() as store:
        store.add_reference_values({new_spectra.sample_ids[0]: new_spectra.targets["fat"][0]}, "fat")
    summary = predict_new_spectra(
        block, chain, day, PredictionOptions(instrument="NIR-2", product="beef", coverage=0.8)
    )

    table = pl.read_parquet(summary.predictions_path).sort("sample_id")
    odd = table.filter(pl.col("sample_id") == new_spectra.sample_ids[1]).row(0, named=True)
    assert odd["verdict"] == "outlier"
    assert "far from the centre of the calibration" in json.loads(odd["reasons"])[0]
    assert table.filter(pl.col("verdict") == "ok")["reasons"].unique().to_list() == ["[]"]
    with block.open() as store:
        width = 2 * (Limits.from_bytes(store.get_limits(chain)).half_width(0.8) or 0)
    assert (table["upper"] - table["lower"]).to_list() == pytest.approx([width] * 5, rel=1e-4)
    assert ((table["lower"] + table["upper"]) / 2).to_list() == pytest.approx(table["y"].to_list(), rel=1e-4)
    assert table["released"].to_list() == [True] * 5
    assert summary.verdicts == dict(sorted(table["verdict"].value_counts().iter_rows(), key=lambda one: one[0] != "ok"))
    [batch] = summary.batches
    assert (batch.chain_id, batch.target, batch.released, batch.samples) == (chain, "fat", True, 5)
    with block.open() as store:
        recorded = store.scored_batches(chain).row(0, named=True)
        assert (recorded["verdict"], recorded["released"], recorded["n_samples"]) == (batch.verdict, True, 5)
        assert json.loads(store.scored_files()["detail"][0])["instrument"] == "NIR-2"
        pairs = store.reference_pairs(chain)
        assert pairs.select("instrument", "product").rows() == [("NIR-2", "beef")]
    shown = report()
    assert shown.splitlines()[2].startswith(f"**Batch {batch.verdict}. 5 new samples: ")
    assert shown.index(new_spectra.sample_ids[1]) < shown.index(new_spectra.sample_ids[0])
    assert shown.count("data:image/png") == 3
    assert "1 of 5 samples have a laboratory value" in shown


def test_a_batch_is_held_back_until_its_check_samples_are_right(
    block: WorkspaceStoreBlock, chain: str, day: Path, new_spectra: Spectra, write_csv: Writer
) -> None:
    name, known = new_spectra.sample_ids[2], float(new_spectra.targets["fat"][2])
    wrong = PredictionOptions(
        check_samples={name: known + 30, "QC": 1.0}, csv_file="lims.csv", replicate_pattern="(.+)"
    )
    lims = block.path / "exports" / "lims.csv"

    with pytest.raises(BatchNotReleasedError, match=f"check sample {name}"):
        predict_new_spectra(block, chain, day, wrong)

    assert not lims.exists()
    assert not list(lims.parent.glob("*replicates*"))
    assert report().splitlines()[2].startswith("**NOT RELEASED")
    assert "check sample QC is not in the batch" in report()
    with block.open() as store:
        assert len(store.scored_samples(chain)) == 5, "everything is recorded"
        assert store.scored_batches(chain).select("verdict", "released").rows() == [("rejected", False)]

    write_csv(day / "later.csv", replace(new_spectra, sample_ids=[f"later{number}" for number in range(5)]))
    later = predict_new_spectra(block, chain, day, PredictionOptions(csv_file="lims.csv"))
    assert all(sample.startswith("later") for sample in pl.read_csv(lims)["sample_id"])
    assert later.csv_path == lims
    assert "5 predictions of batches that were not released are not in the CSV files." in report()
    table = pl.read_parquet(later.predictions_path)
    assert sorted(table["released"].to_list()) == [False] * 5 + [True] * 5

    right = wrong.model_copy(update={"check_samples": {name: known}, "check_tolerance": 10.0, "rescore": True})
    released = predict_new_spectra(block, chain, day, right)
    assert released.batches[0].released
    assert len(pl.read_csv(lims)) == 10
    assert predict_new_spectra(block, chain, day, right.model_copy(update={"rescore": False})).samples == 0


def test_a_batch_has_the_spectra_of_every_attempt(
    block: WorkspaceStoreBlock,
    chain: str,
    day: Path,
    new_spectra: Spectra,
    odd: Spectra,
    write_csv: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from n4a_flows import tasks

    write_csv(day / "a-first.csv", odd)
    with (day / "a-first.csv").open("a") as file:
        file.writelines(f"dead{number}{',0.5' * len(new_spectra.axis)}\n" for number in range(3))
    recording, calls = tasks.record_scoring, []

    def torn(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("the disk is away")
        return recording(*given, **named)

    monkeypatch.setattr(tasks, "record_scoring", torn)
    options = PredictionOptions(files_per_task=1, settle_seconds=0)
    summary = predict_new_spectra.with_options(retries=1)(block, chain, day, options)

    assert len(calls) == 3
    [batch] = summary.batches
    assert (batch.verdict, batch.samples) == ("outlier", 10)
    with block.open() as store:
        counts = json.loads(store.scored_batches(chain)["detail"][0])["counts"]
    assert sum(counts.values()) == 13
    assert counts["rejected"] == 3
    assert counts["outlier"] == summary.verdicts["outlier"] == 6


def test_a_batch_is_recorded_once_though_its_flow_run_is_tried_again(
    block: WorkspaceStoreBlock, chain: str, day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def torn(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the disk is away")
        return create_markdown_artifact(*given, **named)

    module = importlib.import_module("n4a_flows.flows.predict_new_spectra")
    monkeypatch.setattr(module, "create_markdown_artifact", torn)
    summary = predict_new_spectra.with_options(retries=1)(block, chain, day, PredictionOptions(settle_seconds=0))

    with block.open() as store:
        [recorded] = store.scored_batches(chain).to_dicts()
    [batch] = summary.batches
    assert (batch.verdict, batch.reasons, batch.samples) == (
        recorded["verdict"], json.loads(recorded["reasons"]), 5,
    )  # fmt: skip
    assert set(json.loads(recorded["detail"])["tests"]) > {"share", "outliers"}, "judged by the spectra, not the ledger"


def test_a_batch_is_judged_without_what_another_flow_run_has_recorded(
    block: WorkspaceStoreBlock,
    chain: str,
    day: Path,
    new_spectra: Spectra,
    odd: Spectra,
    write_csv: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from n4a_flows import tasks

    write_csv(day / "odd.csv", odd)
    for name in ("day", "next", "then"):
        ids = [f"{name} {number}" for number in range(5)]
        write_csv(day / f"{name}.csv", replace(new_spectra, sample_ids=ids))
    recording = tasks.record_scoring

    def late(store: WorkspaceStoreBlock, chain_id: str, files: Any, flow_run_id: str, **named: Any) -> Any:
        theirs = [file for file in unwrapped(files) if file.path.endswith("odd.csv")]
        with block.open() as workspace:
            workspace.record_scoring(chain_id, theirs, "another flow run")
        return recording(store, chain_id, files, flow_run_id, **named)

    monkeypatch.setattr(tasks, "record_scoring", late)
    summary = predict_new_spectra(block, chain, day, PredictionOptions(settle_seconds=0))

    assert (summary.scored, summary.samples) == (3, 15)
    [batch] = summary.batches
    assert (batch.verdict, batch.samples) == ("ok", 15)
    with block.open() as store:
        counts = json.loads(store.scored_batches(chain)["detail"][0])["counts"]
    assert {verdict: count for verdict, count in counts.items() if count} == summary.verdicts == {"ok": 15}


def unwrapped(value: Any) -> Any:
    """What is passed to a task as it is."""
    return getattr(value, "value", value)


def test_what_a_killed_run_left_is_not_released_where_check_samples_are_asked_for(
    block: WorkspaceStoreBlock, chain: str, day: Path, new_spectra: Spectra, monkeypatch: pytest.MonkeyPatch
) -> None:
    from n4a_flows import tasks

    def killed(*_: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tasks, "record_batch", killed)
        predict_new_spectra(block, chain, day)
    options = PredictionOptions(check_samples={new_spectra.sample_ids[2]: 10.0}, csv_file="lims.csv")
    summary = predict_new_spectra(block, chain, day, options)

    assert (summary.skipped, summary.samples) == (1, 0)
    assert pl.read_csv(summary.csv_path).is_empty()


def test_chains_without_limits_give_no_verdict_and_say_so(
    block: WorkspaceStoreBlock, without_limits: str, day: Path, new_spectra: Spectra
) -> None:
    summary = predict_new_spectra(block, without_limits, day)

    table = pl.read_parquet(summary.predictions_path)
    assert table.select("verdict", "lower", "released").unique().rows() == [(None, None, None)]
    assert (summary.verdicts, summary.batches[0].verdict) == ({}, None)
    assert "The chain carries no limits" in report()

    known = dict(zip(new_spectra.sample_ids[3:], new_spectra.targets["fat"][3:].tolist(), strict=True))
    with pytest.raises(InvalidInputError, match="check_tolerance"):
        predict_new_spectra(block, without_limits, day, PredictionOptions(check_samples=known))
    options = PredictionOptions(check_samples=known, check_tolerance=15.0, rescore=True)
    [batch] = predict_new_spectra(block, without_limits, day, options).batches
    assert (batch.verdict, batch.released) == ("ok", True)


def test_check_samples_of_one_property_do_not_judge_another(
    block: WorkspaceStoreBlock, chain: str, without_limits: str, day: Path
) -> None:
    with block.open() as store:
        row = store.get_chain(chain)
        kept = ("pipeline_id", "steps", "model_step_idx", "model_class", "preprocessings", "fold_strategy")
        same = {name: row[name] for name in (*kept, "fold_artifacts", "shared_artifacts")}
        axis = store.get_chain_context(chain).axis
        other = store.save_chain(**same, axis=axis, target="protein")
        classes = store.save_chain(**same, axis=axis, target="kind", task_type="binary_classification")
    options = PredictionOptions(check_samples={"QC": 1.0}, check_tolerance=1.0)
    with pytest.raises(InvalidInputError, match="of one property"):
        predict_new_spectra(block, [chain, other], day, options)
    with pytest.raises(InvalidInputError, match="predicts classes"):
        predict_new_spectra(block, classes, day, options)
    with block.open() as store:
        assert store.scored_files().is_empty()
