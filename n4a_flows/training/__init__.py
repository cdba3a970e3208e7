"""Pipeline definitions, cross-validated, refitted and recorded. Never imports an orchestrator."""

from n4a_flows.training.definition import PlannedPipeline, definition_document, definition_hash, expand
from n4a_flows.training.engine import TrainingError, train_pipeline, train_pipelines
from n4a_flows.training.options import TrainingOptions
from n4a_flows.training.partition import check_data, partition_rows, targets_of, training_spectra
from n4a_flows.training.record import RecordedPipeline, record_pipelines
from n4a_flows.training.results import ChainDraft, FoldPrediction, LogEntry, TrainedPipeline
from n4a_flows.training.runner import PipelineRunner, chunks, run_document, run_summary

__all__ = [
    "ChainDraft",
    "FoldPrediction",
    "LogEntry",
    "PipelineRunner",
    "PlannedPipeline",
    "RecordedPipeline",
    "TrainedPipeline",
    "TrainingError",
    "TrainingOptions",
    "check_data",
    "chunks",
    "definition_document",
    "definition_hash",
    "expand",
    "partition_rows",
    "record_pipelines",
    "run_document",
    "run_summary",
    "targets_of",
    "train_pipeline",
    "train_pipelines",
    "training_spectra",
]
