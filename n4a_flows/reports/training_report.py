"""The report of a training: what was tried, what is best and how good it is, what it looks like, what was left out and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from n4a_flows.reports.document import Block, Bullets, Heading, Paragraph, Pictures, Table, to_markdown
from n4a_flows.reports.html import to_html
from n4a_flows.reports.names import axis_text, pipeline_name, quantity_and_unit
from n4a_flows.reports.recorded import BestChain, Recorded, RunRecord, read_best, read_run
from n4a_flows.reports.score_text import number, pipeline_scores, ranking_name, scores_table
from n4a_flows.reports.sweeps import sweep_picture
from n4a_flows.reports.target_pictures import (
    diagram_picture,
    largest_residuals,
    prediction_pictures,
    residual_picture,
    spectra_picture,
)
from n4a_flows.spectra import Spectra
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.durable_files import write_durably
from n4a_flows.storage.errors import WorkspaceError

_SHOWN = 10


@dataclass(frozen=True)
class TrainingReport:
    """A report, for readers of the Prefect UI, of a file, and of a table.

    Attributes
    ----------
    title
        Its first heading.
    blocks
        What it says, in order.
    table
        The leaderboard with all pipelines, a dict each: `#`, `target`, `pipeline`, the scores, `chain`, `error`.
    """

    title: str
    blocks: tuple[Block, ...]
    table: list[dict[str, Any]]

    @property
    def markdown(self) -> str:
        """The report as Markdown, with the pictures inside."""
        return to_markdown(self.blocks)

    def to_html(self) -> str:
        """The report as an HTML document that needs no other file."""
        return to_html(self.title, self.blocks)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the HTML document, all of it or nothing; parent folders are made.

        Returns
        -------
        The absolute path of the file.

        Raises
        ------
        WorkspaceError
            When the disk refuses.
        """
        target = Path(os.path.abspath(path))
        try:
            write_durably(target, self.to_html().encode())
        except OSError as error:
            raise WorkspaceError(f"The report {target} cannot be written: {error.strerror or error}.") from error
        return target


def training_report(
    store: WorkspaceStore, run_id: str, spectra: Spectra, *, units: Mapping[str, str] | None = None
) -> TrainingReport:
    """The report of a run that was trained on these spectra, made from what is recorded.

    For each target: the leaderboard, the best pipeline by its pooled out-of-fold score, its predictions against the laboratory
    values in cross-validation and test, residuals or confusion matrices, the error against the number of components where that
    was swept, spectra before and after treatment, and what was left out.

    Parameters
    ----------
    spectra
        What the run was trained on, as `training_spectra` gave it: rows are looked up in it.
    units
        Units by target. A target whose name carries its unit, `fat (%)`, needs none.

    Raises
    ------
    UnknownIdError
        When there is no such run.
    InvalidInputError
        When the run trained nothing on these spectra, or its predictions are not recorded.
    ArtifactMissingError, ArtifactCorruptError, ArtifactLoadError, UntrustedError, ReplayError
        When the best chain cannot be loaded to treat the spectra.

    Examples
    --------
    >>> from n4a_flows.reports import training_report
    >>> report = training_report(store, run_id, spectra, units={"fat": "%"})
    >>> report.table[0]["RMSECV"]
    2.161
    >>> report.write(folder / "fat.html").name
    'fat.html'
    """
    record = read_run(store, run_id, spectra)
    best = {target: read_best(store, ranked[0]) for target in record.targets if (ranked := record.ranked(target))}
    said = {target: quantity_and_unit(target) for target in record.targets} | {
        target: (target, unit) for target, unit in (units or {}).items()
    }
    title = f"Training report: {record.run['name']}"
    blocks: list[Block] = [Heading(1, title), *_summary(record, best, said), _facts(record, spectra)]
    level = 2 if len(record.targets) == 1 else 3
    for target in record.targets:
        if level == 3:
            blocks.append(Heading(2, target))
        if target in best:
            blocks += _target(store, record, best[target], spectra, said[target], level)
        else:
            blocks.append(Paragraph(f"No pipeline for {target} could be trained."))
    blocks += _failures(record)
    return TrainingReport(title, tuple(blocks), _table(record))


Said = Mapping[str, tuple[str, str | None]]


def _summary(record: RunRecord, best: Mapping[str, BestChain], said: Said) -> list[Block]:
    """The outcome first."""
    if not best:
        return [Paragraph("No pipeline could be trained.", strong=True)]
    blocks: list[Block] = [
        Paragraph(f"{target}: {pipeline_scores(chain, said[target][1])}", strong=True) for target, chain in best.items()
    ]
    unitless = [target for target, chain in best.items() if said[target][1] is None and not chain.classes]
    if unitless:
        blocks.append(
            Paragraph(
                f"The unit of {', '.join(unitless)} was not given; errors are in the unit of the laboratory values. "
                "A column whose name carries its unit, such as fat (%), shows it everywhere."
            )
        )
    return blocks


def _facts(record: RunRecord, spectra: Spectra) -> Table:
    run = record.run
    failed = len(record.failed)
    return Table(
        ["", ""],
        [
            ["dataset", f"{spectra.name}: {spectra.n_samples} samples, {axis_text(spectra.axis)}"],
            ["signal", (spectra.signal or "not given").replace("_", " ")],
            ["pipelines", str(len(record.pipelines)) + (f", {failed} of them failed" if failed else "")],
            ["run", f"{run['run_id']}, {run['status']}, begun {run['created_at']:%Y-%m-%d %H:%M} UTC"],
            ["digest of the data", spectra.digest[:16]],
        ],
    )


def _target(
    store: WorkspaceStore,
    record: RunRecord,
    chain: BestChain,
    spectra: Spectra,
    said: tuple[str, str | None],
    level: int,
) -> list[Block]:
    """What there is to say of one target."""
    quantity, unit = said
    ranked = record.ranked(chain.recorded.row.target)
    blocks: list[Block] = [
        Heading(level, "Leaderboard"),
        _leaderboard(ranked),
        Heading(level, "The best pipeline"),
        Paragraph(f"Chain {chain.recorded.row.chain_id}: {pipeline_name(chain.recorded.planned)}."),
        Pictures([diagram_picture(chain, spectra, quantity, unit)]),
        Heading(level, "Predicted against known classes" if chain.classes else "Predicted against measured"),
        scores_table(chain, unit),
        Pictures(prediction_pictures(chain, quantity, unit)),
    ]
    if not chain.classes:
        blocks += [
            Heading(level, "Residuals"),
            Pictures([residual_picture(chain, quantity, unit)]),
            Paragraph("The largest residuals of cross-validation and test:"),
            largest_residuals(chain, spectra),
        ]
    sweep = sweep_picture(store, str(record.run["run_id"]), ranked, unit)
    if sweep is not None:
        score = ranking_name(chain.recorded.row.metric)
        blocks += [Heading(level, f"{score[0].upper()}{score[1:]} against components"), Pictures([sweep])]
    return [
        *blocks,
        Heading(level, "Spectra, raw and treated"),
        Pictures([spectra_picture(store, chain, spectra, quantity, unit)]),
        Heading(level, "What was left out, and why"),
        Bullets(_left_out(record, chain, spectra)),
    ]


def _leaderboard(ranked: list[Recorded]) -> Table:
    names = _distinct_names(ranked)
    metric = ranked[0].row.metric
    rows = [
        [str(place), name, number(each.row.validation), number(each.row.test)]
        for place, (each, name) in enumerate(zip(ranked, names, strict=True), 1)
    ]
    if len(rows) > _SHOWN + 1:
        rows = [*rows[:_SHOWN], ["", f"… and {len(rows) - _SHOWN} more", "", ""]]
    return Table(["#", "pipeline", ranking_name(metric), ranking_name(metric, "test")], rows)


def _distinct_names(ranked: list[Recorded]) -> list[str]:
    """Short names, and the recorded ones where the short ones do not tell the pipelines apart."""
    names = [pipeline_name(each.planned) for each in ranked]
    often = Counter(names)
    return [name if often[name] == 1 else each.row.name for name, each in zip(names, ranked, strict=True)]


def _left_out(record: RunRecord, chain: BestChain, spectra: Spectra) -> list[str]:
    target, noted = chain.recorded.row.target, chain.noted
    said = []
    if noted.get("left_out"):
        y = spectra.targets[target]
        without = np.flatnonzero(np.isnan(y) if y.dtype.kind == "f" else y == "")
        said.append(
            f"{noted['left_out']} of {spectra.n_samples} samples have no value of {target}: "
            + _some([spectra.sample_ids[row] for row in without])
        )
    if noted.get("unused"):
        options = (record.run["config"] or {}).get("options") or {}
        column = options.get("split_column") or "split"
        said.append(
            f"{noted['unused']} samples are marked for neither side by the column {column}: they neither train nor test."
        )
    rejected = int(record.dataset.get("rejected") or 0)
    if rejected:
        said.append(f"{rejected} rows of the data do not hold a usable spectrum and were rejected when it was read.")
        said += [f"line {row.line}: {row.reason}" for row in spectra.rejected[:_SHOWN]]
        if len(spectra.rejected) > _SHOWN:
            said.append(f"… and {len(spectra.rejected) - _SHOWN} more lines.")
    held = f"{noted.get('test') or 0} samples were held out as the test set and never trained on." if noted else ""
    if noted and not noted.get("test"):
        held = "No sample was held out: there is no test set, and cross-validation is all that is known of new samples."
    return [*(said or ["No sample was left out."]), *([held] if held else [])]


def _some(ids: list[str]) -> str:
    more = f" … and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more + "."


def _failures(record: RunRecord) -> list[Block]:
    failed, several = record.failed, len(record.targets) > 1
    if not failed:
        return []
    rows = [
        [
            pipeline_name(each.planned) + (f", for {each.row.target}" if several and each.row.target else ""),
            str(each.row.error),
        ]
        for each in failed[: 3 * _SHOWN]
    ]
    blocks: list[Block] = [Heading(2, "Pipelines that failed"), Table(["pipeline", "why"], rows)]
    if len(failed) > len(rows):
        blocks.append(Paragraph(f"… and {len(failed) - len(rows)} more."))
    return blocks


def _table(record: RunRecord) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for target in record.targets:
        rows += [_table_row(place, each) for place, each in enumerate(record.ranked(target), 1)]
    return rows + [_table_row(None, each) for each in record.failed]


def _table_row(place: int | None, each: Recorded) -> dict[str, Any]:
    row = each.row
    scores = (
        {}
        if row.error is not None
        else {
            ranking_name(row.metric): _rounded(row.validation),
            ranking_name(row.metric, "test"): _rounded(row.test),
        }
    )
    return {
        "#": place,
        "target": row.target,
        "pipeline": row.name,
        **scores,
        "chain": row.chain_id,
        "error": row.error,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.4g}")
