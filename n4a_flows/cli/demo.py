"""`n4a-flows demo`: the main job on real spectra, from training to the predictions of new files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.cli.common import print_json
from n4a_flows.cli.console import out, print_leaderboard, print_quarantined, working
from n4a_flows.flows import ExportOptions, export, predict_new_spectra, train_and_record
from n4a_flows.monitoring.agreement import rmse
from n4a_flows.reports import predicted_against_measured
from n4a_flows.reports.prediction_rows import interval_text, reasons_of, verdict_counts
from n4a_flows.spectra import Spectra, load_tecator
from n4a_flows.storage.durable_files import write_durably
from n4a_flows.storage.errors import WorkspaceError
from n4a_flows.training import TrainingOptions

TARGET = "fat"
UNIT = "%"

_SNV = {"class": "chemotools.scatter.StandardNormalVariate", "params": {}}
_FIRST, _SECOND = (
    {
        "class": "chemotools.derivative.SavitzkyGolay",
        "params": {"window_length": 11, "polyorder": 2, "deriv": deriv},
    }
    for deriv in (1, 2)
)
PIPELINE: dict[str, Any] = {
    "pipeline": [
        {"_or_": [None, _SNV, _FIRST, _SECOND, [_FIRST, _SNV], [_SECOND, _SNV]]},
        {"class": "sklearn.model_selection.KFold", "params": {"n_splits": 5, "shuffle": True, "random_state": 0}},
        {
            "model": {
                "class": "sklearn.cross_decomposition.PLSRegression",
                "params": {"n_components": {"_or_": [8, 12]}},
            }
        },
    ]
}
"""Raw, scatter-corrected, first and second derivative spectra and both together, each with two sizes of PLS model."""


def demo(workspace: Path, as_json: bool = False) -> None:
    """Train on tecator, predict its test spectra as if they had just arrived, export the best chain, and show it all."""
    block = WorkspaceStoreBlock(path=workspace)
    with block.open():
        pass  # An unwritable workspace is refused before anything is written beside it.
    folder = block.workspace_path
    spectra = load_tecator()
    new = spectra.take(spectra.metadata["split"] == "test")
    write_incoming(new, folder / "incoming")

    with working():
        training = train_and_record(block, "tecator", TARGET, PIPELINE, TrainingOptions(units={TARGET: UNIT}))
        chain_id = training.best[TARGET]
        prediction = predict_new_spectra(block, chain_id, str(folder / "incoming"))
        bundle = export(block, ExportOptions(chain=chain_id, file_name="best-fat.n4a"))

    predicted = pl.read_parquet(prediction.predictions_path)
    measured = dict(zip(new.sample_ids, new.targets[TARGET].tolist(), strict=True))
    y = np.array([measured[sample_id] for sample_id in predicted["sample_id"]])
    y_hat = predicted["y"].to_numpy()
    picture = block.export_path("predicted-against-measured.png")
    _write(
        picture,
        predicted_against_measured(
            y,
            y_hat,
            quantity=TARGET,
            unit=UNIT,
            title="tecator, 43 new samples",
            verdicts=predicted["verdict"].to_list(),
        ),
    )

    if as_json:
        print_json(
            {
                "training": training.model_dump(mode="json"),
                "prediction": prediction.model_dump(mode="json"),
                "export": bundle.model_dump(mode="json"),
                "rmsep": rmse(y, y_hat),
                "picture": picture,
            }
        )
        return
    out.print()
    print_leaderboard(training.leaderboard)
    out.print(f"best chain for {TARGET}: {chain_id}")
    out.print()
    quarantined = _quarantined(block, chain_id)
    new_files = f" ({prediction.scored} of them now, the others in an earlier run)" if prediction.skipped else ""
    out.print(f"{len(y)} predicted, {len(quarantined)} quarantined{new_files}")
    print_quarantined(quarantined)
    out.print(f"verdicts: {', '.join(f'{count} {verdict}' for verdict, count in verdict_counts(predicted).items())}")
    for row in predicted.filter(pl.col("verdict") != "ok").iter_rows(named=True):
        out.print(_not_ok(row), markup=False)
    inside = np.count_nonzero((predicted["lower"].to_numpy() <= y) & (y <= predicted["upper"].to_numpy()))
    out.print(f"{inside} of {len(y)} laboratory values lie in the 95 % interval of their prediction")
    out.print(
        f"RMSEP for {TARGET}: {rmse(y, y_hat):.2f} {UNIT}, against the laboratory values of the {len(y)} new samples"
    )
    out.print()
    for what, path in (
        ("bundle", bundle.path),
        ("predictions", prediction.predictions_path),
        ("picture", picture),
    ):
        out.print(f"{what:<12} {path}", markup=False)


def write_incoming(spectra: Spectra, folder: Path) -> None:
    """Write each spectrum into a CSV file of its own, as an instrument would, and one broken file beside them.

    Raises
    ------
    WorkspaceError
        When the files cannot be written.
    """
    header = ["sample_id", *(repr(value) for value in spectra.axis.values.tolist())]
    for sample_id, row in zip(spectra.sample_ids, spectra.X.tolist(), strict=True):
        text = io.StringIO(newline="")
        csv.writer(text).writerows([header, [sample_id, *map(repr, row)]])
        _write(folder / f"{sample_id}.csv", text.getvalue().encode())
    _write(folder / "broken.csv", b"sample_id,850.0,852.0202\nno spectrum here\n")


def _not_ok(row: Mapping[str, Any]) -> str:
    """A sample that is not ok, and why."""
    between = interval_text(row["lower"], row["upper"], 1)
    return f"  {row['sample_id']}: {row['y']:.1f} {UNIT} ({between}), {row['verdict']}: {'; '.join(reasons_of(row['reasons']))}"


def _quarantined(block: WorkspaceStoreBlock, chain_id: str) -> list[tuple[str, str]]:
    with block.open() as store:
        digest = store.get_chain_context(chain_id).digest
        files = store.scored_files(status="quarantined")
    mine = files.filter(pl.col("chain_digest") == digest)
    return list(zip(mine["path"].to_list(), mine["reason"].to_list(), strict=True))


def _write(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() == content:
        return  # A second demo finds the files of the first.
    try:
        write_durably(path, content)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written: {error.strerror or error}.") from error
