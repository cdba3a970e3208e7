"""Tasks about recorded predictions."""

from n4a_flows.storage import WorkspaceStore
from n4a_flows.tasks._task import verb_task

save_prediction = verb_task(WorkspaceStore.save_prediction, "save prediction of {model_name}, {fold_id} {partition}")
save_prediction_arrays = verb_task(WorkspaceStore.save_prediction_arrays, "save arrays of prediction {prediction_id}")
get_prediction = verb_task(WorkspaceStore.get_prediction, "get prediction {prediction_id}")
get_prediction_arrays = verb_task(WorkspaceStore.get_prediction_arrays, "arrays of prediction {prediction_id}")
get_chain_predictions = verb_task(WorkspaceStore.get_chain_predictions, "predictions of chain {chain_id}")
query_predictions = verb_task(WorkspaceStore.query_predictions, "query predictions")
top_predictions = verb_task(WorkspaceStore.top_predictions, "top {n} predictions")
delete_prediction = verb_task(WorkspaceStore.delete_prediction, "delete prediction {prediction_id}")
