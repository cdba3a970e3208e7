"""The workspace: runs, pipelines, chains, predictions and artifacts, kept safely in one folder.

Nothing here imports Prefect.
"""

from n4a_flows.storage.artifact_files import PreparedArtifact
from n4a_flows.storage.axis import Axis
from n4a_flows.storage.backup import BackupReport, RestoreReport
from n4a_flows.storage.batches import ScoredBatch
from n4a_flows.storage.bundles import (
    BundleGenerator,
    BundleInfo,
    ImportReport,
    VersionDifference,
    inspect_bundle,
    verify_bundle,
)
from n4a_flows.storage.chain_builder import ChainBuilder
from n4a_flows.storage.chain_replay import ChainPackage, replay_chain
from n4a_flows.storage.chains import ChainContext
from n4a_flows.storage.check import CheckReport, Finding
from n4a_flows.storage.cleaning import CleaningPlan, CleaningReport
from n4a_flows.storage.codecs import SerializedArtifact, serialize
from n4a_flows.storage.compaction import CompactReport
from n4a_flows.storage.crossings import LimitCrossing
from n4a_flows.storage.finding import Named
from n4a_flows.storage.folds import fold_key_candidates, normalize_fold_key, parse_numeric_fold_key
from n4a_flows.storage.gc import GcPlan, GcReport
from n4a_flows.storage.library import PipelineLibrary
from n4a_flows.storage.origins import ReapedRun, RunOrigin
from n4a_flows.storage.places import Place
from n4a_flows.storage.predictions import REFIT_CONTEXT_STACKING, REFIT_CONTEXT_STANDALONE
from n4a_flows.storage.predictor import Predictor
from n4a_flows.storage.probes import Probe, ProbeReport
from n4a_flows.storage.repair import RepairReport
from n4a_flows.storage.retention import RetentionPlan, RetentionPolicy, RetentionReport
from n4a_flows.storage.scoring import ScoredFile, ScoredSample
from n4a_flows.storage.store_protocol import WorkspaceStoreProtocol
from n4a_flows.storage.trace import ExecutionStep, ExecutionTrace, StepArtifacts, StepExecutionMode, TraceRecorder
from n4a_flows.storage.upgrade import UpgradeReport
from n4a_flows.storage.workspace_store import WorkspaceStore

__all__ = [
    "REFIT_CONTEXT_STACKING",
    "REFIT_CONTEXT_STANDALONE",
    "Axis",
    "BackupReport",
    "BundleGenerator",
    "BundleInfo",
    "ChainBuilder",
    "ChainContext",
    "ChainPackage",
    "CheckReport",
    "CleaningPlan",
    "CleaningReport",
    "CompactReport",
    "ExecutionStep",
    "ExecutionTrace",
    "Finding",
    "GcPlan",
    "GcReport",
    "ImportReport",
    "LimitCrossing",
    "Named",
    "PipelineLibrary",
    "Place",
    "Predictor",
    "PreparedArtifact",
    "Probe",
    "ProbeReport",
    "ReapedRun",
    "RepairReport",
    "RestoreReport",
    "RetentionPlan",
    "RetentionPolicy",
    "RetentionReport",
    "RunOrigin",
    "ScoredBatch",
    "ScoredFile",
    "ScoredSample",
    "SerializedArtifact",
    "StepArtifacts",
    "StepExecutionMode",
    "TraceRecorder",
    "UpgradeReport",
    "VersionDifference",
    "WorkspaceStore",
    "WorkspaceStoreProtocol",
    "fold_key_candidates",
    "inspect_bundle",
    "normalize_fold_key",
    "parse_numeric_fold_key",
    "replay_chain",
    "serialize",
    "verify_bundle",
]
