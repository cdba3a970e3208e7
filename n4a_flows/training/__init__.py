"""Pipeline definitions, cross-validated, refitted and recorded. Never imports an orchestrator."""

from n4a_flows.training.afresh import replay_afresh, to_replay
from n4a_flows.training.champion import ChampionDecision, challenge, champion_alias
from n4a_flows.training.conclusion import conclude_run, run_summary
from n4a_flows.training.definition import PlannedPipeline, definition_document, definition_hash, expand
from n4a_flows.training.engine import TrainingError, train_pipeline, train_pipelines
from n4a_flows.training.options import TrainingOptions
from n4a_flows.training.partition import check_data, partition_rows, targets_of, training_spectra
from n4a_flows.training.record import RecordedPipeline, record_pipelines
from n4a_flows.training.results import ChainDraft, FoldPrediction, LogEntry, TrainedPipeline
from n4a_flows.training.runner import PipelineRunner, chunks, run_document

__all__ = [
    "ChainDraft",
    "ChampionDecision",
    "FoldPrediction",
    "LogEntry",
    "PipelineRunner",
    "PlannedPipeline",
    "RecordedPipeline",
    "TrainedPipeline",
    "TrainingError",
    "TrainingOptions",
    "challenge",
    "champion_alias",
    "check_data",
    "chunks",
    "conclude_run",
    "definition_document",
    "definition_hash",
    "expand",
    "partition_rows",
    "record_pipelines",
    "replay_afresh",
    "run_document",
    "run_summary",
    "targets_of",
    "to_replay",
    "train_pipeline",
    "train_pipelines",
    "training_spectra",
]
