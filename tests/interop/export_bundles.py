"""Runs where nirs4all 1.4.10 is: its own store exports chains, and its own loader predicts `X.npy` with them."""

import sys
from pathlib import Path

import numpy as np
from nirs4all.pipeline.bundle.loader import BundleLoader
from nirs4all.pipeline.storage.workspace_store import WorkspaceStore
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import MinMaxScaler, StandardScaler

SCALER = {"class": "sklearn.preprocessing._data.StandardScaler"}
DEFINITION = [SCALER, {"y_processing": SCALER}, {"class": "sklearn.model_selection._split.KFold"}, {"model": {}}]


def main(folder: Path) -> None:
    X, y = np.load(folder / "X.npy"), np.load(folder / "y.npy")
    store = WorkspaceStore(folder / "workspace")
    run_id = store.begin_run("run", {}, [])
    pipeline_id = store.begin_pipeline(run_id, "pls", {"steps": DEFINITION}, [], "tecator", "hash")
    first = MinMaxScaler().fit(X)
    second = StandardScaler().fit(first.transform(X))
    treated = second.transform(first.transform(X))
    of_y = StandardScaler().fit(y[:, None])
    target = of_y.transform(y[:, None]).ravel()

    def save(operator: object) -> str:
        return store.save_artifact(operator, type(operator).__name__, "operator", "joblib")

    def step(number: int, name: str, ids: list[str]) -> dict[str, object]:
        return {"step_idx": number, "operator_class": name, "params": {}, "artifact_ids": ids, "stateless": not ids}

    shared = {"1": [save(first), save(second)], "2": [save(of_y)]}
    for name, parts in {
        "folds": {"fold_0": slice(0, 120), "fold_1": slice(60, 215)},
        "refit": {"fold_final": slice(None)},
    }.items():
        models = {key: save(PLSRegression(6).fit(treated[rows], target[rows])) for key, rows in parts.items()}
        steps = [
            step(1, "MinMaxScaler", shared["1"]),
            step(2, "StandardScaler", shared["2"]),
            step(3, "KFold", []),
            step(4, "PLSRegression", list(models.values())),
        ]
        chain_id = store.save_chain(pipeline_id, steps, 4, "PLSRegression", "MinMax", "per_fold", models, shared)
        path = store.export_chain(chain_id, folder / f"{name}.n4a")
        np.save(folder / f"{name}.npy", BundleLoader(path).predict(X))


main(Path(sys.argv[1]))
