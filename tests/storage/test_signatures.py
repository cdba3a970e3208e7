"""Names, signatures, annotations and docstrings that programs for the reference system's store look at."""

from __future__ import annotations

import importlib
import inspect
import typing
from pathlib import Path
from typing import Any

import pytest
from contract import RETURNS, VERBS

import n4a_flows.storage
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.store_protocol import WorkspaceStoreProtocol

# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "",
            "WorkspaceStore ChainBuilder replay_chain WorkspaceStoreProtocol TraceRecorder ExecutionTrace ExecutionStep",
        ),
        ("", "StepArtifacts StepExecutionMode REFIT_CONTEXT_STANDALONE REFIT_CONTEXT_STACKING"),
        ("", "normalize_fold_key fold_key_candidates parse_numeric_fold_key"),
        ("", "PipelineLibrary"),
        (".library", "PipelineLibrary"),
        (".store_protocol", "WorkspaceStoreProtocol"),
        (".chain_builder", "ChainBuilder"),
        (".chain_replay", "replay_chain"),
        (".trace", "ExecutionTrace ExecutionStep StepArtifacts StepExecutionMode TraceRecorder"),
        (".trace.execution_trace", "ExecutionTrace ExecutionStep StepArtifacts StepExecutionMode"),
        (".trace.execution_trace", "normalize_fold_key fold_key_candidates parse_numeric_fold_key"),
    ],
)
def test_names_are_where_they_are_looked_for(module: str, names: str) -> None:
    found = importlib.import_module("n4a_flows.storage" + module)
    for name in names.split():
        assert getattr(found, name) is getattr(n4a_flows.storage, name)


def test_refits_are_named() -> None:
    assert n4a_flows.storage.REFIT_CONTEXT_STANDALONE == "standalone"
    assert n4a_flows.storage.REFIT_CONTEXT_STACKING == "stacking"


def test_the_store_is_a_protocol_store(store: WorkspaceStore) -> None:
    assert issubclass(WorkspaceStore, WorkspaceStoreProtocol)
    assert isinstance(store, WorkspaceStoreProtocol)
    assert not issubclass(dict, WorkspaceStoreProtocol)


# ---------------------------------------------------------------------- signatures, docstrings, annotations


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_take_what_they_always_took(verb: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"def {VERBS[verb]}: ...", scope)
    wanted = list(inspect.signature(scope[verb]).parameters.values())
    found = list(inspect.signature(getattr(WorkspaceStore, verb)).parameters.values())[1:]
    assert [item.name for item in found[: len(wanted)]] == [item.name for item in wanted]
    for mine, other in zip(found, wanted, strict=False):
        assert mine.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert other.default is ... or mine.default == other.default
    for added in found[len(wanted) :]:
        assert added.kind is inspect.Parameter.VAR_KEYWORD or added.default is not inspect.Parameter.empty


@pytest.mark.parametrize(("kind", "verb"), [(kind, verb) for kind, verbs in RETURNS.items() for verb in verbs.split()])
def test_annotations_say_what_comes_back(kind: type, verb: str) -> None:
    assert typing.get_type_hints(getattr(WorkspaceStore, verb))["return"] is kind


def public_things() -> list[tuple[str, Any]]:
    things: list[tuple[str, Any]] = []
    for name in n4a_flows.storage.__all__:
        thing = getattr(n4a_flows.storage, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        things.append((name, thing))
        if inspect.isclass(thing) and thing is not WorkspaceStoreProtocol:
            for attribute in dir(thing):
                found = inspect.getattr_static(thing, attribute)
                ours = inspect.isfunction(found) or isinstance(found, property | classmethod | staticmethod)
                if ours and not attribute.startswith("_"):
                    things.append((f"{name}.{attribute}", getattr(thing, attribute)))
    return things


@pytest.mark.parametrize(("name", "thing"), public_things(), ids=[name for name, _ in public_things()])
def test_everything_public_is_documented_and_annotated(name: str, thing: Any) -> None:
    assert (inspect.getdoc(thing) or "").strip(), f"{name} has a docstring"
    if inspect.isfunction(thing):
        hints = typing.get_type_hints(thing)
        assert "return" in hints
        missing = set(inspect.signature(thing).parameters) - {"self", *hints}
        assert not missing, f"{name} has parameters without annotation: {missing}"


def test_a_closed_store_refuses_every_verb(store: WorkspaceStore, tmp_path: Path) -> None:
    store.close()
    store.close()
    for verb in VERBS:
        if verb == "close":
            continue
        parameters = list(inspect.signature(getattr(store, verb)).parameters.values())
        required = [item.name for item in parameters if item.default is inspect.Parameter.empty]
        arguments = {name: str(tmp_path / "x") for name in required if name not in ("path", "filters")}
        if "path" in required:
            arguments["path"] = "ab/x.joblib"
        if verb == "save_artifact":
            arguments |= {"operator_class": "x", "artifact_type": "model", "format": "joblib"}
        with pytest.raises(RuntimeError, match="WorkspaceStore is closed"):
            getattr(store, verb)(**arguments)
