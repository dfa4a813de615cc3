"""`penin.open_sync`: the durable orchestrator for programs without an event loop.

An event loop runs in a thread of its own (anyio's blocking portal), and each call waits for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from numpy.typing import NDArray

from penin.core.artifacts import NumericVectorArtifact
from penin.core.migration import Migration
from penin.core.nearest import Metric, Neighbour
from penin.core.transitions import Ack, Message
from penin.errors import ClosedError, WrongContextError
from penin.runtime.open import open_store
from penin.runtime.orchestrator import EmbeddedOrchestrator
from penin.runtime.transaction import TransactionBuilder
from penin.runtime.ways_in import Server
from penin.settings import Settings


class BlockingOrchestrator:
    """`AsyncOrchestrator` without `await`: the same names, promises and errors. Thread-safe.

    Three names are missing. `stopping`: nothing but the end of its own block stops it, since it
    has no workers and serves no signals. `send_nowait`: its answer would be something to await.
    `view` (of `EmbeddedOrchestrator`): it is for the thread of the loop alone.

    Each call raises WrongContextError instead of blocking an event loop on which it is made.
    """

    def __init__(self, orchestrator: EmbeddedOrchestrator, portal: BlockingPortal) -> None:
        self._orchestrator = orchestrator
        self._portal = portal
        self.is_closed = False

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        _refuse_event_loop()
        if self.is_closed:
            raise ClosedError("the orchestrator is closed")
        return self._portal.call(function, *args)

    @property
    def phase(self) -> str:
        """The supervisor's phase."""
        return self._orchestrator.phase

    @property
    def applied_seq(self) -> int:
        """The seq of the last applied transition."""
        return self._orchestrator.applied_seq

    @property
    def durable_seq(self) -> int:
        """The highest seq that is known to survive a power cut."""
        return self._orchestrator.durable_seq

    def add_knowledge(self, key: str, artifact: NumericVectorArtifact) -> Ack:
        """Put `artifact` under `key`, replacing what is there."""
        return self._call(self._orchestrator.add_knowledge, key, artifact)  # type: ignore[no-any-return]

    def remove_knowledge(self, key: str) -> Ack:
        """Remove `key`."""
        return self._call(self._orchestrator.remove_knowledge, key)  # type: ignore[no-any-return]

    def prune_knowledge(self, *, prefix: str | None = None, before_seq: int | None = None) -> int:
        """Remove what begins with `prefix` and was last changed before `before_seq`; how many."""
        pruning = partial(self._orchestrator.prune_knowledge, prefix=prefix, before_seq=before_seq)
        return self._call(pruning)  # type: ignore[no-any-return]

    def extend_knowledge(
        self,
        keys: Sequence[str],
        matrix: NDArray[Any],
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> Ack:
        """Put one artifact for each row of `matrix`; a large one as several messages."""
        return self._call(self._orchestrator.extend_knowledge, keys, matrix, metadata)  # type: ignore[no-any-return]

    def add_task(self, task: Mapping[str, Any]) -> Ack:
        """Record `task`."""
        return self._call(self._orchestrator.add_task, task)  # type: ignore[no-any-return]

    def add_score(self, score: float) -> Ack:
        """Record `score`."""
        return self._call(self._orchestrator.add_score, score)  # type: ignore[no-any-return]

    def extend_scores(self, scores: Iterable[float]) -> Ack:
        """Record many scores."""
        return self._call(self._orchestrator.extend_scores, scores)  # type: ignore[no-any-return]

    def append_history(self, name: str, value: object) -> Ack:
        """Append a value to a history."""
        return self._call(self._orchestrator.append_history, name, value)  # type: ignore[no-any-return]

    def put_document(self, name: str, value: object, if_seq: int | None = None) -> Ack:
        """Set a document, conditionally with `if_seq`."""
        return self._call(self._orchestrator.put_document, name, value, if_seq)  # type: ignore[no-any-return]

    def remove_document(self, name: str) -> Ack:
        """Remove a document."""
        return self._call(self._orchestrator.remove_document, name)  # type: ignore[no-any-return]

    def set_history_maxlen(self, maxlen: int | None, name: str | None = None) -> Ack:
        """Bound one history, or all of them."""
        return self._call(self._orchestrator.set_history_maxlen, maxlen, name)  # type: ignore[no-any-return]

    def send(self, message: Mapping[str, Any] | Message) -> Ack:
        """Send a message of the vocabulary."""
        return self._call(self._orchestrator.send, message)  # type: ignore[no-any-return]

    @contextmanager
    def transaction(self, *, id: str | None = None) -> Iterator[TransactionBuilder]:
        """Collect transitions and send them as one message when the block ends."""
        builder = TransactionBuilder(id)
        yield builder
        message = builder.message()
        if message is not None:
            builder.ack = self._call(self._orchestrator.send, message)

    def checkpoint(self) -> int:
        """Write a snapshot of all that is applied now; its seq."""
        return self._call(self._orchestrator.checkpoint)  # type: ignore[no-any-return]

    def durable(self, seq: int) -> None:
        """Wait until everything up to `seq` survives a power cut."""
        self._call(self._orchestrator.durable, seq)

    def get(self, key: str) -> NumericVectorArtifact | None:
        """The artifact under `key`, or None."""
        return self._call(self._orchestrator.get, key)  # type: ignore[no-any-return]

    def nearest(
        self,
        vector: Sequence[float] | NDArray[Any],
        k: int = 10,
        metric: Metric = "cosine",
        where: Mapping[str, Any] | None = None,
        *,
        approximate: bool = False,
    ) -> list[Neighbour]:
        """The `k` artifacts nearest to `vector`, best first."""
        search = partial(self._orchestrator.nearest, approximate=approximate)
        return self._call(search, vector, k, metric, where)  # type: ignore[no-any-return]

    def get_document(self, name: str, type: Any = None) -> Any:
        """A copy of a document, as `type` if given, or None."""
        return self._call(self._orchestrator.get_document, name, type)

    def history(self, name: str, last: int | None = None) -> list[Any]:
        """A copy of the newest `last` items of a history."""
        return self._call(self._orchestrator.history, name, last)  # type: ignore[no-any-return]

    def statistics(self) -> dict[str, Any]:
        """The three sizes and `avg_score`."""
        return self._call(self._orchestrator.statistics)  # type: ignore[no-any-return]


@contextmanager
def open_sync(
    dir: str | os.PathLike[str],  # the word of the command line
    *,
    settings: Settings | None = None,
    logger: Any = None,
    schema_version: int | None = None,
    migrations: Mapping[int, Migration] | None = None,
    servers: Sequence[Server] = (),
) -> Iterator[BlockingOrchestrator]:
    """Open a store for a synchronous program; as durable as `penin.open`, and raises the same.

        with penin.open_sync(".penin_omega") as orchestrator:
            orchestrator.add_score(0.85)

    Raises WrongContextError when called on a running event loop.
    """
    _refuse_event_loop()
    opening = open_store(
        dir,
        settings=settings,
        logger=logger,
        schema_version=schema_version,
        migrations=migrations,
        servers=servers,
    )
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(opening) as orchestrator,
    ):
        blocking = BlockingOrchestrator(orchestrator, portal)
        try:
            yield blocking
        finally:
            blocking.is_closed = True


def _refuse_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise WrongContextError(
        "a synchronous orchestrator would block this event loop; use penin.open here"
    )
