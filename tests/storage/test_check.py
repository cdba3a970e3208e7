"""Every kind of damage is found and named, then mended or called unmendable; a workspace in normal use is whole."""

from __future__ import annotations

import copy
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from inside import change, look
from old_workspaces import LAYOUTS, make
from processes import record_pipeline

from n4a_flows.storage import ScoredFile, ScoredSample, WorkspaceStore, check, check_bytes
from n4a_flows.storage.errors import InvalidInputError, StoreClosedError, TransactionError

GONE = "00000000-0000-4000-8000-000000000000"
STEPS = [{"step_idx": 1, "operator_class": "snv", "params": {}}, {"step_idx": 2, "operator_class": "m", "params": {}}]


def save(store: WorkspaceStore, name: str) -> str:
    return store.save_artifact(name, "str", "model", "joblib")


def chain_of(store: WorkspaceStore, run_id: str, snv: str, *models: str) -> str:
    pipeline_id = store.begin_pipeline(run_id, "p", [], {}, "made up", "h")
    folds = {f"fold_{number}": artifact_id for number, artifact_id in enumerate(models)}
    return store.save_chain(pipeline_id, STEPS, 2, "m", "SNV", "per_fold", folds, {"1": [snv]})


def predict(store: WorkspaceStore, chain_id: str, fold: str = "fold_0", classes: bool = False) -> str:
    chain = store.get_chain(chain_id)
    assert chain is not None
    prediction_id = store.save_prediction(
        chain["pipeline_id"], chain_id, "made up", "m", "m", fold, "val", 1.0, None, None, "rmse", "regression",
        2, 2, {"val": {"rmse": 1.0}}, {}, None, None, 0, 0.0,
    )  # fmt: skip
    y = np.array(["oat", "rye"]) if classes else np.array([1.0, 2.0])
    store.save_prediction_arrays(prediction_id, y, y)
    return prediction_id


class Used:
    """A workspace with two runs, shared artifacts, predictions, classes, an alias that moved, scored files and logs."""

    def __init__(self, store: WorkspaceStore) -> None:
        self.store, self.path = store, store.workspace_path
        self.run_id = store.begin_run("r", {"folds": 2}, ["made up"])
        self.other_run = store.begin_run("other", {}, [])
        self.pipeline_id = record_pipeline(store, self.run_id, "p")
        self.snv, self.model = save(store, "snv"), save(store, "model")
        self.chain_id = chain_of(store, self.run_id, self.snv, self.model, save(store, "second"))
        self.other_chain = chain_of(store, self.other_run, save(store, "snv"), save(store, "third"))
        self.prediction_id = predict(store, self.chain_id, classes=True)
        store.set_alias("champion", self.other_chain)
        store.set_alias("champion", self.chain_id)
        store.record_scoring(self.chain_id, [ScoredFile("a.csv", "d", "scored", None, [ScoredSample("1", 2.0)], {})])

    def file(self, artifact_id: str) -> Path:
        return self.store.get_artifact_path(artifact_id)

    def edges(self, chain_id: str) -> list[tuple[str, int]]:
        sql = "SELECT artifact_id, count FROM chain_artifacts WHERE chain_id = ? ORDER BY artifact_id"
        return [(str(artifact_id), int(count)) for artifact_id, count in look(self.path, sql, chain_id)]

    def ref_count(self, artifact_id: str) -> int:
        return int(look(self.path, "SELECT ref_count FROM artifacts WHERE artifact_id = ?", artifact_id)[0][0])


@pytest.fixture(scope="session")
def first_used(tmp_path_factory: pytest.TempPathFactory) -> Used:
    return Used(WorkspaceStore(tmp_path_factory.mktemp("used") / "ws"))


@pytest.fixture
def used(first_used: Used, tmp_path: Path) -> Used:
    """A copy of it, for making one is most of the time of many tests."""
    one = copy.copy(first_used)
    one.path = Path(shutil.copytree(first_used.path, tmp_path / "ws"))
    one.store = WorkspaceStore(one.path)
    return one


def found(store: WorkspaceStore, level: check.CheckLevel = "quick") -> list[tuple[str, str, bool]]:
    return [(one.kind, one.subject, one.mendable) for one in store.check(level).findings]


def noted(store: WorkspaceStore) -> list[tuple[str, str, bool]]:
    return [(one.kind, one.subject, one.mendable) for one in store.check().notes]


@pytest.mark.parametrize("level", ["quick", "full"])
def test_a_workspace_in_use_is_whole(used: Used, level: check.CheckLevel) -> None:
    report = used.store.check(level)
    assert (report.ok, report.findings, report.notes, report.level) == (True, (), (), level)
    assert report.checked["runs"] == 2
    assert report.checked["chains"] == 3
    assert report.checked["files"] == 5
    assert report.checked["hashed"] == (5 if level == "full" else 0)
    assert report.summary().startswith(f"{level} check of")
    assert "whole" in report.summary()
    with pytest.raises(FrozenInstanceError):
        report.level = "quick"  # type: ignore[misc]


def test_an_empty_workspace_is_whole_and_may_be_read_only(store: WorkspaceStore) -> None:
    reader = WorkspaceStore(store.workspace_path, read_only=True)
    report = reader.check("full")
    assert report.ok
    assert report.checked["files"] == 0
    with pytest.raises(InvalidInputError, match="read-only"):
        reader.repair(report)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_upgraded_workspace_is_whole(tmp_path: Path, spectra: np.ndarray, y: np.ndarray, layout: str) -> None:
    make(tmp_path / "old", layout, spectra, y)
    WorkspaceStore.upgrade(tmp_path / "old")
    report = WorkspaceStore(tmp_path / "old").check("full")
    assert report.findings == ()
    assert report.checked["hashed"] > 0


@pytest.mark.parametrize(("level", "sample"), [("deep", 1.0), ("", 1.0), ("full", 1.1), ("full", -0.1)])
def test_what_cannot_be_checked_is_refused(store: WorkspaceStore, level: check.CheckLevel, sample: float) -> None:
    with pytest.raises(InvalidInputError, match=r"level 'deep'|level ''|sample"):
        store.check(level, sample)


def test_a_closed_store_and_a_transaction_are_refused(used: Used) -> None:
    report = used.store.check()
    with used.store.transaction():
        run_id = used.store.begin_run("inside", {}, [])
        assert used.store.check().checked["runs"] == 3, "it sees what the transaction wrote"
        with pytest.raises(TransactionError, match="repair"):
            used.store.repair(report)
    assert used.store.get_run(run_id) is not None
    used.store.close()
    for verb in (used.store.check, lambda: used.store.repair(report)):
        with pytest.raises(StoreClosedError):
            verb()


def test_every_json_column_is_looked_at(store: WorkspaceStore) -> None:
    sql = "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'inside' AND data_type = 'JSON'"
    tables = {name for (name,) in look(store.workspace_path, "SELECT table_name FROM duckdb_tables()")}
    there = {(table, column) for table, column in look(store.workspace_path, sql) if table in tables}
    assert there == {(table, column) for table, columns in check.JSON_COLUMNS.items() for column in columns}


def test_a_missing_file_is_found_and_cannot_be_mended(used: Used) -> None:
    used.file(used.model).unlink()
    assert found(used.store) == [("missing_file", used.model, False)]
    report = used.store.check("full")
    repaired = used.store.repair(report)
    assert (repaired.mended, repaired.left) == ((), report.findings)
    assert "backup" in repaired.summary()
    save(used.store, "model")
    assert used.store.check("full").ok, "saving the same object again helps, as the message says"
    assert used.store.repair(report).passed == report.findings


def test_a_file_of_another_size_is_found_by_a_quick_check(used: Used) -> None:
    with used.file(used.model).open("ab") as file:
        file.write(b"x")
    assert found(used.store) == [("damaged_file", used.model, False)]


def test_a_flipped_byte_is_found_by_a_full_check_only(used: Used) -> None:
    path = used.file(used.model)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert found(used.store) == []
    assert found(used.store, "full") == [("damaged_file", used.model, False)]
    report = used.store.check("full")
    assert path.name in report.summary()
    assert used.store.repair(report).left == report.findings


def test_a_sample_of_files_is_hashed(used: Used) -> None:
    used.file(used.model).write_bytes(bytes(used.file(used.model).stat().st_size))
    assert [used.store.check("full", share).checked["hashed"] for share in (0, 0.3, 0.5, 1)] == [0, 2, 3, 5]
    results = {used.store.check("full", 0.5).ok for _ in range(40)}
    assert results == {True, False}, "another sample each time"


def test_a_file_that_a_clean_up_takes_meanwhile_is_no_finding(used: Used, monkeypatch: pytest.MonkeyPatch) -> None:
    hash_files = check_bytes.hash_files

    def slowly(*arguments: object) -> list[check.Finding]:
        WorkspaceStore(used.path).delete_run(used.other_run)  # the chain of the alias's past is kept safe
        return hash_files(*arguments)  # type: ignore[arg-type]

    used.store.remove_alias("champion")
    change(used.path, "DELETE FROM aliases")
    monkeypatch.setattr(check_bytes, "hash_files", slowly)
    report = used.store.check("full")
    assert (report.findings, report.checked["hashed"]) == ((), 5)
    assert used.store.check().checked["files"] == 4


def test_a_path_out_of_the_workspace_is_found(used: Used) -> None:
    change(used.path, f"UPDATE artifacts SET artifact_path = '../../secret' WHERE artifact_id = '{used.model}'")
    assert found(used.store) == [("foreign_path", used.model, False)]


def test_orphans_are_notes_and_go_to_the_quarantine(used: Used) -> None:
    artifacts = used.path / "artifacts"
    prepared = used.store.prepare_artifact("on its way", "str", "model")
    writing, left = (artifacts / "ab" / f".tmp-{name}" for name in ("writing", "left"))
    (artifacts / "ab").mkdir(exist_ok=True)
    for path in (writing, left):
        path.write_bytes(b"half")
    os.utime(left, (0, time.time() - 7200))
    report = used.store.check()
    assert report.ok
    assert sorted((note.kind, note.subject, note.mendable) for note in report.notes) == sorted(
        [
            ("orphan_file", prepared.relative_path, True),
            ("temporary_file", "ab/.tmp-left", True),
            ("temporary_file", "ab/.tmp-writing", False),
        ]
    )
    repaired = used.store.repair(report)
    assert repaired.quarantine is not None
    assert repaired.quarantine.parent == used.path / "quarantine"
    assert (repaired.quarantine / prepared.relative_path).is_file()
    assert (repaired.quarantine / "ab" / ".tmp-left").read_bytes() == b"half"
    assert (writing.exists(), left.exists(), (artifacts / prepared.relative_path).exists()) == (True, False, False)
    assert "moved" in repaired.summary()
    # A recording that was on its way to the file is not hurt.
    assert used.store.load_artifact(used.store.save_artifact(prepared)) == "on its way"
    assert noted(used.store) == [("temporary_file", "ab/.tmp-writing", False)]


def test_an_orphan_that_was_recorded_meanwhile_stays(used: Used) -> None:
    prepared = used.store.prepare_artifact("late", "str", "model")
    report = used.store.check()
    artifact_id = used.store.save_artifact(prepared)
    repaired = used.store.repair(report)
    assert (repaired.mended, repaired.passed, repaired.quarantine) == ((), report.notes, None)
    assert used.store.load_artifact(artifact_id) == "late"


HANGING = {
    "arrays_without_prediction": f"INSERT INTO prediction_arrays (prediction_id, y_pred) VALUES ('{GONE}', [1])",
    "labels_without_prediction": f"INSERT INTO prediction_labels (prediction_id) VALUES ('{GONE}')",
    "logs_without_pipeline": "INSERT INTO logs (log_id, pipeline_id, step_idx, event) "
    f"VALUES ('1', '{GONE}', 1, 'end'), ('2', '{GONE}', 2, 'end')",
    "edges_without_chain": f"INSERT INTO chain_artifacts SELECT '{GONE}', artifact_id, 1 FROM artifacts",
    "context_without_chain": f"INSERT INTO chain_context (chain_id, digest) VALUES ('{GONE}', 'd')",
    "saves_without_artifact": f"INSERT INTO artifact_saves VALUES ('{GONE}', now()::TIMESTAMP)",
    "origin_without_run": "INSERT INTO run_origins (run_id, host, pid, process_started_at) "
    f"VALUES ('{GONE}', 'h', 1, now()::TIMESTAMP)",
}


@pytest.mark.parametrize("kind", HANGING)
def test_rows_that_hang_on_nothing_are_removed(used: Used, kind: str) -> None:
    before = used.store.check()
    change(used.path, HANGING[kind])
    report = used.store.check()
    assert [(one.kind, one.subject, one.mendable) for one in report.findings] == [(kind, GONE, True)]
    repaired = used.store.repair(report)
    assert repaired.mended[: len(report.findings)] == report.findings
    assert repaired.left == ()
    after = used.store.check()
    assert (after.findings, after.checked) == ((), before.checked)


LOST = {
    "pipeline_without_run": ("DELETE FROM runs WHERE run_id = '{0.run_id}'; DELETE FROM run_origins", 2),
    "chain_without_pipeline": (
        "DELETE FROM pipelines p WHERE pipeline_id IN (SELECT pipeline_id FROM chains WHERE chain_id = '{0.other_chain}')",
        1,
    ),
    "chain_without_context": ("DELETE FROM chain_context WHERE chain_id = '{0.chain_id}'", 1),
    "prediction_without_pipeline": (f"UPDATE predictions SET pipeline_id = '{GONE}'", 2),
    "prediction_without_chain": (f"UPDATE predictions SET chain_id = '{GONE}'", 2),
    "samples_without_file": ("DELETE FROM scored_files", 1),
    "alias_without_chain": (f"UPDATE aliases SET chain_id = '{GONE}' WHERE ended_at IS NULL", 1),
    "alias_named_twice": ("UPDATE aliases SET ended_at = NULL", 1),
    "chain_without_artifact": ("DELETE FROM artifacts WHERE artifact_id = '{0.model}'; DELETE FROM artifact_saves", 1),
}


@pytest.mark.parametrize("kind", LOST)
def test_what_cannot_be_mended_is_said_and_left(used: Used, kind: str) -> None:
    damage, times = LOST[kind]
    change(used.path, *damage.format(used).split("; "))
    report = used.store.check()
    assert [(one.kind, one.mendable) for one in report.findings] == [(kind, False)] * times
    rows = {**report.checked, "files": 0}
    repaired = used.store.repair(report)
    assert (repaired.left, repaired.passed) == (report.findings, ())
    again = used.store.check()
    assert (again.findings, {**again.checked, "files": 0}) == (report.findings, rows), "no row was removed"
    assert any(word in report.summary() for word in ("backup", "Set it"))


def test_setting_an_alias_again_settles_it(used: Used) -> None:
    change(used.path, "UPDATE aliases SET ended_at = NULL")
    used.store.set_alias("champion", used.chain_id)
    assert used.store.check().ok


def test_an_ended_alias_may_name_a_chain_that_is_gone(used: Used) -> None:
    assert used.store.delete_run(used.other_run, force=True)
    assert used.store.alias_history("champion").height == 2
    assert used.store.check().ok


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM chain_artifacts WHERE chain_id = '{0.chain_id}'",
        "DELETE FROM chain_artifacts WHERE chain_id = '{0.chain_id}' AND artifact_id = '{0.model}'",
        "UPDATE chain_artifacts SET count = 7 WHERE chain_id = '{0.chain_id}'",
        "UPDATE chain_artifacts SET count = 0 WHERE chain_id = '{0.chain_id}' AND artifact_id = '{0.snv}'",
        "INSERT INTO chain_artifacts SELECT '{0.chain_id}', artifact_id, 1 FROM artifacts a WHERE NOT EXISTS "
        "(SELECT 1 FROM chain_artifacts e WHERE e.chain_id = '{0.chain_id}' AND e.artifact_id = a.artifact_id)",
        f"INSERT INTO chain_artifacts VALUES ('{{0.chain_id}}', '{GONE}', 1)",
        "INSERT INTO chain_artifacts SELECT * FROM chain_artifacts WHERE chain_id = '{0.chain_id}'",
    ],
)
def test_edges_are_rebuilt_from_the_document(used: Used, damage: str) -> None:
    right = used.edges(used.chain_id)
    assert len(right) == 3
    change(used.path, damage.format(used))
    report = used.store.check()
    assert [(one.kind, one.subject, one.mendable) for one in report.findings] == [("edges", used.chain_id, True)]
    repaired = used.store.repair(report)
    assert report.findings[0] in repaired.mended
    assert used.edges(used.chain_id) == right
    after = used.store.check()
    assert (after.findings, after.notes) == ((), ())


def test_a_workspace_that_was_made_with_keys_of_edges_and_saves_works_and_loses_them_at_vacuum(used: Used) -> None:
    keys = {"chain_artifacts": "chain_id, artifact_id", "artifact_saves": "artifact_id"}
    change(used.path, *(f"ALTER TABLE {table} ADD PRIMARY KEY ({columns})" for table, columns in keys.items()))
    right = used.edges(used.chain_id)
    for _ in range(2):
        assert save(used.store, "model") == used.model
    change(used.path, f"UPDATE chain_artifacts SET count = 7 WHERE chain_id = '{used.chain_id}'")
    used.store.repair(used.store.check())
    assert used.edges(used.chain_id) == right
    assert used.store.compact(0.0).compacted
    assert not look(
        used.path,
        f"SELECT 1 FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY' AND table_name IN {(*keys,)}",
    )
    assert used.edges(used.chain_id) == right
    assert look(used.path, "SELECT count(*) FROM artifact_saves WHERE artifact_id = ?", used.model) == [(1,)]


def test_rebuilt_edges_keep_artifacts_alive(used: Used) -> None:
    change(
        used.path,
        f"DELETE FROM chain_artifacts WHERE chain_id = '{used.chain_id}'",
        "UPDATE artifacts SET ref_count = 0",
    )
    report = used.store.check()
    used.store.repair(report)
    assert used.ref_count(used.model) == 1
    assert used.store.gc_artifacts() == 0
    assert used.store.load_artifact(used.model) == "model"


@pytest.mark.parametrize("value", ["-1", "NULL"])
def test_a_ref_count_that_is_none_is_found_and_raised(used: Used, value: str) -> None:
    change(used.path, f"UPDATE artifacts SET ref_count = {value} WHERE artifact_id = '{used.snv}'")
    report = used.store.check()
    assert [(one.kind, one.subject, one.mendable) for one in report.findings] == [("ref_count", used.snv, True)]
    assert used.store.repair(report).mended == report.findings
    assert used.ref_count(used.snv) == 2, "two chains name it"
    assert used.store.check().ok


def test_a_ref_count_below_the_edges_is_a_note_and_raised(used: Used) -> None:
    # As it happens to an artifact that was saved once and found again by its cache key for another chain.
    chain_of(used.store, used.run_id, used.snv, used.model)
    report = used.store.check()
    assert report.ok
    assert {(note.kind, note.subject) for note in report.notes} == {("ref_count", used.snv), ("ref_count", used.model)}
    assert "2 x ref_count" in report.summary()
    assert used.store.repair(report).mended == report.notes
    assert (used.ref_count(used.snv), used.ref_count(used.model)) == (3, 2)
    assert used.store.check().notes == ()


def test_saves_beyond_the_edges_are_left_alone(used: Used) -> None:
    save(used.store, "model")
    assert used.store.check().notes == ()
    change(used.path, f"DELETE FROM chain_artifacts WHERE artifact_id = '{used.model}'")
    used.store.repair(used.store.check())
    assert used.ref_count(used.model) == 2, "another recording may be on its way to it"


def test_unreadable_json_is_found_and_left(used: Used) -> None:
    # DuckDB refuses to write such a value, so the column is made text as the damage would find it.
    change(
        used.path,
        "DROP VIEW v_chain_summary",
        "ALTER TABLE chains ALTER fold_artifacts TYPE VARCHAR",
        f"UPDATE chains SET fold_artifacts = '{{half' WHERE chain_id = '{used.chain_id}'",
    )
    report = used.store.check()
    assert [(one.kind, one.subject, one.mendable) for one in report.findings] == [
        ("unreadable_json", used.chain_id, False)
    ]
    assert "fold_artifacts of chains" in report.summary()
    assert used.store.repair(report).left == report.findings
    assert len(used.edges(used.chain_id)) == 3, "what the edges protect stays protected"


@pytest.mark.parametrize(
    "damage", ["steps = '3'", "steps = '[3]'", "fold_artifacts = '[]'", "shared_artifacts = '{\"1\": 3}'"]
)
def test_a_document_that_is_no_chain_is_found_and_left(used: Used, damage: str) -> None:
    change(used.path, f"UPDATE chains SET {damage} WHERE chain_id = '{used.chain_id}'")
    assert found(used.store) == [("unreadable_chain", used.chain_id, False)]
    used.store.repair(used.store.check())
    assert len(used.edges(used.chain_id)) == 3


def test_a_trimmed_chain_is_a_note(used: Used) -> None:
    change(used.path, "DELETE FROM aliases")  # what one names is not trimmed
    removed = used.store.cleanup_transient_artifacts(used.run_id, "made up", [])
    assert removed == 1, "fold_1 of the chain has no prediction"
    report = used.store.check("full")
    assert report.ok
    assert [(note.kind, note.subject, note.mendable) for note in report.notes] == [("trimmed", used.chain_id, False)]
    repaired = used.store.repair(report)
    assert (repaired.mended, repaired.left) == ((), ())
    # What the trimmed chain still holds is watched.
    change(used.path, f"UPDATE chain_artifacts SET count = 5 WHERE artifact_id = '{used.model}'")
    report = used.store.check()
    assert [(one.kind, one.subject) for one in report.findings] == [("edges", used.chain_id)]
    used.store.repair(report)
    assert used.edges(used.chain_id) == sorted([(used.snv, 1), (used.model, 1)])


def test_an_edge_lost_to_trimming_while_another_chain_has_the_artifact_is_a_note(used: Used) -> None:
    change(used.path, "DELETE FROM aliases")
    # The same training once more gives the same artifacts.
    again = chain_of(used.store, used.other_run, *(save(used.store, name) for name in ("snv", "model", "second")))
    assert used.store.cleanup_transient_artifacts(used.run_id, "made up", []) == 0
    assert len(used.edges(used.chain_id)) == 2
    report = used.store.check("full")
    assert report.ok
    assert ("edges", used.chain_id, True) in noted(used.store)
    # Nothing keeps it any more when the other chain's edge is lost as well.
    change(used.path, f"DELETE FROM chain_artifacts WHERE chain_id = '{again}'")
    assert ("edges", used.chain_id, True) in found(used.store)
    assert ("edges", again, True) in found(used.store)
    used.store.repair(used.store.check())
    assert used.store.check().notes == ()


def test_repair_looks_again_before_it_mends(used: Used) -> None:
    change(
        used.path, HANGING["context_without_chain"], f"DELETE FROM chain_artifacts WHERE chain_id = '{used.chain_id}'"
    )
    report = used.store.check()
    change(used.path, f"UPDATE chain_context SET chain_id = '{used.chain_id}x' WHERE chain_id = '{GONE}'")
    used.store.delete_run(used.run_id, force=True)
    repaired = used.store.repair(report)
    assert repaired.mended == ()
    assert {one.kind for one in repaired.passed} == {"context_without_chain", "edges"}
    assert [one.kind for one in used.store.check().findings] == ["context_without_chain"], "it was in no report"


class OnPurposeError(Exception):
    """Leaves a transaction in a test."""


@pytest.mark.parametrize("seed", range(8 if os.environ.get("N4A_LONG") else 2))
def test_random_use_leaves_a_whole_workspace(store: WorkspaceStore, seed: int) -> None:
    dice = random.Random(seed)
    # Not both: an artifact that is kept without any chain and given up by a trimmed one looks like one whose edge was lost.
    trims = seed % 2 == 0
    runs = [store.begin_run("first", {}, [])]
    chains: list[str] = []
    trimmed: set[str] = set()

    def record() -> None:
        ids = [save(store, f"object {dice.randrange(8)}") for _ in range(3)]
        chains.append(chain_of(store, dice.choice(runs), *ids))
        for fold in dice.sample(["fold_0", "fold_1", "avg"], dice.randrange(3)):
            predict(store, chains[-1], fold, classes=dice.random() < 0.5)

    def delete() -> None:
        run_id = runs.pop(dice.randrange(len(runs)))
        store.delete_run(run_id, delete_artifacts=trims or dice.random() < 0.5, force=True)
        runs.append(store.begin_run("another", {}, []))

    def give_up_half_way() -> None:
        with pytest.raises(OnPurposeError), store.transaction():
            record()
            raise OnPurposeError

    def with_a_chain(verb: str) -> None:
        chain = store.get_chain(dice.choice(chains)) if chains else None
        if chain is None:
            return
        if verb == "alias":
            store.set_alias(dice.choice("ab"), chain["chain_id"])
        elif verb == "fail" and not store.list_aliases().height:
            store.fail_pipeline(chain["pipeline_id"], "why")
        elif verb == "trim" and trims:
            run_id = store.get_pipeline(chain["pipeline_id"])["run_id"]  # type: ignore[index]
            if run_id not in trimmed:  # twice with another winner would name artifacts that are gone
                trimmed.add(run_id)
                store.cleanup_transient_artifacts(run_id, "made up", [chain["pipeline_id"]])

    verbs: list[Callable[[], object]] = [record, record, record, record, give_up_half_way, store.gc_artifacts, delete]
    verbs += [partial(with_a_chain, verb) for verb in ("alias", "fail", "trim")]
    runs.append(store.begin_run("second", {}, []))
    for verb in dice.choices(verbs, k=24):
        verb()
        assert store.check().findings == ()
    report = store.check("full")
    assert report.findings == ()
    assert len(chains) > 3
    store.repair(report)
    assert {note.kind for note in store.check("full").notes} <= {"trimmed"}
