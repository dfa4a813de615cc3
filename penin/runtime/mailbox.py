"""The mailbox: the bounded queue of messages between the senders and the actor.

Many senders, one taker, one event loop. A list that the taker swaps for an empty one is several
times faster than `asyncio.Queue` (one wake-up a batch, none a message), and the bound is in
messages and in bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from contextvars import Context
from typing import Protocol

import msgspec

from penin.core.transitions import Ack, Message
from penin.errors import ClosedError, MailboxFullError, PeninError


class Answer(Protocol):
    """Where the answer to a message goes, once: a future, or what its sender has in place of one.

    A message whose answer is done before the actor took it is withdrawn.
    """

    def done(self) -> bool: ...

    def set_result(self, ack: Ack, /) -> None: ...

    def set_exception(self, error: PeninError, /) -> None: ...


class Letter(msgspec.Struct, gc=False):
    """A message on its way: what it says, who waits for the answer, and in which context.

    `context` holds the sender's context variables for the log; None when nobody reads it. Not
    known to the garbage collector: nothing that a letter holds leads back to it, and one is made
    for every message.
    """

    message: Message
    answer: Answer
    context: Context | None


class Mailbox:
    """A bounded queue of letters. Not thread-safe: one event loop."""

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._letters: list[Letter] = []
        self._bytes = 0
        self._taker: asyncio.Future[None] | None = None
        self._reserved = 0  # places of senders that were woken and have not run yet
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._refusal: PeninError | None = ClosedError("the orchestrator is not open yet")
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._letters)

    @property
    def size_bytes(self) -> int:
        """How many bytes the queued messages have."""
        return self._bytes

    def open(self) -> None:
        """Take messages from now on."""
        self._refusal = None

    def put(self, message: Message, context: Context | None) -> asyncio.Future[Ack]:
        """Queue a message; the future gives its answer.

        Cancelling the future before the actor took the letter withdraws the message; after that
        the message is applied all the same. Raises MailboxFullError when there is no room, or
        somebody waits for it already, and ClosedError (or what the mailbox was closed with).
        """
        # Not `loop.create_future()`, a call more for the same class: this is every message's way.
        answer: asyncio.Future[Ack] = asyncio.Future(loop=self._loop)
        self.put_for(answer, message, context)
        return answer

    def put_for(self, answer: Answer, message: Message, context: Context | None) -> None:
        """The same with an answer of the sender's own."""
        if (
            self._refusal is not None
            or self._waiting
            or self._bytes >= self._bytes_max
            or len(self._letters) + self._reserved >= self._messages_max
        ):
            raise self._refusal or MailboxFullError(self._messages_max)
        self._append(answer, message, context)

    async def put_waiting(self, message: Message, context: Context | None) -> Ack:
        """Wait for room, in the order of asking, queue a message, and wait for its answer.

        Raises what `put` raises but MailboxFullError. Cancelled while waiting for room, the
        message is not queued; after that, it is as with the future of `put`.
        """
        with contextlib.suppress(MailboxFullError):  # it may begin later than it was called
            return await self.put(message, context)
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):  # passed over by `_wake_sender`
                    self._waiting.remove(waiter)
            else:  # it was this one's turn, and the room goes to the next
                self._reserved -= 1
                self._wake_sender()
            raise
        self._reserved -= 1
        if self._refusal is not None:
            raise self._refusal
        answer: asyncio.Future[Ack] = asyncio.Future(loop=self._loop)
        self._append(answer, message, context)
        return await answer

    def _append(self, answer: Answer, message: Message, context: Context | None) -> None:
        self._letters.append(Letter(message, answer, context))
        self._bytes += len(message.raw)
        if self._taker is not None:
            self._wake_taker()

    async def take(self, messages_max: int, bytes_max: int) -> list[Letter]:
        """The oldest letters, at least one; an empty list once it is closed and empty.

        Takes no further letter beyond `messages_max` or `bytes_max`; the first is taken whatever
        its size, and fits a frame by itself. What was withdrawn is left out. Cancelled while
        waiting, it has taken nothing.
        """
        while True:
            taken = self.take_nowait(messages_max, bytes_max)
            if taken or (self._refusal is not None and not self._letters):
                return taken
            self._taker = self._loop.create_future()
            try:
                await self._taker
            finally:
                self._taker = None  # also where it was cancelled

    def take_nowait(self, messages_max: int, bytes_max: int) -> list[Letter]:
        """What `take` gives, or an empty list."""
        letters = self._letters
        if len(letters) <= messages_max and self._bytes <= bytes_max:
            self._letters = []
            self._bytes = 0
        else:
            letters = self._cut_front(messages_max, bytes_max)
        for _ in range(min(len(letters), len(self._waiting))):
            self._wake_sender()
        return [letter for letter in letters if not letter.answer.done()]

    def _cut_front(self, messages_max: int, bytes_max: int) -> list[Letter]:
        size = 0
        count = 0
        for letter in self._letters[:messages_max]:
            letter_bytes = len(letter.message.raw)
            if count and size + letter_bytes > bytes_max:
                break
            size += letter_bytes
            count += 1
        front, self._letters = self._letters[:count], self._letters[count:]
        self._bytes -= size
        return front

    def close(self, refusal: PeninError) -> None:
        """Take nothing more: `put` raises `refusal` from now on. What is queued can be taken."""
        self._refusal = refusal
        if self._taker is not None:
            self._wake_taker()
        while self._waiting:
            self._wake_sender()

    def refuse_all(self, refusal: PeninError) -> None:
        """Close, and answer every queued letter with `refusal`: they are certainly not stored."""
        self.close(refusal)
        letters, self._letters, self._bytes = self._letters, [], 0
        for letter in letters:
            if not letter.answer.done():
                letter.answer.set_exception(refusal)

    def _wake_taker(self) -> None:
        taker, self._taker = self._taker, None  # once for all who put before it runs
        if taker is not None and not taker.done():
            taker.set_result(None)

    def _wake_sender(self) -> None:
        """Give a place to the one who waits longest; it is kept until that task runs."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._reserved += 1
                waiter.set_result(None)
                return
