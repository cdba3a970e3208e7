"""Tasks that find, replay and export chains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.storage import Axis, ChainPackage
from n4a_flows.tasks._task import storage_task


@storage_task("best chain for {dataset_name}")
def best_chain(
    store: WorkspaceStoreBlock,
    dataset_name: str,
    target: str | None = None,
    metric: str | None = None,
    run_id: str | None = None,
) -> str:
    """Id of the chain with the best pooled out-of-fold score."""
    with store.open() as workspace:
        return workspace.best_chain(dataset_name, target=target, metric=metric, run_id=run_id)


@storage_task("get chain {chain_id}")
def get_chain(store: WorkspaceStoreBlock, chain_id: str) -> dict[str, Any] | None:
    """The row of a chain with its document decoded, None for an unknown one."""
    with store.open() as workspace:
        return workspace.get_chain(chain_id)


@storage_task("package chain {chain_id}")
def chain_package(store: WorkspaceStoreBlock, chain_id: str) -> ChainPackage:
    """A chain with the verified bytes of its artifacts, to be sent to workers."""
    with store.open() as workspace:
        return workspace.chain_package(chain_id)


@storage_task("replay chain {chain_id}")
def replay_chain(
    store: WorkspaceStoreBlock,
    chain_id: str,
    X: npt.NDArray[np.float64],
    wavelengths: Axis | npt.ArrayLike | None = None,
) -> npt.NDArray[Any]:
    """Predictions of a chain for spectra X, float64 (n_samples, n_points)."""
    with store.open() as workspace:
        return workspace.replay_chain(chain_id, X, wavelengths)


@storage_task("export chain {chain_id}")
def export_chain(store: WorkspaceStoreBlock, chain_id: str, file_name: str, format: str = "n4a") -> Path:
    """Write a chain as a bundle into the folders that the block allows; returns the path."""
    with store.open() as workspace:
        return workspace.export_chain(chain_id, store.export_path(file_name), format=format)
