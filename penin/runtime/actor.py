"""The actor: the one task that takes messages from the mailbox and changes the state.

The way of a batch: taken from the mailbox, made durable by one journal append on the journal's
thread, applied, logged, answered. While one batch is applied, the append of the next one is under
way: the disk and the loop work at the same time, and there is never more than one append in
flight. An append that has returned without an error is what leads to `_go_on`, and nothing else.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from penin.core.state import State
from penin.core.transitions import Ack, AnyTransition, Message, Transaction
from penin.errors import (
    ClosedError,
    JournalFailedError,
    PeninError,
    StorageFullError,
)
from penin.logs import EventLog
from penin.runtime.bounds import Bounds
from penin.runtime.clock import now_text
from penin.runtime.mailbox import Letter, Mailbox
from penin.runtime.repeats import Repeats
from penin.runtime.storage_thread import StorageThread
from penin.settings import Settings
from penin.storage.journal import Journal

SLICE_MESSAGES: Final = 512
"""How many messages are applied before the time on the loop is looked at."""
SLICE_BYTES: Final = 2**20
"""Of long messages so many are applied that they have about so many bytes: as a rule a whole batch,
since many keys are looked up faster at once."""
SLICE_S: Final = 0.005
"""After so long on the loop, applying a batch lets the other tasks run."""
_PYTHON: Final = "python"


class _Append(msgspec.Struct, gc=False):
    """A batch on its way into the journal, up to the transition `last_seq`."""

    next_seq: int
    """The first seq of the next letter to be applied."""
    last_seq: int
    at: str
    letters: list[Letter]
    slice_messages: int
    outcome: asyncio.Future[None]
    applied: int = 0
    """How many of the letters are applied and answered."""
    is_done: bool = False
    following: _Append | None = None
    """The append that was begun when this one was durable."""


class Actor:
    """Owns the state; the only caller of `State.apply_all` on a live one.

    `listeners` are told the seq whenever a batch was applied. `batches` and `messages` count what
    was applied, and `refused` the messages for which there was no room on the disk.
    """

    def __init__(
        self,
        *,
        state: State,
        mailbox: Mailbox,
        journal: Journal,
        thread: StorageThread,
        settings: Settings,
        log: EventLog,
        at: str,
        bounds: Bounds | None = None,
    ) -> None:
        self.state = state
        self.at = at
        self.failure: PeninError | None = None
        self.has_bug = False
        self.durable_seq = journal.durable_seq
        self.batches = self.messages = self.refused = 0
        self.listeners: list[Callable[[int], None]] = []
        self._mailbox = mailbox
        self._journal = journal
        self._thread = thread
        self._settings = settings
        self._log = log
        self._repeats = Repeats(state, log)
        self.bounds = bounds
        self._bounded: list[Letter] = []  # of the batch that is committed part by part
        self._committing = asyncio.Lock()
        self._interruptions = 0  # who waits for a moment between two commits, or has it
        self._under_way: list[_Append] = []
        self._is_full = False
        self._end: PeninError | None = None
        self._durable_waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ticket = itertools.count()

    async def run(self) -> None:
        """Serve the mailbox until it is closed and empty.

        Raises JournalFailedError when the outcome of an append is unknown, or when applying
        raised; by then every sender has been answered.
        """
        settings = self._settings
        try:
            while batch := await self._mailbox.take(
                settings.batch_messages_max, settings.batch_bytes_max
            ):
                async with self._committing:
                    await self._commit(batch)
            await self._thread.call(self._journal.sync)  # nobody waits for a second that is over
        except JournalFailedError as error:
            self.failure = self.failure or error
            raise
        finally:
            self._end = self.failure or ClosedError("the orchestrator is closed")
            self._mailbox.refuse_all(self._end)
            self._release_durable_waiters(self._end)

    @asynccontextmanager
    async def between_commits(self) -> AsyncIterator[None]:
        """Wait until no commit is on its way, and hold the next one off.

        Whoever is inside sees the state and the journal at the same seq.
        """
        self._interruptions += 1
        try:
            async with self._committing:
                yield
        finally:
            self._interruptions -= 1

    async def _commit(self, batch: list[Letter]) -> None:
        """Commit `batch`, and then whatever gathers meanwhile, until nothing does."""
        try:
            if self.bounds is not None:
                await self._commit_parts(self.bounds, batch)
                return
            append = self._begin(self.state.seq + 1, batch)
            while append is not None:
                append = await self._finish(append)
        except asyncio.CancelledError:
            self._fail(JournalFailedError(self._place, "cancelled in the middle of a commit"))
            raise
        except JournalFailedError as error:
            self._fail(error)
            raise
        except Exception as error:
            failure = JournalFailedError(self._place, f"the actor stopped on a bug: {error!r}")
            self.has_bug = True
            self._fail(failure)
            self._log.error("actor.failed", cause=repr(error), exc_info=error)
            raise failure from error

    async def _commit_parts(self, bounds: Bounds, batch: list[Letter]) -> None:
        """Commit what the bounds leave of a batch, each part after the one before is applied."""
        self._bounded = self._repeats.without(batch)
        for part in bounds.parts(self._bounded, self._refuse):
            await self._finish(self._append(self.state.seq + 1, part))
        self._bounded = []

    @property
    def is_full(self) -> bool:
        """Whether messages are refused because there is no room on the disk."""
        return self._is_full

    @property
    def _place(self) -> str:
        return f"store {self._journal.store}"

    def _begin(self, first_seq: int, batch: list[Letter]) -> _Append | None:
        """Hand what is new in a batch to the journal's thread; None where nothing is."""
        letters = self._repeats.without(batch)
        return self._append(first_seq, letters) if letters else None

    def _append(self, first_seq: int, letters: list[Letter]) -> _Append:
        messages = [letter.message.raw for letter in letters]
        last_seq = first_seq - 1 + sum([letter.message.count for letter in letters])
        at = now_text()
        outcome = self._thread.call(
            self._journal.append, first_seq, last_seq, at, messages, then=self._go_on
        )
        mean_bytes = sum(map(len, messages)) // len(messages)
        step = max(1, min(SLICE_MESSAGES, SLICE_BYTES // (mean_bytes + 1)))
        append = _Append(first_seq, last_seq, at, letters, step, outcome)
        self._under_way.append(append)
        return append

    async def _finish(self, append: _Append) -> _Append | None:
        """Wait until an append is durable and applied; the append that was begun meanwhile."""
        try:
            await append.outcome
        except StorageFullError as error:
            self._under_way.clear()
            self._refuse_full(append.letters, error)
            return None
        if not append.applied:  # it was durable before its turn
            self._go_on()
        while not append.is_done:
            await asyncio.sleep(0)
            self._apply(append)
        return append.following

    def _go_on(self) -> None:
        """Begin the next append and apply the one that is durable, as far as there is time.

        Called when an append has returned: the condition of the acknowledgement holds. While the
        one before it is applied in part, it is not its turn yet.
        """
        append = self._under_way[0]
        if not append.applied:
            append.following = self._begin_following(append.last_seq + 1)
            self._apply(append)

    def _begin_following(self, first_seq: int) -> _Append | None:
        """The append of what has gathered, unless somebody wants to come between two commits."""
        if self._interruptions or self.bounds is not None:
            return None
        settings = self._settings
        letters = self._mailbox.take_nowait(settings.batch_messages_max, settings.batch_bytes_max)
        return self._begin(first_seq, letters) if letters else None

    def _apply(self, append: _Append) -> None:
        """Apply, log and answer the next letters of an append, one slice at least."""
        if self._is_full:
            self._is_full = False
            self._log.info("storage.has_room", seq=append.last_seq)
        self.at = append.at
        letters, step = append.letters, append.slice_messages
        begun_s = time.perf_counter()
        while append.applied < len(letters):
            part = letters[append.applied : append.applied + step]
            append.next_seq = self._apply_slice(append.next_seq, part)
            append.applied += len(part)
            if time.perf_counter() - begun_s > SLICE_S:
                break
        if append.applied < len(letters):
            return
        self.batches += 1
        self.messages += len(letters)
        # The next append may be durable already, and is not applied.
        self.note_durable(min(self._journal.durable_seq, append.last_seq))
        for listener in self.listeners:
            listener(self.state.seq)
        self._under_way.remove(append)
        append.is_done = True
        append.letters = []  # freed before the senders that were woken make new ones

    def _apply_slice(self, first_seq: int, letters: list[Letter]) -> int:
        """Apply, log and answer; returns the seq after them."""
        acks = self.state.apply_all([letter.message.body for letter in letters], first_seq)
        if self._log.enabled:
            for letter, ack in zip(letters, acks, strict=True):
                self._log_message(letter, first_seq, ack)
                first_seq = ack.seq + 1
        for letter, ack in zip(letters, acks, strict=True):
            try:  # noqa: SIM105  # a context manager would take longer than what is in it
                letter.answer.set_result(ack)
            except asyncio.InvalidStateError:  # its sender was cancelled
                pass
        self._repeats.settle(letters, acks)
        return acks[-1].seq + 1

    def _log_message(self, letter: Letter, first_seq: int, ack: Ack) -> None:
        message, context = letter.message, letter.context
        fields = _sender_fields(message)
        body = message.body
        if not isinstance(body, Transaction):
            self._log.transition(
                context, seq=ack.seq, type=body.TYPE, result=ack.result, **_subject(body), **fields
            )
            return
        if ack.failed_seq is not None:
            fields["failed_seq"] = ack.failed_seq
        for seq, transition in enumerate(body.transitions, first_seq):
            self._log.transition(
                context,
                seq=seq,
                type=transition.TYPE,
                result=ack.result,
                **_subject(transition),
                **fields,
            )

    def _refuse(self, letter: Letter, error: PeninError) -> None:
        for each in self._repeats.withdraw([letter]):
            if not each.answer.done():
                each.answer.set_exception(error)

    def _refuse_full(self, batch: list[Letter], error: StorageFullError) -> None:
        if not self._is_full:
            self._is_full = True
            self._log.warning("storage.full", cause=error.reason, path=str(error.path))
        self.refused += len(batch)
        self.note_durable(self._journal.durable_seq)  # cutting back synced what was before
        for letter in self._repeats.withdraw(batch):
            if not letter.answer.done():
                letter.answer.set_exception(StorageFullError(error.path, error.reason))

    def _fail(self, error: JournalFailedError) -> None:
        """Stop for good: what is under way has an unknown outcome, and all later is refused."""
        self.failure = error
        letters = list(self._bounded)
        for append in self._under_way:
            append.outcome.cancel()  # nobody waits for it any more
            letters += append.letters
        for letter in self._repeats.withdraw(letters):
            if not letter.answer.done():
                letter.answer.set_exception(JournalFailedError(error.path, error.reason))

    # -- what is durable ----------------------------------------------------------------------

    def note_durable(self, seq: int) -> None:
        """Everything up to `seq` is known to survive a power cut."""
        self.durable_seq = max(self.durable_seq, seq)
        while self._durable_waiters and self._durable_waiters[0][0] <= self.durable_seq:
            _, _, waiter = heapq.heappop(self._durable_waiters)
            if not waiter.done():
                waiter.set_result(None)

    async def durable(self, seq: int) -> None:
        """Wait until everything up to `seq` survives a power cut.

        Raises ClosedError or JournalFailedError where that will not come to pass any more.
        """
        if seq <= self.durable_seq:
            return
        if self.failure is not None:
            raise self.failure
        if self._end is not None:
            raise self._end
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._durable_waiters, (seq, next(self._ticket), waiter))
        await waiter

    def _release_durable_waiters(self, error: PeninError) -> None:
        self.note_durable(self._journal.durable_seq)
        for _, _, waiter in self._durable_waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._durable_waiters.clear()


def _subject(body: AnyTransition) -> dict[str, object]:
    return {name: value for name, value in body.subject().items() if value is not None}


def _sender_fields(message: Message) -> dict[str, object]:
    """Who sent it, for the log."""
    body = message.body
    if body.origin is None and body.id is None:
        return {"source": _PYTHON}
    fields: dict[str, object] = {"source": _PYTHON}
    if body.origin is not None:
        named = {
            "source": body.origin.source,
            "source_name": body.origin.name,
            "line": body.origin.line,
            "trace": body.origin.trace,
        }
        fields = {name: value for name, value in named.items() if value is not None}
    if body.id is not None:
        fields["id"] = body.id
    return fields
