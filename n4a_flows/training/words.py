"""Words that definitions of nirs4all know and this package does not train, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from n4a_flows.storage.errors import DefinitionError

_ALTERNATIVES = "write the ways to go as lists of steps in '_or_', and each becomes a pipeline"
_STACKING = "models on the predictions of models (stacking) are not trained"
_SOURCES = "several sources are not trained; give the spectra of one source, or join their columns in the dataset"
_FEATURES = "preprocessings side by side are not trained"
_RULED_OUT = "combinations cannot be ruled out; write those that are wanted as lists in '_or_'"
_ORDERS = "orders are not generated; write each order that is wanted as a list in '_or_'"

NOT_TRAINED = {
    "branch": f"branches are not trained; {_ALTERNATIVES}",
    "merge": f"branches are not trained, so there is nothing to merge; {_ALTERNATIVES}",
    "merge_predictions": _STACKING,
    "meta_model": _STACKING,
    "stacking": _STACKING,
    "residual": "models on the residuals of models are not trained",
    "feature_augmentation": f"{_FEATURES}; {_ALTERNATIVES}",
    "concat_transform": f"{_FEATURES}; 'sklearn.pipeline.FeatureUnion' does it as one step",
    "sample_augmentation": "samples are not augmented; give the augmented samples in the dataset",
    "sources": _SOURCES,
    "by_source": _SOURCES,
    "merge_sources": _SOURCES,
    "rep_to_sources": _SOURCES,
    "rep_to_pp": f"{_FEATURES}; average the repetitions in the dataset",
    "rep_fusion": "repetitions are not fused; average them in the dataset",
    "auto_transfer_preproc": f"preprocessing is not chosen by itself; {_ALTERNATIVES}",
    "preprocessing": "the step stands by itself, without a keyword",
    "split": "the splitter stands by itself, without a keyword",
    "exclude": "samples are not left out by a step; leave them out of the dataset",
    "tag": "samples are not tagged by a step; take it out",
    "finetune_params": "parameters are not searched for; write them as '_range_', '_or_' or '_grid_'",
    "train_params": "networks are not trained; the parameters of a model stand in its 'params'",
    "refit_params": "the refit has the parameters of the folds; take it out",
    "arrange": _ORDERS,
    "then_arrange": _ORDERS,
    "then_pick": "a second choice is not generated; write an '_or_' with 'pick' inside the first",
    "size": "the word beside '_or_' is 'pick'",
    "_zip_": "write the values that go together as dicts in '_or_'",
    "_chain_": "the word is '_or_', which keeps its order",
    "_cartesian_": "write the stages as steps, one after the other, each with its '_or_'",
    "_sample_": "write '_range_' or '_log_range_' with 'count'",
    "_weights_": "every variant is as likely as another; take it out",
    "_mutex_": _RULED_OUT,
    "_requires_": _RULED_OUT,
    "_depends_on_": _RULED_OUT,
    "_exclude_": _RULED_OUT,
    "_preset_": "write it out, or keep the whole definition as a template",
    "_tags_": "variants have no tags; take it out",
    "_metadata_": "variants have no metadata; take it out",
}


def refuse_untrained(step: Any, where: str) -> None:
    """See that a step has none of these words, before what stands under them is read.

    Raises
    ------
    DefinitionError
        When it has one.
    """
    for keyword in step if isinstance(step, Mapping) else ():
        if keyword in NOT_TRAINED:
            raise DefinitionError(f"{where} {refusal(keyword, (), '')}")


def refusal(keyword: object, known: Sequence[str], otherwise: str) -> str:
    """Why a keyword is not taken, as the rest of a sentence that begins with the step.

    Parameters
    ----------
    known
        The keywords that may stand there; if one is nearly it, it is named.
    otherwise
        What to write, if it is neither near one of them nor a word of nirs4all.
    """
    reason = NOT_TRAINED.get(keyword) if isinstance(keyword, str) else None
    if reason:
        return f"has {keyword!r}: {reason}."
    # Underscores make all generators alike.
    near = get_close_matches(str(keyword).strip("_").lower(), [word.strip("_") for word in known], n=1, cutoff=0.7)
    if near:
        meant = next(word for word in known if word.strip("_") == near[0])
        return f"has the unknown keyword {keyword!r}; did you mean {meant!r}?"
    return f"has the unknown keyword {keyword!r}; {otherwise}"
