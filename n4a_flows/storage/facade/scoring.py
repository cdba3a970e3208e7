"""Verbs about the ledger of scored files and batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from n4a_flows.storage import aliases, batches, chains, scoring
from n4a_flows.storage.batches import ScoredBatch
from n4a_flows.storage.facade.base import StoreBase
from n4a_flows.storage.late_polars import pl
from n4a_flows.storage.scoring import ScoredFile


class ScoringVerbs(StoreBase):
    """Scored files, samples and batches."""

    def record_scoring(self, chain_id: str, files: Sequence[ScoredFile], flow_run_id: str | None = None) -> None:
        """Note files as seen by a chain, with what it predicted: rows and "seen" are one commit.

        Raises
        ------
        UnknownIdError
            When there is no such chain.
        InvalidInputError
            When a detail holds what JSON cannot.

        Examples
        --------
        >>> file = ScoredFile("incoming/a.csv", "0" * 64, "scored", samples=[ScoredSample("a1", y=12.3)])
        >>> store.record_scoring(chain_id, [file])
        >>> store.scored_samples(chain_id).select("sample_id", "target", "y").rows()
        [('a1', 'fat', 12.3)]
        """
        with self._writing("record_scoring") as session:
            context = chains.context_of(session, aliases.resolve(session, chain_id))
            scoring.record(session, context, files, flow_run_id)

    def scored_digests(
        self, chain_digest: str, file_digests: Sequence[str] | None = None, readers: str | None = None
    ) -> dict[str, str]:
        """Status (`"scored"` or `"quarantined"`) of the files that a chain digest has seen, by the file's digest.

        Of a file that was seen more than once, the latest status.

        Parameters
        ----------
        file_digests
            Only these files; all when left out.
        readers
            What read the files, as their detail names it under `readers`: files that others quarantined are left out, for these
            may be able to read them.

        Examples
        --------
        >>> digest = store.get_chain_context(chain_id).digest
        >>> store.record_scoring(chain_id, [ScoredFile("incoming/b.csv", "1" * 64, "quarantined", "it has no header")])
        >>> list(store.scored_digests(digest).values())
        ['quarantined']
        """
        with self._reading("scored_digests") as session:
            return scoring.digests(session, chain_digest, file_digests, readers)

    def files_put_back(self, chain_digest: str, by_path: Mapping[str, str]) -> set[str]:
        """Paths that hold bytes which a chain digest scored there once, and others since: what was put back.

        Parameters
        ----------
        by_path
            The digest of the file that lies there now, by its path.

        Examples
        --------
        >>> digest = store.get_chain_context(chain_id).digest
        >>> for bytes_of in ("1" * 64, "2" * 64):
        ...     store.record_scoring(chain_id, [ScoredFile("incoming/c.csv", bytes_of, "scored")])
        >>> store.files_put_back(digest, {"incoming/c.csv": "1" * 64, "incoming/renamed.csv": "1" * 64})
        {'incoming/c.csv'}
        """
        with self._reading("files_put_back") as session:
            return scoring.put_back(session, chain_digest, by_path)

    def scored_files(
        self, chain_id: str | None = None, status: str | None = None, since: datetime | None = None
    ) -> pl.DataFrame:
        """Files that were scored or quarantined, in the order they were recorded.

        Parameters
        ----------
        since
            Only those recorded then or later; naive UTC, or with a time zone.

        Returns
        -------
        All columns of `scored_files`.
        """
        with self._reading("scored_files") as session:
            return scoring.files(session, aliases.resolved(session, chain_id), status, since)

    def scored_samples(
        self,
        chain_id: str | None = None,
        since: datetime | None = None,
        file_digests: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Predictions of scored files, in the order they were recorded.

        Parameters
        ----------
        since
            Only those recorded then or later; naive UTC, or with a time zone.
        file_digests
            Only those of these files.

        Returns
        -------
        path, file_digest, chain_id, chain_digest, position, sample_id, target, y (in units of the target), label, verdict, reasons,
        detail, flow_run_id, scored_at (naive UTC), scoring_id (one for each time that a file was scored).
        """
        with self._reading("scored_samples") as session:
            return scoring.samples(session, aliases.resolved(session, chain_id), since, file_digests)

    def record_batch(self, chain_id: str, batch: ScoredBatch, flow_run_id: str | None = None) -> str:
        """Note what a chain's predictions of one batch of spectra are worth together; it outlives the chain.

        Returns
        -------
        The id of the batch.

        Raises
        ------
        UnknownIdError
            When there is no such chain.
        InvalidInputError
            When the batch has no verdict, or its detail holds what JSON cannot.

        Examples
        --------
        >>> batch = ScoredBatch("warn", ["the mean spectrum has drifted"], n_samples=24, released=True)
        >>> batch_id = store.record_batch(chain_id, batch)
        >>> store.scored_batches(chain_id).select("target", "verdict", "released", "n_samples").rows()
        [('fat', 'warn', True, 24)]
        """
        with self._writing("record_batch") as session:
            context = chains.context_of(session, aliases.resolve(session, chain_id))
            return batches.record(session, context, batch, flow_run_id)

    def scored_batches(
        self,
        chain_id: str | None = None,
        since: datetime | None = None,
        flow_run_ids: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Batches that were judged, in the order they were recorded.

        Parameters
        ----------
        since
            Only those recorded then or later; naive UTC, or with a time zone.
        flow_run_ids
            Only those that one of these flow runs recorded.

        Returns
        -------
        batch_id, chain_id, chain_digest, target, flow_run_id, verdict, released, reasons, n_samples, detail, scored_at (naive UTC).
        """
        with self._reading("scored_batches") as session:
            return batches.batches(session, aliases.resolved(session, chain_id), since, flow_run_ids)
