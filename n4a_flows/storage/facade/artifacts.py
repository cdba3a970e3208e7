"""Verbs about artifacts: fitted operators as verified bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from n4a_flows.storage import artifacts
from n4a_flows.storage.artifacts import PreparedArtifact, StoredArtifact
from n4a_flows.storage.codecs import SerializedArtifact, deserialize, serialize
from n4a_flows.storage.errors import InvalidInputError
from n4a_flows.storage.facade.base import StoreBase


class ArtifactVerbs(StoreBase):
    """Artifacts."""

    def prepare_artifact(
        self,
        obj: Any,
        operator_class: str | None = None,
        artifact_type: str | None = None,
        format: str = "joblib",
    ) -> PreparedArtifact:
        """Serialise an object, hash it and put its file on disk, without taking the store.

        This is the slow part of `save_artifact`; do it before a transaction and hand the result to `save_artifact` inside.

        Parameters
        ----------
        obj
            Any object, or a `SerializedArtifact` that was made elsewhere.

        Raises
        ------
        InvalidInputError
            When the object cannot be serialised.
        WorkspaceError
            When the disk refuses.
        """
        self._refuse_closed()
        self._refuse_read_only("prepare_artifact")
        if isinstance(obj, SerializedArtifact):
            return self._files.write(obj)
        if operator_class is None or artifact_type is None:
            raise InvalidInputError("An artifact needs its operator_class and artifact_type.")
        return self._files.write(serialize(obj, operator_class, artifact_type, format))

    def save_artifact(
        self,
        obj: Any,
        operator_class: str | None = None,
        artifact_type: str | None = None,
        format: str = "joblib",
    ) -> str:
        """Keep an object. The same bytes are kept once: saving them again adds one to `ref_count`.

        Parameters
        ----------
        obj
            The object, or what `prepare_artifact` returned for it (the other parameters are not needed then).
        operator_class
            Its class path, for people.
        artifact_type
            model, transformer, scaler ...
        format
            joblib, pickle, cloudpickle or skops.

        Returns
        -------
        The id of the artifact.
        """
        prepared = (
            obj
            if isinstance(obj, PreparedArtifact)
            else self.prepare_artifact(obj, operator_class, artifact_type, format)
        )
        with self._writing("save_artifact") as session:
            return artifacts.save(session, self._files, prepared)

    def load_artifact(self, artifact_id: str) -> Any:
        """The object, after its bytes were compared with their recorded hash.

        Raises
        ------
        UnknownIdError
            When there is no such artifact.
        ArtifactMissingError, ArtifactCorruptError
            When its file is not there, or not what was recorded.
        UntrustedError
            When the store's trust does not allow loading it.
        """
        stored = self._stored_artifacts([artifact_id])[artifact_id]
        return deserialize(stored.data, stored.format, self.trust, self.allowed_modules)

    def get_artifact_path(self, artifact_id: str) -> Path:
        """Absolute path of the file of an artifact; whether it exists is not checked.

        Raises
        ------
        UnknownIdError
            When there is no such artifact.
        """
        with self._reading("get_artifact_path") as session:
            return self._files.path(str(artifacts.row_of(session, artifact_id)["artifact_path"]))

    def _stored_artifacts(self, artifact_ids: list[str]) -> dict[str, StoredArtifact]:
        with self._reading("load_artifact") as session:
            return artifacts.stored(session, self._files, artifact_ids)
