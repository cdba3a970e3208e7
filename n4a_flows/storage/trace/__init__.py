"""The trace of one training: which steps ran, with what, and which artifacts they left."""

from n4a_flows.storage.trace.execution_trace import (
    ExecutionStep,
    ExecutionTrace,
    StepArtifacts,
    StepExecutionMode,
)
from n4a_flows.storage.trace.recorder import TraceRecorder

__all__ = ["ExecutionStep", "ExecutionTrace", "StepArtifacts", "StepExecutionMode", "TraceRecorder"]
