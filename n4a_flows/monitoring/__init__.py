"""Can a prediction be trusted: limits, verdicts, and what laboratory values that come in later say of the predictions."""

from n4a_flows.monitoring.agreement import Agreement, agreement
from n4a_flows.monitoring.chart import ControlChart, Crossing, control_chart

__all__ = [
    "Agreement",
    "ControlChart",
    "Crossing",
    "agreement",
    "control_chart",
]
