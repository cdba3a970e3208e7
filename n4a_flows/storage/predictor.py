"""A loaded chain: spectra in, predictions out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from n4a_flows.storage import combining
from n4a_flows.storage.axis import Axis
from n4a_flows.storage.chains import ChainContext
from n4a_flows.storage.errors import AxisError, InvalidInputError, ReplayError

FloatArray = npt.NDArray[np.float64]
WantsWavelengths = Literal["no", "may", "must"]


@dataclass(frozen=True)
class Transformer:
    """One step that treats spectra."""

    operator: Any
    wants: WantsWavelengths
    label: str

    def apply(self, X: FloatArray, wavelengths: FloatArray | None) -> FloatArray:
        """The treated spectra; `ReplayError` when the operator must be told where the points lie and nobody knows."""
        if wavelengths is not None and self.wants != "no":
            return np.asarray(_unspoiled(lambda spectra: self.operator.transform(spectra, wavelengths=wavelengths), X))
        if self.wants == "must":
            raise ReplayError(
                f"{self.label} needs the wavelengths of the spectra, and the chain was stored without an axis: "
                "pass wavelengths."
            )
        return np.asarray(_unspoiled(self.operator.transform, X))


@dataclass(frozen=True)
class Lane:
    """One fold's way through the chain, from where the folds part."""

    key: str
    weight: float
    transformers: list[Transformer]
    model: Any
    target_scalers: list[Any]


@dataclass(frozen=True)
class Predictor:
    """A loaded chain. Keep it and use it again; it never changes the spectra it is given.

    Attributes
    ----------
    context
        Axis, signal, target, task type and digest of the chain.
    """

    context: ChainContext
    _shared: list[Transformer]
    _lanes: list[Lane]
    _width: int | None = field(default=None)

    @property
    def chain_id(self) -> str:
        """Id of the chain."""
        return self.context.chain_id

    @property
    def digest(self) -> str:
        """Digest of the chain."""
        return self.context.digest

    @property
    def axis(self) -> Axis | None:
        """The axis that the chain was trained on."""
        return self.context.axis

    @property
    def signal(self) -> str | None:
        """The kind of signal that the chain was trained on."""
        return self.context.signal

    @property
    def target(self) -> str | None:
        """Name of the property that the chain predicts."""
        return self.context.target

    @property
    def model(self) -> Any:
        """The fitted model of the refit; without a refit, of the first fold."""
        return self._lanes[0].model

    @property
    def transformers(self) -> tuple[Any, ...]:
        """The operators that treat spectra before that model, in order."""
        return tuple(item.operator for item in [*self._shared, *self._lanes[0].transformers])

    def predict(self, X: npt.ArrayLike, wavelengths: Axis | npt.ArrayLike | None = None) -> npt.NDArray[Any]:
        """Predict from spectra.

        Parameters
        ----------
        X
            (n_samples, n_points), finite numbers; n_samples >= 1. Taken as float64, never changed.
        wavelengths
            Where the points lie: an `Axis` (units are compared and converted), or the bare positions in the chain's unit. None:
            the points are taken to lie on the chain's axis, and only their number is checked.

        Returns
        -------
        (n_samples,) for one target, else (n_samples, n_targets): float64, or class labels.

        Raises
        ------
        InvalidInputError
            When X is not as said above; the message names what was expected.
        AxisError
            When the number or the positions of the points differ from the chain's axis.
        ReplayError
            When a step needs wavelengths and there are none, or the outputs of the folds cannot be combined.

        Examples
        --------
        >>> predictor = store.load_predictor(chain_id)
        >>> turned = Axis(spectra.axis.values[::-1], "nm")
        >>> predictor.predict(spectra.X[:3, ::-1], turned).round(1)
        array([21.3, 42.6,  9.4])
        """
        return self._combined(self._before_the_models(*self.arranged(X, wavelengths)))

    def predict_and_treat(
        self, X: npt.ArrayLike, wavelengths: Axis | npt.ArrayLike | None = None
    ) -> tuple[npt.NDArray[Any], FloatArray]:
        """Predict from spectra, and keep what the model was given: the same predictions as `predict`, no step done twice.

        Parameters
        ----------
        X, wavelengths
            As in `predict`.

        Returns
        -------
        The predictions as `predict` gives them, and the spectra as they enter `model`: float64 (n_samples, n_features).

        Raises
        ------
        InvalidInputError, AxisError, ReplayError
            As `predict` does.

        Examples
        --------
        >>> predictor = store.load_predictor(chain_id)
        >>> y, treated = predictor.predict_and_treat(spectra.X[:3], spectra.axis)
        >>> y.round(1), treated.shape
        (array([21.3, 42.6,  9.4]), (3, 100))
        """
        return self.predict_arranged(*self.arranged(X, wavelengths))

    def predict_arranged(self, X: FloatArray, positions: FloatArray | None) -> tuple[npt.NDArray[Any], FloatArray]:
        """What `predict_and_treat` gives, for spectra that `arranged` gave; they may be changed, unless they are read-only.

        Raises
        ------
        ReplayError
            As `predict` does.
        """
        treated = self._before_the_models(X, positions)
        kept = treated[0]
        # A model that works in place gets a copy of its own.
        treated[0] = _read_only(kept)
        return self._combined(treated), kept

    def arranged(
        self, X: npt.ArrayLike, wavelengths: Axis | npt.ArrayLike | None = None
    ) -> tuple[FloatArray, FloatArray | None]:
        """Spectra as the first step gets them, before anything is done to them.

        Parameters
        ----------
        X, wavelengths
            As in `predict`.

        Returns
        -------
        float64 (n_samples, n_points) in the order of the chain's axis, read-only where it may be the memory that was given; and the
        positions of the points in its unit: None when the chain has no axis and none was given.

        Raises
        ------
        InvalidInputError, AxisError
            As `predict` does.

        Examples
        --------
        >>> turned = Axis(spectra.axis.values[::-1], "nm")
        >>> X, positions = store.load_predictor(chain_id).arranged(spectra.X[:, ::-1], turned)
        >>> bool((X == spectra.X).all()), positions[:2].round(1)
        (True, array([850., 852.]))
        """
        return self._on_the_chains_axis(_checked(X), wavelengths)

    def _before_the_models(self, spectra: FloatArray, positions: FloatArray | None) -> list[FloatArray]:
        """What the model of each lane is given."""
        for transformer in self._shared:
            spectra = transformer.apply(spectra, positions)
        if len(self._lanes) > 1:
            # Each fold starts from these: none may change them under the others.
            spectra = _read_only(spectra)
        treated = []
        for lane in self._lanes:
            lane_spectra = spectra
            for transformer in lane.transformers:
                lane_spectra = transformer.apply(lane_spectra, positions)
            treated.append(lane_spectra)
        return treated

    def treated(self, X: npt.ArrayLike, wavelengths: Axis | npt.ArrayLike | None = None) -> list[FloatArray]:
        """The spectra after each step before the model, as the refit treats them; without a refit, as the first fold does.

        Parameters
        ----------
        X, wavelengths
            As in `predict`.

        Returns
        -------
        One float64 array (n_samples, n_features) for each step, in order; the last is what the model gets. Empty when the model
        gets the spectra as they are.

        Raises
        ------
        InvalidInputError, AxisError, ReplayError
            As `predict` does.

        Examples
        --------
        >>> [snv] = store.load_predictor(chain_id).treated(spectra.X, spectra.axis)
        >>> bool(np.allclose(snv.mean(axis=1), 0))
        True
        """
        after, positions = self.arranged(X, wavelengths)
        stages = []
        for transformer in [*self._shared, *self._lanes[0].transformers]:
            # A copy, for an operator may work in place and the stage before must stay.
            after = transformer.apply(after.copy(order="K"), positions)
            stages.append(after)
        return stages

    @cached_property
    def _classifies(self) -> bool:
        declared = (self.context.task_type or "").endswith("classification")
        return declared or any(combining.is_classifier(lane.model) for lane in self._lanes)

    def _combined(self, treated: Sequence[FloatArray]) -> npt.NDArray[Any]:
        lanes = list(zip(self._lanes, treated, strict=True))
        if len(lanes) == 1:
            return _predict(*lanes[0])
        models = [lane.model for lane in self._lanes]
        weights = [lane.weight for lane in self._lanes]
        classes = None if self._lanes[0].target_scalers else combining.shared_classes(models)
        if classes is not None:
            return combining.most_probable(
                [_unspoiled(lane.model.predict_proba, X) for lane, X in lanes], weights, classes
            )
        outputs = [_predict(lane, X) for lane, X in lanes]
        labels = self._classifies or outputs[0].dtype.kind in "OUSb"
        if labels and outputs[0].ndim > 1:
            raise ReplayError("The chain predicts several class targets at once, whose folds cannot be combined.")
        if labels:
            return combining.vote(outputs, weights)
        return combining.mean(outputs, weights)

    def _on_the_chains_axis(
        self, X: FloatArray, wavelengths: Axis | npt.ArrayLike | None
    ) -> tuple[FloatArray, FloatArray | None]:
        chain_axis = self.axis
        if isinstance(wavelengths, Axis):
            given = wavelengths
        elif wavelengths is not None:
            given = Axis(np.asarray(wavelengths, dtype=np.float64), "nm" if chain_axis is None else chain_axis.unit)
        elif chain_axis is not None:
            given = chain_axis
        else:
            if self._width is not None and X.shape[1] != self._width:
                raise AxisError(f"The spectra have {X.shape[1]} points, the chain was trained on {self._width}.")
            return X, None
        if X.shape[1] != len(given):
            raise AxisError(f"The spectra have {X.shape[1]} points, but their axis has {given}.")
        if chain_axis is None:
            return X, given.values
        columns = given.columns_for(chain_axis)
        # Contiguous, for the memory layout decides the last bit of a matrix product.
        return (X if columns is None else np.ascontiguousarray(X[:, columns])), chain_axis.values


def _checked(X: npt.ArrayLike) -> FloatArray:
    if np.ma.isMaskedArray(X) or np.iscomplexobj(X):
        raise InvalidInputError(
            "X must be plain real numbers: fill or leave out what is masked, and pass no complex numbers."
        )
    try:
        spectra = np.asarray(X, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"X must be numbers, (n_samples, n_points): {error}.") from error
    if spectra.ndim != 2:
        hint = " For a single spectrum pass X.reshape(1, -1)." if spectra.ndim == 1 else ""
        raise InvalidInputError(f"X must have two dimensions, (n_samples, n_points), not shape {spectra.shape}.{hint}")
    if 0 in spectra.shape:
        raise InvalidInputError(f"X holds no spectra: its shape is {spectra.shape}.")
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum takes half the time of looking at each; it also overflows where all are finite.
        finite = bool(np.isfinite(spectra.sum()))
    if not finite and len(odd := np.argwhere(~np.isfinite(spectra))):
        row, column = odd[0]
        raise InvalidInputError(f"X must be finite, but has {spectra[row, column]} at row {row}, point {column}.")
    # An operator that works in place takes a copy of what is read-only; the others need none.
    return _read_only(spectra)


def _unspoiled(use: Callable[[FloatArray], Any], X: FloatArray) -> Any:
    """Use an operator on spectra that may be read-only; one that works in place (`copy=False`) gets a copy of its own."""
    try:
        return use(X)
    except ValueError as error:
        if X.flags.writeable or "read-only" not in str(error):
            raise
        # In the same memory layout, which decides the last bit of a matrix product.
        return use(X.copy(order="K"))


def _read_only(X: FloatArray) -> FloatArray:
    view = X.view()
    view.flags.writeable = False
    return view


def _predict(lane: Lane, X: FloatArray) -> npt.NDArray[Any]:
    y = _flat(np.asarray(_unspoiled(lane.model.predict, X)))
    for scaler in reversed(lane.target_scalers):
        y = _inverted(scaler, y)
    return y


def _flat(y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y


def _inverted(scaler: Any, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # Label encoders speak of (n,), scalers of (n, 1).
    if hasattr(scaler, "classes_"):
        return np.asarray(scaler.inverse_transform(y))
    return _flat(np.asarray(scaler.inverse_transform(y.reshape(len(y), -1))))


def wants_wavelengths(operator: Any) -> WantsWavelengths:
    """Whether the `transform` of an operator may or must be told where the points lie."""
    if getattr(operator, "_requires_wavelengths", False):
        return "must"
    try:
        parameters = inspect.signature(operator.transform).parameters
    except (TypeError, ValueError):
        return "no"
    named = parameters.get("wavelengths")
    if named is not None:
        return "must" if named.default is inspect.Parameter.empty else "may"
    # scikit-learn's own **params are for metadata routing, which refuses what was not asked for.
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return "may" if takes_any and not type(operator).__module__.startswith("sklearn.") else "no"
