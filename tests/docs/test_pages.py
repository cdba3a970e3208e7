"""What the pages say of the database, of the errors, of definitions and of chains is so."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from chemotools.scatter import MultiplicativeScatterCorrection, StandardNormalVariate
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import StandardScaler

from n4a_flows.spectra import Spectra
from n4a_flows.storage import WorkspaceStore, errors
from n4a_flows.storage.schema import COLUMNS
from n4a_flows.training.words import NOT_TRAINED

DOCS = Path(__file__).resolve().parents[2] / "docs"
STORAGE = (DOCS / "storage.md").read_text()
CHAINS = (DOCS / "chains.md").read_text()
DEFINITIONS = (DOCS / "definitions.md").read_text()


def _first_column(text: str, heading: str) -> list[str]:
    """What stands in code at the start of the rows of the table below a heading."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    return re.findall(r"^\| `([^`]+)`", section.group(1), re.MULTILINE)


def test_every_table_is_described_in_its_order() -> None:
    assert _first_column(STORAGE, "The tables") == list(COLUMNS)


def test_every_error_has_its_row() -> None:
    raised = {name for name, found in vars(errors).items() if inspect.isclass(found)} - {"N4AError"}
    assert set(_first_column(STORAGE, "What an error means, and what to do")) == raised


def test_every_word_that_is_not_trained_has_its_row() -> None:
    section = DEFINITIONS.partition("These words of nirs4all")[2]
    words = {
        word for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)
    }
    assert words == set(NOT_TRAINED)


@pytest.mark.parametrize("query", re.findall(r"^```sql\n(.*?)^```", STORAGE, re.MULTILINE | re.DOTALL))
def test_the_queries_run(query: str, names: dict[str, Any]) -> None:
    store: WorkspaceStore = names["store"]
    store.begin_run("interrupted", {}, [])
    with duckdb.connect(store.workspace_path / "store.duckdb", read_only=True) as connection:
        assert connection.execute(query).fetchall()


def test_the_chain_document_is_one_that_the_store_keeps_and_replays(names: dict[str, Any]) -> None:
    store: WorkspaceStore = names["store"]
    spectra: Spectra = names["spectra"]
    X, y = spectra.X, spectra.targets["fat"]
    text = re.search(r"```json\n(.*?)```", CHAINS, re.DOTALL)
    assert text is not None
    snv, outputs = StandardNormalVariate().fit(X), {}
    saved = {"snv": store.save_artifact(snv, "snv", "transformer")}
    for fold, rows in (("0", slice(0, 150)), ("1", slice(50, 215)), ("f", slice(None))):
        scaler = StandardScaler().fit(y[rows, None])
        scatter = MultiplicativeScatterCorrection().fit(snv.transform(X[rows]))
        treated = scatter.transform(snv.transform(X))
        model = clone(PLSRegression(n_components=8)).fit(treated[rows], scaler.transform(y[rows, None]).ravel())
        outputs[fold] = scaler.inverse_transform(model.predict(treated).reshape(-1, 1)).ravel()
        for letter, fitted in (("y", scaler), ("m", scatter), ("p", model)):
            saved[letter + fold] = store.save_artifact(fitted, type(fitted).__name__, "fitted")
    document = json.loads(re.sub(r'"(snv|[ymp][01f])"', lambda found: json.dumps(saved[found[1]]), text[1]))
    said = (names["pipeline_id"], document["steps"], document["model_step_idx"], "PLSRegression", "", "per_fold")
    refit = store.save_chain(*said, document["fold_artifacts"], document["shared_artifacts"], axis=spectra.axis)
    np.testing.assert_allclose(store.replay_chain(refit, X), outputs["f"], rtol=1e-12)
    folds = {key: found for key, found in document["fold_artifacts"].items() if key != "fold_final"}
    mean = store.save_chain(*said, folds, document["shared_artifacts"], axis=spectra.axis)
    np.testing.assert_allclose(store.replay_chain(mean, X), (outputs["0"] + outputs["1"]) / 2, rtol=1e-12)
