"""`.n4a.py`: a chain as one Python script. Its code is that of `portable`, with the chain written into it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pprint import pformat
from typing import Any

from n4a_flows.storage.artifacts import StoredArtifact
from n4a_flows.storage.bundles import requirements
from n4a_flows.storage.chain_replay import ChainPackage, lane_keys, lane_weights, model_artifact, step_artifacts
from n4a_flows.storage.errors import BundleError
from n4a_flows.storage.folds import normalize_fold_key
from n4a_flows.storage.step_types import operator_type

SUFFIX = ".n4a.py"
_BEGIN, _END = "# <chain>\n", "# </chain>\n"
_JOBLIB_READS = frozenset({"joblib", "pickle", "cloudpickle"})


def to_script(package: ChainPackage) -> bytes:
    """The script of a chain, with the operators that predicting needs; the same chain gives the same script.

    Raises
    ------
    BundleError
        When an operator is not stored, or in a format that joblib does not read.
    ReplayError
        When the chain cannot be replayed.
    """
    document, context = package.document, package.context
    keys = lane_keys(document)
    weights = lane_weights(document, keys)
    used: dict[str, StoredArtifact] = {}
    steps = dict(_steps(package, keys, used))
    imports = requirements.imports_of(used.values())
    constants = {
        "CHAIN": {
            "chain_id": context.chain_id,
            "digest": package.digest,
            "model_class": document["model_class"],
            "preprocessings": document["preprocessings"],
            "target": context.target,
            "unit": context.unit,
            "task_type": context.task_type,
            "signal": context.signal,
            "x_range": context.x_range,
            "packages": requirements.versions_of(imports),
        },
        "AXIS": None if context.axis is None else context.axis.to_dict(),
        "ARTIFACTS": {key: base64.b64encode(found.data).decode() for key, found in used.items()},
        "DIGESTS": {key: found.content_hash for key, found in used.items()},
        "STEP_INFO": steps,
        "FOLD_WEIGHTS": {normalize_fold_key(key): weight for key, weight in zip(keys, weights, strict=True)},
        "MODEL_STEP_INDEX": document["model_step_idx"],
    }
    code = files(__package__).joinpath("portable.py").read_text(encoding="utf-8")
    before, _, rest = code.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return "".join([before, *map(_assignment, constants.items()), after]).encode()


def _assignment(constant: tuple[str, Any]) -> str:
    name, value = constant
    if name == "ARTIFACTS":
        # Thousands of characters a value, which pprint would break into lines one by one.
        lines = [f"    {key!r}: {text!r},\n" for key, text in value.items()]
        return "".join([f"{name} = {{\n", *lines, "}\n"])
    return f"{name} = {pformat(value, width=120, compact=True, sort_dicts=False)}\n"


def _steps(
    package: ChainPackage, keys: list[str], used: dict[str, StoredArtifact]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The steps that predicting runs, with the artifacts of every fold; what they use is noted in `used`."""
    document = package.document
    names: dict[str, str] = {}
    for step in document["steps"]:
        number, is_model = step["step_idx"], step["step_idx"] == document["model_step_idx"]
        kind = "model" if is_model else operator_type(step)
        if kind == "splitter":
            continue
        by_fold: dict[str, list[str]] = {}
        for key in keys:
            ids = [model_artifact(document, key)] if is_model else step_artifacts(document, step, key)
            if not ids:
                raise BundleError(
                    f"Step {number} is not stored, but rebuilt from its class and parameters: a {SUFFIX} script cannot do that. "
                    "Export a .n4a bundle."
                )
            for artifact_id in ids:
                if artifact_id not in names:
                    names[artifact_id] = _name(number, len(names), package.artifacts[artifact_id])
                    used[names[artifact_id]] = package.artifacts[artifact_id]
            by_fold[normalize_fold_key(key)] = [names[artifact_id] for artifact_id in ids]
        yield (
            number,
            {
                "operator_type": kind if kind in ("model", "y_processing") else "transform",
                "operator_class": str(step.get("operator_class") or ""),
                "artifacts": by_fold,
            },
        )


def _name(number: int, position: int, artifact: StoredArtifact) -> str:
    if artifact.format not in _JOBLIB_READS:
        raise BundleError(
            f"Step {number} is kept in the format {artifact.format!r}, which a {SUFFIX} script does not read. "
            "Export a .n4a bundle."
        )
    return f"step_{number}_artifact_{position}"
