"""What kind of step a step of a chain is, also where the chain does not say so in so many words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# nirs4all leaves the type of a step out. It keeps the step's configuration as `params`: a keyword of these in front of the operator
# where the operator does not simply treat spectra.
_KEYWORDS = ("y_processing", "feature_augmentation", "concat_transform", "sample_augmentation", "branch", "merge")
_SPLITTER_NAME = re.compile(r"(Fold|Split|Splitter|SplitterWrapper|Leave\w*Out)$")


def operator_type(step: Mapping[str, Any]) -> str:
    """The type of a step: as recorded, else what nirs4all's configuration of it says, else `""`.

    A step without artifacts whose class has the name of a splitter (`KFold`, `ShuffleSplit`, `KennardStoneSplitter`, `LeaveOneOut`
    ...) is a splitter.
    """
    recorded = step.get("operator_type")
    if recorded:
        return str(recorded)
    params = step.get("params")
    if isinstance(params, Mapping):
        for keyword in _KEYWORDS:
            if keyword in params:
                return keyword
    has_artifacts = any(step.get(key) for key in ("artifact_id", "artifact_ids", "fold_artifact_ids"))
    if step.get("stateless") and not has_artifacts and _SPLITTER_NAME.search(str(step.get("operator_class") or "")):
        return "splitter"
    return ""
