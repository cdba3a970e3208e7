"""Writes `reference.md` from the docstrings of the public names: `python docs/make_reference.py`."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel

PAGE = Path(__file__).with_name("reference.md")

INTRO = """\
# Reference

Made from the docstrings by `python docs/make_reference.py`; do not edit it by hand. The ideas behind it are in
[storage.md](storage.md) and [chains.md](chains.md).

Spectra are float64 `(n_samples, n_points)`. Tables come back as `polars.DataFrame` with the columns named here, also when they are
empty; columns of JSON are text in tables and Python values in dicts. Times are naive UTC, ids are uuid4 text. Everything that is
raised on purpose is an `N4AError` and also the builtin error that fits ([errors](#errors)).

In the examples `store` is a workspace in which one run on the tecator set is recorded (standard normal variate, then PLS with 8
components, for fat), and `run_id`, `pipeline_id`, `chain_id` and `prediction_id` (fold 0, validation) are its ids. `spectra` is
`load_tecator()`, `folder` an empty folder, `np` is numpy and `pl` is polars; every name of this page is imported. All examples run
in a test.
"""

# The sections of the page: module, heading, names. The names of each `__all__` must all stand on the page.
SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("n4a_flows.storage", "The workspace store", ("WorkspaceStore",)),
    ("n4a_flows.storage", "Predicting", ("Predictor", "ChainPackage", "ChainContext", "replay_chain", "Axis")),
    (
        "n4a_flows.storage",
        "Bundles",
        (
            "inspect_bundle",
            "verify_bundle",
            "BundleInfo",
            "ImportReport",
            "VersionDifference",
            "BundleGenerator",
        ),
    ),
    ("n4a_flows.storage", "Probes", ("Probe", "ProbeReport")),
    ("n4a_flows.storage", "Artifacts as bytes", ("serialize", "SerializedArtifact", "PreparedArtifact")),
    ("n4a_flows.storage", "The ledger of scored files", ("ScoredFile", "ScoredSample", "ScoredBatch", "LimitCrossing")),
    ("n4a_flows.storage", "The library", ("PipelineLibrary",)),
    ("n4a_flows.storage", "Files at URLs", ("Place",)),
    (
        "n4a_flows.storage",
        "Traces",
        ("TraceRecorder", "ChainBuilder", "ExecutionTrace", "ExecutionStep", "StepArtifacts", "StepExecutionMode"),
    ),
    ("n4a_flows.storage", "Fold keys", ("normalize_fold_key", "fold_key_candidates", "parse_numeric_fold_key")),
    (
        "n4a_flows.storage",
        "Other names of the storage room",
        ("Named", "REFIT_CONTEXT_STANDALONE", "REFIT_CONTEXT_STACKING", "WorkspaceStoreProtocol"),
    ),
    (
        "n4a_flows.storage",
        "What upkeep reports",
        (
            "GcPlan",
            "GcReport",
            "RetentionPolicy",
            "RetentionPlan",
            "RetentionReport",
            "CleaningPlan",
            "CleaningReport",
            "RunOrigin",
            "ReapedRun",
            "CompactReport",
            "CheckReport",
            "Finding",
            "RepairReport",
            "BackupReport",
            "RestoreReport",
            "UpgradeReport",
        ),
    ),
    (
        "n4a_flows.spectra",
        "Spectra",
        ("read_spectra", "load_dataset", "load_tecator", "with_test_set", "Spectra", "RejectedRow", "match", "Matched"),
    ),
    (
        "n4a_flows.spectra",
        "Other names of the spectra room",
        ("SHIPPED", "Unit", "Signal", "known_suffixes", "readers_in_use"),
    ),
    (
        "n4a_flows.monitoring",
        "Verdicts",
        (
            "Limits",
            "Judge",
            "Judged",
            "BatchTally",
            "judge_batch",
            "BatchVerdict",
            "checked_samples",
            "CheckedSample",
        ),
    ),
    (
        "n4a_flows.monitoring",
        "Laboratory values",
        (
            "read_reference_values",
            "ReferenceFile",
            "monitor",
            "MonitoringReport",
            "MonitoredChain",
            "MonitoredGroup",
            "agreement",
            "Agreement",
            "control_chart",
            "ControlChart",
            "Crossing",
            "fit_correction",
            "Correction",
            "correction_from_store",
            "save_corrected_chain",
        ),
    ),
    (
        "n4a_flows.training",
        "Training",
        (
            "PipelineRunner",
            "TrainingOptions",
            "expand",
            "PlannedPipeline",
            "train_pipeline",
            "train_pipelines",
            "record_pipelines",
            "conclude_run",
            "challenge",
            "champion_alias",
            "ChampionDecision",
        ),
    ),
    (
        "n4a_flows.training",
        "What training gives",
        ("TrainedPipeline", "FoldPrediction", "ChainDraft", "LogEntry", "RecordedPipeline", "TrainingError"),
    ),
    (
        "n4a_flows.training",
        "Parts of a training",
        (
            "training_spectra",
            "targets_of",
            "partition_rows",
            "check_data",
            "chunks",
            "definition_document",
            "definition_hash",
            "run_document",
            "run_summary",
            "to_replay",
            "replay_afresh",
        ),
    ),
    (
        "n4a_flows.training.metrics",
        "Scores",
        (
            "rmse",
            "mae",
            "r2",
            "bias",
            "sep",
            "slope",
            "rpd",
            "rpiq",
            "consistency",
            "score",
            "score_classes",
            "higher_is_better",
            "better",
        ),
    ),
)

Documented = dict[str, list[str]]


class Doc(NamedTuple):
    """A docstring: its prose, and its sections as lines by title."""

    prose: str
    sections: Documented


def parsed(text: str | None) -> Doc:
    """A docstring in numpydoc's form, taken apart."""
    lines = inspect.cleandoc(text or "").splitlines()
    starts = [i for i in range(len(lines) - 1) if lines[i] and set(lines[i + 1]) == {"-"}]
    bounds = [*starts, len(lines)]
    sections = {lines[a]: _trimmed(lines[a + 2 : b]) for a, b in pairwise(bounds)}
    return Doc("\n".join(lines[: bounds[0]]).strip(), sections)


def page() -> str:
    """The text of the whole page."""
    shown = {name for _, _, names in SECTIONS for name in names}
    for module in dict.fromkeys(module for module, _, _ in SECTIONS):
        missing = sorted(set(getattr(importlib.import_module(module), "__all__", ())) - shown)
        if missing:
            raise SystemExit(
                f"{', '.join(missing)} of {module} stand in no section: add them to SECTIONS in {__file__}."
            )
    body = [*(_section(*section) for section in SECTIONS), _errors()]
    return "\n".join([INTRO, _contents(body), *body]).rstrip() + "\n"


def _contents(parts: list[str]) -> str:
    """Links to the sections; below the store to its themes and verbs, elsewhere to the names."""
    lines = ["## Contents", ""]
    seen: Counter[str] = Counter()
    for part in parts:
        headings = re.findall(r"^(##+) (.+)$", part, re.MULTILINE)
        has_themes = any(level == "####" and "." not in heading for level, heading in headings)
        for level, heading in headings:
            anchor = _anchor(heading)
            # GitHub numbers an anchor that is taken already.
            link = f"[{heading}](#{anchor}{f'-{seen[anchor]}' if seen[anchor] else ''})"
            seen[anchor] += 1
            if level == "##":
                lines.append(f"* {link}")
            elif level == "###" and has_themes:
                lines.append(f"  * {link}")
            elif level == "###" or has_themes:
                lines[-1] += f"{', ' if ': ' in lines[-1] else ': '}{link}"
    return "\n".join(lines) + "\n"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _section(module_name: str, heading: str, names: tuple[str, ...]) -> str:
    module = importlib.import_module(module_name)
    parts = [f"## {heading}\n\nFrom `{module_name}`.\n"]
    for name in names:
        found = getattr(module, name)
        if name == "WorkspaceStore":
            parts.append(_store(found))
        elif inspect.isclass(found):
            parts.append(_class(name, found))
        elif inspect.isfunction(found):
            parts.append(_function(f"### {name}", name, found))
        else:
            parts.append(_constant(name, found, module))
    return "\n".join(parts)


def _store(store: type) -> str:
    """The facade: its verbs by the class of the facade that has them, named by that class's docstring."""
    parts = [_class("WorkspaceStore", store, members=False)]
    for theme in themes(store):
        verbs = list(_own(theme))
        if verbs:
            doc = parsed(theme.__doc__)
            title, _, rest = ("Whole workspaces", "", "") if theme is store else doc.prose.partition(".")
            parts.append(f"### {title}\n")
            parts += [f"{rest.strip()}\n"] if rest.strip() else []
            parts.append(_properties(theme))
            parts += [
                _function(f"#### {name}", f"{'WorkspaceStore' if bound else 'store'}.{name}", verb)
                for name, verb, bound in verbs
            ]
    return "\n".join(part for part in parts if part)


def themes(store: type) -> list[type]:
    """The classes that the facade is made of, what they build on first."""
    found: list[type] = []
    for base in store.__bases__:
        if base is not object:
            found += [theme for theme in themes(base) if theme not in found]
    return [*found, store]


def _class(name: str, cls: type, *, members: bool = True) -> str:
    doc = parsed(cls.__doc__)
    parts = [f"### {name}\n"]
    if issubclass(cls, enum.Enum):
        values = ", ".join(f"`{item.name}` = `{_source(item.value)}`" for item in cls)
        parts.append(f"{doc.prose}\n\nValues: {values}.\n")
    elif issubclass(cls, Exception):
        parts.append(f"{doc.prose} It is a `{_builtin(cls)}` and an `N4AError`.\n")
    elif getattr(cls, "_is_protocol", False):
        parts.append(f"{doc.prose}\n")
        members = False
    elif issubclass(cls, BaseModel):
        parts.append(f"{doc.prose}\n\n**Fields**\n")
        parts.append("\n".join(_field(key, field) for key, field in cls.model_fields.items()) + "\n")
    else:
        parts.append(_call(name, cls))
        parts.append(_prose(doc))
    if members:
        parts.append(_properties(cls))
        parts += [
            _function(f"#### {name}.{method}", f"{name}.{method}" if bound else f"{_variable(name)}.{method}", function)
            for method, function, bound in _own(cls)
        ]
    return "\n".join(part for part in parts if part)


def _variable(name: str) -> str:
    """What an object of a class is called in signatures: `ChainPackage` gives `package`."""
    words: list[str] = re.findall(r"[A-Z][a-z]+", name)
    return words[-1].lower()


def _field(name: str, field: Any) -> str:
    default = "required" if field.is_required() else f"default `{_source(field.default)}`"
    kind = re.sub(r"\b(?:typing|builtins)\.", "", inspect.formatannotation(field.annotation))
    return f"* `{name}` (`{kind}`, {default}): {field.description}"


def _own(cls: type) -> Iterator[tuple[str, Any, bool]]:
    """The public methods that a class itself defines, and whether they are called on the class."""
    for name, value in vars(cls).items():
        if name.startswith("_"):
            continue
        if isinstance(value, classmethod | staticmethod):
            yield name, value.__func__, True
        elif inspect.isfunction(value):
            yield name, value, False


def _properties(cls: type) -> str:
    lines = []
    for name, value in vars(cls).items():
        if isinstance(value, property | cached_property) and not name.startswith("_"):
            getter: Any = value.fget if isinstance(value, property) else value.func
            annotation = inspect.signature(getter).return_annotation
            lines.append(f"* `{name}` (`{annotation}`): {_joined(inspect.cleandoc(getter.__doc__ or '').splitlines())}")
    return "\n".join(["**Properties**\n", *lines, ""]) if lines else ""


def _function(heading: str, call: str, function: Any) -> str:
    return "\n".join([f"{heading}\n", _call(call, function), _prose(parsed(function.__doc__))])


def _constant(name: str, value: Any, module: ModuleType) -> str:
    return f"### {name}\n\n```python\n{name} = {_constant_text(value)}\n```\n\n{_note(name, module)}\n"


def _constant_text(value: Any) -> str:
    return f"Literal[{', '.join(map(_source, get_args(value)))}]" if get_args(value) else _source(value)


def _source(value: Any) -> str:
    """A value as a formatter would write it in Python."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_source, value))}{',' if len(value) == 1 else ''})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _note(name: str, module: ModuleType) -> str:
    """The text below the assignment of a constant, in the module that assigns it."""
    tree = ast.parse(inspect.getsource(module))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return _note(name, importlib.import_module(node.module))
    for node, after in pairwise(tree.body):
        assigned = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
        if assigned and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            return inspect.cleandoc(str(after.value.value))
    raise SystemExit(f"{name} of {module.__name__} has no text below it that says what it is.")


def _errors() -> str:
    errors = importlib.import_module("n4a_flows.storage.errors")
    lines = [
        "## Errors",
        "",
        "From `n4a_flows.storage.errors`.",
        "",
        "| error | is also | what it means |",
        "|---|---|---|",
    ]
    for name, error in vars(errors).items():
        if inspect.isclass(error) and issubclass(error, errors.N4AError):
            said = _joined(inspect.cleandoc(error.__doc__ or "").splitlines())
            lines.append(f"| `{name}` | `{_builtin(error)}` | {said} |")
    return "\n".join(lines) + "\n"


def _builtin(error: type) -> str:
    return next(base for base in error.__mro__[1:] if base.__module__ == "builtins").__name__


def _call(name: str, function: Any) -> str:
    """The signature as it is called, in a code block; nothing for a class that callers do not make themselves."""
    signature = inspect.signature(function)
    parameters = [parameter for key, parameter in signature.parameters.items() if key not in ("self", "cls")]
    if any(parameter.name.startswith("_") for parameter in parameters):
        return ""
    shown: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown and not any(s.startswith("*") for s in shown):
            shown.append("*")
        shown.append(_parameter(parameter))
    result = "" if inspect.isclass(function) else f" -> {_annotation(signature.return_annotation)}"
    line = f"{name}({', '.join(shown)}){result}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {item},\n" for item in shown) + f"){result}"
    return f"```python\n{line}\n```\n"


def _parameter(parameter: inspect.Parameter) -> str:
    kinds = inspect.Parameter
    stars = "*" if parameter.kind is kinds.VAR_POSITIONAL else "**" if parameter.kind is kinds.VAR_KEYWORD else ""
    text = f"{stars}{parameter.name}: {_annotation(parameter.annotation)}"
    return text if parameter.default is parameter.empty else f"{text} = {_default(parameter.default)}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    return "..." if type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS" else _source(value)


def _prose(doc: Doc) -> str:
    parts = [doc.prose + "\n"]
    for title, lines in doc.sections.items():
        if title == "Examples":
            parts.append("```pycon\n" + "\n".join(lines) + "\n```\n")
        elif not any(line.startswith(" ") for line in lines) and title == "Returns":
            parts.append(f"**Returns** {_joined(lines)}\n")
        else:
            parts.append(f"**{title}**\n\n" + "\n".join(_definitions(lines)) + "\n")
    return "\n".join(parts)


def _definitions(lines: list[str]) -> Iterator[str]:
    """Terms and the indented text below them, as a list."""
    for block in re.findall(r"^\S.*\n(?:(?:[ ].*)?(?:\n|\Z))*", "\n".join(lines) + "\n", re.MULTILINE):
        term, _, text = block.partition("\n")
        names = ", ".join(f"`{name.strip()}`" for name in term.split(","))
        said = _joined(textwrap.dedent(text).splitlines())
        yield f"* {names}" + (f": {said}" if said else "")


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())


def _trimmed(lines: list[str]) -> list[str]:
    return "\n".join(lines).strip("\n").splitlines()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} is written.")
