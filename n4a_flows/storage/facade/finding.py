"""Verbs that find: what a name stands for, and chains listed and ranked."""

from __future__ import annotations

from n4a_flows.storage import finding
from n4a_flows.storage.facade.base import StoreBase
from n4a_flows.storage.finding import Kind, Named
from n4a_flows.storage.late_polars import pl


class FindingVerbs(StoreBase):
    """Finding."""

    def identify(self, name: str, kind: Kind | None = None) -> Named:
        """What an id, the beginning of one or an alias stands for.

        Parameters
        ----------
        name
            A whole id of a run, pipeline, chain or prediction, the first characters of one, or an alias.
        kind
            Look for these only.

        Returns
        -------
        The kind and the whole id.

        Raises
        ------
        UnknownIdError
            When it names nothing.
        InvalidInputError
            When several ids begin so; the message lists them.

        Examples
        --------
        >>> store.identify(run_id[:8]) == ("run", run_id)
        True
        """
        with self._reading("identify") as session:
            return finding.identify(session, name, kind)

    def list_chains(
        self,
        run_id: str | None = None,
        pipeline_id: str | None = None,
        dataset_name: str | None = None,
        target: str | None = None,
        metric: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> pl.DataFrame:
        """Chains with their pipeline and what they predict, the newest first.

        Parameters
        ----------
        limit, offset
            A page of the list.

        Returns
        -------
        chain_id, pipeline_id, run_id, name (of the pipeline), dataset_name, target, task_type, metric, best_val (of all out-of-fold
        predictions together) and best_test in units of the metric, pipeline_status, digest, aliases (a list or null), created_at.

        Raises
        ------
        InvalidInputError
            When a number of the page is negative or no whole number.

        Examples
        --------
        >>> store.list_chains(target="fat").select("dataset_name", "metric", "aliases").rows()
        [('tecator', 'rmse', None)]
        """
        filters = {
            "run_id": run_id,
            "pipeline_id": pipeline_id,
            "dataset_name": dataset_name,
            "target": target,
            "metric": metric,
        }
        with self._reading("list_chains") as session:
            return finding.list_chains(session, filters, limit, offset)

    def rank_chains(
        self,
        n: int = 10,
        dataset_name: str | None = None,
        target: str | None = None,
        metric: str | None = None,
        run_id: str | None = None,
    ) -> pl.DataFrame:
        """The best n chains of each dataset, target and metric, by the score of all out-of-fold predictions together.

        Chains of the same digest count once, the earliest. Left out are chains without such a score, and those of a metric of which
        it is not known whether more or less is better. The first of a group is what `best_chain` names.

        Returns
        -------
        rank (from 1), then the columns of `list_chains`.

        Raises
        ------
        InvalidInputError
            When n is negative or no whole number.

        Examples
        --------
        >>> best = store.rank_chains(1, dataset_name="tecator", target="fat")
        >>> best["rank"].item(), best["chain_id"].item() == chain_id
        (1, True)
        """
        filters = {"run_id": run_id, "dataset_name": dataset_name, "target": target, "metric": metric}
        with self._reading("rank_chains") as session:
            return finding.rank_chains(session, filters, n)
