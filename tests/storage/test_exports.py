"""Exports: JSON, YAML and Parquet that say what the workspace holds, whole or not there."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from n4a_flows.storage import PipelineLibrary, WorkspaceStore, queries
from n4a_flows.storage.errors import InvalidInputError, StoreClosedError, WorkspaceError

ODD = {
    "name": "größe 🥩",
    "said": "yes",
    "when": "2024-01-01",
    "lines": "a: b\n- c\r\n\x85\u2028end",
    "octal": "0o17",
    "nothing": None,
    "number": 1e300,
}

PLS = "sklearn.cross_decomposition.PLSRegression"


def predict(store: WorkspaceStore, pipeline_id: str, fold: str, **arrays: Any) -> str:
    prediction_id = store.save_prediction(
        pipeline_id, None, "tecator", "PLS", "x.PLS", fold, "val", 1.0, None, None, "rmse", "regression", 3, 4, {}, {},
        None, None, 0, 0.0,
    )  # fmt: skip
    if arrays:
        store.save_prediction_arrays(prediction_id, **{"y_true": None, "y_pred": None, **arrays})
    return prediction_id


# ---------------------------------------------------------------------- JSON and YAML


def test_json_and_yaml_give_back_what_was_recorded(store: WorkspaceStore, tmp_path: Path) -> None:
    run_id = store.begin_run(ODD["name"], ODD, [ODD])
    pipeline_id = store.begin_pipeline(run_id, "p", [ODD, {"model": "x"}], {}, "tecator", "h")
    store.save_chain(pipeline_id, [{"step_idx": 0, "note": ODD["lines"]}], 0, "x", "", "shared", {}, {})
    store.complete_run(run_id, {"score": math.nan, "of": [1.5, math.inf]})

    path = store.export_pipeline_config(pipeline_id, tmp_path / "p")
    assert json.loads(path.read_text()) == [ODD, {"model": "x"}]
    document = yaml.safe_load(store.export_run(run_id, tmp_path / "r").read_text(encoding="utf-8"))
    keys = "run_id name status created_at completed_at config datasets summary pipelines"
    assert " ".join(document) == keys
    assert (document["name"], document["config"], document["datasets"]) == (ODD["name"], ODD, [ODD])
    assert document["created_at"] == store.get_run(run_id)["created_at"].isoformat()  # type: ignore[index]
    assert math.isnan(document["summary"]["score"])
    assert document["summary"]["of"] == [1.5, math.inf]
    [pipeline] = document["pipelines"]
    assert pipeline["chains"][0]["steps"] == [{"step_idx": 0, "note": ODD["lines"]}]


def test_a_dot_in_a_name_is_no_suffix(store: WorkspaceStore, tmp_path: Path) -> None:
    run_id = store.begin_run("r", {}, [])
    pipeline_id = store.begin_pipeline(run_id, "p", [PLS], {}, "d", "h")
    library = PipelineLibrary(store.workspace_path)
    library.save_template([PLS], "pls")
    for write, suffix in (
        (lambda path: store.export_run(run_id, path), ".yaml"),
        (lambda path: store.export_predictions_parquet(path), ".parquet"),
        (lambda path: store.export_pipeline_config(pipeline_id, path), ".json"),
        (lambda path: library.export_template("pls", path, "general"), ".json"),
    ):
        assert write(tmp_path / "fat v1.2").name == f"fat v1.2{suffix}"
        assert write(tmp_path / f"fat v1.2{suffix}").name == f"fat v1.2{suffix}"
        assert write(tmp_path / f"FAT{suffix.upper()}").name == f"FAT{suffix.upper()}"
    assert store.export_run(run_id, tmp_path / "r.yml").name == "r.yml"
    library.import_template(tmp_path / "fat v1.2", name="again")
    assert library.load_template("again") == [PLS]


# ---------------------------------------------------------------------- Parquet


def test_arrays_come_along_as_lists(store: WorkspaceStore, pipeline_id: str, tmp_path: Path) -> None:
    full = predict(
        store, pipeline_id, "fold_0",
        y_true=[1.0, 2.0, math.nan], y_pred=[1.5, 2.5, 3.5], sample_indices=[4, 0, 2], weights=[1, 1, 0.5],
    )  # fmt: skip
    bare = predict(store, pipeline_id, "fold_1")
    labelled = predict(
        store, pipeline_id, "fold_2", y_true=["b", "a"], y_pred=["a", "a"], y_proba=[[0.2, 0.8], [0.6, 0.4]]
    )

    frame = pl.read_parquet(store.export_predictions_parquet(tmp_path / "x", arrays=True))

    known = store.query_predictions()
    assert frame.select(known.columns).equals(known)
    assert frame["prediction_id"].to_list() == [labelled, bare, full], "the newest first"
    added = {name: frame.schema[name] for name in frame.columns if name not in known.columns}
    assert added == {
        **dict.fromkeys(("y_true", "y_pred", "y_proba", "weights"), pl.List(pl.Float64)),
        "sample_indices": pl.List(pl.Int64),
        "labels": pl.String,
        "proba_columns": pl.Int32,
    }
    rows = {row["prediction_id"]: row for row in frame.to_dicts()}
    assert rows[full]["y_pred"] == [1.5, 2.5, 3.5]
    assert rows[full]["y_true"][:2] == [1.0, 2.0]
    assert math.isnan(rows[full]["y_true"][2])
    assert rows[full]["sample_indices"] == [4, 0, 2]
    assert rows[full]["weights"] == [1, 1, 0.5]
    assert rows[full]["y_proba"] is None
    assert all(rows[bare][name] is None for name in added)
    labels = json.loads(rows[labelled]["labels"])
    assert [labels["y_true"][int(code)] for code in rows[labelled]["y_true"]] == ["b", "a"]
    np.testing.assert_allclose(np.reshape(rows[labelled]["y_proba"], (-1, 2)), [[0.2, 0.8], [0.6, 0.4]])


def test_arrays_stay_with_their_prediction_over_many_chunks(
    store: WorkspaceStore, pipeline_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_ARRAYS_AT_ONCE", 4)
    with store.transaction():
        ids = {
            predict(store, pipeline_id, f"fold_{k}", y_pred=[float(k)] * k, sample_indices=range(k)): k
            for k in range(1, 30)
        }
    for k in (3, 17):  # replaced: these lie elsewhere now
        assert predict(store, pipeline_id, f"fold_{k}", y_pred=[float(k)] * k, sample_indices=range(k)) in ids
    frame = pl.read_parquet(store.export_predictions_parquet(tmp_path / "x", arrays=True))
    assert frame["prediction_id"].to_list() == store.query_predictions()["prediction_id"].to_list()
    for row in frame.to_dicts():
        k = ids[row["prediction_id"]]
        assert (row["y_pred"], row["sample_indices"]) == ([float(k)] * k, list(range(k)))
    page = store.export_predictions_parquet(tmp_path / "page", arrays=True, limit=2, offset=1)
    assert pl.read_parquet(page)["prediction_id"].to_list() == frame["prediction_id"].to_list()[1:3]


@pytest.mark.parametrize("arrays", [False, True])
def test_no_prediction_is_a_file_without_rows(store: WorkspaceStore, tmp_path: Path, arrays: bool) -> None:
    frame = pl.read_parquet(store.export_predictions_parquet(tmp_path / "x", arrays=arrays, partition="val"))
    assert frame.height == 0
    assert frame.columns[:24] == store.query_predictions().columns
    assert ("y_true" in frame.columns) is arrays


def test_a_filter_that_does_not_exist_is_refused(store: WorkspaceStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"Unknown filter 'metric'.*dataset_name"):
        store.export_predictions_parquet(tmp_path / "x", metric="rmse")
    assert list(tmp_path.glob("x*")) == []


def test_an_export_sees_what_its_transaction_has_written(
    store: WorkspaceStore, pipeline_id: str, tmp_path: Path
) -> None:
    with store.transaction():
        predict(store, pipeline_id, "fold_0", y_pred=[1.0])
        frame = pl.read_parquet(store.export_predictions_parquet(tmp_path / "x", arrays=True))
    assert frame["y_pred"].to_list() == [[1.0]]


# ---------------------------------------------------------------------- whole or not there

EXPORTS: dict[str, Callable[[WorkspaceStore, Path], Path]] = {
    "json": lambda store, path: store.export_pipeline_config(str(store.list_pipelines()["pipeline_id"][0]), path),
    "yaml": lambda store, path: store.export_run(str(store.list_runs()["run_id"][0]), path),
    "parquet": lambda store, path: store.export_predictions_parquet(path),
    "parquet with arrays": lambda store, path: store.export_predictions_parquet(path, arrays=True),
}


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_what_reads_back_differently_never_gets_its_name(
    store: WorkspaceStore,
    pipeline_id: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    export: Callable[[WorkspaceStore, Path], Path],
) -> None:
    predict(store, pipeline_id, "fold_0", y_pred=[1.0, 2.0])
    target = tmp_path / "out" / "export.file"
    export(store, target)
    whole = target.read_bytes()
    fsync = os.fsync

    def damaging(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-9])
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", damaging)
    with pytest.raises(WorkspaceError, match=r"export\.file was not made"):
        export(store, target)
    assert target.read_bytes() == whole
    assert list(target.parent.iterdir()) == [target], "no temporary file is left"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkspaceError, match="No space left"):
        export(store, target)
    assert target.read_bytes() == whole
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_an_export_that_is_refused_makes_nothing(
    store: WorkspaceStore, pipeline_id: str, tmp_path: Path, export: Callable[[WorkspaceStore, Path], Path]
) -> None:
    (tmp_path / "folder.x").mkdir()
    with pytest.raises(WorkspaceError, match="cannot be written"):
        export(store, tmp_path / "folder.x")
    assert list(tmp_path.glob(".tmp-*")) == []
    store.close()
    with pytest.raises(StoreClosedError):
        export(store, tmp_path / "out" / "x")
    assert not (tmp_path / "out").exists()
