"""Tasks that keep, find, name and replay chains."""

from n4a_flows.storage import WorkspaceStore
from n4a_flows.tasks._task import verb_task

identify = verb_task(WorkspaceStore.identify, "identify {name}")
save_chain = verb_task(WorkspaceStore.save_chain, "save chain of pipeline {pipeline_id}")
get_chain = verb_task(WorkspaceStore.get_chain, "get chain {chain_id}")
get_chain_context = verb_task(WorkspaceStore.get_chain_context, "context of chain {chain_id}")
get_chains_for_pipeline = verb_task(WorkspaceStore.get_chains_for_pipeline, "chains of pipeline {pipeline_id}")
list_chains = verb_task(WorkspaceStore.list_chains, "list chains")
rank_chains = verb_task(WorkspaceStore.rank_chains, "best {n} chains")
best_chain = verb_task(WorkspaceStore.best_chain, "best chain for {dataset_name}")

update_chain_summary = verb_task(WorkspaceStore.update_chain_summary, "update summary of chain {chain_id}")
bulk_update_chain_summaries = verb_task(WorkspaceStore.bulk_update_chain_summaries, "update summaries of chains")
query_chain_summaries = verb_task(WorkspaceStore.query_chain_summaries, "query chain summaries")
query_top_chains = verb_task(WorkspaceStore.query_top_chains, "top {n} chains by {score_column}")

set_alias = verb_task(WorkspaceStore.set_alias, "set alias {name}")
get_alias = verb_task(WorkspaceStore.get_alias, "get alias {name}")
list_aliases = verb_task(WorkspaceStore.list_aliases, "list aliases")
alias_history = verb_task(WorkspaceStore.alias_history, "history of alias {name}")
remove_alias = verb_task(WorkspaceStore.remove_alias, "remove alias {name}")

chain_package = verb_task(WorkspaceStore.chain_package, "package chain {chain_id}")
load_predictor = verb_task(WorkspaceStore.load_predictor, "load chain {chain_id}")
replay_chain = verb_task(WorkspaceStore.replay_chain, "replay chain {chain_id}")
get_probe = verb_task(WorkspaceStore.get_probe, "probe of chain {chain_id}")
get_limits = verb_task(WorkspaceStore.get_limits, "limits of chain {chain_id}")
replay_probe = verb_task(WorkspaceStore.replay_probe, "replay probe of chain {chain_id}")
