"""The flows: train and record, predict new spectra, monitor, maintain, export.

Their docstrings describe parameters as Google does: Prefect reads that, and shows it in the forms.
"""

from n4a_flows.flows.export import export
from n4a_flows.flows.maintain import maintain
from n4a_flows.flows.monitor import monitor
from n4a_flows.flows.options import (
    ExportOptions,
    MaintenanceOptions,
    MonitoringOptions,
    PredictionOptions,
    RetentionOptions,
)
from n4a_flows.flows.predict_new_spectra import predict_new_spectra
from n4a_flows.flows.summaries import (
    AgreementSummary,
    ExportSummary,
    MaintenanceSummary,
    MonitoringSummary,
    PredictionSummary,
    QuarantinedFile,
    TrainingSummary,
)
from n4a_flows.flows.train_and_record import train_and_record
from n4a_flows.training import TrainingOptions

__all__ = [
    "AgreementSummary",
    "ExportOptions",
    "ExportSummary",
    "MaintenanceOptions",
    "MaintenanceSummary",
    "MonitoringOptions",
    "MonitoringSummary",
    "PredictionOptions",
    "PredictionSummary",
    "QuarantinedFile",
    "RetentionOptions",
    "TrainingOptions",
    "TrainingSummary",
    "export",
    "maintain",
    "monitor",
    "predict_new_spectra",
    "train_and_record",
]
