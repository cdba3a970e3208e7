"""Verbs that verify the workspace, and mend it."""

from __future__ import annotations

from n4a_flows.storage import check, check_bytes, repair
from n4a_flows.storage.check import CheckLevel, CheckReport
from n4a_flows.storage.codecs import refuse_untrusting
from n4a_flows.storage.errors import TransactionError
from n4a_flows.storage.facade.replaying import ReplayVerbs
from n4a_flows.storage.repair import RepairReport


class CheckVerbs(ReplayVerbs):
    """Checking and repair."""

    def check(self, level: CheckLevel = "quick", sample: float = 1.0) -> CheckReport:
        """Verify that rows, edges and files say the same.

        Others may use the workspace meanwhile: writers wait only while the rows are read, not while files are hashed.

        Parameters
        ----------
        level
            `"quick"`: rows against files both ways, sizes, parents, edges against chains, ref_counts, aliases, JSON. `"full"`: also
            the SHA-256 of the files. `"replay"`: also whether chains still predict what they did when they were trained, for the
            spectra kept with them (see `Probe`).
        sample
            The share of the files to hash and of the chains to replay (0 to 1), chosen at random at each call.

        Returns
        -------
        What was checked, findings (damage) and notes (harmless). `report.ok` is False when there are findings.

        Raises
        ------
        InvalidInputError
            For an unknown level, or a sample that is no share.
        UntrustedError
            When chains are to be replayed in a store with trust `"none"`.

        Examples
        --------
        >>> report = store.check("replay")
        >>> report.ok, report.findings, report.checked["runs"]
        (True, (), 1)
        """
        self._refuse_closed()
        check.refuse_unknown(level, sample)
        if level == "replay":
            refuse_untrusting(self.trust)
        with self._reading("check") as session:
            seen = check.look(session, self._files)
        suspects = []
        if level != "quick":
            hashes = dict(check_bytes.sampled(sorted(seen.hashes.items()), sample))
            seen.checked["hashed"] = len(hashes)
            suspects += check_bytes.hash_files(self._files, hashes)
        if level == "replay":
            chosen = check_bytes.sampled((chain for chain, probe in seen.probes.items() if probe is not None), sample)
            seen.checked["replayed"] = len(chosen)
            suspects += check_bytes.replay_probes(self.replay_probe, chosen)
            seen.notes += [check.no_probe(chain) for chain, probe in seen.probes.items() if probe is None]
        if suspects:
            with self._reading("check") as session:
                seen.findings += check.still_recorded(session, suspects)
        return CheckReport(level, seen.checked, tuple(seen.findings), tuple(seen.notes))

    def repair(self, report: CheckReport) -> RepairReport:
        """Mend what `check` found, as far as that needs no guessing.

        Every finding is looked at again first; what is not true any more is left alone. Edges are rebuilt from the documents of the
        chains, ref_counts raised to what edges need, and rows that hang on nothing removed (arrays, labels, logs, edges, contexts,
        saves, origins). Files that nothing names are moved to a folder of their own below `quarantine/` of the workspace, not
        deleted. Lost or damaged files, rows and JSON cannot be mended.

        Parameters
        ----------
        report
            Of a check of this workspace.

        Returns
        -------
        What was mended, what is left and what to do about it, and what was not true any more.

        Raises
        ------
        TransactionError
            Inside a transaction.
        WorkspaceError
            When a file cannot be moved to the quarantine; no row was changed then.

        Examples
        --------
        >>> store.repair(store.check()).mended
        ()
        """
        self._refuse_closed()
        if self._database.unit is not None:
            raise TransactionError("'repair' moves files, so it cannot be part of a transaction.")
        with self._writing("repair") as session:
            return repair.repair(session, self._files, report, self._database.path.parent / "quarantine")
