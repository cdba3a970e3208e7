"""Verbs about artifacts: fitted operators as verified bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from n4a_flows.storage import artifacts
from n4a_flows.storage.artifact_files import PreparedArtifact, prepared_unwritten
from n4a_flows.storage.artifacts import StoredArtifact
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
        operator_class, artifact_type, format
            As in `save_artifact`; not needed for a `SerializedArtifact`.

        Raises
        ------
        InvalidInputError
            When the object cannot be serialised, or nothing says what it is.
        WorkspaceError
            When the disk refuses.

        Examples
        --------
        >>> prepared = store.prepare_artifact({"upper": 61.2}, "dict", "limits")
        >>> with store.transaction():
        ...     artifact_id = store.save_artifact(prepared)
        """
        self._refuse_closed()
        self._refuse_read_only("prepare_artifact")
        return self._files.write(_serialized(obj, operator_class, artifact_type, format))

    def prepare_artifacts(self, artifacts: Sequence[SerializedArtifact]) -> list[PreparedArtifact]:
        """`prepare_artifact` for many serialised objects at once; much faster than one by one, for the disk syncs several together.

        Raises
        ------
        WorkspaceError
            When the disk refuses; files that were written already are orphans then, which the next clean-up takes.

        Examples
        --------
        >>> prepared = store.prepare_artifacts([serialize(value, "float", "limits") for value in (0.5, 0.9)])
        >>> len(set(store.save_artifacts(prepared)))
        2
        """
        self._refuse_closed()
        self._refuse_read_only("prepare_artifacts")
        return self._files.write_many(artifacts)

    def save_artifacts(self, prepared: Sequence[PreparedArtifact]) -> list[str]:
        """`save_artifact` for many that were prepared; each time that one stands in the list counts as a reference.

        Returns
        -------
        The ids, in the order of the list.
        """
        with self._writing("save_artifacts") as session:
            return artifacts.save_many(session, self._files, prepared)

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
            joblib, pickle, cloudpickle or skops; see `serialize`.

        Returns
        -------
        The id of the artifact.

        Raises
        ------
        InvalidInputError
            When the object cannot be serialised, or nothing says what it is.

        Examples
        --------
        >>> from sklearn.preprocessing import StandardScaler
        >>> artifact_id = store.save_artifact(StandardScaler().fit(spectra.X), "sklearn.preprocessing.StandardScaler", "scaler")
        >>> store.load_artifact(artifact_id).mean_.shape
        (100,)
        """
        # Files of a transaction are synced together: before its commit, or when something of it is read.
        unwritten = self.in_transaction and not isinstance(obj, PreparedArtifact)
        if unwritten:
            prepared = prepared_unwritten(_serialized(obj, operator_class, artifact_type, format))
        elif isinstance(obj, PreparedArtifact):
            prepared = obj
        else:
            prepared = self.prepare_artifact(obj, operator_class, artifact_type, format)
        with self._writing("save_artifact") as session:
            return artifacts.save(session, self._files, prepared, unwritten=unwritten)

    def register_existing_artifact(
        self,
        artifact_id: str,
        path: str,
        content_hash: str,
        operator_class: str,
        artifact_type: str,
        format: str,
        size_bytes: int,
    ) -> str:
        """Add the row of an artifact whose file is there already; an id that is known is left as it is.

        Parameters
        ----------
        path
            Relative to `artifacts/`; several artifacts may share one file. It is not looked at.
        content_hash
            SHA-256 of its bytes, 64 hexadecimal digits.
        size_bytes
            Length of the file.

        Returns
        -------
        The id.

        Raises
        ------
        InvalidInputError
            When the path leads out of `artifacts/`.
        """
        relative = self._files.relative(path)
        with self._writing("register_existing_artifact") as session:
            artifacts.register(
                session,
                artifact_id=artifact_id,
                artifact_path=relative,
                content_hash=content_hash,
                operator_class=operator_class,
                artifact_type=artifact_type,
                format=format,
                size_bytes=int(size_bytes),
            )
        return artifact_id

    def read_artifact(self, artifact_id: str) -> SerializedArtifact:
        """The verified bytes of an artifact, without loading them.

        Give them to `prepare_artifact` and `save_artifact` to use the artifact again: should a clean-up have taken it meanwhile, it
        is kept anew.

        Raises
        ------
        UnknownIdError
            When there is no such artifact.
        ArtifactMissingError, ArtifactCorruptError
            When its file is not there, or not what was recorded.
        """
        stored = self._stored_artifacts([artifact_id])[artifact_id]
        return SerializedArtifact(
            stored.data, stored.content_hash, stored.operator_class, stored.artifact_type, stored.format
        )

    def save_artifact_with_cache_key(
        self,
        obj: Any,
        operator_class: str,
        artifact_type: str,
        format: str,
        chain_path_hash: str,
        input_data_hash: str,
        dataset_hash: str,
    ) -> str:
        """`save_artifact` that also notes what the object was fitted by and on, for `find_cached_artifact`.

        Parameters
        ----------
        chain_path_hash, input_data_hash, dataset_hash
            Any texts that name the steps, the data that went in, and the dataset that it came from.

        Raises
        ------
        InvalidInputError
            When the object cannot be serialised.

        Examples
        --------
        >>> artifact_id = store.save_artifact_with_cache_key(
        ...     {"upper": 61.2}, "dict", "limits", "joblib", "snv>pls", "rows 0-171", spectra.digest
        ... )
        >>> store.find_cached_artifact("snv>pls", "rows 0-171") == artifact_id
        True
        """
        prepared = self.prepare_artifact(obj, operator_class, artifact_type, format)
        with self._writing("save_artifact_with_cache_key") as session:
            artifact_id = artifacts.save(session, self._files, prepared)
            artifacts.set_cache_key(session, artifact_id, chain_path_hash, input_data_hash, dataset_hash)
            return artifact_id

    def update_artifact_cache_key(
        self, artifact_id: str, chain_path_hash: str, input_data_hash: str, dataset_hash: str
    ) -> None:
        """Note what an artifact was fitted by and on; `UnknownIdError` for an unknown one."""
        with self._writing("update_artifact_cache_key") as session:
            artifacts.set_cache_key(session, artifact_id, chain_path_hash, input_data_hash, dataset_hash)

    def find_cached_artifact(self, chain_path_hash: str, input_data_hash: str) -> str | None:
        """The id of an artifact that was fitted by the same steps on the same data, the latest one, or None.

        A clean-up may take it before it is recorded again: use it through `read_artifact` and `save_artifact`.
        """
        with self._reading("find_cached_artifact") as session:
            return artifacts.cached(session, chain_path_hash, input_data_hash)

    def invalidate_dataset_cache(self, dataset_hash: str) -> int:
        """Forget the cache keys of artifacts that were fitted on a dataset; returns how many had one."""
        with self._writing("invalidate_dataset_cache") as session:
            return artifacts.forget_dataset(session, dataset_hash)

    def load_artifact(self, artifact_id: str) -> Any:
        """The object, after its bytes were compared with their recorded hash. Loading runs code: see `trust` of `WorkspaceStore`.

        Raises
        ------
        UnknownIdError
            When there is no such artifact.
        ArtifactMissingError, ArtifactCorruptError
            When its file is not there, or not what was recorded.
        UntrustedError
            When the store's trust does not allow loading it.
        ArtifactLoadError
            When a package that it was made of is not installed.
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


def _serialized(obj: Any, operator_class: str | None, artifact_type: str | None, format: str) -> SerializedArtifact:
    if isinstance(obj, SerializedArtifact):
        return obj
    if operator_class is None or artifact_type is None:
        raise InvalidInputError("An artifact needs its operator_class and artifact_type.")
    return serialize(obj, operator_class, artifact_type, format)
