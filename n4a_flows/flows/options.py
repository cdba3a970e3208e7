"""What a flow can be told. Prefect shows these as forms, with the titles and descriptions."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _as_text(value: Any) -> Any:
    return fspath(value) if isinstance(value, PathLike) else value


PathText = Annotated[str, BeforeValidator(_as_text)]
"""A path; a `Path` is taken too."""


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PredictionOptions(_Options):
    """How new spectra are predicted."""

    dataset: str | None = Field(
        default=None, description='With the chain "best": the dataset whose best chain is meant, by its name.'
    )
    target: str | None = Field(
        default=None, description='With the chain "best": the target whose best chain is meant; any when left out.'
    )
    files_per_task: int = Field(
        default=500, ge=1, title="Files per task", description="How many files one task run reads, at the least."
    )


class RetentionOptions(_Options):
    """Which runs are kept. Rules add up; what none of them keeps is deleted."""

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
        description="Allow that no run which has ended is left; refused otherwise.",
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
        title="Grace period (h)",
        description="Leave alone what was saved within this many hours: a recording may be on its way.",
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
    """What is exported, and where to."""

    what: Literal["chain"] = Field(default="chain", description="What to export: a chain, as a bundle.")
    chain: str = Field(default="best", description='Id of the chain, or "best" for the best one of the dataset.')
    dataset: str | None = Field(
        default=None, description='With the chain "best": the dataset whose best chain is meant, by its name.'
    )
    target: str | None = Field(
        default=None, description='With the chain "best": the target whose best chain is meant; any when left out.'
    )
    file_name: PathText | None = Field(
        default=None,
        title="File name",
        description="Name of the file in the exports folder of the workspace; the id of the chain when left out.",
    )
