"""The report of new predictions: the batch first, the worst samples on top, and pictures in which they can be told apart."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import polars as pl
import pytest

from n4a_flows.monitoring import Limits, checked_samples
from n4a_flows.reports.prediction_figures import DrawnSpectrum, Envelope
from n4a_flows.reports.prediction_report import ChainPredictions, PredictionRun, prediction_report
from n4a_flows.spectra import Spectra, load_tecator
from n4a_flows.storage import ScoredFile, ScoredSample, WorkspaceStore
from n4a_flows.storage.codecs import DEFAULT_ALLOWED_MODULES
from n4a_flows.tasks.judging import Judging, scorer
from n4a_flows.training import PipelineRunner

PLS = {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 8}}
VERMILLION = (0xD5, 0x5E, 0x00)
HOSTILE = ["<script>alert(1)</script>", "a|b`c`*d*", "http://evil.example", "[x](y)\n\n# new heading", "‮txt.exe"]


@pytest.fixture(scope="module")
def new_samples() -> Spectra:
    """Tecator's test spectra; the first as reflectance, the second with a spike."""
    spectra = load_tecator()
    new = spectra.take(np.flatnonzero(spectra.metadata["split"] == "test"))
    X = new.X.copy()
    X[0], X[1, 40] = 10 ** -X[0], X[1, 40] + 1
    return replace(new, X=X)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, new_samples: Spectra) -> ChainPredictions:
    """What a chain for fat says of them, out of a ledger."""
    folder = tmp_path_factory.mktemp("predicted")
    runner = PipelineRunner(folder)
    runner.run([{"model": PLS}], "tecator", "fat")
    with WorkspaceStore(folder) as store:
        chain_id = str(runner.last_recorded[0].chain_id)
        package = store.chain_package(chain_id)
        judged = scorer(package, "modules", DEFAULT_ALLOWED_MODULES, Judging())
        said = judged.say(new_samples.X, new_samples.axis)
        samples = [
            ScoredSample(*row)
            for row in zip(new_samples.sample_ids, said.y, said.verdicts, said.reasons, said.details, strict=True)
        ]
        store.record_scoring(chain_id, [ScoredFile("incoming/day.csv", "0" * 64, "scored", samples=samples)])
        ledger = store.scored_samples(chain_id)
        limits = Limits.from_bytes(store.get_limits(chain_id))
    return ChainPredictions(
        chain_id=chain_id,
        chain_digest=package.digest,
        target="fat",
        unit="%",
        samples=ledger,
        verdict="warn",
        reasons=["3 of 43 spectra are odd"],
        limits=judged.limits,
        calibration=limits.calibration,
        envelope=Envelope(*(limits.envelope[name] for name in ("mean", "low", "high")), new_samples.axis, "Absorbance"),
        spectra=[
            DrawnSpectrum(new_samples.sample_ids[row], str(said.verdicts[row]), new_samples.X[row])
            for row, _ in said.odd
        ],
        measured=dict(zip(new_samples.sample_ids[::2], new_samples.targets["fat"][::2].tolist(), strict=True)),
    )


def reported(*chains: ChainPredictions, **more: object) -> str:
    return prediction_report(PredictionRun(chains, {"scored": 43}, results="predictions.parquet", **more))


def rows(report: str, header: str) -> list[list[str]]:
    """The cells of the first table whose header begins so."""
    table = report[report.index(f"| {header} |") :].partition("\n\n")[0]
    return [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in table.splitlines()[2:]]


def pictures(report: str) -> list[np.ndarray]:
    found = re.findall(r"\(data:image/png;base64,([^)]+)\)", report)
    return [matplotlib.image.imread(io.BytesIO(base64.b64decode(each)), format="png")[..., :3] for each in found]


def share_of(colour: tuple[int, int, int], picture: np.ndarray) -> float:
    return float((np.abs(picture * 255 - np.array(colour)) < 12).all(axis=2).mean())


def test_the_batch_comes_first_and_the_worst_samples_on_top(chain: ChainPredictions, new_samples: Spectra) -> None:
    report = reported(chain)
    counts = chain.samples["verdict"].value_counts()
    outliers = counts.filter(pl.col("verdict") == "outlier")["count"].item()

    assert report.splitlines()[2].startswith("**Batch warn. 43 new samples: ")
    assert f"{outliers} outlier" in report.splitlines()[2]
    assert report.splitlines()[4] == "* 3 of 43 spectra are odd"
    table = rows(report, "sample")
    assert {table[0][0], table[1][0]} == set(new_samples.sample_ids[:2])
    assert [row[3] for row in table[:outliers]] == ["outlier"] * outliers
    spike = next(row for row in table if row[0] == new_samples.sample_ids[1])
    assert "a spike or step at 930" in spike[4]
    recorded = chain.samples.filter(pl.col("sample_id") == table[-1][0]).row(0, named=True)
    assert table[-1][1] == f"{recorded['y']:.1f} %"
    assert float(table[-1][2].partition(" to ")[0]) < recorded["y"] < float(table[-1][2].partition(" to ")[2])
    assert table[-1][3:5] == ["ok", ""]


def test_the_pictures_show_outliers_in_their_colour(chain: ChainPredictions, new_samples: Spectra) -> None:
    distances, spectra, measured = pictures(reported(chain))
    ok = chain.samples.filter(pl.col("verdict") == "ok")
    calm = pictures(reported(replace(chain, samples=ok, spectra=[])))

    assert len(calm) == 2, "no spectra to look at where all are ok"
    assert share_of(VERMILLION, distances) > 2 * share_of(VERMILLION, calm[0])
    assert share_of(VERMILLION, calm[0]) < 1e-4
    assert all(picture.shape[1] == 750 and picture.std() > 0.05 for picture in (distances, spectra, measured))
    report = reported(chain)
    assert "22 of 43 samples have a laboratory value." in report
    assert "each judged by a model that was fitted without it" in report


def test_a_batch_that_is_held_back_says_so_before_anything_else(chain: ChainPredictions) -> None:
    checks = checked_samples({"meat173": 10.0, "QC": 3.0}, [("meat173", 10.4, 9.0, 12.0)])
    held = replace(chain, released=False, verdict="rejected", checks=checks, reasons=[str(checks[1].reason)])
    lines = reported(held).splitlines()

    assert lines[2].startswith("**NOT RELEASED, do not use these predictions. Batch rejected.")
    assert lines[4] == "* check sample QC is not in the batch"
    assert rows(reported(held), "check sample") == [
        ["meat173", "10 %", "10.4 %", "8.4 to 11.4", "passed"],
        ["QC", "3 %", "none", "", "FAILED"],
    ]


def test_a_chain_without_limits_gives_no_verdicts_and_the_report_says_so(chain: ChainPredictions) -> None:
    bare = chain.samples.with_columns(pl.lit(None, pl.String).alias("verdict"), pl.lit("{}").alias("detail"))
    report = reported(replace(chain, samples=bare, limits={}, calibration={}, envelope=None, verdict=None, reasons=()))

    assert report.splitlines()[2] == "**43 new samples.**"
    assert "The chain carries no limits" in report
    assert len(pictures(report)) == 1


def test_the_report_does_not_grow_with_the_number_of_samples(chain: ChainPredictions) -> None:
    many = replace(chain, samples=pl.concat([chain.samples] * 500))
    report = reported(many, quarantined=[(f"{number}.csv", "no header " * 100) for number in range(5000)])

    assert len(report) < 400_000
    assert len(rows(report, "sample")) == 50
    assert "… and 21450 more: see predictions.parquet." in report
    assert "… and 4950 more." in report


def test_what_comes_from_files_means_nothing_to_markdown(chain: ChainPredictions) -> None:
    names = HOSTILE + [f"s{number}" for number in range(38)]
    samples = chain.samples.with_columns(pl.Series("sample_id", names), pl.lit("in/<b>|.csv").alias("path"))
    report = reported(
        replace(chain, samples=samples, checks=checked_samples({HOSTILE[0]: 1.0}, [])),
        quarantined=[(HOSTILE[1], HOSTILE[3])],
    )

    assert "<script" not in report
    assert "\n# new" not in report
    assert "http://" not in report
    assert "‮" not in report
    assert {len(row) for row in rows(report, "sample")} == {6}
    assert [len(row) for row in rows(report, "file | reason")] == [2]


def test_several_chains_each_have_their_section(chain: ChainPredictions, tmp_path: Path) -> None:
    other = replace(chain, chain_id="another", target="protein", verdict="ok", reasons=())
    report = reported(chain, other)

    assert re.findall(r"^## (.+)$", report, re.MULTILINE)[:2] == [
        f"fat, chain {chain.chain_id}",
        "protein, chain another",
    ]
    assert report.splitlines()[2].startswith("**fat by chain ")
    assert "protein by chain another: batch ok. 43 new samples" in report
