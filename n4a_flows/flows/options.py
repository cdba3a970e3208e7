"""What a flow can be told. Prefect shows these as forms, with the titles and descriptions."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, FiniteFloat

from n4a_flows.reports import Exportable
from n4a_flows.spectra import Signal, Unit
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.gc import LONGEST_GRACE_HOURS
from n4a_flows.training.forms import Form


def _as_text(value: Any) -> Any:
    return fspath(value) if isinstance(value, PathLike) else value


PathText = Annotated[str, BeforeValidator(_as_text)]
"""A path; a `Path` is taken too."""


class _Options(Form):
    model_config = ConfigDict(extra="forbid")


class PredictionOptions(_Options):
    """How new spectra are predicted."""

    dataset: str | None = Field(
        default=None, description='With the chain "best": the dataset whose best chain is meant, by its name.'
    )
    target: str | None = Field(
        default=None, description='With the chain "best": the target whose best chain is meant; any when left out.'
    )
    unit: Unit | None = Field(
        default=None, description="Unit of the axis of files that do not say it: nm, um or cm-1 (wavenumbers)."
    )
    signal: Signal | None = Field(
        default=None,
        description=(
            "What the values of files are that do not say it. They are converted to the signal of the chain; without it they are "
            "taken to be that already, as long as they lie where the training spectra did."
        ),
    )
    id_column: str | None = Field(
        default=None,
        title="Column of sample ids",
        description=(
            "Column of the files that holds the sample ids. When left out: sample_id, id or sample, or a first column of texts; "
            "without one, the name of the file and the number of the row. Files that were scored already keep the ids they had, "
            "unless they are scored again (rescore)."
        ),
    )
    resample: bool = Field(
        default=False,
        description="Interpolate spectra on another grid, when the grid of the chain lies inside; refused otherwise.",
    )
    false_alarms: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        title="False alarms",
        description="Share of normal samples that are not called ok, by all statistics together.",
    )
    coverage: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="Share of normal samples whose laboratory value the prediction interval holds.",
    )
    check_samples: dict[str, FiniteFloat] = Field(
        default_factory=dict,
        title="Check samples",
        description=(
            "Known value by sample id. Each of them must be among the new samples and be predicted rightly, or the batch is not "
            "released: it is recorded, nothing is written for the LIMS, and the flow run fails."
        ),
    )
    check_tolerance: float | None = Field(
        default=None,
        gt=0,
        title="Check tolerance",
        description=(
            "How far the prediction of a check sample may be from its known value, in its unit; the prediction interval must hold "
            "the known value when left out."
        ),
    )
    instrument: str | None = Field(
        default=None, description="The instrument that the files come from; kept with each file, for monitoring."
    )
    product: str | None = Field(default=None, description="What was measured; kept with each file, for monitoring.")
    rescore: bool = Field(
        default=False, description="Score files again that the chain has scored already; the earlier predictions stay."
    )
    settle_seconds: float = Field(
        default=1.0,
        ge=0,
        title="Settling time (s)",
        description="Files that change between two looks this far apart are left for the next run.",
    )
    quarantine: Literal["leave", "move"] = Field(
        default="leave",
        description=(
            "What becomes of a file that cannot be scored: it is left where it is, or moved to a folder 'quarantine' beside it, "
            "with the reason."
        ),
    )
    most_quarantined: float = Field(
        default=1.0,
        ge=0,
        le=1,
        title="Most quarantined",
        description="Share of the new files that may be quarantined; the flow run fails above it, with everything recorded.",
    )
    csv_file: str | None = Field(
        default=None,
        title="CSV file",
        description=(
            "Also write the predictions as CSV for a LIMS: under this name in the exports folder, or at a URL that the block "
            "allows."
        ),
    )
    csv_columns: dict[str, str] = Field(
        default_factory=dict,
        title="CSV columns",
        description="Columns of the CSV file: its name by our name, in order. All of ours when left empty.",
    )
    replicate_pattern: str | None = Field(
        default=None,
        title="Replicate pattern",
        description=(
            "Regular expression that finds the sample in the id of a spectrum, such as ^(S\\d+)_ for S12_r3: replicates are "
            "summarised (mean, SD, n) in a CSV file of their own."
        ),
    )
    files_per_task: int = Field(
        default=500, ge=1, title="Files per task", description="How many files one task run reads, at the least."
    )


class MonitoringOptions(_Options):
    """What is compared, and where laboratory values come from."""

    chain: str | None = Field(
        default=None, description="Id or alias of a chain: only what it predicted. All chains when left out."
    )
    target: str | None = Field(default=None, description="Only this property; all when left out.")
    days: float | None = Field(
        default=None, gt=0, description="Only samples that were predicted within this many days; all when left out."
    )
    reference_file: PathText | None = Field(
        default=None,
        title="File of laboratory values",
        description=(
            "CSV or other delimited text, Excel or Parquet with a column of sample ids and a column for each property, "
            "to be taken in "
            "first. What is known already adds nothing, so the file may grow and be named again."
        ),
    )
    reference_columns: dict[str, str] = Field(
        default_factory=dict,
        title="Columns of that file",
        description="The column of each target, by target. Left empty, it is the one that is called as the target above.",
    )
    id_column: str | None = Field(
        default=None,
        title="Column of sample ids",
        description="In that file; the one called sample_id, id or sample when left out.",
    )
    confidence: float = Field(
        default=0.95, gt=0, lt=1, description="Of the limits of bias and slope (t-tests, two-sided)."
    )


class RetentionOptions(_Options):
    """Which runs are kept. Rules add up; what none of them keeps is deleted. With a rule for failed runs alone only those go."""

    last_runs: int | None = Field(
        default=None, ge=0, title="Last runs", description="Keep this many of the latest runs."
    )
    days: float | None = Field(default=None, ge=0, description="Keep runs that began within this many days.")
    best_chains: int | None = Field(
        default=None,
        ge=0,
        title="Best chains",
        description="Keep this many of the best chains for each dataset, target and metric.",
    )
    failed_days: float | None = Field(
        default=None,
        ge=0,
        title="Failed days",
        description="Keep failed runs that began within this many days, and no others that failed.",
    )
    remove_everything: bool = Field(
        default=False,
        title="Remove everything",
        description="Allow that there is no rule, or that no run which has ended is left; refused otherwise.",
    )


class MaintenanceOptions(_Options):
    """What is looked after, and how much may go."""

    dry_run: bool = Field(default=False, title="Dry run", description="Show the plans and change nothing.")
    reap: bool = Field(default=True, description="Mark runs as failed whose flow run is over or whose process is gone.")
    retention: RetentionOptions | None = Field(
        default=None, description="Rules for deleting old runs; without them every run is kept."
    )
    collect_garbage: bool = Field(
        default=True, title="Collect garbage", description="Remove artifacts that no chain needs, and stray files."
    )
    grace_hours: float = Field(
        default=1.0,
        ge=0,
        le=LONGEST_GRACE_HOURS,
        title="Grace period (h)",
        description="Leave alone what was saved within this many hours: a recording may be on its way.",
    )
    approval: bool = Field(
        default=False,
        description=(
            "Before anything is deleted, pause with the plan shown until somebody says yes. It is applied only if all of it is "
            "still true; a no, or no answer in time, deletes nothing."
        ),
    )
    approval_timeout: float = Field(
        default=12.0, gt=0, title="Approval timeout (h)", description="How many hours to wait for the answer."
    )
    vacuum: bool = Field(default=True, description="Make the database file smaller when enough of it is dead.")
    min_dead_share: float = Field(
        default=0.3, ge=0, le=1, title="Least dead share", description="Least share of dead rows for the vacuum."
    )
    verify_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        title="Verified share",
        description="Share of the files to hash and of the chains to replay at the end, chosen at random.",
    )


class ExportOptions(_Options):
    """What is exported, and where to. A field that says nothing about what is exported is refused."""

    what: Exportable = Field(
        default="chain",
        description=(
            "What to export: a chain that predicts elsewhere, the definition of a pipeline (JSON), a run with its pipelines "
            "(YAML), predictions (Parquet) or a template (JSON)."
        ),
    )
    chain: str = Field(
        default="best", description='Id or alias of the chain, or "best" for the best one of the dataset.'
    )
    dataset: str | None = Field(
        default=None,
        description=(
            'With the chain "best": the dataset whose best chain is meant, by its name. Of predictions: only those for this '
            "dataset."
        ),
    )
    target: str | None = Field(
        default=None, description='With the chain "best": the target whose best chain is meant; any when left out.'
    )
    format: Literal["n4a", "n4a.py"] = Field(
        default="n4a", description="Of a chain: a bundle, or a Python script that predicts CSV files by itself."
    )
    pipeline: str | None = Field(
        default=None, description="Id of the pipeline. Of predictions: only those of this pipeline."
    )
    run: str | None = Field(default=None, description="Id of the run. Of predictions: only those of this run.")
    template: str | None = Field(
        default=None, description="Name of the template, of the library of the workspace or of the package."
    )
    partition: Literal["train", "val", "test"] | None = Field(
        default=None, description="Of predictions: only those of this partition."
    )
    arrays: bool = Field(
        default=False, description="Of predictions: with measured and predicted values, sample by sample."
    )
    file_name: PathText | None = Field(
        default=None,
        title="File name",
        description=(
            "Name of the file in the exports folder of the workspace, or a URL that the block allows; made of what is exported "
            "when left out."
        ),
    )

    def refuse_what_does_not_fit(self) -> None:
        """Raise `InvalidInputError` for a field that says nothing about what is exported."""
        fitting = _FITTING[self.what]
        for name, field in type(self).model_fields.items():
            if name not in ("what", "file_name", *fitting) and getattr(self, name) != field.default:
                raise InvalidInputError(
                    f"The option {name!r} says nothing about what is exported, {_KINDS[self.what]}: leave it out. "
                    f"What fits is {', '.join(fitting)} and file_name."
                )


_FITTING: dict[Exportable, tuple[str, ...]] = {
    "chain": ("chain", "dataset", "target", "format"),
    "pipeline": ("pipeline",),
    "run": ("run",),
    "predictions": ("run", "pipeline", "dataset", "partition", "arrays"),
    "template": ("template",),
}
_KINDS: dict[Exportable, str] = {
    "chain": "a chain",
    "pipeline": "a pipeline",
    "run": "a run",
    "predictions": "predictions",
    "template": "a template",
}
