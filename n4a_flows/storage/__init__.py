"""The workspace: runs, pipelines, chains, predictions and artifacts, kept safely in one folder.

Nothing here imports Prefect.
"""

from n4a_flows.storage.artifacts import PreparedArtifact
from n4a_flows.storage.axis import Axis
from n4a_flows.storage.chain_builder import ChainBuilder
from n4a_flows.storage.chain_replay import ChainPackage, replay_chain
from n4a_flows.storage.chains import ChainContext
from n4a_flows.storage.codecs import SerializedArtifact, serialize
from n4a_flows.storage.predictor import Predictor
from n4a_flows.storage.scoring import ScoredFile, ScoredSample
from n4a_flows.storage.workspace_store import WorkspaceStore

__all__ = [
    "Axis",
    "ChainBuilder",
    "ChainContext",
    "ChainPackage",
    "Predictor",
    "PreparedArtifact",
    "ScoredFile",
    "ScoredSample",
    "SerializedArtifact",
    "WorkspaceStore",
    "replay_chain",
    "serialize",
]
