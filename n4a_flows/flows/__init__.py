"""The flows: train and record, predict new spectra, export."""

from n4a_flows.flows.export import export
from n4a_flows.flows.options import ExportOptions, PredictionOptions
from n4a_flows.flows.predict_new_spectra import predict_new_spectra
from n4a_flows.flows.summaries import ExportSummary, PredictionSummary, QuarantinedFile, TrainingSummary
from n4a_flows.flows.train_and_record import train_and_record
from n4a_flows.training import TrainingOptions

__all__ = [
    "ExportOptions",
    "ExportSummary",
    "PredictionOptions",
    "PredictionSummary",
    "QuarantinedFile",
    "TrainingOptions",
    "TrainingSummary",
    "export",
    "predict_new_spectra",
    "train_and_record",
]
