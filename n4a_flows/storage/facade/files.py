"""Verbs that write files outside the store: bundles and exports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from n4a_flows.storage import bundles, exports, queries
from n4a_flows.storage.errors import InvalidInputError, UnknownIdError
from n4a_flows.storage.facade.chains import ChainVerbs
from n4a_flows.storage.facade.predictions import PredictionVerbs


class FileVerbs(ChainVerbs, PredictionVerbs):
    """Exports."""

    def export_chain(self, chain_id: str, output_path: str | os.PathLike[str], format: str = "n4a") -> Path:
        """Write a chain as a bundle that predicts elsewhere.

        Parameters
        ----------
        output_path
            `.n4a` is appended when it has no suffix; parent folders are made.
        format
            `"n4a"`.

        Returns
        -------
        Absolute path of the bundle.

        Raises
        ------
        UnknownIdError, ArtifactMissingError, ArtifactCorruptError
            When the chain or an artifact of it is not there, or not what was recorded.
        BundleError
            When the format cannot hold the chain.
        ReplayError
            When the chain names no model, or a fold of it lacks a step.
        InvalidInputError
            When the format is unknown.

        Examples
        --------
        >>> store.export_chain(chain_id, folder / "fat").name
        'fat.n4a'
        """
        if format != "n4a":
            raise InvalidInputError(f"Unknown bundle format {format!r}: use 'n4a'.")
        data = bundles.to_bundle(self.chain_package(chain_id))
        return exports.write_file(exports.output_file(output_path, ".n4a"), data)

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
        return exports.write_json(exports.output_file(output_path, ".json"), pipeline["expanded_config"])

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
        return exports.write_yaml(exports.output_file(output_path, ".yaml"), document)

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
        >>> pl.read_parquet(path)["y_pred"].list.len().to_list()
        [34, 34, 35, 34, 35]
        """
        target = exports.output_file(output_path, ".parquet")
        with self._reading("export_predictions_parquet") as session:
            found = queries.query_predictions(session, **filters)
            return exports.write_parquet(target, queries.with_arrays(session, found) if arrays else [found])
