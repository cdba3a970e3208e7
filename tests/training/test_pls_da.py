"""PLS-DA as an estimator, and what becomes of its template today."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chemotools.scatter import StandardNormalVariate
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from n4a_flows.spectra import load_tecator
from n4a_flows.storage.errors import DefinitionError
from n4a_flows.storage.library import find_template
from n4a_flows.training import expand
from n4a_flows.training.pls_da import PLSDA

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.SkipTestWarning")


@parametrize_with_checks([PLSDA()])
def test_it_is_an_estimator_like_those_of_scikit_learn(estimator: PLSDA, check: object) -> None:
    check(estimator)  # type: ignore[operator]


def test_it_tells_lean_from_fat_meat() -> None:
    spectra = load_tecator()
    fat = spectra.targets["fat"]
    classes = np.select([fat < 10, fat < 20], ["lean", "medium"], "fat")
    pls_da = make_pipeline(StandardNormalVariate(), PLSDA(6))
    assert cross_val_score(pls_da, spectra.X, classes, cv=5).mean() > 0.85
    fitted = clone(pls_da).fit(spectra.X, classes)
    assert fitted.classes_.tolist() == ["fat", "lean", "medium"]
    probabilities = fitted.predict_proba(spectra.X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (fitted.classes_[probabilities.argmax(axis=1)] == fitted.predict(spectra.X)).all()


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="only one class"):
        PLSDA().fit(np.eye(4), ["a"] * 4)


def test_its_template_is_refused_by_training_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="PLSDA is a classifier; only regression is trained"):
        expand(find_template(tmp_path, "PLS-DA").definition)
