"""The flows: train and record, predict new spectra, maintain, export."""

from n4a_flows.flows.export import export
from n4a_flows.flows.maintain import maintain
from n4a_flows.flows.options import ExportOptions, MaintenanceOptions, PredictionOptions, RetentionOptions
from n4a_flows.flows.predict_new_spectra import predict_new_spectra
from n4a_flows.flows.summaries import (
    ExportSummary,
    MaintenanceSummary,
    PredictionSummary,
    QuarantinedFile,
    TrainingSummary,
)
from n4a_flows.flows.train_and_record import train_and_record
from n4a_flows.training import TrainingOptions

__all__ = [
    "ExportOptions",
    "ExportSummary",
    "MaintenanceOptions",
    "MaintenanceSummary",
    "PredictionOptions",
    "PredictionSummary",
    "QuarantinedFile",
    "RetentionOptions",
    "TrainingOptions",
    "TrainingSummary",
    "export",
    "maintain",
    "predict_new_spectra",
    "train_and_record",
]
