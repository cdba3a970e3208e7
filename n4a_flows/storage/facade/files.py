"""Verbs about files outside the store: bundles in and out, and exports."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from n4a_flows.storage import aliases, bundles, exports, queries
from n4a_flows.storage.bundles import ImportReport, collecting, importing, reader, script, writer
from n4a_flows.storage.bundles.importing import Versions
from n4a_flows.storage.codecs import Trust, check_trust
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError
from n4a_flows.storage.facade.predictions import PredictionVerbs
from n4a_flows.storage.facade.replaying import ReplayVerbs

logger = logging.getLogger(__name__)


class FileVerbs(ReplayVerbs, PredictionVerbs):
    """Exports and imports."""

    def export_chain(self, chain_id: str, output_path: str | os.PathLike[str], format: str = "n4a") -> Path:
        """Write a chain as a file that predicts elsewhere.

        Parameters
        ----------
        output_path
            `.n4a` is appended when it has no suffix (a number behind a dot is none), `.n4a.py` when it does not end so; parent
            folders are made.
        format
            `"n4a"`: a bundle with all artifacts of the chain, its probe and its limits, for `import_bundle` of another workspace
            and for nirs4all. Where nirs4all would predict something else, its loader refuses the bundle, and a warning says why.
            `"n4a.py"`: a script that predicts with numpy, joblib and what the artifacts import.

        Returns
        -------
        Absolute path of the file. Written twice, it has the same bytes but for `exported_at`.

        Raises
        ------
        UnknownIdError, ArtifactMissingError, ArtifactCorruptError
            When the chain or an artifact of it is not there, or not what was recorded.
        BundleError
            When the format cannot hold the chain.
        ReplayError
            When the chain names no model, or a fold of it lacks a step.
        InvalidInputError
            When the format is unknown, or a bundle is called `.n4a.py`.

        Examples
        --------
        >>> store.export_chain(chain_id, folder / "fat").name
        'fat.n4a'
        >>> store.export_chain(chain_id, folder / "fat", format="n4a.py").name
        'fat.n4a.py'
        """
        if format not in bundles.FORMATS:
            raise InvalidInputError(f"Unknown bundle format {format!r}: use 'n4a' or 'n4a.py'.")
        path = exports.chain_file(output_path, format)
        with self._reading("export_chain") as session:
            chain_id = aliases.resolve(session, chain_id)
            package = collecting.whole_chain(session, self._files, chain_id)
        if format == "n4a":
            data = writer.to_bundle(package)
            reader.verify_bytes(data, path)
            return _told("chain", chain_id, exports.write_file(path, data))
        data = script.to_script(package)
        return _told("chain", chain_id, exports.write_file(path, data))

    def import_bundle(
        self,
        path: str | os.PathLike[str],
        *,
        trust: Trust | None = None,
        versions: Versions = "report",
        max_bytes: int = bundles.MAX_BYTES,
    ) -> ImportReport:
        """Bring the chain of a `.n4a` bundle into this workspace, with a run and a pipeline that say where it comes from.

        All of it comes in, or nothing: every name, size and digest is looked at before anything is written. Bytes that the
        workspace has already are not written again. When it has a chain with the same digest (and with limits, if the bundle brings
        some), nothing is added. A parent is known by its digest, and by its id where the workspace has it.

        The bundle is not unpickled unless `trust` says so. Later replays go by the trust of the store that replays: open it with
        trust `"modules"` when a bundle came from somebody you do not know.

        Parameters
        ----------
        path
            A bundle of n4a_flows, or one of nirs4all (1.0 and later), which has no axis, probe, limits and digests.
        trust
            `"modules"` or `"all"`: load the chain as far as this allows, predict its probe, and refuse the bundle when the
            predictions differ from those recorded. None or `"none"`: load nothing.
        versions
            What to do when packages are here in other versions than where the bundle was written: `"report"` (and warn in the log),
            `"refuse"`, or `"allow"` (only report).
        max_bytes
            What the members of the bundle may hold together.

        Returns
        -------
        The id of the chain here, what came in, package differences, and how the probe compares.

        Raises
        ------
        MissingFileError
            When there is no such file.
        BundleError
            When it is no bundle, damaged, unsafe to read, too big, of a newer format, when its probe or, with `"refuse"`, its
            packages differ.
        UntrustedError, ArtifactLoadError, ReplayError
            When `trust` is given and does not allow what the bundle holds, or it cannot be loaded.
        InvalidInputError
            When `trust` or `versions` has a value that cannot be taken.

        Examples
        --------
        >>> path = store.export_chain(chain_id, folder / "fat.n4a")
        >>> with WorkspaceStore(folder / "other") as other:
        ...     report = other.import_bundle(path, trust="modules")
        ...     other.replay_chain(report.chain_id, spectra.X[:3], spectra.axis).round(1)
        array([21.3, 42.6,  9.4])
        >>> report.new_artifacts, report.probe.agrees
        (9, True)
        """
        self._refuse_closed()
        self._refuse_read_only("import_bundle")
        if trust is not None:
            check_trust(trust)
        contents = reader.read_bundle(path, max_bytes)
        differences, missing = importing.check_versions(contents.info, versions)
        probe = None if trust in (None, "none") else importing.replay_probe(contents, trust, self.allowed_modules)
        prepared = importing.Prepared.written(self._files, contents)
        with self._writing("import_bundle") as session:
            return importing.record(session, self._files, contents, prepared, differences, missing, probe)

    def export_pipeline_config(self, pipeline_id: str, output_path: str | os.PathLike[str]) -> Path:
        """Write the expanded definition of a pipeline, alone, as JSON.

        Returns
        -------
        Absolute path of the file; `.json` is appended when the name has no suffix.

        Raises
        ------
        UnknownIdError
            When there is no such pipeline.
        """
        with self._reading("export_pipeline_config") as session:
            pipeline = queries.pipeline(session, pipeline_id)
        if pipeline is None:
            raise UnknownIdError(f"No pipeline has the id {pipeline_id!r} in this workspace.")
        path = exports.write_json(exports.output_file(output_path, ".json"), pipeline["expanded_config"])
        return _told("pipeline", pipeline_id, path)

    def export_run(self, run_id: str, output_path: str | os.PathLike[str]) -> Path:
        """Write a run with its pipelines and their chains as YAML.

        Returns
        -------
        Absolute path of the file; `.yaml` is appended when the name has no suffix.

        Raises
        ------
        UnknownIdError
            When there is no such run.

        Examples
        --------
        >>> import yaml
        >>> document = yaml.safe_load(store.export_run(run_id, folder / "run").read_text())
        >>> document["status"], len(document["pipelines"])
        ('completed', 1)
        """
        with self._reading("export_run") as session:
            document = exports.run_document(session, run_id)
        return _told("run", run_id, exports.write_yaml(exports.output_file(output_path, ".yaml"), document))

    def export_predictions_parquet(
        self, output_path: str | os.PathLike[str], *, arrays: bool = False, **filters: Any
    ) -> Path:
        """Write predictions as Parquet.

        Parameters
        ----------
        output_path
            `.parquet` is appended when it has no suffix; parent folders are made.
        arrays
            Also write y_true, y_pred, y_proba and weights (lists of float64) and sample_indices (a list of int64), null where they
            were not stored. Of classes, y_true and y_pred are numbers that count into `labels` (JSON, by column); y_proba has
            `proba_columns` numbers for each sample.
        **filters
            Those of `query_predictions`.

        Returns
        -------
        Absolute path of the file, with all columns of `predictions`; it may have no rows.

        Raises
        ------
        InvalidInputError
            When there is no such filter.
        WorkspaceError
            When the disk refuses.

        Examples
        --------
        >>> path = store.export_predictions_parquet(folder / "validation", partition="val", arrays=True)
        >>> pl.read_parquet(path)["y_pred"].list.len().sort().to_list()
        [34, 34, 34, 35, 35]
        """
        target = exports.output_file(output_path, ".parquet")
        with self._reading("export_predictions_parquet") as session:
            found = queries.query_predictions(session, **filters)
            exports.write_parquet(target, queries.with_arrays(session, found) if arrays else [found])
        return _told("predictions", f"({found.height} rows)", target)


def _told(what: str, identity: str, path: Path) -> Path:
    logger.info("Exported %s %s to %s, %d bytes", what, identity, path, path.stat().st_size)
    return path
