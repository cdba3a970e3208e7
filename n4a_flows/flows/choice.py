"""Which chain is meant."""

from __future__ import annotations

from collections.abc import Sequence

from n4a_flows import tasks
from n4a_flows.block import WorkspaceStoreBlock
from n4a_flows.storage.errors import InvalidInputError


def chosen_chains(
    store: WorkspaceStoreBlock, chain: str | Sequence[str], dataset: str | None, target: str | None
) -> list[str]:
    """Ids of the chains that `chain` names, each once: an id, `"best"`, or a list of these.

    Raises
    ------
    InvalidInputError
        When nothing is named, or `"best"` without a dataset.
    UnknownIdError
        When the dataset has no trained chain.
    """
    names = [chain] if isinstance(chain, str) else list(chain)
    if not names or not all(names):
        raise InvalidInputError('No chain given: name one by its id, or "best" together with a dataset.')
    return list(dict.fromkeys(_chosen(store, name, dataset, target) for name in names))


def _chosen(store: WorkspaceStoreBlock, name: str, dataset: str | None, target: str | None) -> str:
    if name != "best":
        return name
    if dataset is None:
        raise InvalidInputError('The chain "best" needs a dataset: name the one that it was trained on in the options.')
    return tasks.best_chain(store, dataset, target)
