"""What the memory means: artifacts, state, transitions, and how they are written.

Synchronous and without a clock; nothing in here starts a task or a thread.
"""

from penin.core.artifacts import NumericVectorArtifact
from penin.core.orchestrator import OmegaMetaOrchestrator
from penin.core.serialization import StateEncoder, state_decoder

__all__ = ["NumericVectorArtifact", "OmegaMetaOrchestrator", "StateEncoder", "state_decoder"]
