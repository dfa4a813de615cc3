"""`EmbeddedOrchestrator`: the `AsyncOrchestrator` of a store that is open in this process."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from numpy.typing import NDArray

from penin.core import door
from penin.core.artifacts import NumericVectorArtifact
from penin.core.nearest import Metric, Neighbour, nearest, query_of
from penin.core.pruning import Pruning, pruning_of
from penin.core.reader import StateReader
from penin.core.state import State
from penin.core.transitions import Ack, Message
from penin.core.vocabulary import message as message_of
from penin.errors import ClosedError, MailboxFullError
from penin.runtime.bulk import send_bulk
from penin.runtime.pruning import prune
from penin.runtime.trace import traced
from penin.runtime.transaction import TransactionBuilder

if TYPE_CHECKING:
    from penin.runtime.actor import Actor
    from penin.runtime.indexer import Indexer
    from penin.runtime.mailbox import Answer
    from penin.runtime.supervisor import Supervisor


class EmbeddedOrchestrator:
    """See `AsyncOrchestrator` for what every method promises. One event loop; not thread-safe.

    `view` is the live state for plain synchronous reads on the same loop: what it shows is
    applied, and durable as far as `fsync` promises. What it holds belongs to the state.
    """

    def __init__(
        self, supervisor: Supervisor, actor: Actor, state: State, indexer: Indexer
    ) -> None:
        self.view = StateReader(state)
        self._supervisor = supervisor
        self._actor = actor
        self._indexer = indexer
        self._mailbox = supervisor.mailbox
        self._log = supervisor.log

    def __repr__(self) -> str:
        return f"<EmbeddedOrchestrator of {self._supervisor.store.name}, {self.phase}>"

    @property
    def phase(self) -> str:
        """The supervisor's phase."""
        return self._supervisor.phase

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the orchestrator begins to stop."""
        return self._supervisor.stopping

    @property
    def applied_seq(self) -> int:
        """The seq of the last applied transition."""
        return self._actor.state.seq

    @property
    def durable_seq(self) -> int:
        """The highest seq that is known to survive a power cut."""
        return self._actor.durable_seq

    # -- writing ------------------------------------------------------------------------------

    def _deliver(self, message: Message) -> Awaitable[Ack]:
        """Put it into the mailbox; a coroutine only where there is no room, for speed."""
        message = traced(message)
        context = contextvars.copy_context() if self._log.enabled else None
        try:
            return self._mailbox.put(message, context)
        except MailboxFullError:
            return self._mailbox.put_waiting(message, context)

    async def add_knowledge(self, key: str, artifact: NumericVectorArtifact) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._deliver(door.add_knowledge(key, artifact))

    async def remove_knowledge(self, key: str) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._deliver(door.remove_knowledge(key))

    async def prune_knowledge(
        self, *, prefix: str | None = None, before_seq: int | None = None
    ) -> int:
        """See `AsyncOrchestrator`."""
        return await self._prune(pruning_of(prefix, before_seq), self._deliver)

    async def prune_for(self, sender: door.Sender, wanted: Pruning) -> int:
        """`prune_knowledge`, with removals that name a sender."""
        return await self._prune(wanted, lambda each: self._deliver(door.sent_by(each, sender)))

    async def _prune(self, wanted: Pruning, deliver: Callable[[Message], Awaitable[Ack]]) -> int:
        self._check_open()
        view, settings = self.view.knowledge_base.view(), self._supervisor.settings
        return await prune(view, wanted, deliver, settings)

    async def extend_knowledge(
        self,
        keys: Sequence[str],
        matrix: NDArray[Any],
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> Ack:
        """See `AsyncOrchestrator`."""
        return await send_bulk(keys, matrix, metadata, self._deliver, self._supervisor.sealer)

    async def add_task(self, task: Mapping[str, Any]) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._deliver(door.add_task(task))

    async def add_score(self, score: float) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._deliver(door.add_score(score))

    async def extend_scores(self, scores: Iterable[float]) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._deliver(door.extend_scores(scores))

    async def append_history(self, name: str, value: object) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._deliver(door.append_history(name, value))

    async def put_document(self, name: str, value: object, if_seq: int | None = None) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._deliver(door.put_document(name, value, if_seq))

    async def remove_document(self, name: str) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._deliver(door.remove_document(name))

    async def set_history_maxlen(self, maxlen: int | None, name: str | None = None) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._deliver(door.set_history_maxlen(maxlen, name))

    async def send(self, message: Mapping[str, Any] | Message) -> Ack:
        """See `AsyncOrchestrator`."""
        return await self._deliver(message_of(message))

    def send_nowait(self, message: Mapping[str, Any] | Message) -> Awaitable[Ack]:
        """See `AsyncOrchestrator`. Cancelling what it returns is a sender being cancelled."""
        context = contextvars.copy_context() if self._log.enabled else None
        return self._mailbox.put(traced(message_of(message)), context)

    def send_for(self, answer: Answer, message: Message) -> None:
        """`send_nowait` of a checked message, with an answer of the sender's own."""
        context = contextvars.copy_context() if self._log.enabled else None
        self._mailbox.put_for(answer, traced(message), context)

    @asynccontextmanager
    async def transaction(self, *, id: str | None = None) -> AsyncIterator[TransactionBuilder]:
        """See `AsyncOrchestrator`."""
        builder = TransactionBuilder(id)
        yield builder
        message = builder.message()
        if message is not None:
            builder.ack = await self._deliver(message)

    # -- durability ---------------------------------------------------------------------------

    async def checkpoint(self) -> int:
        """See `AsyncOrchestrator`."""
        self._check_open()
        answer = self._supervisor.request_checkpoint("request")
        assert answer is not None  # the checkpointer is there before this object is
        return await answer

    async def durable(self, seq: int) -> None:
        """See `AsyncOrchestrator`."""
        if seq > self._actor.durable_seq:
            self._check_open()
        await self._actor.durable(seq)

    # -- reading ------------------------------------------------------------------------------

    async def get(self, key: str) -> NumericVectorArtifact | None:
        """See `AsyncOrchestrator`."""
        self._check_open()
        found = self.view.knowledge_base.find(key)
        if found is None:
            return None
        segment, row = found
        if segment.is_ready(row):
            return segment.artifact(row)
        # It may wait for the disk. A row never changes, whatever becomes of its key meanwhile.
        return await to_thread.run_sync(segment.artifact, row)

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
        self._check_open()
        query = query_of(vector, k, metric, where)
        if approximate:
            return await self._indexer.nearest(query)
        view = self.view.knowledge_base.view()
        return await to_thread.run_sync(nearest, view, query, abandon_on_cancel=True)

    async def get_document(self, name: str, type: Any = None) -> Any:
        """See `AsyncOrchestrator`."""
        self._check_open()
        return self.view.get_document(name, type)

    async def history(self, name: str, last: int | None = None) -> list[Any]:
        """See `AsyncOrchestrator`."""
        self._check_open()
        return self.view.history(name, last)

    async def statistics(self) -> dict[str, Any]:
        """See `AsyncOrchestrator`."""
        self._check_open()
        return self.view.get_statistics()

    def _check_open(self) -> None:
        if self._actor.failure is not None:
            raise self._actor.failure
        if self.phase in {"stopped", "failed"}:
            raise ClosedError("the orchestrator is closed")

    # -- closing ------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Stop: what is in the mailbox is stored, a checkpoint written, the lock given up.

        Raises what ended the orchestrator before, if anything did, and FinalCheckpointError
        where only the last snapshot could not be written. Cancelled, it goes on by itself.
        Calling it again waits for the same end.
        """
        supervisor = self._supervisor
        supervisor.stop("closed")
        await supervisor.ended.wait()
        if supervisor.failure is not None:
            raise supervisor.failure
