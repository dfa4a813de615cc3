"""`AsyncOrchestrator`: what workers and applications program against."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar, overload

from numpy.typing import NDArray

from penin.core.artifacts import NumericVectorArtifact
from penin.core.nearest import Metric, Neighbour
from penin.core.transitions import Ack, Message
from penin.runtime.transaction import TransactionBuilder

T = TypeVar("T")


class Stopping(Protocol):
    """Whether and when the orchestrator was asked to stop."""

    def is_set(self) -> bool:
        """Whether it was."""

    async def wait(self) -> object:
        """Wait until it is."""


class AsyncOrchestrator(Protocol):
    """A durable memory that is reached by `await`.

    Every writer returns its `Ack` once the condition of the acknowledgement holds (`fsync`), and
    nobody can read the change before. Every writer waits while the mailbox is full, and raises:

    - RefusedTypeError, RefusedValueError: bad input, named; nothing changed;
    - StorageFullError: no room; certainly not stored; reads go on, and writes once there is room;
    - JournalFailedError: the outcome is unknown; the orchestrator has stopped for good;
    - ClosedError: it is not open any more; not stored.

    A sender that is cancelled before the actor took its message has withdrawn it; after that the
    message is applied. Sent again with the `id` that it had, it is not applied again, and answered
    with its seq.
    """

    @property
    def phase(self) -> str:
        """starting, recovering, running, draining, stopped or failed."""

    @property
    def stopping(self) -> Stopping:
        """Set when the orchestrator begins to stop: a worker's signal to finish and return."""

    @property
    def applied_seq(self) -> int:
        """The seq of the last transition that is applied and can be read."""

    @property
    def durable_seq(self) -> int:
        """The highest seq that is known to survive a power cut."""

    async def add_knowledge(self, key: str, artifact: NumericVectorArtifact) -> Ack:
        """Put `artifact` under `key`, replacing what is there."""

    async def remove_knowledge(self, key: str) -> Ack:
        """Remove `key`; the result is `missing` where it is not there."""

    async def prune_knowledge(
        self, *, prefix: str | None = None, before_seq: int | None = None
    ) -> int:
        """Remove what begins with `prefix` and was last changed before `before_seq`; how many.

        At least one of them is given; an empty prefix is that of every key. Each is removed by a
        message of its own, with the seq of its last change as a condition: what is changed while
        this goes on stays. Cancelled or failed in between, some are removed and some are not.
        """

    async def extend_knowledge(
        self,
        keys: Sequence[str],
        matrix: NDArray[Any],
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> Ack:
        """Put one artifact for each row of `matrix`, of shape (len(keys), n).

        It is checked whole first. One of more than 1 MiB is sent as several messages of at most
        4,096 rows, each atomic by itself, and some of them under way at once: cancelled or failed
        in between, some of them are stored and some not. Its numbers are in files of the store,
        durable before the messages that name them. Refused inside a transaction. Do not change
        the arguments before it returns. The last `Ack` is returned.
        """

    async def add_task(self, task: Mapping[str, Any]) -> Ack:
        """Record `task` (it is not executed) at the end of `task_history`."""

    async def add_score(self, score: float) -> Ack:
        """Record `score` at the end of `score_history`; infinities and NaN are kept."""

    async def extend_scores(self, scores: Iterable[float]) -> Ack:
        """Record many scores in order, as one transition."""

    async def append_history(self, name: str, value: object) -> Ack:
        """Append a value to the history `name`, which is made if it is not there."""

    async def put_document(self, name: str, value: object, if_seq: int | None = None) -> Ack:
        """Set a document; with `if_seq`, only if its last change has that seq (0: none is there).

        The result is `conflict`, and nothing changed, where the condition does not hold.
        """

    async def remove_document(self, name: str) -> Ack:
        """Remove a document; the result is `missing` where it is not there."""

    async def set_history_maxlen(self, maxlen: int | None, name: str | None = None) -> Ack:
        """Bound one history, or all of them and those made later; None is no bound."""

    async def send(self, message: Mapping[str, Any] | Message) -> Ack:
        """Send a message of the vocabulary: `{"type": "add_score", "score": 0.85}`.

        With an `id` (1 to 128 characters) it can be sent again: while it is one of the last
        `message_ids_max` messages with an `id`, it uses no seq, changes nothing, and the `Ack` is
        the first one. IdReusedError, and nothing changed, where its content was another one.
        """

    def send_nowait(self, message: Mapping[str, Any] | Message) -> Awaitable[Ack]:
        """Send without waiting for room. Raises MailboxFullError; nothing changed then."""

    def transaction(
        self, *, id: str | None = None
    ) -> AbstractAsyncContextManager[TransactionBuilder]:
        """Collect transitions and send them as one message when the block ends.

        `async with orchestrator.transaction() as t: t.add_score(0.85); t.put_document("a", 1)`.
        All or nothing, and never split. An exception in the block sends nothing; afterwards
        `t.ack` is the answer (None where the block was empty). `id` is as in `send`.
        """

    async def checkpoint(self) -> int:
        """Write a snapshot of all that is applied now; its seq, once it is durable.

        Raises StorageError where it failed; nothing is lost then.
        """

    async def durable(self, seq: int) -> None:
        """Wait until everything up to `seq` survives a power cut."""

    async def get(self, key: str) -> NumericVectorArtifact | None:
        """The artifact under `key`, or None."""

    async def nearest(
        self,
        vector: Sequence[float] | NDArray[Any],
        k: int = 10,
        metric: Metric = "cosine",
        where: Mapping[str, Any] | None = None,
        *,
        approximate: bool = False,
    ) -> list[Neighbour]:
        """The `k` artifacts nearest to `vector`, best first, with keys and scores.

        It is exact, and of one moment: what is applied when it is called. `metric` is `cosine` or
        `dot` (higher is better) or `euclidean` (the distance, lower is better). `where` maps
        fields of the metadata to the value wanted, or to a list of values of which any will do.
        Fewer come back where there are fewer. Raises RefusedTypeError or RefusedValueError, naming
        the argument: for one, where there are artifacts and none has the dimension of `vector`.

        With `approximate` it is much faster among many, and may miss some: an index answers, which
        is built in the background once it was asked for. Until it is there the answer is exact, and
        so it always is about what is newer than the index; scores and what is removed are as
        without. Raises UsageError where the extra `penin[index]` is not installed.

        It runs in a thread. Cancelled, it goes on there to its end, and nothing waits for it.
        """

    @overload
    async def get_document(self, name: str, type: None = None) -> Any: ...
    @overload
    async def get_document(self, name: str, type: type[T]) -> T | None: ...
    async def get_document(self, name: str, type: Any = None) -> Any:
        """A copy of a document, as `type` if given, or None where there is none."""

    async def history(self, name: str, last: int | None = None) -> list[Any]:
        """A copy of the newest `last` items (None: all) of a history, oldest first."""

    async def statistics(self) -> dict[str, Any]:
        """The three sizes and `avg_score`, as `OmegaMetaOrchestrator.get_statistics`."""
