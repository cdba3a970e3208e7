"""The WorkspaceStore block: where a workspace lies, and what a flow may do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from prefect.blocks.core import Block
from pydantic import AfterValidator, Field, HttpUrl

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.codecs import DEFAULT_ALLOWED_MODULES
from n4a_flows.storage.database import refuse_missing_workspace
from n4a_flows.storage.errors import InvalidInputError, WorkspaceError
from n4a_flows.storage.places import Place, located

_LONGEST = 200
"""Bytes of a file name; file systems take 255, and what is written beside it has a longer one."""


def _anchored(path: Path) -> Path:
    # A worker runs in another folder than the one where the block was written. "~" is left to whoever opens it.
    return path if path.parts[:1] == ("~",) else path.absolute()


def _absolute(folder: str) -> str:
    where = located(folder)
    if isinstance(where, Place):
        if str(where) != folder:
            raise ValueError(
                f"{where} is written with credentials, which a block would show: leave them to the environment"
            )
    elif not where.expanduser().is_absolute():
        raise ValueError(f"{folder!r} is not an absolute path: write an export folder from the root")
    return folder


class WorkspaceStoreBlock(Block):
    """A workspace: its folder, and what may be done with it.

    Example:
        Load a stored block and look at the best predictions:

        ```python
        from n4a_flows import WorkspaceStoreBlock

        block = WorkspaceStoreBlock.load("BLOCK_NAME")
        with block.open() as store:
            print(store.top_predictions(5))
        ```
    """

    _block_type_name = "WorkspaceStore"
    _block_type_slug = "workspace-store"
    _description = (
        "A workspace of n4a_flows: every training run, fitted chain and prediction in one folder, "
        "and what flows may do with it."
    )
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    # The order of the fields is the order of the form in the UI: new fields go to the end.
    path: Annotated[Path, AfterValidator(_anchored)] = Field(
        title="Workspace folder",
        description=(
            "Folder of the workspace on the machine where the flows run, as an absolute path; it is created when it does not exist."
        ),
    )
    lock_timeout: float = Field(
        default=60.0,
        ge=0,
        title="Lock timeout (s)",
        description="How many seconds to wait while another process uses the workspace.",
    )
    trust: Literal["all", "modules", "none"] = Field(
        default="modules",
        description=(
            "Which recorded objects may be unpickled, which is running code: all of them, only classes of the allowed "
            "modules, or none."
        ),
    )
    export_folders: list[Annotated[str, AfterValidator(_absolute)]] = Field(
        default_factory=list,
        title="Export folders",
        description=(
            "Absolute folders, or folders at URLs, that exports may be written to, besides the exports folder of the workspace; "
            'a list such as ["/srv/exports", "s3://lab/exports"].'
        ),
    )
    allowed_modules: list[str] = Field(
        default_factory=lambda: list(DEFAULT_ALLOWED_MODULES),
        title="Allowed modules",
        description=(
            "Prefixes of the Python modules whose classes may be trained and loaded; "
            'a list such as ["sklearn", "chemotools"]. What this package itself needs when left out.'
        ),
    )
    read_only: bool = Field(
        default=False,
        title="Read only",
        description="Refuse everything that would change the workspace; exports are still written.",
    )

    @property
    def workspace_path(self) -> Path:
        """The folder of the workspace on this machine."""
        return self.path.expanduser()

    def refuse_missing(self) -> None:
        """Raise `WorkspaceError` when there is no workspace in the folder, which `open` would make."""
        refuse_missing_workspace(self.workspace_path, "mend the folder in the block, or train first")

    def open(self) -> WorkspaceStore:
        """The workspace, ready to use; a context manager.

        The block itself holds nothing open, so it can be pickled and sent to workers.
        """
        return WorkspaceStore(
            self.workspace_path,
            lock_timeout=self.lock_timeout,
            trust=self.trust,
            allowed_modules=tuple(self.allowed_modules),
            read_only=self.read_only,
        )

    def export_target(self, name: str) -> Path | Place:
        """Where an export called `name` is to be written, which may be a URL inside one of `export_folders`.

        Raises
        ------
        InvalidInputError
            As `export_path` does; also when a URL lies in none of the URLs of `export_folders`, or is not written plainly.
        """
        wanted = located(name)
        if isinstance(wanted, Path):
            return self.export_path(str(wanted))
        url, folders = str(wanted), [folder for folder in self.export_folders if isinstance(located(folder), Place)]
        # Compared as text, part by part: nothing in it may mean another place to whoever takes it.
        parts = url.split("/")[2:]
        if url != name or not all(part.strip(".") for part in parts) or set(url) & set("%?#*[]\\\0"):
            raise InvalidInputError(
                f"{url!r} is no place for an export: give a plain URL, without credentials and '..'."
            )
        if not any(url.startswith(f"{folder.rstrip('/')}/") for folder in folders):
            raise InvalidInputError(
                f"{url!r} lies outside the URLs for exports ({', '.join(folders) or 'there are none'}): "
                "give a plain file name, or have the URL of its folder added to the block's export folders."
            )
        return wanted

    def export_path(self, name: str) -> Path:
        """Where an export called `name` is to be written on this machine; the folder is made.

        Parameters
        ----------
        name
            A file name or relative path inside `<workspace>/exports`, or an absolute path inside one of
            `export_folders`.

        Raises
        ------
        InvalidInputError
            When the path would lead out of those folders (through `..`, a link or an absolute path), or names something
            that is not a regular file.
        """
        exports = self.workspace_path / "exports"
        wanted = Path(name)
        if not wanted.name.strip() or ".." in wanted.parts or "\0" in name:
            raise InvalidInputError(f"{name!r} is no place for an export: give a file name without '..'.")
        if max(len(part.encode(errors="replace")) for part in wanted.parts) > _LONGEST:
            raise InvalidInputError(
                f"{name[:40] + '...'!r} is too long for an export: {_LONGEST} bytes a name at most."
            )
        folders = [folder.resolve() for folder in (exports, *(Path(f).expanduser() for f in self.export_folders))]
        # resolve() follows links, so that a link that leads out is refused with its real target.
        real = (exports / wanted).resolve()
        if not any(folder in real.parents for folder in folders):
            raise InvalidInputError(
                f"{name!r} lies outside the folders for exports ({', '.join(map(str, folders))}): "
                "give a plain file name, or have the folder added to the block's export folders."
            )
        if (exports / wanted).is_symlink() or (real.exists() and not real.is_file()):
            raise InvalidInputError(f"{name!r} exists and is not a regular file: give another name for the export.")
        try:
            real.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(f"The folder {real.parent} cannot be made: {error.strerror or error}.") from error
        return real
