"""A lab that is used from the Prefect UI alone: every deployment is run from its form, and every report is looked at.

The pictures of the pages lie in the folder of `N4A_PICTURES`, or in `pictures` of the temporary folder of the tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab, wait_for

from n4a_flows.cli.demo import write_incoming
from n4a_flows.spectra import load_tecator

pytest.importorskip("playwright", reason="the extra e2e is not installed")

from browser import Ui
from playwright.sync_api import sync_playwright

PLS = "sklearn.cross_decomposition.PLSRegression"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def ui(lab: Lab, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    pictures = Path(os.environ.get("N4A_PICTURES") or tmp_path_factory.mktemp("pictures"))
    pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, lab.worker():
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.set_default_timeout(60_000)
        yield Ui(lab, page, pictures)
        browser.close()


@pytest.fixture
def tall(ui: Ui) -> Iterator[None]:
    """A window in which a whole report has room."""
    ui.page.set_viewport_size({"width": 1100, "height": 3000})
    yield
    ui.page.set_viewport_size({"width": 1100, "height": 900})


def test_the_block_is_there_and_has_a_form(ui: Ui) -> None:
    ui.open("blocks", "WorkspaceStore")
    assert ui.page.get_by_text("local", exact=True).count() == 1
    ui.open("blocks/catalog/workspace-store/create", "Workspace folder")
    for label in ("Lock timeout", "Export folders", "Allowed modules", "Read only"):
        assert ui.page.get_by_text(label).count() >= 1, label
    ui.picture("block")


def test_every_deployment_is_there_and_says_what_it_does(ui: Ui) -> None:
    ui.open("deployments", "vacuum-and-check")
    for name in ("nightly", "incoming", "laboratory", "gc", "old-runs", "by-hand", "notices"):
        assert ui.page.get_by_text(name, exact=True).count() >= 1, name
    ui.picture("deployments")


def test_train(ui: Ui, tall: None) -> None:
    ui.form("train-and-record/nightly")
    ui.picture("form of training")
    flow_run = ui.submit("train-and-record/nightly")
    assert ui.lab.ended(flow_run).name == "Completed"
    widths = ui.report(flow_run, "n4a-training")
    assert len(widths) >= 5
    assert min(widths) > 0, "every picture is drawn"
    assert ui.page.get_by_text("is best, with RMSECV").count() == 1
    ui.picture("report of training")


def test_predict(ui: Ui, tall: None) -> None:
    ui.lab.quiet()  # a new champion has started predictions of its own, beside which no others are taken
    spectra = load_tecator()
    write_incoming(spectra.take(spectra.metadata["split"] == "test"), ui.lab.workspace / "incoming")
    ui.form("predict-new-spectra/incoming")
    assert ui.text_field("chain").input_value() == "tecator/fat/champion"
    ui.picture("form of prediction")
    flow_run = ui.submit("predict-new-spectra/incoming")
    assert ui.lab.ended(flow_run).name == "Completed"
    assert min(ui.report(flow_run, "n4a-prediction"), default=0) > 0
    ui.picture("report of prediction")


def test_export(ui: Ui) -> None:
    ui.form("export/by-hand")
    ui.text_field("File name").fill("from the form.n4a")
    ui.picture("form of export")
    flow_run = ui.submit("export/by-hand")
    assert ui.lab.ended(flow_run).name == "Completed"
    assert (ui.lab.workspace / "exports" / "from the form.n4a").is_file()
    ui.report(flow_run, "n4a-export")
    assert ui.page.get_by_text("from the form.n4a").count() >= 1
    ui.picture("report of export")


def test_a_value_that_is_refused_is_explained(ui: Ui) -> None:
    ui.form("export/by-hand")
    ui.text_field("File name").fill("../outside.n4a")
    flow_run = ui.submit("export/by-hand")
    assert ui.lab.ended(flow_run).name == "Failed"
    ui.open(f"runs/flow-run/{flow_run}", "Failed")
    ui.page.get_by_text("is no place for an export: give a file name without '..'").first.wait_for()


@pytest.mark.parametrize("deployment", ["gc", "vacuum-and-check"])
def test_maintain(ui: Ui, deployment: str) -> None:
    ui.form(f"maintain/{deployment}")
    flow_run = ui.submit(f"maintain/{deployment}")
    assert ui.lab.ended(flow_run).name == "Completed"
    ui.report(flow_run, "n4a-maintenance")
    assert ui.page.get_by_text("no damage").count() == 1
    ui.picture(f"report of {deployment}")


def test_old_runs_go_when_somebody_says_yes(ui: Ui) -> None:
    for n_components in (2, 3):  # worse ones, which no alias comes to name
        pipeline = [{"model": {"class": PLS, "params": {"n_components": n_components}}}]
        assert ui.lab.ended(ui.lab.start("train-and-record/nightly", pipeline=pipeline)).name == "Completed"
    with ui.lab.block.open() as store:
        before = set(store.list_runs(status="completed")["run_id"])
    ui.form("maintain/old-runs")
    ui.field("Last runs").fill("1")
    ui.field("Best chains").fill("1")
    ui.picture("form of maintenance")
    flow_run = ui.submit("maintain/old-runs")
    with ui.lab.client() as client:
        wait_for("the pause", lambda: client.read_flow_run(flow_run).state.name == "Paused", 120)
    ui.page.set_viewport_size({"width": 1100, "height": 1100})
    ui.open(f"runs/flow-run/{flow_run}", "Paused")
    ui.page.get_by_role("button", name="Resume").click()
    ui.page.get_by_text("waits for approval").first.wait_for()
    ui.page.get_by_role("switch").last.click()
    ui.picture("approval")
    ui.page.get_by_role("button", name="Submit").click()
    assert ui.lab.ended(flow_run).name == "Completed"
    with ui.lab.block.open() as store:
        assert set(store.list_runs(status="completed")["run_id"]) < before
    ui.report(flow_run, "n4a-maintenance")
    assert ui.page.get_by_text("retention removed").count() == 1
    ui.picture("report of old-runs")


def test_monitor_and_tell(ui: Ui) -> None:
    ui.form("monitor/laboratory")
    flow_run = ui.submit("monitor/laboratory")
    assert ui.lab.ended(flow_run).name == "Completed"
    ui.form("tell/notices")
    ui.text_field("text").fill("The lamp was changed.")
    flow_run = ui.submit("tell/notices")
    assert ui.lab.ended(flow_run).name == "Completed"
    ui.report(flow_run, "n4a-notice")
    assert ui.page.get_by_text("The lamp was changed.").count() >= 1


def test_a_flow_run_shows_its_logs_and_where_everything_is(ui: Ui) -> None:
    with ui.lab.client() as client:
        flow_run = ui.lab.flow_runs(client, "train-and-record/nightly")[-1]
    ui.open(f"runs/flow-run/{flow_run.id}", "Logs")
    ui.page.get_by_text("the best chain for fat is").first.wait_for()
    ui.picture("flow run")
    ui.open("automations", "n4a - too many files quarantined")


def test_nothing_was_asked_of_other_machines(ui: Ui) -> None:
    assert ui.elsewhere == set()
