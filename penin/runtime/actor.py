"""The actor: the one task that takes messages from the mailbox and changes the state.

The way of a batch: taken from the mailbox, made durable by one journal append on the journal's
thread, applied, logged, answered. Append and apply are two neighbouring lines of `_commit`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Final

from penin.core.state import State
from penin.core.transitions import Ack, AnyTransition, Message, Transaction
from penin.errors import (
    ClosedError,
    JournalFailedError,
    PeninError,
    StorageFullError,
)
from penin.logs import EventLog
from penin.runtime.clock import now_text
from penin.runtime.mailbox import Letter, Mailbox
from penin.runtime.storage_thread import StorageThread
from penin.settings import Settings
from penin.storage.journal import Journal

SLICE_MESSAGES: Final = 128
"""How many messages are applied before the time on the loop is looked at."""
SLICE_S: Final = 0.005
"""After so long on the loop, applying a batch lets the other tasks run."""
_PYTHON: Final = "python"


class Actor:
    """Owns the state; the only caller of `State.apply` on a live one.

    `between_commits` is a lock that is held while a commit is on its way: whoever holds it sees
    the state, and the journal, between two commits.
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
    ) -> None:
        self.state = state
        self.at = at
        self.between_commits = asyncio.Lock()
        self.failure: PeninError | None = None
        self.has_bug = False
        self.durable_seq = journal.durable_seq
        self.on_applied: Callable[[int], None] = _nobody
        self._mailbox = mailbox
        self._journal = journal
        self._thread = thread
        self._settings = settings
        self._log = log
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
                async with self.between_commits:
                    await self._commit(batch)
            await self._thread.call(self._journal.sync)  # nobody waits for a second that is over
        except JournalFailedError as error:
            self.failure = self.failure or error
            raise
        finally:
            self._end = self.failure or ClosedError("the orchestrator is closed")
            self._mailbox.refuse_all(self._end)
            self._release_durable_waiters(self._end)

    async def _commit(self, batch: list[Letter]) -> None:
        first_seq = self.state.seq + 1
        try:
            await self._append(first_seq, batch)  # on return, the acknowledgement's condition holds
            await self._apply(first_seq, batch)
        except StorageFullError as error:
            self._refuse_full(batch, error)
        except asyncio.CancelledError:
            self._fail(
                batch, JournalFailedError(self._place, "cancelled in the middle of a commit")
            )
            raise
        except JournalFailedError as error:
            self._fail(batch, error)
            raise
        except Exception as error:
            failure = JournalFailedError(self._place, f"the actor stopped on a bug: {error!r}")
            self.has_bug = True
            self._fail(batch, failure)
            self._log.error("actor.failed", cause=repr(error), exc_info=error)
            raise failure from error

    @property
    def _place(self) -> str:
        return f"store {self._journal.store}"

    async def _append(self, first_seq: int, batch: list[Letter]) -> None:
        messages = [letter.message.raw for letter in batch]
        last_seq = first_seq - 1 + sum([letter.message.count for letter in batch])
        at = now_text()
        await self._thread.call(self._journal.append, first_seq, last_seq, at, messages)
        self.at = at
        if self._is_full:
            self._is_full = False
            self._log.info("storage.has_room", seq=last_seq)

    async def _apply(self, first_seq: int, batch: list[Letter]) -> None:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        for start in range(0, len(batch), SLICE_MESSAGES):
            if start and loop.time() - begun_s > SLICE_S:
                await asyncio.sleep(0)
                begun_s = loop.time()
            first_seq = self._apply_slice(first_seq, batch[start : start + SLICE_MESSAGES])
        self.note_durable(self._journal.durable_seq)
        self.on_applied(self.state.seq)

    def _apply_slice(self, first_seq: int, letters: list[Letter]) -> int:
        """Apply, log and answer; returns the seq after them."""
        apply = self.state.apply
        is_logged = self._log.enabled
        for letter in letters:
            ack = apply(letter.message.body, first_seq)
            if is_logged:
                self._log_message(letter, first_seq, ack)
            answer = letter.answer
            first_seq = ack.seq + 1
            if not answer.done():  # its sender may have been cancelled
                answer.set_result(ack)
        return first_seq

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

    def _refuse_full(self, batch: list[Letter], error: StorageFullError) -> None:
        if not self._is_full:
            self._is_full = True
            self._log.warning("storage.full", cause=error.reason, path=str(error.path))
        self.note_durable(self._journal.durable_seq)  # cutting back synced what was before
        for letter in batch:
            if not letter.answer.done():
                letter.answer.set_exception(StorageFullError(error.path, error.reason))

    def _fail(self, batch: list[Letter], error: JournalFailedError) -> None:
        """Stop for good: the batch has an unknown outcome, and everything later is refused."""
        self.failure = error
        for letter in batch:
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


def _nobody(_seq: int) -> None:
    """Who is told what was applied, before the checkpointer is there."""


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
