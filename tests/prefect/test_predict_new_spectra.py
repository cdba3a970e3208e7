from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from prefect.artifacts import Artifact, create_markdown_artifact

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import ExportOptions, PredictionOptions, export, predict_new_spectra, train_and_record
from n4a_flows.flows.progress import listening
from n4a_flows.spectra import Axis, Spectra, readers_in_use
from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import (
    BatchNotReleasedError,
    InvalidInputError,
    MissingFileError,
    QuarantineError,
    UnknownIdError,
    UntrustedError,
    WorkspaceError,
)
from n4a_flows.tasks import files as listing
from n4a_flows.tasks.files import file_digest

pytestmark = pytest.mark.prefect


@pytest.fixture(autouse=True)
def _complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were just written count as complete, so that no test waits for them to settle."""
    monkeypatch.setattr(listing, "_FRESH", 0.0)


def test_every_file_is_scored_once_and_a_broken_one_is_quarantined(
    block: WorkspaceStoreBlock, chain: str, incoming: Path, new_spectra: Spectra
) -> None:
    summary = predict_new_spectra(block, chain, incoming)

    assert (summary.scored, summary.skipped, summary.quarantined, summary.postponed) == (5, 0, 1, 0)
    assert summary.samples == 5
    assert [Path(file.path).name for file in summary.quarantined_files] == ["broken.csv"]
    assert "has no axis" in summary.quarantined_files[0].reason
    table = pl.read_parquet(summary.predictions_path)
    assert table.columns == [
        "file", "sample_id", "y", "label", "unit", "lower", "upper", "verdict", "reasons", "released", "target", "chain_id",
        "chain_digest", "scored_at",
    ]  # fmt: skip
    assert sorted(table["sample_id"]) == sorted(new_spectra.sample_ids)
    assert set(table["target"]) == {"fat"}
    assert set(table["chain_id"]) == {chain}
    with block.open() as store:
        expected = store.replay_chain(chain, new_spectra.X, new_spectra.axis)
        assert store.scored_files()["status"].to_list().count("scored") == 5
    predicted = dict(zip(table["sample_id"], table["y"], strict=True))
    np.testing.assert_allclose([predicted[name] for name in new_spectra.sample_ids], expected, rtol=0, atol=1e-9)


def test_a_second_run_scores_nothing_and_gives_the_same_results(
    block: WorkspaceStoreBlock, chain: str, incoming: Path
) -> None:
    first = predict_new_spectra(block, chain, incoming)
    results = first.predictions_path.read_bytes()
    second = predict_new_spectra(block, chain, incoming)

    assert (second.scored, second.skipped, second.quarantined, second.samples) == (0, 6, 0, 0)
    assert second.predictions_path == first.predictions_path
    assert second.predictions_path.read_bytes() == results
    with block.open() as store:
        assert len(store.scored_files()) == 6
        assert len(store.scored_samples()) == 5


def test_a_chain_trained_again_to_the_same_result_scores_nothing_again(
    block: WorkspaceStoreBlock, chain: str, incoming: Path, two_pipelines: list[Any]
) -> None:
    predict_new_spectra(block, chain, incoming)
    again = train_and_record(block, "tecator", "fat", two_pipelines).best["fat"]
    summary = predict_new_spectra(block, again, incoming)

    assert again != chain
    assert (summary.scored, summary.skipped) == (0, 6)
    assert len(pl.read_parquet(summary.predictions_path)) == 5


def test_new_renamed_copied_and_changed_files(block: WorkspaceStoreBlock, chain: str, incoming: Path) -> None:
    predict_new_spectra(block, chain, incoming)
    files = sorted(file for file in incoming.iterdir() if file.name != "broken.csv")
    files[0].rename(incoming / "renamed.csv")
    (incoming / "copy.csv").write_bytes(files[1].read_bytes())
    files[2].write_bytes(files[2].read_bytes().replace(b"\r\n", b"\n"))
    (incoming / "broken.csv").write_bytes(files[3].read_bytes().replace(files[3].stem.encode(), b"repaired"))

    summary = predict_new_spectra(block, chain, incoming)

    assert (summary.scored, summary.skipped, summary.quarantined) == (2, 5, 0)
    table = pl.read_parquet(summary.predictions_path)
    assert {"renamed.csv", "copy.csv", "broken.csv"} < {Path(file).name for file in table["file"]}
    assert "repaired" in table["sample_id"].to_list()
    assert len(table) == 7


def test_a_file_on_another_axis_is_quarantined_and_the_message_names_both(
    block: WorkspaceStoreBlock,
    chain: str,
    tmp_path: Path,
    new_spectra: Spectra,
    write_csv: Callable[[Path, Spectra], None],
) -> None:
    shifted = Spectra(new_spectra.X, Axis(new_spectra.axis.values + 4), new_spectra.sample_ids)
    write_csv(tmp_path / "other" / "shifted.csv", shifted)
    write_csv(tmp_path / "other" / "turned.csv", Spectra(new_spectra.X, new_spectra.axis, [f"t{i}" for i in range(5)]))

    summary = predict_new_spectra(block, chain, str(tmp_path / "other" / "*.csv"))

    assert (summary.scored, summary.samples, summary.quarantined) == (1, 5, 1)
    assert "850 to 1050" in summary.quarantined_files[0].reason
    assert "854 to 1054" in summary.quarantined_files[0].reason


def test_the_best_chain_of_a_dataset(block: WorkspaceStoreBlock, chain: str, incoming: Path) -> None:
    summary = predict_new_spectra(block, "best", incoming, PredictionOptions(dataset="tecator", target="fat"))

    assert summary.chain_ids == [chain]
    with pytest.raises(InvalidInputError, match="needs a dataset"):
        predict_new_spectra(block, "best", incoming)
    with pytest.raises(UnknownIdError):
        predict_new_spectra(block, "best", incoming, PredictionOptions(dataset="soil"))


def test_several_chains_in_one_pass_each_score_what_they_have_not_seen(
    block: WorkspaceStoreBlock, trained: Any, incoming: Path
) -> None:
    first, second = trained.chain_ids
    predict_new_spectra(block, first, incoming)

    summary = predict_new_spectra(block, [first, second], incoming, PredictionOptions(files_per_task=1))

    assert (summary.scored, summary.skipped, summary.quarantined, summary.samples) == (5, 0, 1, 5)
    table = pl.read_parquet(summary.predictions_path)
    assert table["chain_id"].value_counts().sort("chain_id").rows() == sorted([(first, 5), (second, 5)])


def test_an_interrupted_run_keeps_whole_chunks_and_the_next_one_scores_the_rest(
    block: WorkspaceStoreBlock, chain: str, incoming: Path
) -> None:
    def interrupt(_what: str, done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening(interrupt):
        predict_new_spectra(block, chain, incoming, PredictionOptions(files_per_task=2))
    with block.open() as store:
        recorded = len(store.scored_files())
    summary = predict_new_spectra(block, chain, incoming)

    assert recorded == 2
    assert summary.skipped == 2
    with block.open() as store:
        assert sorted(Path(path).name for path in store.scored_files()["path"]) == sorted(
            file.name for file in incoming.iterdir()
        )


def test_nothing_new_is_no_error(block: WorkspaceStoreBlock, chain: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    summary = predict_new_spectra(block, chain, tmp_path / "empty")

    assert (summary.scored, summary.skipped, summary.quarantined, summary.samples) == (0, 0, 0, 0)
    assert pl.read_parquet(summary.predictions_path).is_empty()


def test_unknown_chains_and_folders_are_errors(block: WorkspaceStoreBlock, chain: str, incoming: Path) -> None:
    with pytest.raises(UnknownIdError, match="no-such-chain"):
        predict_new_spectra(block, "no-such-chain", incoming)
    with pytest.raises(MissingFileError, match="nowhere"):
        predict_new_spectra(block, chain, incoming / "nowhere")


def test_a_mistyped_folder_does_not_become_a_workspace(tmp_path: Path) -> None:
    block = WorkspaceStoreBlock(path=tmp_path / "mistyped")
    with pytest.raises(WorkspaceError, match=r"no workspace in .*mistyped: mend the folder in the block"):
        predict_new_spectra(block, "tecator/fat/champion", options=PredictionOptions(csv_file="lims.csv"))
    with pytest.raises(WorkspaceError, match=r"no workspace in .*mistyped"):
        export(block, ExportOptions(chain="tecator/fat/champion"))
    assert not block.path.exists()


def test_a_block_that_trusts_nothing_does_not_load_the_chain(
    block: WorkspaceStoreBlock, chain: str, incoming: Path
) -> None:
    with pytest.raises(UntrustedError):
        predict_new_spectra(block.model_copy(update={"trust": "none"}), chain, incoming)

    with block.open() as store:
        assert store.scored_files().is_empty()


def test_an_alias_is_resolved_once_and_its_chain_is_noted(
    block: WorkspaceStoreBlock, chain: str, incoming: Path
) -> None:
    with block.open() as store:
        store.set_alias("tecator/fat/champion", chain)
    summary = predict_new_spectra(block, "tecator/fat/champion", incoming)
    assert summary.chain_ids == [chain]
    assert set(pl.read_parquet(summary.predictions_path)["chain_id"]) == {chain}


def test_scored_again_on_request_with_the_earlier_predictions_kept(
    block: WorkspaceStoreBlock, chain: str, incoming: Path
) -> None:
    predict_new_spectra(block, chain, incoming)
    again = predict_new_spectra(block, chain, incoming, PredictionOptions(rescore=True))
    assert (again.scored, again.quarantined, again.skipped) == (5, 1, 0)
    assert len(pl.read_parquet(again.predictions_path)) == 5, "the latest of each"
    with block.open() as store:
        assert len(store.scored_samples(chain)) == 10


def test_changed_bytes_under_an_old_name_are_a_revision(block: WorkspaceStoreBlock, chain: str, incoming: Path) -> None:
    predict_new_spectra(block, chain, incoming)
    file = next(incoming.glob("[!b]*.csv"))
    before = file_digest(file)
    file.write_text(file.read_text().replace(file.stem, "measured-again"))
    assert predict_new_spectra(block, chain, incoming).scored == 1
    with block.open() as store:
        latest = store.scored_files(chain).filter(pl.col("path") == str(file)).row(-1, named=True)
    assert json.loads(latest["detail"])["revises"] == before


def test_a_file_that_was_put_back_counts_again(block: WorkspaceStoreBlock, chain: str, incoming: Path) -> None:
    def value() -> float:
        with block.open() as store:
            [pair] = store.reference_pairs(chain).iter_rows(named=True)
        return float(pair["y"])

    predict_new_spectra(block, chain, incoming)
    first, other = sorted(incoming.glob("[!b]*.csv"))[:2]
    right, sample = first.read_bytes(), first.stem
    with block.open() as store:
        store.add_reference_values({sample: 20.0}, "fat")
    was = value()
    # The same sample with another spectrum beside its own, then as it was.
    wrong = other.read_text().replace(other.stem, sample).splitlines()[1]
    first.write_text(right.decode().replace(sample, "another") + wrong + "\n")
    assert predict_new_spectra(block, chain, incoming).scored == 1
    assert value() != was
    first.write_bytes(right)
    assert predict_new_spectra(block, chain, incoming).scored == 1
    assert value() == was
    (incoming / "copy.csv").write_bytes(right)
    assert predict_new_spectra(block, chain, incoming).scored == 0
    first.write_text("cut off")
    assert [predict_new_spectra(block, chain, incoming).quarantined for _ in range(2)] == [1, 0]


def test_names_that_are_used_again_score_nothing_again(block: WorkspaceStoreBlock, chain: str, incoming: Path) -> None:
    predict_new_spectra(block, chain, incoming)
    files = sorted(incoming.glob("[!b]*.csv"))
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, [*contents[1:], contents[0]], strict=True):
        file.write_bytes(content)
    again = predict_new_spectra(block, chain, incoming)
    assert (again.scored, again.skipped, again.samples) == (0, 6, 0)


def test_what_two_deployments_refuse_is_not_refused_for_ever(
    block: WorkspaceStoreBlock, chain: str, incoming: Path
) -> None:
    found = [
        predict_new_spectra(block, chain, incoming, PredictionOptions(resample=resample)).quarantined
        for resample in (False, True, False, True)
    ]
    assert found == [1, 1, 0, 0]


def test_dated_sub_folders_are_found_and_a_growing_file_is_left_for_later(
    block: WorkspaceStoreBlock, chain: str, incoming: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_FRESH", 60.0)
    day = incoming / "2026" / "11-26"
    day.mkdir(parents=True)
    files = sorted(incoming.glob("[!b]*.csv"))
    files[0].rename(day / files[0].name)
    growing = day / "growing.csv"
    stop = threading.Event()

    def write() -> None:
        with growing.open("w") as out:
            while not stop.wait(0.05):
                out.write("850,")
                out.flush()

    writer = threading.Thread(target=write)
    writer.start()
    summary = predict_new_spectra(block, chain, incoming)
    stop.set()
    writer.join()
    assert (summary.scored, summary.postponed) == (5, 1)
    growing.unlink()


def test_bad_files_are_moved_with_their_reason_on_request(
    block: WorkspaceStoreBlock, chain: str, incoming: Path
) -> None:
    options = PredictionOptions(quarantine="move")
    summary = predict_new_spectra(block, chain, incoming, options)
    moved = incoming / "quarantine" / "broken.csv"
    assert moved.exists()
    assert summary.quarantined_files[0].reason in (incoming / "quarantine" / "broken.csv.reason.txt").read_text()
    assert not (incoming / "broken.csv").exists()
    assert predict_new_spectra(block, chain, incoming, options).quarantined == 0, "the folder is not searched"
    (incoming / "broken.csv").write_bytes(moved.read_bytes() + b"more")
    predict_new_spectra(block, chain, incoming, options)
    assert (incoming / "quarantine" / "broken-2.csv").exists(), "the first one is not replaced"


def test_what_earlier_runs_left_in_its_place_is_named_and_moved(
    block: WorkspaceStoreBlock, chain: str, incoming: Path
) -> None:
    reason = predict_new_spectra(block, chain, incoming).quarantined_files[0].reason
    predict_new_spectra(block, chain, incoming)
    report = Artifact.get("n4a-prediction")
    assert "1 of the files were quarantined by earlier flow runs" in str(report and report.data)
    predict_new_spectra(block, chain, incoming, PredictionOptions(quarantine="move"))
    assert not (incoming / "broken.csv").exists()
    assert reason in (incoming / "quarantine" / "broken.csv.reason.txt").read_text()


def test_a_file_that_was_completed_meanwhile_is_not_moved(
    block: WorkspaceStoreBlock, chain: str, incoming: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = next(incoming.glob("[!b]*.csv")).read_text().replace("sample_id", "id")

    def completed(*given: Any, **named: Any) -> Any:
        (incoming / "broken.csv").write_text(good)
        return create_markdown_artifact(*given, **named)

    module = importlib.import_module("n4a_flows.flows.predict_new_spectra")
    monkeypatch.setattr(module, "create_markdown_artifact", completed)
    options = PredictionOptions(quarantine="move")
    assert predict_new_spectra(block, chain, incoming, options).quarantined == 1
    assert (incoming / "broken.csv").read_text() == good
    assert predict_new_spectra(block, chain, incoming, options).scored == 1


def test_what_was_refused_is_looked_at_again_when_more_is_said_of_it(
    block: WorkspaceStoreBlock,
    chain: str,
    tmp_path: Path,
    new_spectra: Spectra,
    write_csv: Callable[[Path, Spectra], None],
) -> None:
    shifted = Axis(new_spectra.axis.values[:-1] + 0.7, "nm")
    write_csv(tmp_path / "in" / "day.csv", Spectra(new_spectra.X[:, :-1], shifted, new_spectra.sample_ids))
    wide = Axis(np.arange(840.0, 1060.0, 2.0), "nm")
    X = np.array([np.interp(wide.values, new_spectra.axis.values, row) for row in new_spectra.X])
    write_csv(tmp_path / "in" / "wide.csv", Spectra(X + 1e-4 * np.arange(X.shape[1]), wide, new_spectra.sample_ids))
    assert predict_new_spectra(block, chain, tmp_path / "in").quarantined == 2
    again = predict_new_spectra(block, chain, tmp_path / "in", PredictionOptions(resample=True))
    assert (again.scored, again.quarantined) == (1, 1), "the other ends inside the range of the chain"
    assert predict_new_spectra(block, chain, tmp_path / "in", PredictionOptions(resample=True)).skipped == 2


def test_ids_come_from_the_column_that_is_named(
    block: WorkspaceStoreBlock, chain: str, tmp_path: Path, new_spectra: Spectra
) -> None:
    (tmp_path / "in").mkdir()
    rows = [[*row, 20260101 + number] for number, row in enumerate(new_spectra.X.tolist())]
    header = [*new_spectra.axis.values.tolist(), "Probe Nr"]
    (tmp_path / "in" / "day.csv").write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]))

    mistyped = predict_new_spectra(block, chain, tmp_path / "in", PredictionOptions(id_column="Probe"))
    [refused] = mistyped.quarantined_files
    assert re.search("no column 'Probe'; it has .*Probe Nr", refused.reason)

    def ids(options: PredictionOptions) -> list[str]:
        summary = predict_new_spectra(block, chain, tmp_path / "in", options)
        return pl.read_parquet(summary.predictions_path)["sample_id"].to_list()

    assert ids(PredictionOptions())[0].startswith("day")
    assert ids(PredictionOptions(id_column="Probe Nr"))[0].startswith("day"), "scored already"
    named = [str(20260101 + number) for number in range(5)]
    assert ids(PredictionOptions(id_column="Probe Nr", rescore=True)) == named


def test_other_readers_try_again_what_was_refused(block: WorkspaceStoreBlock, chain: str, incoming: Path) -> None:
    predict_new_spectra(block, chain, incoming)
    with block.open() as store:
        digest = store.get_chain_context(chain).digest
        bad = file_digest(incoming / "broken.csv")
        assert store.scored_digests(digest, [bad], readers_in_use()) == {bad: "quarantined"}
        assert store.scored_digests(digest, [bad], readers_in_use() + ", opus 1") == {}
        assert len(store.scored_digests(digest)) == 6


def test_too_much_in_quarantine_fails_the_flow_with_all_of_it_recorded(
    block: WorkspaceStoreBlock, chain: str, incoming: Path
) -> None:
    with pytest.raises(QuarantineError, match="1 of 6 new files"):
        predict_new_spectra(block, chain, incoming, PredictionOptions(most_quarantined=0.1))
    again = predict_new_spectra(block, chain, incoming, PredictionOptions(most_quarantined=0.1))
    assert (again.scored, again.skipped) == (0, 6), "nothing new is bad by now"


def test_a_lims_gets_its_csv_and_replicates_are_summarised(
    block: WorkspaceStoreBlock,
    chain: str,
    tmp_path: Path,
    new_spectra: Spectra,
    write_csv: Callable[[Path, Spectra], None],
) -> None:
    ids = ["S1_r1", "S1_r2", "S1_r3", "S2_r1", "S3"]
    write_csv(tmp_path / "in" / "day.csv", Spectra(new_spectra.X, new_spectra.axis, ids))
    options = PredictionOptions(
        csv_file="lims.csv", csv_columns={"sample_id": "Probe", "y": "Fett"}, replicate_pattern=r"^(S\d+)"
    )
    summary = predict_new_spectra(block, chain, tmp_path / "in", options)
    assert summary.csv_path == block.path / "exports" / "lims.csv"
    lines = summary.csv_path.read_bytes()
    assert lines.splitlines()[0] == b"Probe,Fett"
    table = pl.read_csv(lines)
    replicates = pl.read_csv(summary.replicates_path)
    first = table.filter(pl.col("Probe").str.starts_with("S1"))["Fett"]
    assert replicates["sample"].to_list() == ["S1", "S2", "S3"]
    assert replicates["n"].to_list() == [3, 1, 1]
    assert replicates["mean"][0] == pytest.approx(first.mean())
    assert replicates["sd"][0] == pytest.approx(first.std())
    predict_new_spectra(block, chain, tmp_path / "in", options)
    assert summary.csv_path.read_bytes() == lines, "the same bytes when it runs again"
    elsewhere = options.model_copy(update={"csv_file": "nir2/lims.csv"})
    beside = predict_new_spectra(block, chain, tmp_path / "in", elsewhere).replicates_path
    assert beside == block.path / "exports" / "nir2" / "lims-replicates.csv"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"csv_file": "x.csv", "csv_columns": {"fett": "F"}}, "no column 'fett'"),
        ({"csv_file": "x.csv", "csv_columns": {"y": "F", "lower": "F"}}, "same name"),
        ({"replicate_pattern": "("}, "no regular expression"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_scored(
    block: WorkspaceStoreBlock, chain: str, incoming: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        predict_new_spectra(block, chain, incoming, PredictionOptions(**options))
    with block.open() as store:
        assert store.scored_files().is_empty()


def test_a_declared_signal_is_converted_and_said_so(
    block: WorkspaceStoreBlock,
    chain: str,
    tmp_path: Path,
    new_spectra: Spectra,
    write_csv: Callable[[Path, Spectra], None],
) -> None:
    percent = Spectra(100 * 10**-new_spectra.X, new_spectra.axis, new_spectra.sample_ids)
    write_csv(tmp_path / "in" / "percent.csv", percent)
    declared = predict_new_spectra(block, chain, tmp_path / "in", PredictionOptions(signal="percent_reflectance"))
    assert declared.scored == 1
    with block.open() as store:
        expected = store.replay_chain(chain, new_spectra.X, new_spectra.axis)
        samples = store.scored_samples(chain)
    np.testing.assert_allclose(samples["y"].to_numpy(), expected, rtol=1e-9)
    assert "percent_reflectance to absorbance" in samples["detail"][0]


def test_odd_entries_of_a_folder_do_not_stop_the_others(block: WorkspaceStoreBlock, chain: str, incoming: Path) -> None:
    first = next(incoming.glob("[!b]*.csv"))
    odd, bad = os.fsencode(incoming) + b"/m\xfcller.csv", os.fsencode(incoming) + b"/br\xfcche.csv"
    os.rename(first, odd)
    os.rename(incoming / "broken.csv", bad)
    (incoming / "loop.csv").symlink_to("loop.csv")
    (incoming / "gone.csv").symlink_to("nothing.csv")
    (incoming / "dir.csv").mkdir()
    os.mkfifo(incoming / "pipe.csv")

    summary = predict_new_spectra(block, chain, incoming, PredictionOptions(quarantine="move", csv_file="lims.csv"))

    assert (summary.scored, summary.quarantined, summary.postponed) == (5, 1, 0)
    assert r"br\udcfcche.csv" in summary.quarantined_files[0].path
    assert not os.path.exists(bad)
    names = {Path(name).name for name in pl.read_parquet(summary.predictions_path)["file"]}
    assert r"m\udcfcller.csv" in names
    assert len(pl.read_csv(summary.csv_path)) == 5


def test_a_copy_is_no_replicate(block: WorkspaceStoreBlock, chain: str, incoming: Path) -> None:
    file = next(incoming.glob("[!b]*.csv"))
    shutil.copy(file, incoming / "a copy.csv")
    options = PredictionOptions(csv_file="lims.csv", replicate_pattern=f"^({re.escape(file.stem)})")
    summary = predict_new_spectra(block, chain, incoming, options)
    replicates = pl.read_csv(summary.replicates_path)
    assert replicates["n"].to_list() == [1] * 5
    assert len(pl.read_csv(summary.csv_path)) == 5
    assert len(pl.read_parquet(summary.predictions_path)) == 6, "under both names"


def test_what_was_held_back_stays_so_when_the_clock_is_set_back(
    block: WorkspaceStoreBlock, chain: str, incoming: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as clock:
        clock.setattr("n4a_flows.storage.batches.now", lambda: now() - timedelta(seconds=30))
        with pytest.raises(BatchNotReleasedError):
            predict_new_spectra(block, chain, incoming, PredictionOptions(check_samples={"QC1": 999}))
    summary = predict_new_spectra(block, chain, incoming, PredictionOptions(csv_file="lims.csv"))
    assert pl.read_csv(summary.csv_path).is_empty()
    assert pl.read_parquet(summary.predictions_path)["released"].to_list() == [False] * 5
