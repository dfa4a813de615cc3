"""`penin.connect`: the `AsyncOrchestrator` of a store that a worker has open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec
from anyio import CancelScope, to_thread
from numpy.typing import NDArray

from penin.core import door
from penin.core.artifacts import NumericVectorArtifact, Vector
from penin.core.nearest import Metric, Neighbour, query_of
from penin.core.pruning import pruning_of
from penin.core.reader import as_type
from penin.core.transitions import Ack, Message
from penin.core.values import decode_value, to_wire
from penin.core.vocabulary import message as message_of
from penin.errors import UsageError
from penin.ingress.socket.asking import Answer, Asking
from penin.ingress.socket.durability import DurableWaiters
from penin.ingress.socket.sender import Sender
from penin.runtime.bulk import send_bulk
from penin.runtime.open import check_platform
from penin.runtime.sealer import Sealer
from penin.runtime.status import WorkerStatus
from penin.runtime.store import MEMORY, resolved
from penin.runtime.trace import current_trace
from penin.runtime.transaction import TransactionBuilder

WAIT_S: Final = 10.0


class _Artifact(msgspec.Struct):
    """An artifact as a worker sends it."""

    vector: Vector
    metadata: msgspec.Raw

    def made(self) -> NumericVectorArtifact:
        return NumericVectorArtifact.from_parts(
            self.vector.dtype, self.vector.data, bytes(self.metadata)
        )


class _Neighbour(_Artifact):
    """One of the nearest, as a worker sends it."""

    key: str
    score: msgspec.Raw


_decode_artifact: Final = msgspec.json.Decoder(_Artifact | None).decode
_decode_neighbour: Final = msgspec.json.Decoder(_Neighbour).decode


class RemoteOrchestrator:
    """See `AsyncOrchestrator` for what every method promises. One event loop; not thread-safe.

    `store` is the id of the store. What differs: `phase`, `applied_seq` and `durable_seq` are as
    far as this client knows, and `stopping` is set while the worker stops, and for good once this
    is closed. A sender that is cancelled has withdrawn its message if that was not sent yet. Where
    no worker is there, every call waits for one for `wait_s`, and then raises NotRunningError:
    certainly not stored. A message that a worker may have taken before it went away raises
    OutcomeUnknownError; with an `id` it is sent again instead.
    """

    def __init__(self, directory: Path, wait_s: float) -> None:
        self.phase = "starting"
        self.applied_seq = 0
        self.durable_seq = 0
        self.store = ""
        self.stopping = asyncio.Event()
        self._directory = directory
        self._is_always_durable = False
        self._asking = Asking(directory, wait_s)
        self._sender = Sender(
            directory,
            wait_s,
            on_link=self._note_worker,
            on_stopping=self._note_stopping,
            on_lost=self._note_lost,
            on_ack=self._note_ack,
        )
        self._durable = DurableWaiters(self._ask_durable)
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<RemoteOrchestrator of {self._directory}, {self.phase}>"

    async def open(self) -> None:
        """Connect. Raises NotRunningError after `wait_s` without a worker, and ForbiddenError."""
        self._task = asyncio.ensure_future(self._sender.run())
        try:
            await self._sender.reached()
        except BaseException:
            self._task.cancel()
            await asyncio.wait({self._task})
            raise

    # -- what is heard of the worker ----------------------------------------------------------

    def _note_worker(self, status: WorkerStatus) -> None:
        self._is_always_durable = status.fsync == "always"
        self.applied_seq = max(self.applied_seq, status.applied_seq)
        self._note_durable(status.durable_seq)
        self.phase = status.phase
        self.store = status.store
        if not self._is_closed:
            self.stopping.clear()

    def _note_stopping(self, _: str) -> None:
        self.phase = "draining"
        self.stopping.set()

    def _note_lost(self) -> None:
        self.phase = "stopped"

    def _note_ack(self, ack: Ack) -> None:
        self.applied_seq = max(self.applied_seq, ack.seq)
        if self._is_always_durable:
            self._note_durable(ack.seq)

    def _note_durable(self, seq: int) -> None:
        self.durable_seq = max(self.durable_seq, seq)

    # -- writing ------------------------------------------------------------------------------

    async def add_knowledge(self, key: str, artifact: NumericVectorArtifact) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._sender.deliver(door.add_knowledge(key, artifact))

    async def remove_knowledge(self, key: str) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._sender.deliver(door.remove_knowledge(key))

    async def prune_knowledge(
        self, *, prefix: str | None = None, before_seq: int | None = None
    ) -> int:
        """See `AsyncOrchestrator`."""
        pruning_of(prefix, before_seq)
        asked: dict[str, Any] = {"prefix": prefix, "before_seq": before_seq}
        trace = current_trace()
        if trace is not None:
            asked["from"] = msgspec.structs.replace(self._sender.origin, trace=trace)
        answer = await self._asking.ask("prune_knowledge", **asked)
        removed: int = decode_value(answer.value)
        return removed

    async def extend_knowledge(
        self,
        keys: Sequence[str],
        matrix: NDArray[Any],
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> Ack:
        """See `AsyncOrchestrator`; the numbers go over the socket and through the journal."""
        return await send_bulk(keys, matrix, metadata, self._sender.deliver, Sealer(None))

    async def add_task(self, task: Mapping[str, Any]) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._sender.deliver(door.add_task(task))

    async def add_score(self, score: float) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._sender.deliver(door.add_score(score))

    async def extend_scores(self, scores: Iterable[float]) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._sender.deliver(door.extend_scores(scores))

    async def append_history(self, name: str, value: object) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._sender.deliver(door.append_history(name, value))

    async def put_document(self, name: str, value: object, if_seq: int | None = None) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._sender.deliver(door.put_document(name, value, if_seq))

    async def remove_document(self, name: str) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._sender.deliver(door.remove_document(name))

    async def set_history_maxlen(self, maxlen: int | None, name: str | None = None) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._sender.deliver(door.set_history_maxlen(maxlen, name))

    async def send(self, message: Mapping[str, Any] | Message) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._sender.deliver(message_of(message))

    def send_nowait(self, message: Mapping[str, Any] | Message) -> Awaitable[Ack]:
        """See `AsyncOrchestrator`: raises MailboxFullError where too much waits to be sent."""
        return self._sender.put(message_of(message))

    @asynccontextmanager
    async def transaction(self, *, id: str | None = None) -> AsyncIterator[TransactionBuilder]:
        """See `AsyncOrchestrator`."""
        builder = TransactionBuilder(id)
        yield builder
        message = builder.message()
        if message is not None:
            builder.ack = await self._sender.deliver(message)

    # -- durability ---------------------------------------------------------------------------

    async def checkpoint(self) -> int:
        """See `AsyncOrchestrator`."""
        answer = await self._asking.ask("checkpoint")
        seq: int = decode_value(answer.value)
        self._note_durable(seq)
        return seq

    async def durable(self, seq: int) -> None:
        """See `AsyncOrchestrator`."""
        door.check_whole(seq, "seq", at_least=0)
        if seq > self.durable_seq:
            await self._durable.wait(seq)

    async def _ask_durable(self, seq: int) -> int:
        answer = await self._asking.ask("durable", seq=seq)
        self._note_durable(decode_value(answer.value))
        return self.durable_seq

    # -- reading ------------------------------------------------------------------------------

    async def get(self, key: str) -> NumericVectorArtifact | None:
        """See `AsyncOrchestrator`."""
        answer = await self._asking.ask("get", key=key)
        found = _decode_artifact(answer.value)
        return None if found is None else found.made()

    async def nearest(
        self,
        vector: Sequence[float] | NDArray[Any],
        k: int = 10,
        metric: Metric = "cosine",
        where: Mapping[str, Any] | None = None,
        *,
        approximate: bool = False,
    ) -> list[Neighbour]:
        """See `AsyncOrchestrator`."""
        query = query_of(vector, k, metric, where)
        answer = await self._asking.ask(
            "nearest",
            vector=Vector("<f8", query.vector.tobytes()),
            k=query.k,
            metric=query.metric,
            where={name: to_wire(wanted, "where") for name, wanted in query.where.items()},
            approximate=approximate,
        )
        found = map(_decode_neighbour, answer.items)
        return [Neighbour(one.key, decode_value(bytes(one.score)), one.made()) for one in found]

    async def get_document(self, name: str, type: Any = None) -> Any:
        """See `AsyncOrchestrator`."""
        answer = await self._asking.ask("get_document", name=name)
        value = decode_value(answer.value)
        if type is None or answer.seq == 0:
            return value
        return as_type(value, type, f"documents.{name}")

    async def history(self, name: str, last: int | None = None) -> list[Any]:
        """See `AsyncOrchestrator`."""
        at_most = None if last is None else max(0, last)
        answer = await self._asking.ask("history", name=name, last=at_most)
        return list(map(decode_value, answer.items))

    async def statistics(self) -> dict[str, Any]:
        """See `AsyncOrchestrator`."""
        answer = await self._asking.ask("statistics")
        statistics: dict[str, Any] = decode_value(answer.value)
        return statistics

    async def ask(self, query: str, **members: Any) -> Answer:
        """The answer of the worker to a query of the protocol; see `docs/protocol.md`."""
        return await self._asking.ask(query, **members)

    # -- closing ------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Disconnect, when what is on its way is answered. Cancelled, it goes on by itself.

        Waits for a worker as every call does; what is not stored then has been told to its sender.
        """
        self._is_closed = True
        self._sender.close()
        self._asking.close()
        self._durable.close()
        self.stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task})
            self.phase = "stopped"
            self._task.result()


class Connecting:
    """A client about to connect: `async with` it, or `await` it and `aclose()` later."""

    def __init__(self, directory: str | os.PathLike[str], wait_s: float) -> None:
        self._directory = directory
        self._wait_s = wait_s
        self._orchestrator: RemoteOrchestrator | None = None

    async def __aenter__(self) -> RemoteOrchestrator:
        self._orchestrator = await self._open()
        return self._orchestrator

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._orchestrator is not None
        with CancelScope(shield=True):
            await self._orchestrator.aclose()

    def __await__(self) -> Generator[Any, None, RemoteOrchestrator]:
        return self._open().__await__()

    async def _open(self) -> RemoteOrchestrator:
        check_platform(self._directory)
        if os.fspath(self._directory) == MEMORY:
            raise UsageError("a store in memory is of one process, and cannot be connected to")
        directory = await to_thread.run_sync(resolved, self._directory)
        orchestrator = RemoteOrchestrator(Path(directory), self._wait_s)
        await orchestrator.open()
        return orchestrator


def connect(
    dir: str | os.PathLike[str],  # the word of the command line
    *,
    wait_s: float = WAIT_S,
) -> Connecting:
    """Use the store in a directory that another process has open, over its socket.

        async with penin.connect(".penin_omega") as orchestrator:
            await orchestrator.add_score(0.85)

    or `orchestrator = await penin.connect(…)` and later `await orchestrator.aclose()`. What it
    gives has the names and promises of `penin.open` (`AsyncOrchestrator`). `wait_s` is how long a
    worker is waited for: at first, and again whenever it is gone.

    Entering raises NotRunningError where no worker serves the store, ForbiddenError where it
    belongs to another user, and UsageError for a store in memory. Leaving waits for what is on its
    way.
    """
    return Connecting(dir, wait_s)
