"""A probe tells whether a chain still predicts what it did when it was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inside import change, look
from sklearn.cross_decomposition import PLSRegression
from sklearn.neighbors import KNeighborsClassifier

from n4a_flows.storage import Axis, Probe, WorkspaceStore
from n4a_flows.storage.errors import ArtifactLoadError, InvalidInputError, UnknownIdError, UntrustedError


def save(store: WorkspaceStore, model: object, axis: Axis, probe: Probe | None) -> str:
    run_id = store.begin_run("r", {}, [])
    pipeline_id = store.begin_pipeline(run_id, "p", [], {}, "d", "h")
    path = f"{type(model).__module__}.{type(model).__name__}"
    with store.transaction():
        saved = None if probe is None else store.save_artifact(store.prepare_artifact(probe.to_artifact()))
        model_id = store.save_artifact(model, path, "model", "joblib")
        step = {"step_idx": 1, "operator_class": path, "operator_type": "model", "params": {}}
        return store.save_chain(
            pipeline_id,
            [step],
            1,
            path,
            "",
            "per_fold",
            {"fold_final": model_id},
            {},
            axis=axis,
            probe_artifact_id=saved,
        )


@pytest.fixture
def model(spectra: np.ndarray, y: np.ndarray) -> PLSRegression:
    return PLSRegression(4).fit(spectra, y)


def test_what_predicts_as_recorded_agrees(
    store: WorkspaceStore, spectra: np.ndarray, model: PLSRegression, axis: Axis
) -> None:
    chain_id = save(store, model, axis, Probe(spectra[:3], model.predict(spectra[:3]).ravel()))
    report = store.replay_probe(chain_id)
    assert (report.agrees, report.difference, report.problem) == (True, 0.0, None)
    probe = store.get_probe(chain_id)
    assert probe is not None
    assert np.array_equal(probe.X, spectra[:3])
    assert store.check("replay").ok
    assert store.check("replay").checked["replayed"] == 1


@pytest.mark.parametrize(("factor", "agrees"), [(1 + 1e-9, True), (1 + 1e-4, False), (np.nan, False)])
def test_a_difference_beyond_the_tolerance_is_found(
    store: WorkspaceStore, spectra: np.ndarray, model: PLSRegression, axis: Axis, factor: float, agrees: bool
) -> None:
    chain_id = save(store, model, axis, Probe(spectra[:3], model.predict(spectra[:3]).ravel() * factor))
    assert store.replay_probe(chain_id).agrees is agrees
    report = store.check("replay")
    assert report.ok is agrees
    assert store.check("full").ok, "nothing but the replay can tell"
    if not agrees:
        [finding] = report.findings
        assert (finding.kind, finding.subject, finding.mendable) == ("probe", chain_id, False)


def test_labels_are_compared_as_they_are(store: WorkspaceStore, spectra: np.ndarray, axis: Axis) -> None:
    labels = np.where(spectra[:, 12] > 1, "ripe", "green")
    model = KNeighborsClassifier(3).fit(spectra, labels)
    predicted = model.predict(spectra[:4])
    assert store.replay_probe(save(store, model, axis, Probe(spectra[:4], predicted))).agrees
    predicted[0] = "blue"
    report = store.replay_probe(save(store, model, axis, Probe(spectra[:4], predicted)))
    assert report.problem == "1 of 4 labels differ from those recorded."


def test_a_chain_that_cannot_be_loaded_any_more_is_a_finding(
    store: WorkspaceStore, spectra: np.ndarray, model: PLSRegression, axis: Axis
) -> None:
    chain_id = save(store, model, axis, Probe(spectra[:1], model.predict(spectra[:1]).ravel()))
    change(store.workspace_path, 'UPDATE chains SET steps = \'[{"step_idx": 7, "operator_class": "m"}]\'')
    assert {(one.kind, one.subject) for one in store.check("replay").findings} == {("probe", chain_id)}


def test_a_chain_without_a_probe_is_noted(store: WorkspaceStore, model: PLSRegression, axis: Axis) -> None:
    chain_id = save(store, model, axis, None)
    report = store.check("replay")
    assert report.ok
    assert [(note.kind, note.subject) for note in report.notes] == [("no_probe", chain_id)]
    assert store.get_probe(chain_id) is None
    with pytest.raises(InvalidInputError, match="without a probe"):
        store.replay_probe(chain_id)


def test_a_probe_lives_and_goes_with_its_chain(
    store: WorkspaceStore, spectra: np.ndarray, model: PLSRegression, axis: Axis
) -> None:
    probe = Probe(spectra[:2], model.predict(spectra[:2]).ravel())
    chain_id = save(store, model, axis, probe)
    change(store.workspace_path, "UPDATE artifacts SET ref_count = 0")
    assert store.gc_artifacts() == 0, "the edge protects it"
    with pytest.raises(UnknownIdError):
        store.save_chain(
            look(store.workspace_path, "SELECT pipeline_id FROM pipelines")[0][0],
            [{"step_idx": 1}], 1, "m", "", "", {}, {}, probe_artifact_id="nothing",
        )  # fmt: skip
    assert store.get_chain(chain_id) is not None
    [run_id] = store.list_runs()["run_id"]
    store.delete_run(run_id)
    assert not list((store.workspace_path / "artifacts").rglob("*.npz"))


def test_a_probe_is_read_without_unpickling(
    tmp_path: Path, spectra: np.ndarray, model: PLSRegression, axis: Axis
) -> None:
    chain_id = save(WorkspaceStore(tmp_path / "a"), model, axis, Probe(spectra[:2], model.predict(spectra[:2]).ravel()))
    careful = WorkspaceStore(tmp_path / "a", trust="none")
    assert careful.get_probe(chain_id) is not None
    with pytest.raises(UntrustedError):
        careful.check("replay")
    for damaged in (b"", b"PK\3\4", Probe(spectra[:2], np.zeros(2)).to_artifact().data[:-40]):
        with pytest.raises(ArtifactLoadError):
            Probe.from_bytes(damaged)


def test_equal_probes_are_one_artifact_and_what_is_no_probe_is_refused(spectra: np.ndarray) -> None:
    first, second = (Probe(spectra[:2], np.arange(2.0)).to_artifact() for _ in range(2))
    assert first.content_hash == second.content_hash
    with pytest.raises(InvalidInputError, match="a prediction for each"):
        Probe(spectra[:2], np.arange(3.0)).to_artifact()
