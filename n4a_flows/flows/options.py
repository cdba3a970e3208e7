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
