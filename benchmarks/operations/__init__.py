"""The operations that are compared, each a module with `NAME`, `ABOUT` and `run(bench)`."""

from __future__ import annotations

from types import ModuleType

from benchmarks.operations import (
    artifacts,
    cleanup,
    engines,
    growth,
    imports,
    processes,
    queries,
    record,
    replay,
    scoring,
    training,
    verdicts,
)

OPERATIONS: dict[str, ModuleType] = {
    module.NAME: module
    for module in (
        record,
        artifacts,
        queries,
        replay,
        cleanup,
        processes,
        training,
        scoring,
        verdicts,
        imports,
        growth,
        engines,
    )
}
