"""A workspace for near-infrared spectroscopy - runs, chains, predictions - driven by Prefect 3.

`import n4a_flows` is light. The names that need Prefect are imported when they are first used, so that
`n4a_flows.storage`, `spectra`, `training` and `reports` work without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from n4a_flows import flows, tasks
    from n4a_flows.block import WorkspaceStoreBlock

__all__ = ["WorkspaceStoreBlock", "flows", "tasks"]


def __getattr__(name: str) -> Any:
    if name == "WorkspaceStoreBlock":
        return importlib.import_module("n4a_flows.block").WorkspaceStoreBlock
    if name in __all__:
        return importlib.import_module(f"n4a_flows.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
