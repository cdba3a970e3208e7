"""Bundles: what goes out comes in elsewhere as the same chain, and what is unsafe or damaged does not come in at all."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import struct
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_chains import FOLDS, ONLY_OURS, PORTABLE, make_chain
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import StandardScaler

from n4a_flows.storage import BundleGenerator, WorkspaceStore, inspect_bundle, verify_bundle
from n4a_flows.storage.bundles import requirements
from n4a_flows.storage.chain_builder import replace_artifacts
from n4a_flows.storage.codecs import content_hash
from n4a_flows.storage.errors import (
    BundleError,
    InvalidInputError,
    MissingFileError,
    MissingStoreError,
    UnknownIdError,
    UntrustedError,
)

DOCUMENT = ("steps", "model_step_idx", "fold_artifacts", "shared_artifacts", "branch_path", "source_index")
COLUMNS = ("model_class", "preprocessings", "fold_strategy", "dataset_name", "task_type")
KINDS = {**PORTABLE, **{name: kind for name, (kind, _) in ONLY_OURS.items()}}


@pytest.fixture
def other(tmp_path: Path) -> WorkspaceStore:
    return WorkspaceStore(tmp_path / "other")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, spectra: np.ndarray, y: np.ndarray) -> WorkspaceStore:
    """A workspace with one chain and `fat.n4a`, its bundle, which no test changes."""
    store = WorkspaceStore(tmp_path_factory.mktemp("home"))
    run_id = store.begin_run("run", {}, ["tecator"])
    pipeline_id = store.begin_pipeline(run_id, "scaled", [], {}, "tecator", "hash")
    chain_id = make_chain(store, pipeline_id, spectra, y, transformers=[StandardScaler()], scalers=[StandardScaler()])
    store.set_alias("fat", chain_id)
    store.export_chain("fat", store.workspace_path / "fat")
    return store


@pytest.fixture
def bundle(home: WorkspaceStore, tmp_path: Path) -> Path:
    return Path(shutil.copy(home.workspace_path / "fat.n4a", tmp_path))


def document_of(store: WorkspaceStore, chain_id: str) -> dict[str, Any]:
    """The document of a chain with content hashes for artifact ids."""
    chain = store.get_chain(chain_id)
    assert chain is not None
    paths = {artifact_id: store.get_artifact_path(artifact_id).stem for artifact_id in artifacts_of(chain)}
    return replace_artifacts({key: chain[key] for key in DOCUMENT}, paths)


def artifacts_of(chain: Mapping[str, Any]) -> set[str]:
    ids = set(chain["fold_artifacts"].values())
    for step in chain["steps"]:
        ids |= {*step.get("artifact_ids", []), *step.get("fold_artifact_ids", {}).values()}
    return ids


def nothing_is_in(store: WorkspaceStore) -> bool:
    return store.list_runs().is_empty() and not list((store.workspace_path / "artifacts").rglob("*"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_chain_goes_out_and_comes_in_as_the_same_chain(
    kind: str, store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    chain_id = KINDS[kind](store, pipeline_id, spectra, y)
    path = store.export_chain(chain_id, tmp_path / "chain")
    info = verify_bundle(path)
    assert info.nirs4all_cannot is None or kind in ONLY_OURS
    other = WorkspaceStore(tmp_path / "other")
    report = other.import_bundle(path, trust="modules", versions="refuse")
    assert report.probe is not None
    assert report.probe.difference in (0.0, None)
    assert document_of(other, report.chain_id) == document_of(store, chain_id)
    ours, theirs = store.get_chain_context(chain_id), other.get_chain_context(report.chain_id)
    assert report.digest == theirs.digest == ours.digest == info.digest
    for name in ("axis", "signal", "x_range", "target", "task_type"):
        assert getattr(theirs, name) == getattr(ours, name)
    rows = [found.get_chain(chain) for found, chain in ((store, chain_id), (other, report.chain_id))]
    [ours, theirs] = [[row[name] for name in COLUMNS] for row in rows if row]
    assert ours == theirs
    np.testing.assert_array_equal(other.replay_chain(report.chain_id, spectra), store.replay_chain(chain_id, spectra))
    assert (other.check("full").findings, other.check("full").notes) == ((), ())
    again = other.export_chain(report.chain_id, tmp_path / "again")
    with zipfile.ZipFile(path) as one, zipfile.ZipFile(again) as two:
        assert one.namelist() == two.namelist()
        assert all(one.read(name) == two.read(name) for name in one.namelist() if name.startswith("artifacts/"))


@pytest.mark.parametrize("kind", ONLY_OURS)
def test_what_nirs4all_would_mispredict_has_no_member_that_it_reads(
    kind: str,
    store: WorkspaceStore,
    pipeline_id: str,
    spectra: np.ndarray,
    y: np.ndarray,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make, why = ONLY_OURS[kind]
    with caplog.at_level(logging.WARNING):
        path = store.export_chain(make(store, pipeline_id, spectra, y), tmp_path / "chain")
    assert why in str(inspect_bundle(path).nirs4all_cannot)
    assert why in caplog.text
    with zipfile.ZipFile(path) as archive:
        assert not [name for name in archive.namelist() if "step_" in name or name == "trace.json"]
        assert why in json.loads(archive.read("manifest.json"))["bundle_format_version"]


def test_steps_that_are_told_wavelengths_or_rebuilt_are_only_ours(
    store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    from small_operators import AddWavelengths

    from n4a_flows.storage import Axis

    axis = Axis(np.arange(40) + 1.0)
    model = store.save_artifact(PLSRegression(2).fit(spectra + axis.values, y), "m.PLSRegression", "model")
    operator = store.save_artifact(AddWavelengths(), "small_operators.AddWavelengths", "transformer")
    step = {"step_idx": 1, "operator_class": "small_operators.AddWavelengths", "params": {}, "artifact_ids": [operator]}
    last = {"step_idx": 2, "operator_class": "m.PLSRegression", "params": {}, "operator_type": "model"}
    rest = (2, "m.PLSRegression", "", "per_fold", {"fold_final": model}, {})
    told = store.save_chain(pipeline_id, [step, last], *rest, axis=axis)
    assert "wavelengths" in str(inspect_bundle(store.export_chain(told, tmp_path / "told")).nirs4all_cannot)
    snv = {"step_idx": 1, "operator_class": "chemotools.scatter.StandardNormalVariate", "params": {}, "stateless": True}
    rebuilt = store.save_chain(pipeline_id, [snv, last], *rest)
    path = store.export_chain(rebuilt, tmp_path / "rebuilt")
    assert "rebuilt" in str(inspect_bundle(path).nirs4all_cannot)
    other = WorkspaceStore(tmp_path / "other")
    imported = other.import_bundle(path).chain_id
    np.testing.assert_array_equal(other.replay_chain(imported, spectra), store.replay_chain(rebuilt, spectra))


def test_a_bundle_written_twice_differs_in_its_time_only(home: WorkspaceStore, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        with zipfile.ZipFile(home.export_chain("fat", tmp_path / name)) as archive:
            contents.append({member.filename: archive.read(member) for member in archive.infolist()})
            assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    manifests = [json.loads(content.pop("manifest.json")) for content in contents]
    assert list(contents[0].items()) == list(contents[1].items())
    assert {key for key in manifests[0] if manifests[0][key] != manifests[1][key]} <= {"exported_at", "created_at"}


def test_a_bundle_says_what_it_holds_and_needs(bundle: Path, home: WorkspaceStore) -> None:
    info = inspect_bundle(bundle)
    assert (info.origin, info.target, info.task_type, info.x_range) == ("n4a_flows", "fat", "regression", (0.1, 2.5))
    assert info.folds == (*FOLDS, "fold_final")
    assert [path.rpartition(".")[2] for path in info.steps] == ["StandardScaler", "StandardScaler", "PLSRegression"]
    assert set(info.imports) == {"joblib", "numpy", "sklearn"}
    assert set(info.packages) == {"joblib", "numpy", "scikit-learn", "python"}
    assert info.chain_id == home.get_alias("fat")
    assert info.sha256 == content_hash(bundle.read_bytes())
    manifest = manifest_of(bundle)
    assert (manifest["model_step_index"], manifest["fold_strategy"], manifest["has_refit"]) == (3, "single_refit", True)
    with zipfile.ZipFile(bundle) as archive:
        for name, member in manifest["members"].items():
            assert member == {"sha256": content_hash(archive.read(name)), "size": len(archive.read(name))}


def test_importing_twice_adds_nothing_and_bytes_that_are_there_are_not_written_again(
    bundle: Path, home: WorkspaceStore, other: WorkspaceStore
) -> None:
    first = other.import_bundle(bundle)
    assert (first.already_there, first.new_artifacts, first.known_artifacts) == (False, 13, 0)
    files = {path: path.stat().st_mtime_ns for path in (other.workspace_path / "artifacts").rglob("*.*")}
    again = other.import_bundle(bundle)
    assert (again.already_there, again.chain_id, again.new_artifacts) == (True, first.chain_id, 0)
    assert other.list_runs().height == 1
    at_home = home.import_bundle(bundle)
    assert (at_home.already_there, at_home.known_artifacts) == (True, 13)
    other.delete_run(other.list_runs()["run_id"].item(), delete_artifacts=False)
    back = other.import_bundle(bundle)
    assert (back.already_there, back.new_artifacts, back.known_artifacts) == (False, 0, 13)
    assert files == {path: path.stat().st_mtime_ns for path in (other.workspace_path / "artifacts").rglob("*.*")}


def test_an_import_says_where_the_chain_is_from(bundle: Path, home: WorkspaceStore, other: WorkspaceStore) -> None:
    report = other.import_bundle(bundle)
    chain = other.get_chain(report.chain_id)
    assert chain is not None
    pipeline = other.get_pipeline(chain["pipeline_id"])
    assert pipeline is not None
    assert (pipeline["name"], pipeline["status"], pipeline["dataset_name"]) == (
        "import of fat.n4a",
        "completed",
        "tecator",
    )
    source = pipeline["expanded_config"]["imported_from"]
    assert (source["file"], source["chain_id"], source["sha256"]) == (
        "fat.n4a",
        home.get_alias("fat"),
        content_hash(bundle.read_bytes()),
    )
    run = other.get_run(pipeline["run_id"])
    assert run is not None
    assert (run["status"], run["summary"]["chain_id"]) == ("completed", report.chain_id)
    assert other.delete_run(pipeline["run_id"]) > 0
    assert nothing_is_in(other)


def test_an_import_is_part_of_a_transaction(bundle: Path, other: WorkspaceStore) -> None:
    with pytest.raises(ZeroDivisionError), other.transaction():
        other.import_bundle(bundle)
        raise ZeroDivisionError
    assert other.list_runs().is_empty()


class Vicious:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("it-ran",)


def test_nothing_is_unpickled_unless_it_is_trusted(
    store: WorkspaceStore, pipeline_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = store.save_artifact(Vicious(), "sklearn.linear_model.Ridge", "model", "pickle")
    step = {"step_idx": 1, "operator_class": "sklearn.linear_model.Ridge", "params": {}, "operator_type": "model"}
    chain_id = store.save_chain(pipeline_id, [step], 1, "Ridge", "", "per_fold", {"fold_final": model}, {})
    path = store.export_chain(chain_id, tmp_path / "vicious")
    other = WorkspaceStore(tmp_path / "other")
    inspect_bundle(path)
    verify_bundle(path)
    with pytest.raises(UntrustedError, match="mkdir"):
        other.import_bundle(path, trust="modules")
    assert nothing_is_in(other)
    other.import_bundle(path)
    other.import_bundle(path, trust="none")
    assert not (tmp_path / "it-ran").exists()
    with pytest.raises(InvalidInputError, match="trust"):
        other.import_bundle(path, trust="yes")  # type: ignore[arg-type]


def test_a_trusted_import_refuses_a_chain_that_predicts_something_else(
    store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray, tmp_path: Path, other: WorkspaceStore
) -> None:
    path = store.export_chain(make_chain(store, pipeline_id, spectra, y), tmp_path / "chain")
    wrong = store.export_chain(make_chain(store, pipeline_id, spectra, y + 1.0), tmp_path / "wrong")
    with zipfile.ZipFile(wrong) as archive:
        swap_probe(path, archive.read("probe.npz"))
    with pytest.raises(BundleError, match="does not predict here"):
        other.import_bundle(path, trust="all")
    assert nothing_is_in(other)
    assert other.import_bundle(path).probe is None


def test_other_package_versions_are_reported_refused_or_allowed(
    bundle: Path, other: WorkspaceStore, caplog: pytest.LogCaptureFixture
) -> None:
    def older(manifest: dict[str, Any]) -> None:
        manifest["packages"] |= {"scikit-learn": "0.24.2", "plsx": "3.1"}
        manifest["imports"].append("plsx")

    amend(bundle, older)
    with pytest.raises(BundleError, match=r"plsx 3.1 \(here not installed\)"):
        other.import_bundle(bundle, versions="refuse")
    assert nothing_is_in(other)
    with pytest.raises(InvalidInputError, match="versions"):
        other.import_bundle(bundle, versions="any")  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        allowed = other.import_bundle(bundle, versions="allow")
        assert not caplog.text
        reported = other.import_bundle(bundle)
    assert "scikit-learn 0.24.2" in caplog.text
    assert reported.missing == allowed.missing == ("plsx",)
    found = {difference.package: (difference.recorded, difference.installed) for difference in allowed.differences}
    assert found["plsx"] == ("3.1", None)
    assert found["scikit-learn"][0] == "0.24.2"
    assert set(found) == {"plsx", "scikit-learn"}


@pytest.mark.parametrize("protocol", [4, 5])
def test_imports_are_found_in_pickles_without_loading_them(protocol: int) -> None:
    data = pickle.dumps([StandardScaler(), np.zeros(2)], protocol)
    assert requirements._named(data) >= {"sklearn", "numpy"}
    started = time.monotonic()
    assert requirements._named(b"\x8c\x09sklearn" * 1_000_000) == set()
    assert time.monotonic() - started < 5.0


def test_folds_that_were_given_up_are_left_out(
    store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray, tmp_path: Path, other: WorkspaceStore
) -> None:
    chain_id = make_chain(store, pipeline_id, spectra, y, transformers=[StandardScaler()])
    run_id = store.list_runs()["run_id"].item()
    assert store.cleanup_transient_artifacts(run_id, "tecator", [pipeline_id]) > 0
    path = store.export_chain(chain_id, tmp_path / "trimmed")
    assert inspect_bundle(path).folds == ("fold_final",)
    report = other.import_bundle(path, trust="all")
    np.testing.assert_array_equal(other.replay_chain(report.chain_id, spectra), store.replay_chain(chain_id, spectra))


def test_a_chain_that_was_trimmed_away_comes_back_with_its_bundle(
    bundle: Path, home: WorkspaceStore, other: WorkspaceStore, spectra: np.ndarray
) -> None:
    first = other.import_bundle(bundle)
    run_id = other.list_runs()["run_id"].item()
    dataset = other.list_pipelines()["dataset_name"].item()
    assert other.cleanup_transient_artifacts(run_id, dataset, []) > 0
    again = other.import_bundle(bundle)
    assert not again.already_there
    assert again.chain_id != first.chain_id
    np.testing.assert_array_equal(other.replay_chain(again.chain_id, spectra), home.replay_chain("fat", spectra))
    assert other.import_bundle(bundle).chain_id == again.chain_id


def test_a_dot_in_a_name_is_no_suffix_and_the_suffix_says_the_format(home: WorkspaceStore, tmp_path: Path) -> None:
    assert home.export_chain("fat", tmp_path / "fat v1.2").name == "fat v1.2.n4a"
    assert home.export_chain("fat", tmp_path / "fat v1.3").name == "fat v1.3.n4a"
    assert home.export_chain("fat", tmp_path / "fat v1.2", format="n4a.py").name == "fat v1.2.n4a.py"
    with pytest.raises(InvalidInputError, match="ends as a script"):
        home.export_chain("fat", tmp_path / "fat.n4a.py")
    assert len(list(tmp_path.glob("fat*"))) == 3


def test_a_name_that_is_no_utf8_is_recorded_as_well_as_it_can_be(
    bundle: Path, other: WorkspaceStore, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"m\xfcller.n4a")
    odd.write_bytes(bundle.read_bytes())
    report = other.import_bundle(odd)
    assert other.get_chain(report.chain_id) is not None
    assert other.list_runs()["name"].to_list() == ["import of m\\udcfcller.n4a"]


def test_exporting_what_is_not_there(store: WorkspaceStore, tmp_path: Path) -> None:
    with pytest.raises(UnknownIdError):
        store.export_chain("no-such-chain", tmp_path / "x")
    assert not list(tmp_path.glob("x*"))


def test_the_generator_of_nirs4all_exports_with_a_store(home: WorkspaceStore, tmp_path: Path) -> None:
    chain_id = home.get_alias("fat")
    generator = BundleGenerator(home.workspace_path, verbose=1, store=home)
    assert verify_bundle(generator.export_from_chain(chain_id, tmp_path / "fat")).chain_id == chain_id
    assert generator.export_from_chain(chain_id, str(tmp_path / "fat"), fmt="n4a.py").name == "fat.n4a.py"
    with pytest.raises(InvalidInputError, match="format"):
        generator.export_from_chain(chain_id, tmp_path / "fat", fmt="zip")
    with pytest.raises(MissingStoreError, match="store"):
        BundleGenerator(home.workspace_path).export_from_chain(chain_id, tmp_path / "fat")


# What must not come in. Each takes a good bundle and spoils it.


def rewrite(path: Path, change: Callable[[str, bytes], bytes | None], **more: bytes) -> None:
    """Write the members of a bundle anew, changed, without those that become None, and with more."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**{name: change(name, data) for name, data in members.items()}, **more}.items():
            if data is not None:
                archive.writestr(name, data)


def manifest_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return dict(json.loads(archive.read("manifest.json")))


def put(path: Path, name: str, data: bytes | None) -> None:
    """Other bytes for a member, or none at all."""
    rewrite(path, lambda member, old: data if member == name else old)


def amend(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = manifest_of(path)
    change(manifest)
    put(path, "manifest.json", json.dumps(manifest).encode())


def amend_chain(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the chain, and what the manifest says of it."""
    with zipfile.ZipFile(path) as archive:
        chain = json.loads(archive.read("chain.json"))
    change(chain)
    data = json.dumps(chain).encode()
    put(path, "chain.json", data)
    amend(
        path,
        lambda manifest: manifest["members"].update({"chain.json": {"sha256": content_hash(data), "size": len(data)}}),
    )


def add(path: Path, name: str, data: bytes = b"x", mode: int = 0, listed: bool = True) -> None:
    """A further member, which the manifest lists."""
    if listed:
        amend(
            path, lambda manifest: manifest["members"].update({name: {"sha256": content_hash(data), "size": len(data)}})
        )
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo(name)
        member.create_system, member.external_attr = 3, mode << 16
        archive.writestr(member, data)


def flip(path: Path, name: str) -> None:
    """Other bytes of the same size in a member."""
    rewrite(path, lambda member, data: bytes([data[0] ^ 1]) + data[1:] if member == name else data)


def bomb(path: Path) -> None:
    """A member that unfolds to 64 MiB and says that it has 10 bytes."""
    data, name = bytes(64 * 1024**2), "artifacts/bomb.joblib"
    amend(path, lambda manifest: manifest["members"].update({name: {"sha256": content_hash(data[:10]), "size": 10}}))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", len(data)), struct.pack("<L", 10)))


def put_a_nul(path: Path) -> None:
    add(path, "artifacts/a-b.joblib", listed=False)
    path.write_bytes(path.read_bytes().replace(b"a-b.joblib", b"a\0b.joblib"))


def nest(manifest: dict[str, Any]) -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    manifest["deep"] = deep


def set_key(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update({key: value})


SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a name that leads out": (lambda path: add(path, "artifacts/../../out.txt"), "leads out"),
    "a name that leads out, with backslashes": (lambda path: add(path, "artifacts\\..\\out.txt"), "leads out"),
    "an absolute name": (lambda path: add(path, "/tmp/out.txt"), "absolute"),
    "an absolute name of Windows": (lambda path: add(path, "C:/out.txt"), "absolute"),
    "a link": (lambda path: add(path, "artifacts/link", b"/etc/passwd", 0o120777), "link"),
    "a device": (lambda path: add(path, "artifacts/device", b"", 0o020666), "no file"),
    "a folder": (lambda path: add(path, "artifacts/folder/", b""), "name"),
    "a name with a NUL": (put_a_nul, "name"),
    "an endless name": (lambda path: add(path, "a" * 300), "name"),
    "a name twice": (lambda path: add(path, "chain.json", listed=False), "twice"),
    "a name twice but for its case": (lambda path: add(path, "CHAIN.json", listed=False), "twice"),
    "a member that is not listed": (lambda path: add(path, "more.txt", listed=False), "same members"),
    "a listed member that is not there": (lambda path: put(path, "probe.npz", None), "same members"),
    "other bytes in an artifact": (
        lambda path: flip(path, "artifacts/step_3_foldfinal_PLSRegression.joblib"),
        "SHA-256",
    ),
    "other bytes in the chain": (lambda path: flip(path, "chain.json"), "SHA-256"),
    "another chain": (
        lambda path: amend_chain(path, lambda c: c["steps"][0].update(params={"a": 1})),
        "digest was made",
    ),
    "a digest that is none": (
        lambda path: amend(path, lambda m: m["members"]["chain.json"].update(sha256=7)),
        "SHA-256",
    ),
    "a chain without its models": (lambda path: amend_chain(path, set_key("fold_artifacts", {})), "cannot be used"),
    "a step that is none": (lambda path: amend_chain(path, set_key("steps", [1])), "no list of steps"),
    "a step index that is none": (
        lambda path: amend_chain(path, lambda c: c["steps"][0].update(step_idx=[])),
        "step_idx",
    ),
    "an unknown artifact id": (
        lambda path: amend_chain(path, set_key("fold_artifacts", {"fold_final": "'; DROP TABLE chains; --"})),
        "not whole|does not name",
    ),
    "an artifact that is somewhere else": (
        lambda path: amend_chain(path, lambda c: next(iter(c["artifacts"].values())).update(member="../../x")),
        "does not have",
    ),
    "an artifact under a wrong format": (
        lambda path: amend_chain(path, lambda c: next(iter(c["artifacts"].values())).update(format="skops")),
        "not of format",
    ),
    "a newer format": (lambda path: amend(path, set_key("n4a_flows_format", 2)), "newer n4a_flows"),
    "a format that is none": (lambda path: amend(path, set_key("n4a_flows_format", "1")), "format version"),
    "a newer format of nirs4all": (
        lambda path: amend(path, lambda m: m.update(bundle_format_version="2.0") or m.pop("n4a_flows_format")),
        "'2.0'",
    ),
    "an axis that is none": (lambda path: amend(path, set_key("axis", {"unit": "nm", "values": [1, 1]})), "axis"),
    "an axis of another kind": (lambda path: amend(path, set_key("axis", [1, 2])), "axis"),
    "a range that is none": (lambda path: amend(path, set_key("x_range", [1])), "x_range"),
    "a signal that is none": (lambda path: amend(path, set_key("signal", "loud")), "signal"),
    "a target that is no text": (lambda path: amend(path, set_key("target", {"a": 1})), "target"),
    "packages that are none": (lambda path: amend(path, set_key("packages", {"numpy": 2})), "versions"),
    "imports that are none": (lambda path: amend(path, set_key("imports", ["os; import sys"])), "names"),
    "a deep manifest": (lambda path: amend(path, nest), "deep"),
    "a manifest that is a list": (lambda path: put(path, "manifest.json", b"[]"), "object"),
    "a manifest that is endless": (lambda path: put(path, "manifest.json", b"[" * 100_000), "no JSON"),
    "a key twice": (lambda path: put(path, "manifest.json", b'{"a": {"b": 1, "b": 2}}'), "twice"),
    "half a character": (lambda path: amend(path, set_key("target", "\ud800")), "half of a character"),
    "no manifest": (lambda path: put(path, "manifest.json", None), "manifest.json"),
    "a probe that is none": (lambda path: swap_probe(path, b"no probe"), "probe"),
    "no ZIP file": (lambda path: path.write_bytes(b"no bundle" * 100), "no ZIP file"),
    "an empty file": (lambda path: path.write_bytes(b""), "no ZIP file"),
    "a file before it": (lambda path: path.write_bytes(b"#!/bin/sh\n" + path.read_bytes()), "no ZIP file"),
    "something behind it": (lambda path: path.write_bytes(path.read_bytes() + b"more"), "end"),
    "a zip bomb": (bomb, "damaged"),
}


def swap_probe(path: Path, data: bytes) -> None:
    put(path, "probe.npz", data)
    amend(
        path,
        lambda manifest: manifest["members"].update({"probe.npz": {"sha256": content_hash(data), "size": len(data)}}),
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("what", SPOILED)
def test_a_spoiled_bundle_is_refused_and_nothing_is_written(
    what: str, bundle: Path, other: WorkspaceStore, tmp_path: Path
) -> None:
    spoil, why = SPOILED[what]
    spoil(bundle)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BundleError, match=why):
        other.import_bundle(bundle)
    with pytest.raises(BundleError):
        verify_bundle(bundle)
    assert nothing_is_in(other)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_bundle_that_unfolds_to_more_than_is_allowed_is_refused(bundle: Path, other: WorkspaceStore) -> None:
    with pytest.raises(BundleError, match="max_bytes"):
        other.import_bundle(bundle, max_bytes=1000)
    add(bundle, "artifacts/zeros.joblib", bytes(100 * 1024**2))
    with pytest.raises(BundleError, match="max_bytes"):
        inspect_bundle(bundle, max_bytes=50 * 1024**2)
    assert nothing_is_in(other)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(BundleError, match="no file"):
            inspect_bundle(path)
    with pytest.raises(MissingFileError):
        inspect_bundle(tmp_path / "none.n4a")


def test_a_probe_that_unfolds_to_more_than_a_few_spectra_is_not_unfolded(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "probe.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", bytes(70 * 1024**2))
        archive.writestr("y.npy", b"")
    swap_probe(bundle, (tmp_path / "probe.npz").read_bytes())
    with pytest.raises(BundleError, match="few spectra"):
        verify_bundle(bundle)


def test_a_probe_that_claims_gigabytes_is_refused(bundle: Path, tmp_path: Path) -> None:
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    header += b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "probe.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", header + bytes(1000))
        archive.writestr("y.npy", header + bytes(1000))
    swap_probe(bundle, (tmp_path / "probe.npz").read_bytes())
    with pytest.raises(BundleError, match="probe"):
        verify_bundle(bundle)
