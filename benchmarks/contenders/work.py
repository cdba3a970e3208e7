"""The work that all contenders are given: the same objects, rows and questions."""

from __future__ import annotations

import copy
import itertools
import os
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from chemotools.derivative import SavitzkyGolay
from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import StandardScaler

PLS = "sklearn.cross_decomposition._pls.PLSRegression"
SCALER = "sklearn.preprocessing._data.StandardScaler"
DATASET = "dataset_00"
"""Name of the dataset of what is recorded; filled stores hold it too."""
VALUES = 200
"""Doubles in y_true and in y_pred of a prediction."""
TOGETHER = 20
"""Pipelines that are recorded in one transaction."""
FOLDS = 5

_random = np.random.default_rng(int.from_bytes(os.urandom(8), "little"))  # never the same bytes twice
_numbers = itertools.count()


@dataclass
class Prediction:
    """The scores of one fold and partition, and its arrays."""

    fold_id: str
    partition: str
    scores: dict[str, dict[str, float]]
    y_true: np.ndarray
    y_pred: np.ndarray


@dataclass
class Pipeline:
    """What one trained pipeline leaves: a scaler, five fold models, a chain and 15 predictions."""

    name: str
    scaler: Any
    models: list[Any]
    predictions: list[Prediction] = field(default_factory=list)

    config: dict[str, Any] = field(
        default_factory=lambda: {"steps": [{"class": SCALER}, {"class": PLS, "params": {"n_components": 10}}]}
    )

    @property
    def objects(self) -> list[tuple[Any, str, str]]:
        """Object, class and type of its six artifacts: the scaler, then the models."""
        return [(self.scaler, SCALER, "transformer"), *((model, PLS, "model") for model in self.models)]

    def chain(self, artifact_ids: list[str]) -> dict[str, Any]:
        """The chain as `save_chain` of all three stores takes it."""
        scaler, *models = artifact_ids
        params: dict[str, Any] = {"n_components": 10}
        return {
            "steps": [
                {"step_idx": 1, "operator_class": SCALER, "params": {}, "artifact_id": scaler, "stateless": False},
                {"step_idx": 2, "operator_class": PLS, "params": params, "artifact_id": None, "stateless": False},
            ],
            "model_step_idx": 2,
            "model_class": PLS,
            "preprocessings": "StandardScaler",
            "fold_strategy": "per_fold",
            "fold_artifacts": {f"fold_{fold}": model for fold, model in enumerate(models)},
            "shared_artifacts": {"1": [scaler]},
        }

    def rows(self) -> list[tuple[Prediction, dict[str, Any]]]:
        """Each prediction with the arguments of `save_prediction`, without the ids."""
        return [
            (
                one,
                {
                    "dataset_name": DATASET,
                    "model_name": "PLSRegression",
                    "model_class": PLS,
                    "fold_id": one.fold_id,
                    "partition": one.partition,
                    "val_score": one.scores["val"]["rmse"],
                    "test_score": one.scores["test"]["rmse"],
                    "train_score": one.scores["train"]["rmse"],
                    "metric": "rmse",
                    "task_type": "regression",
                    "n_samples": VALUES,
                    "n_features": 100,
                    "scores": one.scores,
                    "best_params": {"n_components": 10},
                    "branch_id": None,
                    "branch_name": None,
                    "exclusion_count": 0,
                    "exclusion_rate": 0.0,
                    "preprocessings": "StandardScaler",
                },
            )
            for one in self.predictions
        ]


@cache
def _template() -> tuple[Any, Any, np.ndarray]:
    X = _random.normal(size=(VALUES, 100)).cumsum(axis=1)
    y = np.round(X[:, 40] + _random.normal(size=VALUES), 2)
    return StandardScaler().fit(X), PLSRegression(10).fit(X, y), y


def another(fitted: Any, attribute: str) -> Any:
    """The same estimator as if it had been fitted on other data: no two have the same bytes."""
    copied = copy.deepcopy(fitted)
    values = getattr(copied, attribute)
    setattr(copied, attribute, values + _random.normal(scale=1e-6, size=values.shape))
    return copied


def pipelines(count: int) -> list[Pipeline]:
    """Pipelines that were never recorded before."""
    scaler, model, y = _template()
    made = []
    for _ in range(count):
        pipeline = Pipeline(
            f"{next(_numbers):06}", another(scaler, "mean_"), [another(model, "_x_mean") for _ in range(FOLDS)]
        )
        for fold in range(FOLDS):
            scores = {
                part: {name: float(_random.random()) for name in ("rmse", "r2", "mae", "bias")}
                for part in ("train", "val", "test")
            }
            pipeline.predictions += [
                Prediction(f"fold_{fold}", part, scores, y, y + _random.normal(scale=0.3, size=VALUES))
                for part in ("train", "val", "test")
            ]
        made.append(pipeline)
    return made


def objects(kind: str, count: int) -> list[tuple[Any, str, str]]:
    """Objects to be saved: the same one again and again, different scalers or different PLS models."""
    scaler, model, _ = _template()
    if kind == "same object":
        return [(model, PLS, "model")] * count
    if kind == "different scalers":
        return [(another(scaler, "mean_"), SCALER, "transformer") for _ in range(count)]
    return [(another(model, "_x_mean"), PLS, "model") for _ in range(count)]


@cache
def spectra(samples: int, width: int) -> np.ndarray:
    """Smooth random spectra, the same for every contender."""
    return np.random.default_rng(7).normal(size=(samples, width)).cumsum(axis=1) / 10


@cache
def chain_objects(width: int) -> tuple[list[Any], list[Any]]:
    """Three fitted transformers and the PLS models of five folds."""
    X = spectra(200, width)
    y = X[:, width // 2] + np.random.default_rng(8).normal(size=len(X))
    transformers = [StandardNormalVariate(), SavitzkyGolay(window_length=11, polyorder=2, deriv=1), StandardScaler()]
    for transformer in transformers:
        X = transformer.fit_transform(X)
    folds = np.arange(len(X)) % FOLDS
    return transformers, [PLSRegression(10).fit(X[folds != fold], y[folds != fold]) for fold in range(FOLDS)]


def chain_document(transformers: list[str], models: list[str]) -> dict[str, Any]:
    """The chain of `chain_objects` as `save_chain` takes it, with their artifact ids."""
    transforms = [
        {"step_idx": place, "operator_class": SCALER, "params": {}, "artifact_id": one, "stateless": False}
        for place, one in enumerate(transformers, start=1)
    ]
    model = {"step_idx": 4, "operator_class": PLS, "params": {}, "artifact_id": None, "stateless": False}
    return {
        "steps": [*transforms, model],
        "model_step_idx": 4,
        "model_class": PLS,
        "preprocessings": "SNV>SavGol>StandardScaler",
        "fold_strategy": "per_fold",
        "fold_artifacts": {f"fold_{fold}": one for fold, one in enumerate(models)},
        "shared_artifacts": {str(place): [one] for place, one in enumerate(transformers, start=1)},
    }


QUESTIONS = ("top 10", "top 3 per group", "filter", "page", "arrays")
DATASETS, MODELS = 20, 10
PER_PIPELINE = 15


def check_answer(question: str, rows: int) -> None:
    """Refuse an answer that nobody could use: it would be fast for the wrong reason."""
    expected = {"top 10": 10, "top 3 per group": 3 * DATASETS, "page": 100, "arrays": 1}
    if rows != expected.get(question, rows) or not rows:
        raise AssertionError(f"{question!r} came back with {rows} rows")
