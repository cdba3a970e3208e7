"""nirs4all's name for what exports chains."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from n4a_flows.storage.errors import InvalidInputError, MissingStoreError

FORMATS = ("n4a", "n4a.py")


class BundleGenerator:
    """Exports chains of a store, for code that was written for nirs4all; `WorkspaceStore.export_chain` does the same.

    Parameters
    ----------
    workspace_path
        The workspace.
    verbose
        Changes nothing.
    store
        The store to export from.

    Examples
    --------
    >>> generator = BundleGenerator(store.workspace_path, store=store)
    >>> generator.export_from_chain(chain_id, folder / "fat.n4a").name
    'fat.n4a'
    """

    def __init__(self, workspace_path: str | os.PathLike[str], verbose: int = 0, store: Any = None) -> None:
        self.workspace_path = Path(workspace_path)
        self.verbose = verbose
        self.store = store

    def export_from_chain(self, chain_id: str, output_path: str | os.PathLike[str], fmt: str = "n4a") -> Path:
        """Write a chain as a bundle; takes, returns and raises what `export_chain` does.

        Raises
        ------
        MissingStoreError
            When the generator was made without a store.
        InvalidInputError
            When the format is unknown.
        """
        if self.store is None:
            raise MissingStoreError(
                "BundleGenerator needs a store to export a chain: BundleGenerator(path, store=store)."
            )
        if fmt not in FORMATS:
            raise InvalidInputError(f"Unknown bundle format {fmt!r}: use 'n4a' or 'n4a.py'.")
        path: Path = self.store.export_chain(chain_id, Path(output_path), format=fmt)
        return path
