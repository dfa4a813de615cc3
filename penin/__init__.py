"""PENIN: a crash-proof, long-term memory for asyncio workers and agents.

    async with penin.open(".penin_omega") as orchestrator:
        await orchestrator.add_score(0.85)

Whatever was acknowledged survives `kill -9`. See `README.md` and `docs/`.
"""

from typing import TYPE_CHECKING, Any

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator, StateEncoder, state_decoder
from penin.core.migration import Draft
from penin.core.nearest import Neighbour
from penin.core.transitions import Ack
from penin.errors import PeninError
from penin.ingress.socket.remote import RemoteOrchestrator, connect
from penin.ingress.socket.server import SocketServer
from penin.runtime.backup import BackedUp, backup
from penin.runtime.blocking import BlockingOrchestrator, open_sync
from penin.runtime.open import load
from penin.runtime.open import open_store as open  # penin.open, as gzip.open
from penin.runtime.orchestrator import EmbeddedOrchestrator
from penin.runtime.protocol import AsyncOrchestrator
from penin.runtime.rekey import Rekeyed, rekey
from penin.runtime.restore import Restored, restore
from penin.runtime.verify import StoreReport, verify
from penin.settings import Settings

if TYPE_CHECKING:
    from penin.runtime.run import run
else:

    def __getattr__(name: str) -> Any:
        # `run` needs structlog, which takes long to import; `open` does not.
        if name == "run":
            from penin.runtime.run import run  # noqa: PLC0415

            return run
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = "0.1.0"

__all__ = [
    "Ack",
    "AsyncOrchestrator",
    "BackedUp",
    "BlockingOrchestrator",
    "Draft",
    "EmbeddedOrchestrator",
    "Neighbour",
    "NumericVectorArtifact",
    "OmegaMetaOrchestrator",
    "PeninError",
    "Rekeyed",
    "RemoteOrchestrator",
    "Restored",
    "Settings",
    "SocketServer",
    "StateEncoder",
    "StoreReport",
    "backup",
    "connect",
    "load",
    "open",
    "open_sync",
    "rekey",
    "restore",
    "run",
    "state_decoder",
    "verify",
]
