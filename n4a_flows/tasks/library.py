"""Tasks about the library: templates, which are pipeline definitions by name."""

from functools import partial
from pathlib import Path

from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.storage import PipelineLibrary
from n4a_flows.storage.exports import deliver
from n4a_flows.storage.places import Place
from n4a_flows.tasks._task import library_of, library_task, storage_task

save_template = library_task(PipelineLibrary.save_template, "save template {name}")
load_template = library_task(PipelineLibrary.load_template, "load template {name}")
get_template_metadata = library_task(PipelineLibrary.get_template_metadata, "metadata of template {name}")
list_templates = library_task(PipelineLibrary.list_templates, "list templates")
delete_template = library_task(PipelineLibrary.delete_template, "delete template {name}")
copy_from_pipeline = library_task(PipelineLibrary.copy_from_pipeline, "template {name} from pipeline {pipeline}")
import_template = library_task(PipelineLibrary.import_template, "import template {import_path}")


@storage_task("export template {name}")
def export_template(store: WorkspaceStoreBlock, name: str, file_name: str, category: str | None = None) -> Path | Place:
    """Write a template of the workspace, or of the package, as JSON where the block allows; returns the path or the URL."""
    return deliver(store.export_target(file_name), partial(library_of(store).export_template, name, category=category))
