"""A Prefect task for each storage operation, to build flows from; and the worker tasks of our own flows.

The storage tasks take a WorkspaceStoreBlock first, then ids, paths and small values. They belong into the flow's own
process: call them directly (`begin_run(block, ...)`), and submit only the worker tasks to a task runner. Then one
process records, and the workers may be threads, processes or machines.
"""

from n4a_flows.tasks.chains import best_chain, chain_package, export_chain, get_chain, replay_chain
from n4a_flows.tasks.exports import (
    export_pipeline_config,
    export_predictions_parquet,
    export_run,
    export_template,
)
from n4a_flows.tasks.ledger import record_scoring, scored_digests, scored_samples
from n4a_flows.tasks.predictions import query_predictions, top_predictions
from n4a_flows.tasks.runs import (
    begin_run,
    complete_run,
    conclude_run,
    fail_run,
    get_run,
    record_pipelines,
    replay_afresh,
    training_report,
)
from n4a_flows.tasks.upkeep import (
    apply_cleaning,
    apply_gc,
    apply_retention,
    backup,
    check,
    compact,
    plan_cleaning,
    plan_gc,
    plan_retention,
    reap_dead_runs,
)
from n4a_flows.tasks.workers import score_files, train_pipelines

__all__ = [
    "apply_cleaning",
    "apply_gc",
    "apply_retention",
    "backup",
    "begin_run",
    "best_chain",
    "chain_package",
    "check",
    "compact",
    "complete_run",
    "conclude_run",
    "export_chain",
    "export_pipeline_config",
    "export_predictions_parquet",
    "export_run",
    "export_template",
    "fail_run",
    "get_chain",
    "get_run",
    "plan_cleaning",
    "plan_gc",
    "plan_retention",
    "query_predictions",
    "reap_dead_runs",
    "record_pipelines",
    "record_scoring",
    "replay_afresh",
    "replay_chain",
    "score_files",
    "scored_digests",
    "scored_samples",
    "top_predictions",
    "train_pipelines",
    "training_report",
]
