"""Can a prediction be trusted: limits, verdicts, and what laboratory values that come in later say of the predictions."""

from n4a_flows.monitoring.agreement import Agreement, agreement
from n4a_flows.monitoring.batch import BatchTally, BatchVerdict, judge_batch
from n4a_flows.monitoring.chart import ControlChart, Crossing, control_chart
from n4a_flows.monitoring.check_samples import CheckedSample, checked_samples
from n4a_flows.monitoring.control import MonitoredChain, MonitoredGroup, MonitoringReport, monitor
from n4a_flows.monitoring.correction import Correction, correction_from_store, fit_correction, save_corrected_chain
from n4a_flows.monitoring.judge import Judge, Judged
from n4a_flows.monitoring.limits import Limits
from n4a_flows.monitoring.reference_file import ReferenceFile, read_reference_values

__all__ = [
    "Agreement",
    "BatchTally",
    "BatchVerdict",
    "CheckedSample",
    "ControlChart",
    "Correction",
    "Crossing",
    "Judge",
    "Judged",
    "Limits",
    "MonitoredChain",
    "MonitoredGroup",
    "MonitoringReport",
    "ReferenceFile",
    "agreement",
    "checked_samples",
    "control_chart",
    "correction_from_store",
    "fit_correction",
    "judge_batch",
    "monitor",
    "read_reference_values",
    "save_corrected_chain",
]
