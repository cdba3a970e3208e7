"""The Prefect UI, as somebody uses it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from lab import Lab, wait_for
from playwright.sync_api import Locator, Page, TimeoutError
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort


class Ui:
    """A page of the UI in a headless Chromium, and the pictures that are taken of it."""

    def __init__(self, lab: Lab, page: Page, pictures: Path) -> None:
        self.lab = lab
        self.page = page
        self.pictures = pictures
        self.elsewhere: set[str] = set()
        page.on("request", lambda request: self._look_at(request.url))

    def _look_at(self, url: str) -> None:
        if not url.startswith((self.lab.url, f"blob:{self.lab.url}", "data:")):
            self.elsewhere.add(url)

    def open(self, path: str, shows: str) -> None:
        """Open a page, and wait until it shows a text."""
        self.page.goto(f"{self.lab.url}/{path}")
        self.page.get_by_text(shows).first.wait_for()

    def picture(self, name: str) -> None:
        """Take a picture, when nothing moves any more."""
        self.page.wait_for_timeout(700)
        self.page.screenshot(path=self.pictures / f"{name}.png")

    def field(self, label: str) -> Locator:
        """The box below a label of a form. The labels are not tied to their boxes."""
        return self.page.locator(
            f"xpath=//*[starts-with(normalize-space(text()), '{label}')]/following::input[1]"
        ).first

    def text_field(self, label: str) -> Locator:
        """The same for a box with room for several lines."""
        return self.page.locator(
            f"xpath=//*[starts-with(normalize-space(text()), '{label}')]/following::textarea[1]"
        ).first

    def form(self, deployment: str) -> None:
        """Open the form that runs a deployment with other parameters."""
        with self.lab.client() as client:
            identity = client.read_deployment_by_name(deployment).id
        self.open(f"deployments/deployment/{identity}/run", "Parameters")
        self.page.get_by_role("button", name="Submit").wait_for()
        self.page.wait_for_timeout(500)

    def submit(self, deployment: str) -> UUID:
        """Start what the form says; the id of the flow run."""
        with self.lab.client() as client:
            before = {run.id for run in self.lab.flow_runs(client, deployment)}
            form = self.page.url
            for _ in range(3):  # a server on SQLite that has much to do refuses now and then
                self.page.get_by_role("button", name="Submit").click()
                with suppress(TimeoutError):
                    self.page.wait_for_url(lambda url: url != form, timeout=15_000)
                    break
            new = wait_for(
                "a new flow run",
                lambda: [run.id for run in self.lab.flow_runs(client, deployment) if run.id not in before],
            )
        identity: UUID = new[0]
        return identity

    def report(self, flow_run_id: UUID, key: str) -> list[Any]:
        """Open the latest report of a flow run; the widths of the pictures in it that could be drawn."""
        with self.lab.client() as client:
            [latest] = client.read_artifacts(
                artifact_filter=ArtifactFilter(
                    flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]), key=ArtifactFilterKey(any_=[key])
                ),
                sort=ArtifactSort.CREATED_DESC,
                limit=1,
            )
        self.open(f"artifacts/artifact/{latest.id}", "Raw")
        self.page.wait_for_timeout(1500)
        widths: list[Any] = self.page.evaluate("[...document.images].map(image => image.naturalWidth)")
        return widths
