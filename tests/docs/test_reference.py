"""The reference page is what the docstrings say, and the docstrings say what there is to say."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import textwrap
import typing
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import n4a_flows.spectra
import n4a_flows.storage
import n4a_flows.training
from n4a_flows.storage import (
    Axis,
    CheckReport,
    CleaningPlan,
    GcPlan,
    RetentionPlan,
    RetentionPolicy,
    WorkspaceStore,
    errors,
)
from n4a_flows.storage.errors import N4AError

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROOMS = (n4a_flows.storage, n4a_flows.spectra, n4a_flows.training)


def test_the_page_is_what_the_docstrings_say() -> None:
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    same = (DOCS / "reference.md").read_text() == generator.page()
    assert same, "docs/reference.md is stale: run python docs/make_reference.py"


def _public() -> Iterator[tuple[str, Any]]:
    """Every public class and function, and every public method and property of those classes."""
    for room in ROOMS:
        for name in room.__all__:
            found = getattr(room, name)
            if inspect.isfunction(found):
                yield f"{room.__name__}.{name}", found
            elif inspect.isclass(found):
                yield f"{room.__name__}.{name}", found
                # A protocol refers to the class that documents its verbs.
                if not getattr(found, "_is_protocol", False):
                    yield from _members(found, f"{room.__name__}.{name}")


def _members(cls: type, where: str) -> Iterator[tuple[str, Any]]:
    for base in cls.__mro__:
        if base.__module__.startswith("n4a_flows."):
            for name, value in vars(base).items():
                getter = getattr(value, "fget", None) or getattr(value, "func", None)
                function = getattr(value, "__func__", None) or (getter if _is_property(value) else value)
                if not name.startswith("_") and inspect.isfunction(function):
                    yield f"{where}.{name}", function


def _is_property(value: object) -> bool:
    return isinstance(value, property | cached_property)


PUBLIC = dict(_public())
FUNCTIONS = {name: found for name, found in PUBLIC.items() if inspect.isfunction(found)}


def test_everything_public_has_a_docstring() -> None:
    assert len(PUBLIC) > 150
    assert [name for name, found in PUBLIC.items() if not (found.__doc__ or "").strip()] == []


def test_every_parameter_and_result_is_annotated() -> None:
    bare = []
    for name, function in FUNCTIONS.items():
        signature = inspect.signature(function)
        annotations = {key: parameter.annotation for key, parameter in signature.parameters.items()}
        annotations["return"] = signature.return_annotation
        bare += [f"{name}: {key}" for key, said in annotations.items() if said is signature.empty and key not in _OWN]
    assert bare == []


_OWN = ("self", "cls")


def test_every_documented_parameter_exists() -> None:
    documented = {name: _terms(found, "Parameters") for name, found in PUBLIC.items()}
    assert sum(map(len, documented.values())) > 100
    unknown = {
        name: terms - set(inspect.signature(PUBLIC[name]).parameters) for name, terms in documented.items() if terms
    }
    assert {name: terms for name, terms in unknown.items() if terms} == {}


def test_every_documented_error_exists() -> None:
    ours = {name for name, found in vars(errors).items() if inspect.isclass(found)} | {"TrainingError"}
    documented = set().union(*(_terms(found, "Raises") for found in PUBLIC.values()))
    assert len(documented & ours) > 10
    assert documented - ours <= {"IndexError"}


def _terms(found: Any, title: str) -> set[str]:
    """The terms of a section of a docstring."""
    lines = inspect.cleandoc(found.__doc__ or "").splitlines()
    terms: set[str] = set()
    if title in lines:
        start = lines.index(title) + 2
        for line, following in zip(lines[start:], [*lines[start + 1 :], ""], strict=True):
            if following and set(following) == {"-"}:
                break
            if line and not line.startswith(" "):
                terms |= {term.strip(" *") for term in line.split(",")}
    return terms


def test_what_is_raised_in_the_body_is_in_the_docstring() -> None:
    silent, looked_at = [], 0
    for name, found in PUBLIC.items():
        bodies = [found] if inspect.isfunction(found) else [vars(found).get(m) for m in ("__init__", "__post_init__")]
        for body in bodies:
            # What a dataclass generates has no source.
            if inspect.isfunction(body) and body.__code__.co_filename != "<string>":
                looked_at += len(_raised(body))
                silent += [f"{name}: {error}" for error in _raised(body) if error not in str(found.__doc__)]
    assert looked_at > 20
    assert silent == []


def _raised(function: Any) -> set[str]:
    """Errors of this package that a function raises itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return {ast.unparse(call.func) for call in calls} & {*vars(errors), "TrainingError"}


def test_verbs_name_the_error_that_they_raise_for_what_does_not_exist(tmp_path: Path) -> None:
    store = WorkspaceStore(tmp_path / "ws")
    raised: dict[str, str] = {}
    for name, verb in FUNCTIONS.items():
        verb_name = name.removeprefix("n4a_flows.storage.WorkspaceStore.")
        if verb_name == name or verb_name == "close" or _is_property(getattr(WorkspaceStore, verb_name)):
            continue
        asked = {key: kind for key, kind in typing.get_type_hints(verb).items() if key not in ("return", "filters")}
        try:
            getattr(store, verb_name)(**{key: _unknown(kind, tmp_path) for key, kind in asked.items()})
        except N4AError as error:
            raised[verb_name] = type(error).__name__
    assert len(raised) > 20
    silent = {name: error for name, error in raised.items() if error not in str(getattr(WorkspaceStore, name).__doc__)}
    assert silent == {}


def _unknown(kind: Any, folder: Path) -> Any:
    """An argument of this kind that names nothing in a workspace."""
    text = str(kind)
    if kind is timedelta:
        return timedelta(seconds=-1)
    if kind is CheckReport:
        return CheckReport("quick", {}, (), ())
    if kind is GcPlan:
        return GcPlan("", "2026-01-01T00:00:00", (), (), 0, 0)
    if kind is CleaningPlan:
        return CleaningPlan(_unknown(RetentionPlan, folder), _unknown(GcPlan, folder))
    if kind is RetentionPolicy:
        return RetentionPolicy()
    if kind is RetentionPlan:
        return RetentionPlan("2026-01-01T00:00:00", RetentionPolicy(), (), {})
    if kind in (Axis | None, RetentionPolicy | None) or "datetime" in text or "Callable" in text:
        return None
    if "PathLike" in text:
        return folder / "out"
    if "_SupportsArray" in text or "Buffer" in text:
        return np.ones((1, 4))
    for part, value in (("Sequence[str]", ["no-such-id"]), ("Sequence", []), ("Mapping", {}), ("str", "no-such-id")):
        if part in text:
            return value
    return {"bool": False, "Any": {}}.get(text.rpartition(".")[2].strip("'>"), 1)


@pytest.mark.parametrize(
    "name", ["N4AError", *(n for n, e in vars(errors).items() if inspect.isclass(e) and e is not N4AError)]
)
def test_every_error_says_when_it_is_raised(name: str) -> None:
    assert getattr(errors, name).__doc__.endswith(".")
