"""What an export wrote, for people: where it is, what is inside, and how to load it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from n4a_flows.reports.leaderboard import markdown_table
from n4a_flows.storage.exports import Exportable
from n4a_flows.storage.places import Place

_PYTHON: dict[Exportable, str] = {
    "chain": (
        "from n4a_flows.storage import WorkspaceStore\n\n"
        'report = WorkspaceStore("another-workspace").import_bundle({path!r})'
    ),
    "pipeline": (
        "import json\nfrom pathlib import Path\n\nfrom n4a_flows.training import PipelineRunner\n\n"
        "definition = json.loads(Path({path!r}).read_text())\n"
        'PipelineRunner(workspace="another-workspace").run(definition, "tecator", target="fat")'
    ),
    "run": "from pathlib import Path\n\nimport yaml\n\nrun = yaml.safe_load(Path({path!r}).read_text())",
    "predictions": "import polars as pl\n\npredictions = pl.read_parquet({path!r})",
    "template": (
        "from n4a_flows.storage import PipelineLibrary\n\n"
        'PipelineLibrary("another-workspace").import_template({path!r}, category=None)'
    ),
}


def how_to_load(what: Exportable, path: Path | Place) -> str:
    """Python that loads an export; of a script, the command that predicts with it. A file elsewhere is to be fetched first."""
    if path.suffix == ".py":
        return f"python {path.name} spectra.csv predictions.csv"
    return _PYTHON[what].format(path=path.name if isinstance(path, Place) else str(path))


def export_markdown(
    what: Exportable, path: Path | str, sha256: str, size: int, inside: Sequence[tuple[str, str]], load: str
) -> str:
    """A report on an export.

    Parameters
    ----------
    inside
        What is in the file: pairs of a name and a value.
    load
        As `how_to_load` gives it.
    """
    file = [("file", str(path)), ("size", f"{size:,} bytes"), ("SHA-256", sha256)]
    return (
        f"# Exported: {what}\n\n{markdown_table(['', ''], file)}\n"
        f"## What is inside\n\n{markdown_table(['', ''], inside)}\n"
        f"## How to load it\n\n```\n{load}\n```\n"
    )
