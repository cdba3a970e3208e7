"""Serve the deployments of `prefect.yaml` from this one process, for a first try; a lab uses workers.

    python blocks/workspace_store.py
    python deployments/serve.py

`n4a-flows up` does that and starts a server too.
"""

from __future__ import annotations

from prefect import serve

from n4a_flows.deploy.deployments import deployments

if __name__ == "__main__":
    serve(*deployments())
