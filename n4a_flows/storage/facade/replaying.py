"""Verbs that predict with a stored chain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from n4a_flows.storage import aliases, artifacts, chain_replay, chains, probes
from n4a_flows.storage.axis import Axis
from n4a_flows.storage.chain_replay import ChainPackage
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.facade.base import StoreBase
from n4a_flows.storage.predictor import Predictor
from n4a_flows.storage.probes import Probe, ProbeReport
from n4a_flows.storage.session import Session


class ReplayVerbs(StoreBase):
    """Replay. Wherever a chain id is taken, an alias is too; it is resolved once a call."""

    def chain_package(self, chain_id: str) -> ChainPackage:
        """A chain with the verified bytes that predicting and judging need: picklable, for workers that never touch the store.

        Raises
        ------
        UnknownIdError
            When there is no such chain.
        ArtifactMissingError, ArtifactCorruptError
            When a file is not there, or not what was recorded.
        ReplayError
            When the chain names no model, or a fold of it lacks a step.

        Examples
        --------
        >>> package = store.chain_package(chain_id)
        >>> package.load(trust="modules").predict(spectra.X[:3]).shape
        (3,)
        """
        return self._package(chain_id, with_limits=True)

    def _package(self, chain_id: str, *, with_limits: bool) -> ChainPackage:
        with self._reading("chain_package", by_ids=True) as session:
            chain_id = aliases.resolve(session, chain_id)
            document = chains.document_of(session, chain_id)
            context = chains.context_of(session, chain_id)
            needed = chain_replay.needed_artifacts(document)
            stored = artifacts.stored(session, self._files, needed)
            limits = self._companion(session, context.limits_artifact_id) if with_limits else None
            return ChainPackage(document, context, stored, limits)

    def _companion(self, session: Session, artifact_id: str | None) -> bytes | None:
        if artifact_id is None:
            return None
        return artifacts.stored(session, self._files, [artifact_id])[artifact_id].data

    def load_predictor(self, chain_id: str) -> Predictor:
        """A chain ready to predict; keep it and use it again.

        Raises
        ------
        UnknownIdError
            When there is no such chain.
        ArtifactMissingError, ArtifactCorruptError
            When a file is not there, or not what was recorded.
        UntrustedError
            When the store's trust does not allow what the chain holds.
        ArtifactLoadError
            When a package that the chain was made of is not installed.
        ReplayError
            When the chain cannot be replayed as it was recorded.

        Examples
        --------
        >>> predictor = store.load_predictor(chain_id)
        >>> predictor.predict(spectra.X[:3], spectra.axis).round(1)
        array([21.3, 42.6,  9.4])
        """
        return self._package(chain_id, with_limits=False).load(self.trust, self.allowed_modules)

    def replay_chain(
        self, chain_id: str, X: npt.ArrayLike, wavelengths: Axis | npt.ArrayLike | None = None
    ) -> np.ndarray:
        """Predict with a stored chain.

        Parameters
        ----------
        X
            (n_samples, n_points) spectra; never changed.
        wavelengths
            Where the points lie; see `Predictor.predict`.

        Returns
        -------
        (n_samples,) predictions in units of the target, or class labels; (n_samples, n_targets) for a model of several targets.

        Raises
        ------
        UnknownIdError, ArtifactMissingError, ArtifactCorruptError, UntrustedError, ArtifactLoadError, ReplayError
            As in `load_predictor`.
        AxisError, InvalidInputError
            When the spectra do not fit, as in `Predictor.predict`.

        Examples
        --------
        >>> store.replay_chain(chain_id, spectra.X[:3], wavelengths=spectra.axis.to("cm-1")).round(1)
        array([21.3, 42.6,  9.4])
        >>> store.replay_chain(chain_id, spectra.X[:, :50])
        Traceback (most recent call last):
        n4a_flows.storage.errors.AxisError: The spectra have 50 points, but their axis has 100 points, 850 to 1050 nm.
        """
        return self.load_predictor(chain_id).predict(X, wavelengths)

    def get_probe(self, chain_id: str) -> Probe | None:
        """The spectra kept with a chain and what it predicted for them when it was trained; None when none were kept.

        Raises
        ------
        UnknownIdError, ArtifactMissingError, ArtifactCorruptError
            When the chain or the probe is not there, or the probe is not what was recorded.
        """
        with self._reading("get_probe") as session:
            context = chains.context_of(session, aliases.resolve(session, chain_id))
            data = self._companion(session, context.probe_artifact_id)
        return None if data is None else Probe.from_bytes(data)

    def get_limits(self, chain_id: str) -> bytes | None:
        """The bytes of what predictions of a chain are judged by, an `npz` of arrays; None when none was kept.

        Raises
        ------
        UnknownIdError, ArtifactMissingError, ArtifactCorruptError
            When the chain or the artifact is not there, or the artifact is not what was recorded.
        """
        with self._reading("get_limits") as session:
            context = chains.context_of(session, aliases.resolve(session, chain_id))
            return self._companion(session, context.limits_artifact_id)

    def replay_probe(self, chain_id: str) -> ProbeReport:
        """Predict the spectra kept with a chain again, and compare with what it predicted when it was trained.

        Raises
        ------
        UnknownIdError, ArtifactMissingError, ArtifactCorruptError, UntrustedError, ArtifactLoadError, ReplayError
            As in `load_predictor`.
        InvalidInputError
            When the chain has no probe.

        Examples
        --------
        >>> report = store.replay_probe(chain_id)
        >>> report.agrees, report.difference
        (True, 0.0)
        """
        probe = self.get_probe(chain_id)
        if probe is None:
            raise InvalidInputError(f"The chain {chain_id} was stored without a probe, so there is nothing to compare.")
        return probes.replay(self.load_predictor(chain_id), probe)
