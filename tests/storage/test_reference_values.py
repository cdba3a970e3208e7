"""Laboratory values find the predictions of their samples; verdicts on batches stay in the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from bundle_chains import make_chain
from inside import change, look

from n4a_flows.monitoring import monitor
from n4a_flows.storage import LimitCrossing, ScoredBatch, ScoredFile, ScoredSample, WorkspaceStore
from n4a_flows.storage.clock import now
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError

PAIRS = [
    "sample_id", "target", "y", "reference", "verdict", "chain_id", "chain_digest", "instrument", "product", "path",
    "position", "scored_at", "added_at",
]  # fmt: skip


@pytest.fixture
def chain_id(store: WorkspaceStore, pipeline_id: str, spectra: np.ndarray, y: np.ndarray) -> str:
    return make_chain(store, pipeline_id, spectra, y, keys=("fold_final",))


def scored(
    store: WorkspaceStore, chain_id: str, digest: str, *samples: ScoredSample, path: str = "a.csv", **detail: Any
) -> None:
    store.record_scoring(chain_id, [ScoredFile(path, digest * 64, "scored", samples=samples, detail=detail)])


# ---------------------------------------------------------------------- values


def test_the_latest_value_counts_and_the_earlier_ones_stay(store: WorkspaceStore) -> None:
    begun = now()
    assert store.add_reference_values({"a": 1.5, "b": 2}, "fat", source="wet") == 2
    assert store.add_reference_values({"a": 1.5, "b": np.float32(2.5), "c": -0.0}, "fat", source="nmr") == 2
    assert store.add_reference_values({"a": 1.5, "c": 0.0}, "fat") == 0, "the same once more adds nothing"
    assert store.add_reference_values({"b": 2}, "fat") == 1, "back to what it was is a change"
    assert store.add_reference_values({"b": 9.0}, "protein") == 1
    assert store.add_reference_values({}, "fat") == 0
    found = store.reference_values()
    assert found.columns == ["sample_id", "target", "value", "source", "added_at"]
    assert found.drop("added_at").rows() == [
        ("a", "fat", 1.5, "wet"), ("c", "fat", 0.0, "nmr"), ("b", "fat", 2.0, None), ("b", "protein", 9.0, None),
    ]  # fmt: skip
    assert found["added_at"].min() >= begun
    assert store.reference_values("protein")["value"].to_list() == [9.0]
    assert store.reference_values("fat", ["b", "x"])["sample_id"].to_list() == ["b"]
    assert store.reference_values(sample_ids=[]).is_empty()
    history = look(
        store.workspace_path, "SELECT value, source FROM reference_values WHERE sample_id = 'b' ORDER BY added_at"
    )
    assert history == [(2.0, "wet"), (2.5, "nmr"), (2.0, None), (9.0, None)]
    assert store.check().ok


@pytest.mark.parametrize(
    ("values", "target", "why"),
    [
        ({"a": float("nan")}, "fat", "'a' must be a finite number, not nan"),
        ({"a": float("inf")}, "fat", "finite"),
        ({"a": np.float64("nan")}, "fat", "finite"),
        ({"a": 10**400}, "fat", "finite"),
        ({"a": None}, "fat", "not None"),
        ({"a": "12.5"}, "fat", "not '12.5'"),
        ({"a": True}, "fat", "not True"),
        ({"a": np.bool_(True)}, "fat", "finite"),
        ({"a": Decimal("1.5")}, "fat", "finite"),
        ({"a": 1 + 0j}, "fat", "finite"),
        ({"": 1.0}, "fat", "not blank"),
        ({" \t": 1.0}, "fat", "not blank"),
        ({7: 1.0}, "fat", "text that is not blank, not 7"),
        ({None: 1.0}, "fat", "not blank"),
        ({"a": 1.0}, "", "target"),
        ({"a": 1.0}, "  ", "target"),
        ({"a": 1.0}, None, "target"),
        ([("a", 1.0)], "fat", "mapping"),
        ({"a": 1.0, "\ud800": 1.0}, "fat", "refused a value"),
    ],
)
def test_wrong_values_are_refused_and_none_of_the_call_is_kept(
    store: WorkspaceStore, values: Any, target: Any, why: str
) -> None:
    good = {"good": 1.0, **values} if isinstance(values, dict) else values
    with pytest.raises(InvalidInputError, match=why):
        store.add_reference_values(good, target)
    assert store.reference_values().is_empty()


def test_values_of_a_unit_of_work_see_each_other(store: WorkspaceStore) -> None:
    with store.transaction():
        assert store.add_reference_values({"a": 1.0}, "fat") == 1
        assert store.add_reference_values({"a": 1.0}, "fat") == 0
        assert store.add_reference_values({"a": 2.0}, "fat") == 1
        assert store.reference_values()["value"].to_list() == [2.0]
    assert store.reference_values()["value"].to_list() == [2.0]
    with pytest.raises(KeyError), store.transaction():
        store.add_reference_values({"a": 3.0}, "fat")
        raise KeyError
    assert store.reference_values()["value"].to_list() == [2.0]


def test_what_was_added_last_counts_after_the_file_was_made_anew(store: WorkspaceStore, tmp_path: Path) -> None:
    for value in (1.0, 2.0, 3.0):
        store.add_reference_values({str(number): value for number in range(2000)}, "fat")
    # As if the clock had stood still.
    change(store.workspace_path, "UPDATE reference_values SET added_at = '2026-01-01'")
    before = store.reference_values()
    store.compact()
    assert store.reference_values().equals(before)
    assert set(before["value"]) == {3.0}


# ---------------------------------------------------------------------- pairs


def test_predictions_stand_beside_the_value_of_their_sample(store: WorkspaceStore, chain_id: str) -> None:
    scored(
        store, chain_id, "0",
        ScoredSample("a", 12.3, "ok"), ScoredSample("unknown", 1.0, "ok"), ScoredSample("a", 12.7, "warn"),
        ScoredSample("bad", None, "rejected"), ScoredSample("word", "high", "ok"),
        path="in/a.csv", instrument="FOSS 1", product="meat",
    )  # fmt: skip
    scored(store, chain_id, "1", ScoredSample("a", 12.0, "ok"), path="in/b.csv", instrument={"odd": 1})
    store.add_reference_values({"a": 10.0, "bad": 5.0, "word": 5.0, "later": 7.0}, "fat")
    store.add_reference_values({"a": 12.5}, "fat")
    store.add_reference_values({"a": 99.0}, "protein")
    pairs = store.reference_pairs()
    assert pairs.columns == PAIRS
    digest = store.get_chain_context(chain_id).digest
    assert pairs.drop("scored_at", "added_at").rows() == [
        ("a", "fat", 12.3, 12.5, "ok", chain_id, digest, "FOSS 1", "meat", "in/a.csv", 0),
        ("a", "fat", 12.7, 12.5, "warn", chain_id, digest, "FOSS 1", "meat", "in/a.csv", 2),
        ("a", "fat", 12.0, 12.5, "ok", chain_id, digest, '{"odd":1}', None, "in/b.csv", 0),
    ]
    assert (pairs["added_at"] == store.reference_values("fat", ["a"])["added_at"].item()).all()
    assert store.reference_pairs(target="protein").is_empty()
    assert store.reference_pairs(target="fat").equals(pairs)
    assert store.reference_pairs(since=pairs["scored_at"][2])["path"].to_list() == ["in/b.csv"]
    assert store.reference_pairs(since=now() + timedelta(hours=1)).columns == PAIRS


def test_of_a_file_scored_twice_the_latest_scoring_counts(store: WorkspaceStore, chain_id: str) -> None:
    store.add_reference_values({"a": 1.0, "b": 2.0, "c": 3.0}, "fat")
    scored(store, chain_id, "0", ScoredSample("a", 1.1), ScoredSample("b", 2.1))
    scored(store, chain_id, "0", ScoredSample("a", 1.2), path="moved/a.csv")
    assert store.reference_pairs().select("sample_id", "y", "path").rows() == [("a", 1.2, "moved/a.csv")]
    store.record_scoring(chain_id, [ScoredFile("a.csv", "0" * 64, "quarantined", "unreadable")])
    assert store.reference_pairs()["y"].to_list() == [1.2], "what could not be read says nothing about predictions"
    scored(store, chain_id, "1", ScoredSample("c", 3.1))
    assert store.reference_pairs()["sample_id"].to_list() == ["a", "c"], "other bytes are another file"


def test_equal_chains_share_their_predictions_others_do_not(
    store: WorkspaceStore, chain_id: str, pipeline_id: str, spectra: np.ndarray, y: np.ndarray
) -> None:
    store.add_reference_values({"a": 1.0}, "fat")
    again = make_chain(store, pipeline_id, spectra, y, keys=("fold_final",))
    different = make_chain(store, pipeline_id, spectra, y + 1, keys=("fold_final",))
    scored(store, chain_id, "0", ScoredSample("a", 1.1))
    scored(store, different, "0", ScoredSample("a", 2.1))
    store.set_alias("now", again)
    assert store.reference_pairs("now")["y"].to_list() == [1.1], "the same training, another night"
    assert store.reference_pairs(different)["y"].to_list() == [2.1]
    assert store.reference_pairs()["y"].to_list() == [1.1, 2.1]
    store.delete_run(look(store.workspace_path, "SELECT run_id FROM runs")[0][0], force=True)
    assert store.reference_pairs(chain_id)["y"].to_list() == [1.1], "it outlives the chain"
    assert store.reference_pairs("nobody").is_empty()


# ---------------------------------------------------------------------- batches


def test_batches_are_kept_with_their_verdicts_and_outlive_the_chain(store: WorkspaceStore, chain_id: str) -> None:
    store.set_alias("fat", chain_id)
    first = store.record_batch("fat", ScoredBatch("ok", [], 24, True), flow_run_id="f1")
    between = now()
    second = store.record_batch(
        chain_id,
        ScoredBatch("outlier", ["check sample off by 1.2"], 8, False, {"drift": np.float64(0.5), "nan": np.nan}),
    )
    found = store.scored_batches("fat")
    assert found.schema["released"] == pl.Boolean
    digest = store.get_chain_context(chain_id).digest
    assert found.drop("scored_at").rows() == [
        (first, chain_id, digest, "fat", "f1", "ok", True, "[]", 24, "{}"),
        (second, chain_id, digest, "fat", None, "outlier", False, '["check sample off by 1.2"]', 8,
         '{"drift": 0.5, "nan": {"$float": "nan"}}'),
    ]  # fmt: skip
    assert store.scored_batches(since=between)["batch_id"].to_list() == [second]
    assert store.check().ok
    store.delete_run(look(store.workspace_path, "SELECT run_id FROM runs")[0][0], force=True)
    assert store.scored_batches(chain_id).equals(found)
    assert store.check().ok


def test_wrong_batches_are_refused(store: WorkspaceStore, chain_id: str) -> None:
    with pytest.raises(UnknownIdError):
        store.record_batch("nothing", ScoredBatch("ok", [], 1, True))
    with pytest.raises(InvalidInputError, match="verdict"):
        store.record_batch(chain_id, ScoredBatch("", [], 1, True))
    with pytest.raises(InvalidInputError, match="detail"):
        store.record_batch(chain_id, ScoredBatch("ok", [], 1, True, {"what": object()}))
    assert store.scored_batches(since=datetime(2000, 1, 1)).is_empty()


def test_of_a_file_that_grew_or_was_put_right_the_latest_prediction_counts(
    store: WorkspaceStore, chain_id: str
) -> None:
    for rows in range(1, 5):
        scored(store, chain_id, str(rows), *(ScoredSample(f"a{i}", 20.0 + i / 3) for i in range(rows)), path="day.csv")
    scored(store, chain_id, "a", ScoredSample("mixed", 1.0), ScoredSample("up", 2.0), path="wrong.csv")
    scored(store, chain_id, "b", ScoredSample("mixed", 2.0), ScoredSample("up", None, "rejected"), path="wrong.csv")
    scored(store, chain_id, "c", ScoredSample("other", 3.0), path="wrong.csv")
    scored(store, chain_id, "d", ScoredSample("a0", 9.0), path="a replicate elsewhere.csv")
    for number in range(5):
        scored(store, chain_id, str(number) + "e", ScoredSample("QC1", 20.0 + number), path="current.csv")
    store.add_reference_values(dict.fromkeys(["a0", "a1", "a2", "a3", "mixed", "up", "other", "QC1"], 20.0), "fat")

    pairs = store.reference_pairs(chain_id).select("sample_id", pl.col("y").round(3)).rows()

    assert sorted(pairs) == [
        ("QC1", 20.0), ("QC1", 21.0), ("QC1", 22.0), ("QC1", 23.0), ("QC1", 24.0), ("a0", 9.0), ("a0", 20.0),
        ("a1", 20.333), ("a2", 20.667), ("a3", 21.0), ("mixed", 2.0), ("other", 3.0),
    ]  # fmt: skip


def test_a_sample_was_measured_when_it_was_scored_first(
    store: WorkspaceStore, chain_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [now() + timedelta(days=number) for number in range(4)]
    for rows, day in enumerate(days[:3], 1):
        monkeypatch.setattr("n4a_flows.storage.scoring.now", lambda day=day: day)
        scored(store, chain_id, str(rows), *(ScoredSample(f"a{i}", 20.0 + i) for i in range(rows)), path="day.csv")
    monkeypatch.setattr("n4a_flows.storage.scoring.now", lambda: days[3])
    scored(store, chain_id, "3", *(ScoredSample(f"a{i}", 20.0 + i) for i in range(3)), path="day.csv")  # once more
    store.add_reference_values({"a0": 20.0, "a1": 21.0, "a2": 22.0}, "fat")
    pairs = store.reference_pairs(chain_id)
    assert pairs.select("sample_id", "scored_at").rows() == [("a0", days[0]), ("a1", days[1]), ("a2", days[2])]
    assert store.reference_pairs(chain_id, since=days[1])["sample_id"].to_list() == ["a1", "a2"]


def test_another_measurement_of_a_sample_has_its_own_moment(
    store: WorkspaceStore, chain_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [now() + timedelta(days=number) for number in range(3)]
    for rows, day in enumerate(days, 1):
        monkeypatch.setattr("n4a_flows.storage.scoring.now", lambda day=day: day)
        scored(store, chain_id, str(rows), *(ScoredSample("QC", 20.0 + i) for i in range(rows)), path="day.csv")
    store.add_reference_values({"QC": 20.0}, "fat")
    assert store.reference_pairs(chain_id).select("y", "scored_at").rows() == [
        (20.0, days[0]), (21.0, days[1]), (22.0, days[2])
    ]  # fmt: skip
    assert store.reference_pairs(chain_id, since=days[1])["y"].to_list() == [21.0, 22.0]


def test_files_that_were_put_back_are_known_by_their_path(store: WorkspaceStore, chain_id: str) -> None:
    digest = store.get_chain_context(chain_id).digest
    scored(store, chain_id, "1", ScoredSample("a", 20.0))
    scored(store, chain_id, "2", ScoredSample("a", 30.0))
    store.record_scoring(chain_id, [ScoredFile("a.csv", "3" * 64, "quarantined", "cut off")])
    assert store.files_put_back(digest, {"a.csv": "1" * 64, "copy.csv": "1" * 64}) == {"a.csv"}
    assert store.files_put_back(digest, {"a.csv": "2" * 64}) == set()
    scored(store, chain_id, "4", ScoredSample("b", 20.0), path="b.csv")
    assert store.files_put_back(digest, {"a.csv": "4" * 64}) == set(), "a renamed file is not put back"
    assert store.files_put_back("0" * 64, {"a.csv": "1" * 64}) == set()


def test_moments_may_have_a_time_zone(store: WorkspaceStore, chain_id: str) -> None:
    scored(store, chain_id, "1", ScoredSample("a", 20.0))
    store.record_batch(chain_id, ScoredBatch("ok", [], 1, released=True), "this flow run")
    store.add_reference_values({"a": 20.0}, "fat")
    digest = store.get_chain_context(chain_id).digest
    store.record_crossings([LimitCrossing("c", chain_id, digest, "fat", None, None, "rule", "said", ["a"], now())])
    for zone in (timezone(timedelta(hours=-10)), timezone(timedelta(hours=10))):
        moment = datetime.now(zone)
        for span, found in ((timedelta(hours=-1), 1), (timedelta(hours=1), 0)):
            since = moment + span
            assert store.scored_files(since=since).height == found
            assert store.scored_samples(since=since).height == found
            assert store.scored_batches(since=since).height == found
            assert store.reference_pairs(since=since).height == found
            assert store.limit_crossings(since=since).height == found
            assert len(monitor(store, since=since).chains) == found


def test_the_order_of_records_does_not_hang_on_the_clock(
    store: WorkspaceStore, chain_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ScoredFile("a.csv", "1" * 64, "quarantined", "cut off")
    store.record_scoring(chain_id, [file])
    store.record_batch(chain_id, ScoredBatch("ok", [], 1, released=True), "first")
    store.add_reference_values({"a": 12.0}, "fat")
    earlier = now() - timedelta(days=1)
    monkeypatch.setattr("n4a_flows.storage.reference_values.now", lambda: earlier)
    assert store.add_reference_values({"a": 13.0}, "fat") == 1
    assert store.add_reference_values({"a": 13.0}, "fat") == 0
    assert store.reference_values()["value"].to_list() == [13.0]
    monkeypatch.setattr("n4a_flows.storage.scoring.now", lambda: earlier)
    monkeypatch.setattr("n4a_flows.storage.batches.now", lambda: earlier)
    store.record_scoring(chain_id, [replace(file, status="scored", samples=[ScoredSample("a", 20.0)])])
    store.record_batch(chain_id, ScoredBatch("rejected", [], 1, released=False), "second")

    digest = store.get_chain_context(chain_id).digest
    assert store.scored_digests(digest) == {"1" * 64: "scored"}
    assert store.scored_files()["status"].to_list() == ["quarantined", "scored"]
    assert store.scored_batches()["flow_run_id"].to_list() == ["first", "second"]
    assert store.scored_batches(flow_run_ids=["second"])["released"].to_list() == [False]
    assert store.scored_batches(flow_run_ids=[]).is_empty()


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), [1.0, 2.0], object()])
def test_what_is_no_prediction_is_refused(store: WorkspaceStore, chain_id: str, odd: Any) -> None:
    with pytest.raises(InvalidInputError, match="sample 'a' must be one finite number"):
        scored(store, chain_id, "1", ScoredSample("a", odd))
    assert store.scored_files().is_empty()
