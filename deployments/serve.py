"""Serve the flows from this one process, for a first try; a lab uses workers.

    python blocks/workspace_store.py
    python deployments/serve.py

Then start runs from the Prefect UI: train, drop spectra files into the `incoming` folder of the workspace, predict,
export; and look after the workspace.
"""

from __future__ import annotations

from typing import Any

from prefect import serve
from prefect.deployments.runner import EntrypointType, RunnerDeployment

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.flows import export, maintain, predict_new_spectra, train_and_record

BLOCK_NAME = "local"
DATASET, TARGET = "tecator", "fat"
PIPELINE = [
    {"class": "chemotools.derivative.SavitzkyGolay", "params": {"window_length": 11, "polyorder": 2, "deriv": 2}},
    {"class": "chemotools.scatter.StandardNormalVariate", "params": {}},
    {
        "model": {
            "class": "sklearn.cross_decomposition.PLSRegression",
            "params": {"n_components": {"_or_": [8, 10, 12]}},
        }
    },
]


def deployments() -> list[RunnerDeployment]:
    """The deployments of the flows, with the block `workspace-store/local` as their store."""
    block = WorkspaceStoreBlock.load(BLOCK_NAME)
    incoming = block.workspace_path / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    store = {"$ref": {"block_document_slug": f"{WorkspaceStoreBlock.get_block_type_slug()}/{BLOCK_NAME}"}}
    best = {"dataset": DATASET, "target": TARGET}
    common: dict[str, Any] = {"entrypoint_type": EntrypointType.MODULE_PATH, "tags": ["n4a-flows"]}
    return [
        train_and_record.to_deployment(
            name="train",
            description="Train pipelines on the demonstration spectra and record them.",
            parameters={"store": store, "dataset": DATASET, "target": TARGET, "pipeline": PIPELINE},
            **common,
        ),
        predict_new_spectra.to_deployment(
            name="predict",
            description="Predict the files in the incoming folder of the workspace that are new.",
            parameters={"store": store, "chain": "best", "files": str(incoming), "options": best},
            **common,
        ),
        maintain.to_deployment(
            name="maintain",
            description="Check the workspace, end dead runs, collect garbage and make the database file smaller.",
            parameters={"store": store},
            **common,
        ),
        export.to_deployment(
            name="export",
            description="Export the best chain as a bundle.",
            parameters={"store": store, "options": {"chain": "best", **best}},
            **common,
        ),
    ]


if __name__ == "__main__":
    serve(*deployments())
