from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression

from n4a_flows.monitoring import Judge, Limits
from n4a_flows.reports.prediction_rows import with_intervals
from n4a_flows.spectra import Axis, Spectra
from n4a_flows.storage import ChainPackage, ScoredFile, ScoredSample, WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.tasks.files import file_digest
from n4a_flows.tasks.judging import Scorer
from n4a_flows.tasks.scoring import PendingFile, ScoredChunk, score
from n4a_flows.training import PipelineRunner

MODULES = ("sklearn", "chemotools", "numpy")


@pytest.fixture
def package(tmp_path: Path, two_pipelines: list[Any]) -> ChainPackage:
    with WorkspaceStore(tmp_path / "ws") as store:
        PipelineRunner(store=store).run(two_pipelines, "tecator", "fat")
        return store.chain_package(store.best_chain("tecator", "fat"))


@pytest.fixture
def scored(package: ChainPackage) -> Callable[..., ScoredChunk]:
    """Scores a file as it is now; `digest` says what it was when it was listed."""

    def run(path: Path, digest: str | None = None) -> ScoredChunk:
        pending = PendingFile(path, digest or file_digest(path), (package.digest,))
        return score([package], [pending], "modules", MODULES)

    return run


def test_a_file_that_changed_or_vanished_since_it_was_listed_is_left_for_the_next_run(
    incoming: Path, package: ChainPackage, scored: Callable[..., ScoredChunk]
) -> None:
    file = next(incoming.glob("[!b]*.csv"))
    digest = file_digest(file)
    file.write_text(file.read_text().replace("0.", "1."))
    changed = scored(file, digest)
    file.unlink()
    vanished = scored(file, digest)

    assert changed.postponed == vanished.postponed == [str(file)]
    assert changed.files == vanished.files == {package.digest: []}


def test_a_bad_row_is_noted_and_its_neighbours_are_predicted(
    tmp_path: Path,
    new_spectra: Spectra,
    write_csv: Callable[[Path, Spectra], None],
    package: ChainPackage,
    scored: Callable[..., ScoredChunk],
) -> None:
    file = tmp_path / "rows.csv"
    write_csv(file, new_spectra)
    lines = file.read_text().splitlines()
    lines[2] = lines[2].replace("2.", "x.", 1)
    file.write_text("\n".join(lines))

    (result,) = scored(file).files[package.digest]

    assert result.status == "scored"
    assert [sample.sample_id for sample in result.samples] == [new_spectra.sample_ids[i] for i in (0, 2, 3, 4)]
    assert [row["line"] for row in result.detail["rejected"]] == [3]


def test_a_falling_axis_is_turned_round(
    tmp_path: Path,
    new_spectra: Spectra,
    write_csv: Callable[[Path, Spectra], None],
    package: ChainPackage,
    scored: Callable[..., ScoredChunk],
) -> None:
    write_csv(tmp_path / "nm.csv", new_spectra)
    turned = Spectra(new_spectra.X[:, ::-1], Axis(new_spectra.axis.values[::-1]), new_spectra.sample_ids)
    write_csv(tmp_path / "turned.csv", turned)

    (straight,) = scored(tmp_path / "nm.csv").files[package.digest]
    (reversed_,) = scored(tmp_path / "turned.csv").files[package.digest]

    assert straight.samples == reversed_.samples


def test_verdicts_are_those_of_the_judge_and_the_worst_spectra_come_along(
    tmp_path: Path,
    new_spectra: Spectra,
    write_csv: Callable[[Path, Spectra], None],
    package: ChainPackage,
) -> None:
    X = np.vstack([new_spectra.X] * 3)
    X[2:, 40] += 0.5
    ids = [f"s{number}" for number in range(15)]
    for number in range(3):
        five = slice(5 * number, 5 * number + 5)
        write_csv(tmp_path / f"{number}.csv", Spectra(X[five], new_spectra.axis, ids[five]))
    paths = sorted(tmp_path.glob("*.csv"))
    pending = [PendingFile(path, file_digest(path), (package.digest,)) for path in paths]
    chunk = score([package], pending, "modules", MODULES)

    judge = Judge(package.load(trust="modules"), Limits.from_bytes(package.limits))
    judged = judge.predict(X, new_spectra.axis)
    samples = [sample for file in chunk.files[package.digest] for sample in file.samples]
    assert [sample.verdict for sample in samples] == list(judged.verdicts)
    assert [sample.reasons for sample in samples] == judged.reasons
    np.testing.assert_allclose([sample.y for sample in samples], judged.y, rtol=1e-12)
    for name, values in judged.statistics.items():
        np.testing.assert_allclose([sample.detail[name] for sample in samples], values, rtol=1e-5)
    np.testing.assert_allclose([sample.detail["interval"][0] for sample in samples], judged.lower, rtol=1e-5)
    together = chunk.together[package.digest]
    assert together.tally is not None
    assert together.tally.counts == judged.tally.counts
    assert len(together.odd) == 6
    assert [each.severity for each in together.odd] == sorted((each.severity for each in together.odd), reverse=True)
    for spectrum in together.odd:
        assert spectrum.verdict == "outlier"
        np.testing.assert_allclose(spectrum.values, X[ids.index(spectrum.sample_id)], rtol=1e-6)


def test_spectra_for_which_the_chain_fails_are_rejected_and_the_others_predicted(
    tmp_path: Path, new_spectra: Spectra, write_csv: Callable[[Path, Spectra], None]
) -> None:
    positive = {"class": "sklearn.preprocessing.PowerTransformer", "params": {"method": "box-cox"}}
    folds = {"class": "sklearn.model_selection.KFold", "params": {"n_splits": 2}}
    model = {"model": {"class": "sklearn.linear_model.Ridge", "params": {"alpha": 1.0}}}
    with WorkspaceStore(tmp_path / "ws") as store:
        PipelineRunner(store=store).run([positive, folds, model], "tecator", "fat")
        package = store.chain_package(store.best_chain("tecator", "fat"))
    X = np.vstack([new_spectra.X] * 8)
    ids = [f"s{number}" for number in range(len(X))]
    bad, worse = X.copy(), X.copy()
    bad[[3, 17], 50] = worse[:, 50] = -0.1
    folder = tmp_path / "incoming"
    folder.mkdir()
    for name, values in (("good", X), ("some", bad), ("none", worse)):
        write_csv(folder / f"{name}.csv", Spectra(values, new_spectra.axis, ids))

    pending = [PendingFile(path, file_digest(path), (package.digest,)) for path in sorted(folder.iterdir())]
    chunk = score([package], pending, "modules", MODULES)
    good, none, some = chunk.files[package.digest]

    assert (good.status, none.status, some.status) == ("scored", "quarantined", "scored")
    assert "strictly positive" in str(none.reason)
    assert [sample.sample_id for sample in some.samples if sample.verdict == "rejected"] == ["s3", "s17"]
    for sample, as_good in zip(some.samples, good.samples, strict=True):
        if sample.verdict == "rejected":
            assert sample.y is None
            assert "strictly positive" in sample.reasons[0]
        else:
            np.testing.assert_allclose(sample.y, as_good.y, rtol=1e-9)
    tally = chunk.together[package.digest].tally
    assert tally is not None
    assert tally.counts["rejected"] == 2


class Odd:
    """A model that gives what it is told."""

    def __init__(self, y: np.ndarray) -> None:
        self.y = y

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.y[: len(X)]


def _chain_of(store: WorkspaceStore, y: np.ndarray, axis: Axis) -> ChainPackage:
    run_id = store.begin_run("by hand", {}, [])
    pipeline_id = store.begin_pipeline(run_id, "odd", [], {}, "d", "h")
    model = store.save_artifact(Odd(y), "Odd", "model")
    steps = [{"step_idx": 1, "operator_class": "Odd", "params": {}}]
    return store.chain_package(
        store.save_chain(
            pipeline_id, steps, 1, "Odd", "", "per_fold", {"fold_final": model}, {}, axis=axis, target="fat"
        )
    )


def test_what_is_no_finite_number_is_rejected(tmp_path: Path, incoming: Path, new_spectra: Spectra) -> None:
    file = next(incoming.glob("[!b]*.csv"))
    with WorkspaceStore(tmp_path / "ws", trust="all") as store:
        package = _chain_of(store, np.array([np.nan]), new_spectra.axis)
    chunk = score([package], [PendingFile(file, file_digest(file), (package.digest,))], "all", ())
    (result,) = chunk.files[package.digest]
    (sample,) = result.samples
    assert (result.status, sample.y, sample.verdict) == ("scored", None, "rejected")
    assert sample.reasons == ("the chain predicts no finite number",)


class Failing(PLSRegression):  # type: ignore[misc]
    """PLS that gives no number for the second of several spectra."""

    def predict(self, X: np.ndarray, copy: bool = True) -> np.ndarray:
        y = super().predict(X, copy=copy)
        if len(X) > 4:
            y[1] = np.inf
        return y


def test_a_batch_is_judged_without_what_is_no_number(
    tmp_path: Path, new_spectra: Spectra, package: ChainPackage
) -> None:
    with WorkspaceStore(tmp_path / "ws", trust="all") as store:
        chain_id = package.context.chain_id
        limits = store.get_limits(chain_id)
        predictor = store.load_predictor(chain_id)
        others = Judge(predictor, Limits.from_bytes(limits)).predict(new_spectra.X[[0, 2, 3, 4]], new_spectra.axis)
        predictor.model.__class__ = Failing
        scorer = Scorer(predictor, Judge(predictor, Limits.from_bytes(limits)))
        said = scorer.say(new_spectra.X, new_spectra.axis)
        samples = [
            ScoredSample(str(row), *of)
            for row, of in enumerate(zip(said.y, said.verdicts, said.reasons, said.details, strict=True))
        ]
        store.record_scoring(chain_id, [ScoredFile("a.csv", "1" * 64, "scored", samples=samples)])
        table = with_intervals(store.scored_samples())
    assert table["y"].is_null().to_list() == table["lower"].is_null().to_list() == [False, True, False, False, False]
    np.testing.assert_allclose(table["y"].drop_nulls(), others.y, rtol=1e-9)
    assert (said.verdicts[1], said.reasons[1]) == ("rejected", ("the chain predicts no finite number",))
    assert said.tally is not None
    assert said.tally.counts["rejected"] == 1
    assert sum(said.tally.counts.values()) == 5


def test_a_chain_of_several_targets_is_refused_and_no_file_is_blamed(
    tmp_path: Path, incoming: Path, new_spectra: Spectra
) -> None:
    files = sorted(incoming.glob("[!b]*.csv"))
    with WorkspaceStore(tmp_path / "ws", trust="all") as store:
        package = _chain_of(store, np.ones((9, 2)), new_spectra.axis)
    for some in (files, files[:1]):
        pending = [PendingFile(path, file_digest(path), (package.digest,)) for path in some]
        with pytest.raises(InvalidInputError, match="predicts 2 targets at once"):
            score([package], pending, "all", ())
