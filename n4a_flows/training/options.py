"""What can be said about a training besides the pipelines themselves."""

from __future__ import annotations

import re

from pydantic import ConfigDict, Field, field_validator, model_validator

from n4a_flows.storage.axis import Signal, Unit
from n4a_flows.storage.codecs import DEFAULT_ALLOWED_MODULES
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.training.forms import Form
from n4a_flows.training.metrics import DEFAULT_METRIC, METRICS, Metric, Task

DEFAULT_SPLIT_COLUMN = "split"


class TrainingOptions(Form):
    """Options of a training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Metric | None = Field(
        default=None,
        description=(
            "Score that decides which pipeline is best: all out-of-fold predictions of a pipeline together. "
            "The default is rmse for numbers and balanced_accuracy for classes."
        ),
    )
    unit: Unit | None = Field(
        default=None, description="Unit of the axis of files that do not say it: nm, um or cm-1 (wavenumbers)."
    )
    signal: Signal | None = Field(
        default=None,
        description=(
            "What the values of files are that do not say it. The chains expect it of new spectra; without it they take those that "
            "lie where the training spectra do."
        ),
    )
    id_column: str | None = Field(
        default=None,
        title="Column of sample ids",
        description=(
            "Column of the files that holds the sample ids. When left out: sample_id, id or sample, or a first column of texts."
        ),
    )
    split_column: str | None = Field(
        default=DEFAULT_SPLIT_COLUMN,
        title="Split column",
        description=(
            "Column that says which rows are held out as the test set (see the test values); all other rows train. "
            "Upper and lower case are the same. The default is ignored when the data has no such column, and nothing is held out."
        ),
    )
    test_values: tuple[str, ...] = Field(
        default=("test",), title="Test values", description="Values of the split column that mark the test set."
    )
    train_values: tuple[str, ...] | None = Field(
        default=None,
        title="Training values",
        description="Values of the split column that mark rows to train on; every other value when left out.",
    )
    test_files: tuple[str, ...] = Field(
        default=(),
        title="Test files",
        description="Spectra files that make the test set; then all rows of the dataset train.",
    )
    test_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        title="Test fraction",
        description=(
            "Share of the rows that is drawn at random as the test set, by whole groups where there are groups, "
            "and of each class in its share."
        ),
    )
    group_column: str | None = Field(
        default=None,
        title="Group column",
        description=(
            "Column (or sample_id) whose equal values are replicates of one sample: they never sit on both sides of a split."
        ),
    )
    group_pattern: str | None = Field(
        default=None,
        title="Group pattern",
        description=(
            "Regular expression: what it finds in a value of the group column (its first group, if it has one) is the group, "
            "for ids such as S12_r3."
        ),
    )
    fold_column: str | None = Field(
        default=None,
        title="Fold column",
        description=(
            "Column that names the fold in which a row is validated, instead of a splitter; rows without a value always train."
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
        title="Most pipelines",
        description="A definition that expands to more pipelines is refused before anything is trained.",
    )
    chunk_size: int = Field(
        default=20, ge=1, title="Chunk size", description="Pipelines that are trained and recorded together."
    )
    keep_fold_models: bool = Field(
        default=True,
        title="Keep fold models",
        description="Store the model of every fold; without them only the refit on all training rows is kept.",
    )
    champion: bool = Field(
        default=False,
        description=(
            "Let the best chain of each target take the alias DATASET/TARGET/champion if it is better than the one "
            "that has it. DATASET is the name of the file, so files of different calibrations need different names."
        ),
    )
    champion_margin: float = Field(
        default=0.0,
        ge=0,
        title="Champion margin",
        description="By how much it must be better, in units of the metric, by all out-of-fold predictions together.",
    )
    replay_sample: int = Field(
        default=3,
        ge=0,
        title="Replay sample",
        description=(
            "How many chains, besides the best, the flow replays in a fresh process and compares with what training predicted."
        ),
    )
    units: dict[str, str] = Field(
        default_factory=dict, description="Units of the targets, for the report; a target called 'fat (%)' needs none."
    )
    report_file: str | None = Field(
        default=None,
        title="Report file",
        description=(
            "Also write the flow's report as an HTML file of this name into the exports folder of the workspace, or to a URL that "
            "the block allows."
        ),
    )
    allowed_modules: tuple[str, ...] = Field(
        default=(),
        title="Allowed modules",
        description="Modules, besides scikit-learn, chemotools, numpy and scipy, whose classes a definition may name.",
    )

    @field_validator("group_pattern")
    @classmethod
    def _is_a_pattern(cls, text: str | None) -> str | None:
        try:
            re.compile(text or "")
        except re.error as error:
            raise ValueError(f"{text!r} is no regular expression: {error}") from error
        return text

    @model_validator(mode="after")
    def _one_test_set(self) -> TrainingOptions:
        if self.test_files and self.test_fraction is not None:
            raise ValueError("the test set is either test_files or a test_fraction, not both")
        if self.test_files and (self.split_column is None or self.train_values is not None):
            raise ValueError("test_files make the split, so leave split_column and train_values as they are")
        if self.test_files and not self.test_values:
            raise ValueError("test_files are marked with the first of test_values, so leave one there")
        if self.group_pattern is not None and self.group_column is None:
            raise ValueError("a group_pattern needs the group_column whose values it is looked for in")
        return self

    @property
    def modules(self) -> tuple[str, ...]:
        """Every module whose classes a definition may name."""
        return (*DEFAULT_ALLOWED_MODULES, *self.allowed_modules)

    def metric_for(self, task: Task) -> Metric:
        """The metric that decides, for a training of this task.

        Raises
        ------
        InvalidInputError
            When the metric asked for is one of the other task.
        """
        metric = self.metric or DEFAULT_METRIC[task]
        if metric not in METRICS[task]:
            raise InvalidInputError(
                f"{metric!r} does not score a {task}; use one of {', '.join(METRICS[task])}, or leave it out."
            )
        return metric
