"""What can be said about a training besides the pipelines themselves."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from n4a_flows.storage.codecs import DEFAULT_ALLOWED_MODULES
from n4a_flows.training.metrics import Metric

DEFAULT_SPLIT_COLUMN = "split"


class TrainingOptions(BaseModel):
    """Options of a training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Metric = Field(
        default="rmse",
        description="Score that decides which pipeline is best: all out-of-fold predictions of a pipeline together.",
    )
    split_column: str | None = Field(
        default=DEFAULT_SPLIT_COLUMN,
        description=(
            "Column whose value 'test' marks the rows that are held out as the test set; all other rows train. "
            "The default is ignored when the data has no such column, and nothing is held out."
        ),
    )
    seed: int = Field(
        default=42,
        ge=0,
        le=2**32 - 1,
        description="Given as random_state to every splitter and step that draws random numbers and was not given one.",
    )
    max_pipelines: int = Field(
        default=1000,
        ge=1,
        description="A definition that expands to more pipelines is refused before anything is trained.",
    )
    chunk_size: int = Field(default=20, ge=1, description="Pipelines that are trained and recorded together.")
    keep_fold_models: bool = Field(
        default=True,
        description="Store the model of every fold; without them only the refit on all training rows is kept.",
    )
    allowed_modules: tuple[str, ...] = Field(
        default=(),
        description="Modules, besides scikit-learn, chemotools, numpy and scipy, whose classes a definition may name.",
    )

    @property
    def modules(self) -> tuple[str, ...]:
        """Every module whose classes a definition may name."""
        return (*DEFAULT_ALLOWED_MODULES, *self.allowed_modules)
