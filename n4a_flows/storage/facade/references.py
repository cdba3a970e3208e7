"""Verbs about laboratory values that come after the predictions, and what they tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from n4a_flows.storage import aliases, crossings, reference_values
from n4a_flows.storage.crossings import LimitCrossing
from n4a_flows.storage.facade.base import StoreBase
from n4a_flows.storage.late_polars import pl


class ReferenceVerbs(StoreBase):
    """Laboratory values."""

    def add_reference_values(self, values: Mapping[str, float], target: str, source: str | None = None) -> int:
        """Note laboratory values of samples, which may have been predicted before or not yet.

        The latest value of a sample counts; earlier ones stay as history. A value equal to the latest one adds nothing.

        Parameters
        ----------
        values
            Finite numbers in the unit of the target, by sample id as the spectra have it.
        target
            The property, as the chains that predict it name it.
        source
            Where they come from: a file, a method, a laboratory.

        Returns
        -------
        How many are new or differ from the latest one.

        Raises
        ------
        InvalidInputError
            When they are no mapping, an id or the target is no text or blank, or a value is no finite number; nothing is added
            then.

        Examples
        --------
        >>> store.add_reference_values({"a1": 12.5, "a2": 30.1}, "fat", source="wet chemistry")
        2
        >>> store.add_reference_values({"a1": 12.5, "a2": 31.0}, "fat", source="corrected")
        1
        >>> store.reference_values("fat").select("sample_id", "value").rows()
        [('a1', 12.5), ('a2', 31.0)]
        """
        with self._writing("add_reference_values") as session:
            return reference_values.add(session, values, target, source)

    def reference_values(self, target: str | None = None, sample_ids: Sequence[str] | None = None) -> pl.DataFrame:
        """The laboratory value that counts of each sample and target, in the order they were added.

        Parameters
        ----------
        target, sample_ids
            Only those of this property, and of these samples.

        Returns
        -------
        sample_id, target, value, source, added_at (naive UTC).
        """
        with self._reading("reference_values") as session:
            return reference_values.latest(session, target, sample_ids)

    def reference_pairs(
        self, chain_id: str | None = None, target: str | None = None, since: datetime | None = None
    ) -> pl.DataFrame:
        """Predictions beside the laboratory value of their sample, in the order they were scored.

        A sample that was scored in several files, or at several places of one, has as many rows. Of a file that a chain digest
        scored twice, the latest scoring counts, with the moment of the first. What has no predicted number (rejected spectra, class
        labels) is left out.

        Parameters
        ----------
        chain_id
            Only what this chain predicted, or an equal one (with its digest); it may be gone by now.
        target
            Only this property.
        since
            Only what was first scored then or later; naive UTC, or with a time zone.

        Returns
        -------
        sample_id, target, y (predicted), reference (the laboratory value), verdict, chain_id, chain_digest, instrument and product
        (as the detail of the file names them), path, position, scored_at (when first), added_at (when
        the value came; both naive UTC).

        Examples
        --------
        >>> file = ScoredFile("incoming/a.csv", "0" * 64, "scored", samples=[ScoredSample("a1", y=12.3)])
        >>> store.record_scoring(chain_id, [file])
        >>> store.add_reference_values({"a1": 12.5}, "fat")
        1
        >>> store.reference_pairs(chain_id).select("sample_id", "y", "reference").rows()
        [('a1', 12.3, 12.5)]
        """
        with self._reading("reference_pairs") as session:
            return reference_values.pairs(session, aliases.resolved(session, chain_id), target, since)

    def record_crossings(self, found: Sequence[LimitCrossing], flow_run_id: str | None = None) -> list[str]:
        """Note limits of control charts that were crossed; each is kept once, and outlives the chain.

        Returns
        -------
        The ids of those that were not known.

        Examples
        --------
        >>> from n4a_flows.monitoring import monitor
        >>> samples = [ScoredSample(f"a{i}", y=20.0 + i) for i in range(3)]
        >>> store.record_scoring(chain_id, [ScoredFile("incoming/a.csv", "0" * 64, "scored", samples=samples)])
        >>> store.add_reference_values({"a0": 19.0, "a1": 40.0, "a2": 21.0}, "fat")
        3
        >>> crossings = monitor(store).crossings
        >>> store.record_crossings(crossings) == [crossing.crossing_id for crossing in crossings]
        True
        >>> store.record_crossings(crossings)
        []
        >>> store.limit_crossings().select("rule", "sample_ids").rows()
        [('action', '["a1"]')]
        """
        with self._writing("record_crossings") as session:
            return crossings.record(session, found, flow_run_id)

    def limit_crossings(self, chain_id: str | None = None, since: datetime | None = None) -> pl.DataFrame:
        """Limits that were crossed, in the order that this was found.

        Parameters
        ----------
        since
            Only those that were found then or later; naive UTC, or with a time zone.

        Returns
        -------
        crossing_id, chain_id, chain_digest, target, instrument, product, rule, said, sample_ids (JSON text), began_at (when the
        first sample was predicted), flow_run_id, found_at (both naive UTC).
        """
        with self._reading("limit_crossings") as session:
            return crossings.crossings(session, aliases.resolved(session, chain_id), since)
