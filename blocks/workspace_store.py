"""Save the WorkspaceStore block of the example, `workspace-store/local`, on the Prefect server. Run again, it updates it.

    python blocks/workspace_store.py [FOLDER]

FOLDER is the folder of the workspace: `workspace` below the current folder when left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from n4a_flows import WorkspaceStoreBlock

NAME = "local"


def save(folder: Path) -> str:
    """Save the block for the workspace in `folder`; returns its slug, as deployments name it."""
    WorkspaceStoreBlock(path=folder).save(NAME, overwrite=True)
    return f"{WorkspaceStoreBlock.get_block_type_slug()}/{NAME}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Save the WorkspaceStore block of the example.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("workspace"), help="folder of the workspace")
    print(save(parser.parse_args().folder))
