"""Tasks about runs, their pipelines and logs, and projects."""

from n4a_flows.storage import WorkspaceStore
from n4a_flows.tasks._task import verb_task

begin_run = verb_task(WorkspaceStore.begin_run, "begin run {name}")
complete_run = verb_task(WorkspaceStore.complete_run, "complete run {run_id}")
fail_run = verb_task(WorkspaceStore.fail_run, "fail run {run_id}")
get_run = verb_task(WorkspaceStore.get_run, "get run {run_id}")
list_runs = verb_task(WorkspaceStore.list_runs, "list runs")
running_runs = verb_task(WorkspaceStore.running_runs, "list runs that have not ended")
reap_run = verb_task(WorkspaceStore.reap_run, "reap run {run_id}")
reap_dead_runs = verb_task(WorkspaceStore.reap_dead_runs, "reap dead runs")
delete_run = verb_task(WorkspaceStore.delete_run, "delete run {run_id}")

begin_pipeline = verb_task(WorkspaceStore.begin_pipeline, "begin pipeline {name}")
complete_pipeline = verb_task(WorkspaceStore.complete_pipeline, "complete pipeline {pipeline_id}")
fail_pipeline = verb_task(WorkspaceStore.fail_pipeline, "fail pipeline {pipeline_id}")
get_pipeline = verb_task(WorkspaceStore.get_pipeline, "get pipeline {pipeline_id}")
list_pipelines = verb_task(WorkspaceStore.list_pipelines, "list pipelines")

log_step = verb_task(WorkspaceStore.log_step, "log {event} of step {step_idx}")
get_pipeline_log = verb_task(WorkspaceStore.get_pipeline_log, "log of pipeline {pipeline_id}")
get_run_log_summary = verb_task(WorkspaceStore.get_run_log_summary, "log of run {run_id}")

create_project = verb_task(WorkspaceStore.create_project, "create project {name}")
get_or_create_project = verb_task(WorkspaceStore.get_or_create_project, "get or create project {name}")
get_project = verb_task(WorkspaceStore.get_project, "get project {project_id}")
get_project_by_name = verb_task(WorkspaceStore.get_project_by_name, "get project {name}")
list_projects = verb_task(WorkspaceStore.list_projects, "list projects")
update_project = verb_task(WorkspaceStore.update_project, "update project {name}")
delete_project = verb_task(WorkspaceStore.delete_project, "delete project {project_id}")
set_run_project = verb_task(WorkspaceStore.set_run_project, "put run {run_id} into a project")
