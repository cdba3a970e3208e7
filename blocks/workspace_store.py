"""Save the WorkspaceStore blocks that YAML documents describe on the Prefect server: create them, or bring them up to date.

    python blocks/workspace_store.py [DOCUMENT ...]

Without a document, all that lie beside this script. The block has the name of its document: `local.yaml` becomes
`workspace-store/local`. A document holds the fields of the block; a relative path is meant from the folder of the document.
Nothing is saved unless all documents are good.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

import yaml
from pydantic import ValidationError

from n4a_flows import WorkspaceStoreBlock

# The other fields are Prefect's own.
FIELDS = tuple(WorkspaceStoreBlock.model_json_schema()["properties"])


class DocumentError(ValueError):
    """A document does not describe a block."""


def described(document: Path) -> WorkspaceStoreBlock:
    """The block that a document describes.

    Raises
    ------
    DocumentError
        When it describes none; the message names the document and says what is wrong.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", document.stem):
        raise DocumentError(
            f"{document}: a block cannot be called {document.stem!r}; use lowercase letters, digits and dashes."
        )
    try:
        fields = yaml.safe_load(document.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocumentError(f"{document} cannot be read: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DocumentError(f"{document} is no YAML: {error}") from error
    if not isinstance(fields, dict):
        raise DocumentError(
            f"{document} must hold the fields of a block, one a line, for example 'path: ../workspace'."
        )
    for name in fields:
        if name not in FIELDS:
            raise DocumentError(f"{document}: a block has no field {name!r}; it has {', '.join(FIELDS)}.")
    if isinstance(path := fields.get("path"), str) and not path.startswith("~"):
        fields["path"] = os.path.normpath(document.absolute().parent / path)
    try:
        return WorkspaceStoreBlock(**fields)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise DocumentError(f"{document}: {said}.") from error


def save(block: WorkspaceStoreBlock, name: str) -> str:
    """Save a block under a name; returns what was done: created, updated or unchanged."""
    try:
        before = WorkspaceStoreBlock.load(name)
    except ValueError:  # there is none
        done = "created"
    else:
        if all(getattr(before, field) == getattr(block, field) for field in FIELDS):
            return "unchanged"
        done = "updated"
    block.save(name, overwrite=True)
    return done


def main() -> None:
    """Save what the command line names."""
    parser = argparse.ArgumentParser(description="Save WorkspaceStore blocks on the Prefect server.")
    parser.add_argument("document", nargs="*", type=Path, help="YAML document; all beside this script when left out")
    documents = parser.parse_args().document or sorted(Path(__file__).absolute().parent.glob("*.yaml"))
    try:
        blocks = {document.stem: described(document) for document in documents}
    except DocumentError as error:
        raise SystemExit(f"error: {error}") from error
    slug = WorkspaceStoreBlock.get_block_type_slug()
    for name, block in blocks.items():
        print(f"{slug}/{name} {save(block, name)}: {block.path}")


if __name__ == "__main__":
    main()
