"""`n4a-flows library`: the templates of a workspace, and those that come with the package. No Prefect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from n4a_flows.cli.common import DEFAULT_WORKSPACE, AsJson, Workspace, opened, print_json
from n4a_flows.cli.console import out
from n4a_flows.storage import PipelineLibrary
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.template_folder import SHIPPED, find_template, folder_of
from n4a_flows.storage.templates import GENERAL, SUFFIX

library = typer.Typer(
    help="Templates: pipeline definitions by name, for `n4a-flows train --pipeline NAME`.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="Name of the template.")]
Category = Annotated[str | None, typer.Option(help="Its category.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag; may be given several times.")]


@library.command(name="list")
def list_templates(
    category: Category = None, tag: Tags = None, workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False
) -> None:
    """List the templates of the workspace, and those that come with the package.

    \b
    Examples:
      n4a-flows library list
      n4a-flows library list --tag derivative
    """
    found = [
        {**template.metadata, "shipped": shipped}
        for shipped, folder in ((False, folder_of(workspace)), (True, SHIPPED))
        for template in folder.templates()
        if category in (None, template.category) and (not tag or set(tag) & set(template.tags))
    ]
    if as_json:
        print_json(found)
        return
    for item in found:
        where = "package" if item["shipped"] else "workspace"
        out.print(f"{item['name']} ({item['category']}, {where}): {item['description']}".rstrip(": "), markup=False)
    if not found:
        out.print("no such template")


@library.command()
def show(
    name: Name, category: Category = None, workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False
) -> None:
    """Show a template: what is said of it, and its definition.

    \b
    Examples:
      n4a-flows library show snv_pls
      n4a-flows library show snv_pls --json
    """
    template = find_template(workspace, name, category)
    if as_json:
        print_json({**template.metadata, "definition": template.definition})
        return
    for key, value in template.metadata.items():
        if value:
            out.print(f"{key}: {', '.join(value) if isinstance(value, list) else value}", markup=False)
    out.print(json.dumps(template.definition, indent=2, ensure_ascii=False), markup=False)


@library.command()
def add(
    source: Annotated[
        str,
        typer.Argument(
            help="Id of a pipeline of the workspace (or its beginning), a template or definition (JSON, YAML) or a folder with one."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the template; that of the file when left out.")] = None,
    category: Category = None,
    description: Annotated[str, typer.Option(help="What it is for; of a pipeline only.")] = "",
    tag: Tags = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the template of this name.")] = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Add a template to the library of the workspace.

    \b
    Examples:
      n4a-flows library add my_definition.json --name "fat in meat"
      n4a-flows library add 8c0e41aa --name "fat in meat" --tag nir
    """
    with opened(workspace):
        templates = PipelineLibrary(workspace)
    if Path(source).exists() or Path(source).name != source or Path(source).suffix:
        if description or tag:
            raise InvalidInputError(
                "--description and --tag go with a pipeline: write them into the file of a template."
            )
        path = templates.import_template(source, category, overwrite, name=name)
    elif name is None:
        raise InvalidInputError("Say what the template of the pipeline is to be called, with --name.")
    else:
        with opened(workspace) as store:
            pipeline_id = store.identify(source, "pipeline").id
        path = templates.copy_from_pipeline(
            pipeline_id, name, category or GENERAL, description, tag, overwrite=overwrite
        )
    said = templates.get_template_metadata(path.name.removesuffix(SUFFIX))
    if as_json:
        print_json({**said, "path": str(path)})
    else:
        out.print(f"{said['name']} is in {path}", markup=False)


@library.command()
def delete(
    name: Name, category: Category = None, workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False
) -> None:
    """Delete a template of the workspace.

    \b
    Example:
      n4a-flows library delete "fat in meat"
    """
    with opened(workspace):
        PipelineLibrary(workspace).delete_template(name, category)
    if as_json:
        print_json({"deleted": name})
    else:
        out.print(f"{name} deleted", markup=False)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(library, name="library", rich_help_panel="Work")
