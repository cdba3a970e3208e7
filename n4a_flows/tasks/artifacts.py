"""Tasks about artifacts: fitted operators as verified bytes."""

from n4a_flows.storage import WorkspaceStore
from n4a_flows.tasks._task import verb_task

save_artifact = verb_task(WorkspaceStore.save_artifact, "save artifact")
save_artifact_with_cache_key = verb_task(WorkspaceStore.save_artifact_with_cache_key, "save artifact {operator_class}")
register_existing_artifact = verb_task(WorkspaceStore.register_existing_artifact, "register artifact {artifact_id}")
read_artifact = verb_task(WorkspaceStore.read_artifact, "read artifact {artifact_id}")
load_artifact = verb_task(WorkspaceStore.load_artifact, "load artifact {artifact_id}")
get_artifact_path = verb_task(WorkspaceStore.get_artifact_path, "path of artifact {artifact_id}")
find_cached_artifact = verb_task(WorkspaceStore.find_cached_artifact, "find cached artifact")
update_artifact_cache_key = verb_task(WorkspaceStore.update_artifact_cache_key, "cache key of artifact {artifact_id}")
invalidate_dataset_cache = verb_task(
    WorkspaceStore.invalidate_dataset_cache, "forget cached artifacts of {dataset_hash}"
)
