"""The library: pipeline definitions worth keeping, by name.

Templates of a workspace lie in its folder `library/`; a few more come with the package, and every name is looked up in the
workspace first. A template is plain JSON: nothing in it is run or loaded, whoever wrote it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from n4a_flows.storage import exports
from n4a_flows.storage.durable_files import write_durably
from n4a_flows.storage.errors import (
    InvalidInputError,
    MissingFileError,
    N4AError,
    TemplateError,
    TemplateExistsError,
    UnknownIdError,
    WorkspaceError,
)
from n4a_flows.storage.template_folder import SHIPPED, Place, find_template, folder_of, none_found
from n4a_flows.storage.templates import (
    GENERAL,
    SUFFIX,
    Template,
    checked_category,
    checked_definition,
    read_foreign,
    refuse_link,
    stamped,
)
from n4a_flows.storage.workspace_store import WorkspaceStore


class PipelineLibrary:
    """The templates of a workspace, in its folder `library/`.

    A name is that of one template: spaces become `_`, the characters `< > : " / \\ | ? *` are dropped, and upper and lower case
    are the same. Templates that nirs4all kept in folders of their own are found too.

    Parameters
    ----------
    workspace_path
        The folder of a workspace; `library/` is made in it.
    read_only
        Make nothing, and refuse every verb that writes into the library with `InvalidInputError`.

    Raises
    ------
    MissingFileError
        When there is no such folder.
    TemplateError
        When `library` is a link.
    WorkspaceError
        When the disk refuses.

    Examples
    --------
    >>> library = PipelineLibrary(folder)
    >>> library.save_template(["sklearn.cross_decomposition.PLSRegression"], "Plain PLS", tags=["meat"]).name
    'plain_pls.json'
    >>> [template["name"] for template in library.list_templates(tags=["meat"])]
    ['Plain PLS']
    >>> library.load_template("plain pls")
    ['sklearn.cross_decomposition.PLSRegression']
    """

    def __init__(self, workspace_path: str | os.PathLike[str], *, read_only: bool = False) -> None:
        self._workspace_path = Path(os.path.abspath(workspace_path))
        if not self._workspace_path.is_dir():
            raise MissingFileError(
                f"There is no workspace in {self._workspace_path}: open a WorkspaceStore there first."
            )
        self._folder = folder_of(self._workspace_path)
        self._read_only = read_only
        if not read_only:
            with self._writing():
                pass

    @property
    def workspace_path(self) -> Path:
        """Absolute path of the workspace folder."""
        return self._workspace_path

    def save_template(
        self,
        pipeline_config: Any,
        name: str,
        category: str = GENERAL,
        description: str = "",
        tags: Sequence[str] | None = None,
        metrics: dict[str, Any] | None = None,
        notes: str = "",
        overwrite: bool = False,
    ) -> Path:
        """Keep a pipeline definition under a name.

        Parameters
        ----------
        pipeline_config
            The definition: a list of steps, or a dict that holds one, of what JSON holds. `definition_document` in
            `n4a_flows.training` writes instances and classes that way.
        category
            A plain word.
        metrics
            What was reached with it, for example `{"rmsecv": 2.1}`.
        overwrite
            Replace the template of this name, in whatever category it is.

        Returns
        -------
        Absolute path of its file.

        Raises
        ------
        TemplateExistsError
            When the name is taken and `overwrite` is not set.
        InvalidInputError
            When the name or the category is no plain name, or the definition holds something that JSON does not.
        TemplateError
            When there is a link where the template belongs.
        """
        template = Template(
            definition=checked_definition(pipeline_config),
            name=name,
            category=checked_category(category),
            description=str(description),
            tags=_tags(tags),
            metrics=dict(metrics or {}),
            notes=str(notes),
        )
        return self._put(template, overwrite)

    def load_template(self, name: str, category: str | None = None) -> Any:
        """The definition of a template: of the workspace, or when it holds none of that name, one that comes with the package.

        Raises
        ------
        MissingFileError
            When there is none; the message names those that there are.
        InvalidInputError
            When the name is in several categories and none is given, or cannot be a name.
        TemplateError
            When the file is damaged; the message names it.

        Examples
        --------
        >>> PipelineLibrary(folder).load_template("raw_pls")[0]["model"]["class"]
        'sklearn.cross_decomposition.PLSRegression'
        """
        return find_template(self._workspace_path, name, category).definition

    def get_template_metadata(self, name: str, category: str | None = None) -> dict[str, Any]:
        """What is said of a template, see `list_templates`; raises what `load_template` does."""
        return find_template(self._workspace_path, name, category).metadata

    def list_templates(
        self, category: str | None = None, tags: Sequence[str] | None = None, *, shipped: bool = False
    ) -> list[dict[str, Any]]:
        """What is said of each template of the workspace, by category and name.

        Parameters
        ----------
        category
            Only of this category.
        tags
            Only those with at least one of these tags.
        shipped
            Those that come with the package instead.

        Returns
        -------
        Dicts with name, category, description, tags, metrics, notes, created_at, modified_at (ISO, naive UTC) and version.

        Raises
        ------
        TemplateError
            When a file is damaged; the message names it.
        InvalidInputError
            When the category is no plain word.
        """
        if category is not None:
            checked_category(category)
        wanted = set(_tags(tags))
        return [
            template.metadata
            for template in (SHIPPED if shipped else self._folder).templates()
            if category in (None, template.category) and (not wanted or wanted & set(template.tags))
        ]

    def delete_template(self, name: str, category: str | None = None) -> None:
        """Remove a template of the workspace, also a damaged one.

        Raises
        ------
        MissingFileError
            When the workspace has none of that name.
        InvalidInputError
            When the name is in several categories and none is given, or cannot be a name.
        TemplateError
            When the library is a link.
        """
        with self._writing():
            places = self._folder.find(name, category)
            if not places:
                raise none_found(self._folder, name, category)
            for place in places:
                place.remove()

    def copy_from_pipeline(
        self,
        pipeline: str | os.PathLike[str],
        name: str,
        category: str = GENERAL,
        description: str = "",
        tags: Sequence[str] | None = None,
        extract_metrics: bool = True,
        overwrite: bool = False,
    ) -> Path:
        """Keep the definition of a pipeline that was trained.

        Parameters
        ----------
        pipeline
            Id of a pipeline of the workspace, or a folder with `pipeline.json`.
        extract_metrics
            Keep its metric, `best_val` and `best_test` too; of a folder, the `metrics` in its `manifest.yaml`.
        overwrite
            Replace the template of this name.

        Returns
        -------
        Absolute path of the template's file.

        Raises
        ------
        UnknownIdError
            When the workspace has no such pipeline.
        MissingFileError
            When there is no `pipeline.json` in the folder.
        TemplateExistsError, InvalidInputError, TemplateError
            As `save_template` and `import_template` do.

        Examples
        --------
        >>> library = PipelineLibrary(store.workspace_path)
        >>> path = library.copy_from_pipeline(pipeline_id, "fat in meat")
        >>> library.get_template_metadata("fat in meat")["metrics"]["metric"]
        'rmse'
        """
        if isinstance(pipeline, os.PathLike) or os.sep in pipeline or Path(pipeline).is_dir():
            folder = Path(os.path.abspath(pipeline))
            if not folder.is_dir():
                raise MissingFileError(f"There is no folder {folder}: check the path.")
            definition = read_foreign(folder).definition
            metrics = _metrics_of_folder(folder) if extract_metrics else {}
        else:
            with WorkspaceStore(self._workspace_path, read_only=True) as store:
                row = store.get_pipeline(pipeline)
            if row is None:
                raise UnknownIdError(f"No pipeline has the id {pipeline!r} in this workspace.")
            definition = row["expanded_config"]
            known = {key: row[key] for key in ("metric", "best_val", "best_test") if row[key] is not None}
            metrics = known if extract_metrics else {}
        return self.save_template(definition, name, category, description, tags, metrics, overwrite=overwrite)

    def export_template(self, name: str, export_path: str | os.PathLike[str], category: str | None = None) -> Path:
        """Write a template into a file of its own, which `import_template` takes.

        Returns
        -------
        Absolute path of the file; `.json` is appended when the name has no suffix.

        Raises
        ------
        MissingFileError, InvalidInputError, TemplateError
            As `load_template` does.
        WorkspaceError
            When the disk refuses.
        """
        return write_template(find_template(self._workspace_path, name, category), export_path)

    def import_template(
        self,
        import_path: str | os.PathLike[str],
        category: str | None = GENERAL,
        overwrite: bool = False,
        *,
        name: str | None = None,
    ) -> Path:
        """Take in a template that lies elsewhere.

        Parameters
        ----------
        import_path
            A file that `export_template` or `export_pipeline_config` wrote, a definition in JSON or YAML, or a folder with
            `pipeline.json` and `metadata.json`. `.json` is appended when there is only a file of that name.
        category
            Where it goes; None keeps the category that the file says.
        name
            The name that it gets; that in the file, or of the file, when left out.

        Returns
        -------
        Absolute path of its file in the library.

        Raises
        ------
        MissingFileError
            When there is nothing of the kind.
        TemplateExistsError
            When the name is taken and `overwrite` is not set.
        TemplateError
            When it is damaged.
        InvalidInputError
            When the name or the category is no plain name.
        """
        path = Path(os.path.abspath(import_path))
        whole = exports.output_file(path, SUFFIX)
        found = read_foreign(whole if whole.exists() and not path.exists() else path)
        said = {
            "name": found.name if name is None else name,
            "category": found.category if category is None else checked_category(category),
        }
        return self._put(Template(**{**vars(found), **said}), overwrite)

    def _put(self, template: Template, overwrite: bool) -> Path:
        with self._writing():
            held = self._folder.places_named(template.name)
            if held and not overwrite:
                raise TemplateExistsError(
                    f"The library has a template {template.name!r} already ({held[0].path}): take another name, or overwrite it."
                )
            target = self._folder.file(template.name)
            for path in (target.parent, target):
                if path.is_symlink():
                    refuse_link(path)
            write_durably(target, stamped(template, template.created_at or _created_at(held)).to_bytes())
            for place in held:
                if place.path != target:
                    place.remove()
        return target

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """The library, made if need be, for one writer at a time."""
        if self._read_only:
            raise InvalidInputError(
                f"The library of {self._workspace_path} was opened read-only: open it with read_only=False to change it."
            )
        root = self._folder.root
        try:
            if root.is_symlink():
                refuse_link(root)
            root.mkdir(exist_ok=True)
            descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except N4AError:
            raise
        except OSError as error:
            raise WorkspaceError(f"The library {root} cannot be written: {error.strerror or error}.") from error


def write_template(template: Template, path: str | os.PathLike[str]) -> Path:
    """Write a template into a file; `.json` is appended when the name has no suffix. `WorkspaceError` when the disk refuses."""
    return exports.write_file(exports.output_file(path, SUFFIX), template.to_bytes())


def _created_at(held: Sequence[Place]) -> str | None:
    """When the template that is replaced began, if it can be read."""
    with contextlib.suppress(TemplateError):
        return held[0].read().created_at if held else None
    return None


def _tags(tags: Sequence[str] | None) -> list[str]:
    found = [] if tags is None else tags
    if isinstance(found, str) or not all(isinstance(tag, str) for tag in found):
        raise InvalidInputError(f"tags must be a list of text, not {found!r}.")
    return list(found)


def _metrics_of_folder(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.yaml"
    if not path.is_file():
        return {}
    import yaml  # takes a while, and only such folders need it

    try:
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TemplateError(f"{path} cannot be read for its metrics: {error}. Leave them out, or mend it.") from error
    metrics = manifest.get("metrics") if isinstance(manifest, dict) else None
    return metrics if isinstance(metrics, dict) else {}
