"""Events of the flows start what the deployments say, on a real server with a real worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab import Lab, wait_for

from n4a_flows.cli.demo import write_incoming
from n4a_flows.spectra import load_tecator

SHORT = [{"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 8}}}]
BETTER = [{"model": {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 14}}}]


def begun_since(lab: Lab, deployment: str, moment: datetime, **parameters: Any) -> Callable[[], Any]:
    """Looks for a flow run of a deployment that was created since then, with these parameters."""

    def look() -> Any:
        with lab.client() as client:
            since = [one for one in lab.flow_runs(client, deployment) if one.created >= moment]
        return next((one for one in since if parameters.items() <= one.parameters.items()), None)

    return look


def incoming(lab: Lab) -> Path:
    folder = lab.workspace / "incoming"
    spectra = load_tecator()
    write_incoming(spectra.take((spectra.metadata["split"] == "test").nonzero()[0][:5]), folder)
    return folder


def test_a_new_champion_scores_the_incoming_folder_and_somebody_is_told_what_could_not_be_scored(
    lab: Lab, worker: object
) -> None:
    folder = incoming(lab)
    (folder / "broken too.csv").write_text("nothing\n")
    begun = datetime.now(UTC)
    assert lab.ended(lab.start("train-and-record/nightly", pipeline=SHORT)).name == "Completed"

    scoring = wait_for("predictions", begun_since(lab, "predict-new-spectra/incoming", begun))
    assert lab.ended(scoring.id).name == "Failed", "2 of 7 files are more than a fifth"
    with lab.block.open() as store:
        assert store.scored_files(status="scored").height == 5

    notice = wait_for("a notice", begun_since(lab, "tell/notices", begun, subject="Too many files quarantined"))
    assert notice.parameters["text"].startswith("2 new files were quarantined, 5 scored. The first: ")
    assert lab.ended(notice.id).name == "Completed"

    begun = datetime.now(UTC)
    assert lab.ended(lab.start("train-and-record/nightly", pipeline=BETTER)).name == "Completed"
    again = wait_for("predictions of the next champion", begun_since(lab, "predict-new-spectra/incoming", begun))
    lab.ended(again.id)
    with lab.block.open() as store:
        assert store.scored_files(status="scored").height == 10


def test_somebody_is_told_of_damage(lab: Lab, worker: object) -> None:
    artifact = next((lab.workspace / "artifacts").glob("*/*"))
    elsewhere = artifact.rename(lab.folder / artifact.name)
    begun = datetime.now(UTC)
    assert lab.ended(lab.start("maintain/gc")).name == "DamageFound"
    elsewhere.rename(artifact)
    notice = wait_for("a notice", begun_since(lab, "tell/notices", begun, subject="Maintenance failed"))
    assert f"The file {artifact.parent.name}/{artifact.name} is missing" in notice.parameters["text"]
    assert lab.ended(notice.id).name == "Completed"
