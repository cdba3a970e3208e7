"""What a flow returns: small models that serialise to JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from n4a_flows.reports import Exportable, LeaderboardRow
from n4a_flows.storage.places import Place
from n4a_flows.training import ChampionDecision


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, Place) else value


_Url = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9+.-]+://")]
Written = Annotated[_Url | Path, Field(union_mode="left_to_right"), BeforeValidator(_as_text)]
"""A file that was written: a path, or a URL as text."""


class TrainingSummary(BaseModel):
    """What `train_and_record` did."""

    run_id: str = Field(description="Id of the run in the workspace.")
    best: dict[str, str] = Field(description="Target -> id of the chain with the best pooled out-of-fold score.")
    best_chain_id: str | None = Field(description="The best chain when the run has one target, else null.")
    chain_ids: list[str] = Field(description="Ids of all chains of the run, best first.")
    failed: int = Field(description="Number of pipelines that could not be trained.")
    leaderboard: list[LeaderboardRow] = Field(description="One row per pipeline, best first.")
    replayed: int = Field(description="Number of chains that a fresh process replayed and compared.")
    champions: dict[str, ChampionDecision] = Field(
        description="Target -> how the best chain compares with the champion, where that was asked for."
    )
    report_path: Written | None = Field(
        default=None, description="The report as an HTML file, where that was asked for."
    )


class QuarantinedFile(BaseModel):
    """A file that cannot be scored."""

    path: str
    reason: str


class BatchSummary(BaseModel):
    """What is said of the new samples of a chain together."""

    chain_id: str = Field(description="The chain that predicted.")
    target: str = Field(description="What it predicts.")
    verdict: str | None = Field(
        description="ok, warn, outlier, or rejected (not released); null when there was nothing to judge, or nothing to judge by."
    )
    reasons: list[str] = Field(description="Why, in words.")
    released: bool = Field(description="Whether nothing stands against using the predictions.")
    samples: int = Field(description="Number of new samples.")


class PredictionSummary(BaseModel):
    """What `predict_new_spectra` did.

    A file belongs to `scored`, `quarantined`, `skipped` or `postponed`; with several chains it may be both scored by one and
    quarantined by another.
    """

    chain_ids: list[str] = Field(description="The chains that predicted.")
    scored: int = Field(description="Number of files that were predicted now.")
    skipped: int = Field(description="Number of files that these chains had scored or quarantined before.")
    quarantined: int = Field(description="Number of files that cannot be scored.")
    quarantined_files: list[QuarantinedFile] = Field(description="Those files, with the reason.")
    postponed: int = Field(
        description="Number of files that vanished or changed meanwhile; the next run looks at them."
    )
    samples: int = Field(description="Number of samples that were predicted now.")
    rejected_rows: list[str] = Field(
        default_factory=list, description="Rows of the scored files that hold no spectrum, and why."
    )
    verdicts: dict[str, int] = Field(
        default_factory=dict,
        description="Verdict (ok, warn, outlier, rejected) -> number of samples that were predicted now.",
    )
    batches: list[BatchSummary] = Field(default_factory=list, description="What each chain's new samples are together.")
    predictions_path: Path = Field(description="Parquet file with the predictions of all files that were asked for.")
    csv_path: Written | None = Field(default=None, description="The same as CSV, where that was asked for.")
    replicates_path: Path | None = Field(
        default=None, description="CSV file with a row per sample, where replicates were to be summarised."
    )


class AgreementSummary(BaseModel):
    """How the predictions of one chart agree with the laboratory values; in the unit of the target where there is one."""

    target: str | None = Field(description="What was predicted.")
    unit: str | None = Field(description="Its unit, where it is known.")
    chain_id: str = Field(description="The chain, the latest with this digest.")
    chain_digest: str = Field(description="Its digest: a chain that was trained again to the same result is the same.")
    instrument: str | None = Field(description="The instrument, where the files name it.")
    product: str | None = Field(description="The product, where the files name it.")
    n: int = Field(description="Number of samples.")
    bias: float = Field(description="Mean of predicted less measured.")
    bias_limit: float | None = Field(description="How far the bias may lie from 0 by chance.")
    bias_differs: bool = Field(description="Whether it lies farther.")
    sep: float | None = Field(description="Standard deviation of the differences.")
    rmsep: float = Field(description="Root mean square of the differences.")
    rmsecv: float | None = Field(description="The error in cross-validation; limits are 2 and 3 times that.")
    slope: float | None = Field(description="Slope of measured over predicted.")
    slope_limit: float | None = Field(description="How far the slope may lie from 1 by chance.")
    slope_differs: bool = Field(description="Whether it lies farther.")
    intercept: float | None = Field(description="Intercept of that line.")
    r2: float | None = Field(description="Coefficient of determination.")
    crossings: int = Field(description="How many times a limit was crossed.")


class MonitoringSummary(BaseModel):
    """What `monitor` found."""

    agreement: list[AgreementSummary] = Field(
        description="One entry for each chart: chain, target, instrument and product."
    )
    crossings: list[str] = Field(description="Limits that were crossed, in words, the latest first.")
    new_crossings: list[str] = Field(description="Those of them that were not known before; each has sent an event.")
    values_added: int = Field(description="Number of laboratory values in the file that were new or changed.")
    values_rejected: list[str] = Field(description="What stands in the file and cannot be used, and why.")
    values_unmatched: int = Field(description="Number of laboratory values in the file whose sample has no prediction.")


class MaintenanceSummary(BaseModel):
    """What `maintain` did; with `dry_run`, what it would do."""

    dry_run: bool = Field(description="Whether nothing was changed.")
    checks_ok: bool = Field(description="Whether the checks found no damage; nothing is deleted when they do.")
    findings: list[str] = Field(description="The damage that was found, a line each.")
    reaped_runs: list[str] = Field(description="Ids of the runs that had died and were marked failed.")
    removed_runs: int = Field(description="Number of runs that retention deleted.")
    removed_pipelines: int = Field(description="Number of pipelines that retention deleted, those of whole runs too.")
    removed_files: int = Field(description="Number of files that garbage collection removed.")
    freed_bytes: int = Field(description="Size of those files.")
    not_deleted: str | None = Field(
        default=None, description="Why what waited for approval was not deleted, null when it was or nothing waited."
    )
    database_bytes_before: int = Field(description="Size of the database file before.")
    database_bytes_after: int = Field(description="Size of the database file after.")
    verified_files: int = Field(description="Number of files whose bytes were compared with their hash at the end.")
    replayed_chains: int = Field(description="Number of chains that were replayed and compared at the end.")


class ExportSummary(BaseModel):
    """What `export` wrote."""

    path: Written = Field(description="The file, or its URL.")
    sha256: str = Field(description="SHA-256 of its bytes, 64 hexadecimal digits.")
    size: int = Field(description="Its size in bytes.")
    what: Exportable = Field(description="What was exported.")
    name: str = Field(description="Id or name of what was exported; of predictions the filters.")
    chain_id: str | None = Field(default=None, description="The chain in it, if it is one.")
    load: str = Field(description="How to load it elsewhere: Python, or of a script the command.")
