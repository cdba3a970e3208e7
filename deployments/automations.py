"""Save the automations on the Prefect server. Run again, it updates them.

    python deployments/automations.py

Those that start a deployment are its triggers in `deployments/prefect.yaml`, and come with it.
"""

from __future__ import annotations

from n4a_flows.deploy.automations import save

if __name__ == "__main__":
    print("\n".join(save()))
