"""What a reader of a training report finds in it is what was recorded."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import balanced_accuracy_score

from n4a_flows.reports import training_report
from n4a_flows.reports.document import Table
from n4a_flows.reports.score_text import number
from n4a_flows.spectra import load_tecator
from n4a_flows.storage import Axis, WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError, WorkspaceError
from n4a_flows.training import PipelineRunner, TrainingError, TrainingOptions

PLS = "sklearn.cross_decomposition.PLSRegression"
RIDGE = {"class": "sklearn.linear_model.Ridge", "params": {"alpha": 0.0001}}


def _rows(report, header: str) -> list[list[str]]:
    """The rows of the first table whose header holds a text."""
    table = next(block for block in report.blocks if isinstance(block, Table) and header in block.header)
    return [list(row) for row in table.rows]


def _cells(report, header: str) -> dict[str, list[str]]:
    """The same by their first cell."""
    return {row[0]: row[1:] for row in _rows(report, header)}


def _best_predictions(reported, partition: str, fold: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Known and predicted values of the best pipeline, read from the workspace in another way than the report does."""
    with WorkspaceStore(reported.workspace, read_only=True) as store:
        target = next(iter(reported.spectra.targets))
        chain_id = store.best_chain(reported.spectra.name, target=target)
        rows = store.get_chain_predictions(chain_id, partition, fold)["prediction_id"]
        arrays = [store.get_prediction_arrays(row) for row in rows]
    return tuple(np.concatenate([each[name] for each in arrays]) for name in ("y_true", "y_pred"))


def _pictures(markdown: str) -> list[bytes]:
    return [base64.b64decode(found) for found in re.findall(r"\(data:image/png;base64,([^)]+)\)", markdown)]


def test_the_scores_are_those_of_the_recorded_predictions(numbers) -> None:
    scores = _cells(numbers.report, "calibration")
    for place, (y, y_hat) in enumerate(
        [_best_predictions(numbers, "val"), _best_predictions(numbers, "test", "final")]
    ):
        error = y_hat - y
        wanted = {
            "n": str(len(y)),
            "RMSE (%)": number(np.sqrt(np.mean(error**2))),
            "R²": number(1 - np.sum(error**2) / np.sum((y - y.mean()) ** 2)),
            "bias (%)": number(error.mean()),
            "SE without bias (%)": number(error.std(ddof=1)),
            "RPD": number(y.std(ddof=1) / error.std(ddof=1)),
            "RPIQ": number((np.quantile(y, 0.75) - np.quantile(y, 0.25)) / error.std(ddof=1)),
        }
        assert {name: scores[name][1 + place] for name in wanted} == wanted
    assert f"| RMSE (%) | {' | '.join(scores['RMSE (%)'])} |" in numbers.report.markdown
    assert float(scores["RMSE (%)"][0]) < float(scores["RMSE (%)"][1]), "the rows it was fitted on fit better"


def test_the_leaderboard_and_the_table_are_in_the_order_of_the_pooled_score(numbers) -> None:
    with WorkspaceStore(numbers.workspace, read_only=True) as store:
        recorded = store.list_pipelines(run_id=numbers.run_id)
    reached = recorded.filter(pl.col("status") == "completed").sort("best_val")
    table = numbers.report.table
    assert [row["pipeline"] for row in table[:6]] == reached["name"].to_list()
    assert [row["RMSECV"] for row in table[:6]] == pytest.approx(reached["best_val"].to_list(), rel=1e-3)
    assert [row["RMSEP"] for row in table[:6]] == pytest.approx(reached["best_test"].to_list(), rel=1e-3)
    assert [row["#"] for row in table] == [1, 2, 3, 4, 5, 6, None, None]
    assert all("n_components" in row["error"] for row in table[6:])
    leaderboard = _cells(numbers.report, "RMSECV")
    assert [row[1] for row in leaderboard.values()] == [number(value) for value in reached["best_val"]]
    assert table[0]["chain"] in numbers.report.markdown


def test_what_was_left_out_is_named_with_its_reason(numbers) -> None:
    text = numbers.report.markdown
    assert "4 of 215 samples have no value of fat: meat001, meat004, meat181, meat201." in text
    assert "43 samples are marked for neither side by the column split" in text
    assert "2 rows of the data do not hold a usable spectrum" in text
    assert "line 8: column '1010' has no value" in text
    assert "41 samples were held out as the test set" in text
    failed = text.partition("## Pipelines that failed")[2]
    assert failed.count("upper bound") == 2
    assert "150 components" in failed


def test_every_picture_is_a_png_with_something_on_it(numbers, classes, several) -> None:
    for reported, how_many in ((numbers, 6), (classes, 5), (several, 8)):
        pictures = _pictures(reported.report.markdown)
        assert len(pictures) == how_many
        for picture in pictures:
            pixels = matplotlib.image.imread(io.BytesIO(picture), format="png")
            assert pixels.shape[1] == 750
            assert pixels[..., :3].std() > 0.05
        assert len(reported.report.markdown) < 1_000_000


def test_the_largest_residuals_are_named(numbers) -> None:
    y, y_hat = _best_predictions(numbers, "val")
    worst = _cells(numbers.report, "residual")
    sample, (part, measured, predicted, residual) = next(iter(worst.items()))
    place = int(np.argmax(np.abs(y_hat - y)))
    assert (part, measured, predicted) == ("CV", number(y[place]), number(y_hat[place]))
    assert float(residual) == pytest.approx(y_hat[place] - y[place], rel=1e-2)
    row = numbers.spectra.sample_ids.index(sample)
    assert numbers.spectra.targets["fat"][row] == y[place]


def test_the_sweep_says_what_was_chosen(numbers) -> None:
    assert "## RMSECV against components" in numbers.report.markdown
    assert "Chosen: 8, the largest number tried: more may do better." in numbers.report.markdown


def test_the_spectra_are_those_that_the_model_gets(numbers) -> None:
    assert "raw and after SNV as the refit treats them" in numbers.report.markdown


def test_names_mean_nothing_to_markdown(numbers) -> None:
    text = numbers.report.markdown
    assert "<b>" not in text
    assert r"&lt;b>PLS&lt;/b> \| \*mine\* $x$" in text
    assert text.startswith("# Training report: fat &lt;i>of&lt;/i> meat\n")


class _Page(HTMLParser):
    """Tags, attributes that lead elsewhere, and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_html_file_is_whole_and_needs_nothing_else(numbers, tmp_path: Path) -> None:
    file = numbers.report.write(tmp_path / "reports" / "fat.html")
    assert file.is_absolute()
    assert [each.name for each in file.parent.iterdir()] == ["fat.html"]
    source = file.read_text(encoding="utf-8")
    page = _Page(source)
    assert not {"b", "i", "script", "link", "iframe", "object"} & set(page.tags)
    assert len(page.links) == 6
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not re.search(r"url\(|@import|https?:", source)
    assert "<b>PLS</b> | *mine* $x$" in page.text
    assert "width=device-width" in source
    for cell in (
        cell for block in numbers.report.blocks if isinstance(block, Table) for row in block.rows for cell in row
    ):
        assert cell in page.text


def test_a_report_that_cannot_be_written_says_so(numbers, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        numbers.report.write(tmp_path / "file" / "report.html")


def test_classes_get_confusion_matrices_and_their_own_scores(classes) -> None:
    text = classes.report.markdown
    known, predicted = _best_predictions(classes, "val")
    right = int(np.sum(known == predicted))
    assert f"Cross-validation: {right} of {len(known)} samples in their class." in text
    scores = _cells(classes.report, "calibration")
    assert scores["accuracy"][1] == number(right / len(known))
    assert scores["balanced accuracy"][1] == number(balanced_accuracy_score(known, predicted))
    assert {"F1, mean of the classes", "Cohen's kappa"} <= set(scores)
    assert "Residuals" not in text
    assert "RMSE" not in text
    assert "Balanced accuracy (CV) against components" in text


def test_several_targets_have_a_section_each(several) -> None:
    text = several.report.markdown
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## fat (%)",
        "## protein",
        "## Pipelines that failed",
    ]
    assert text.count("### Leaderboard") == 2
    assert "The unit of protein was not given" in text
    assert text.count("No sample was held out: there is no test set") == 2
    assert "against components" not in text, "one size that could be trained is no sweep"
    assert [(row["target"], row["#"]) for row in several.report.table if row["#"]] == [("fat (%)", 1), ("protein", 1)]
    assert sum(row["error"] is not None for row in several.report.table) == 2


def test_a_report_can_be_made_again(numbers) -> None:
    with WorkspaceStore(numbers.workspace, read_only=True) as store:
        again = training_report(store, numbers.run_id, numbers.spectra, units={"fat": "%"})
    assert again == numbers.report


def test_other_spectra_and_unknown_runs_are_refused(numbers) -> None:
    with WorkspaceStore(numbers.workspace, read_only=True) as store:
        with pytest.raises(InvalidInputError, match="trained nothing on these spectra"):
            training_report(store, numbers.run_id, load_tecator())
        with pytest.raises(UnknownIdError, match="No run has the id 'nowhere'"):
            training_report(store, "nowhere", numbers.spectra)


def test_a_run_in_which_everything_failed_says_why(tmp_path: Path) -> None:
    runner, tecator = PipelineRunner(tmp_path), load_tecator()
    pls = {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 150}}
    with pytest.raises(TrainingError):
        runner.run([{"model": pls}], tecator, "fat")
    with WorkspaceStore(tmp_path) as store:
        report = training_report(store, runner.last_run_id, tecator)
    assert "**No pipeline could be trained.**" in report.markdown
    assert "upper bound is 100" in report.markdown
    assert [row["chain"] for row in report.table] == [None]


def test_the_best_pipeline_need_not_be_part_of_the_sweep(tmp_path: Path, record: Callable[..., Any]) -> None:
    """Wavenumbers, a cut of the axis, repeated folds and a metric of which more is better, in a report of its own."""
    tecator = load_tecator()
    spectra = replace(
        tecator,
        X=tecator.X[:, ::-1].copy(),
        axis=Axis(1e7 / tecator.axis.values[::-1], "cm-1"),
        targets={"$fat$ _%s_ (g/100 g)": tecator.targets["fat"]},
    )
    reported = record(
        tmp_path,
        [
            {"class": "chemotools.feature_selection.RangeCut", "params": {"start": 20, "end": 80}},
            {"class": "sklearn.model_selection.RepeatedKFold", "params": {"n_splits": 2, "n_repeats": 2}},
            {"model": {"_or_": [{"class": PLS, "params": {"n_components": {"_or_": [1, 2]}}}, RIDGE]}},
        ],
        spectra,
        None,
        options=TrainingOptions(metric="r2"),
    )
    text = reported.report.markdown
    assert "9523.81 to 11764.7 cm⁻¹" in text
    assert "several times" in text
    assert "## R² (CV) against components" in text
    assert "The best pipeline of all is none of these." in text
    assert "raw and after RangeCut(end=80, start=20)" in text
    worst = [row[0] for row in _rows(reported.report, "residual")]
    assert len(worst) == len(set(worst)) == 10
    scores = [row["R² (CV)"] for row in reported.report.table]
    assert scores == sorted(scores, reverse=True)
