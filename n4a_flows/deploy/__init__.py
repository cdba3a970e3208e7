"""What stands on a Prefect server: deployments and automations, as code."""
