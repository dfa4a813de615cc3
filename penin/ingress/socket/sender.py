"""The client's messages on their way to a worker, over one connection after the other.

Rules:

1. The order of sending is the order of seqs, as long as the connection holds. Many messages are
   on their way at a time.
2. A worker that stops says so when everything that it took is answered: what is not answered then
   is certainly not stored, and is sent to the next worker. Where it just goes away, a message that
   was sent has an unknown outcome; with an `id` it is sent again, which changes nothing where it is
   stored, and else OutcomeUnknownError says so.
3. While no worker is there, what is sent waits for one; after `wait_s` it is refused, as all is
   that comes after that, until a worker is there again.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from penin.core.transitions import Ack, Message
from penin.errors import (
    BusyError,
    ClosedError,
    MailboxFullError,
    NotRunningError,
    OutcomeUnknownError,
    PeninError,
)
from penin.ingress.socket import wire
from penin.ingress.socket.link import Link, dial
from penin.ingress.socket.wire import Reply, error_of
from penin.runtime.mailbox import Letter, Mailbox
from penin.runtime.status import WorkerStatus
from penin.runtime.trace import traced

MESSAGES_MAX: Final = 10_000
"""How many messages wait to be sent."""
BYTES_MAX: Final = 64 * 2**20
IN_FLIGHT_MAX: Final = 4096
"""How many are sent and not answered."""
IN_FLIGHT_BYTES_MAX: Final = 16 * 2**20
RETRY_S: Final = 0.05
"""The pause before somebody who was not there is looked for again; it doubles ..."""
RETRY_MAX_S: Final = 1.0
GREETING_S: Final = 5.0
"""A worker that has not said anything of itself after so long counts as not there."""


class _Sending(msgspec.Struct, gc=False):
    """A message on its way. `is_doubtful`: a worker that went away may have stored it."""

    letter: Letter
    is_doubtful: bool = False


class Sender:
    """See the head of the module. `run` is its one task; `put` is called beside it.

    `on_link` is told what each new worker says of itself, before anything is sent to it,
    `on_stopping` why it stops, `on_lost` when it is gone, and `on_ack` every acknowledgement.
    """

    def __init__(
        self,
        directory: Path,
        wait_s: float,
        *,
        on_link: Callable[[WorkerStatus], None],
        on_stopping: Callable[[str], None],
        on_lost: Callable[[], None],
        on_ack: Callable[[Ack], None],
    ) -> None:
        self.origin = wire.sender_of(os.getpid())  # who sends a message that has a trace
        self._directory = directory
        self._wait_s = wait_s
        self._on_link = on_link
        self._on_stopping = on_stopping
        self._on_lost = on_lost
        self._on_ack = on_ack
        self._mailbox = Mailbox(MESSAGES_MAX, BYTES_MAX)
        self._mailbox.open()
        self._link: Link | None = None  # over which it sends
        self._unsent: deque[_Sending] = deque()
        self._sent: deque[_Sending] = deque()
        self._sent_bytes = 0
        self._has_room = asyncio.Event()
        self._is_empty = asyncio.Event()  # nothing is sent and not answered
        self._is_empty.set()
        self._closing = asyncio.Event()
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._greeting: asyncio.Future[Reply] | None = None

    # -- what others ask of it ----------------------------------------------------------------

    async def reached(self) -> None:
        """Wait for the first worker. Raises why there is none."""
        await asyncio.shield(self._first)

    def put(self, message: Message) -> asyncio.Future[Ack]:
        """A future of the answer, as `Mailbox.put`."""
        return self._mailbox.put(traced(message, self.origin), None)

    def deliver(self, message: Message) -> Awaitable[Ack]:
        """The same, where there is no room after waiting for it."""
        message = traced(message, self.origin)
        link = self._link
        if link is not None and not self._sent and self._is_free(link):
            return self._send_at_once(link, message)
        try:
            return self._mailbox.put(message, None)
        except MailboxFullError:
            return self._mailbox.put_waiting(message, None)

    def close(self) -> None:
        """Take nothing more; `run` ends when all that was taken is answered."""
        self._closing.set()
        self._mailbox.close(ClosedError("the orchestrator is closed"))

    # -- its task -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve connections, one after the other, until `close`."""
        link: Link | None = None
        try:
            while not self._is_finished():
                link = await self._linked()
                if link is None:
                    return
                await self._drive(link)
                self._on_lost()
                self._settle(link)
        finally:
            if link is not None:
                link.close()
            self._refuse(ClosedError("the orchestrator is closed"))

    def _is_finished(self) -> bool:
        return self._closing.is_set() and not self._unsent and not len(self._mailbox)

    async def _linked(self) -> Link | None:
        """A connection to a worker, whenever there is one; None where this is closed before."""
        loop = asyncio.get_running_loop()
        deadline_s: float | None = loop.time() + self._wait_s
        pause_s = RETRY_S
        while True:
            try:
                link = await dial(self._directory, self._make_link)
                self._on_link(await self._greeted(link))
            except PeninError as error:
                failure = error
            else:
                if not self._closing.is_set():
                    self._mailbox.open()
                if not self._first.done():
                    self._first.set_result(None)
                return link
            is_final = not isinstance(failure, NotRunningError | BusyError | ClosedError)
            if deadline_s is not None and (is_final or loop.time() >= deadline_s):
                deadline_s = None
                self._refuse(failure)
            if deadline_s is None and self._closing.is_set():
                return None
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _make_link(self) -> Link:
        return Link(self._take_reply, self._on_stopping)

    async def _greeted(self, link: Link) -> WorkerStatus:
        """What the worker says of itself; raises what it refuses this client with."""
        greeting = self._greeting = asyncio.get_running_loop().create_future()
        link.write(b'{"type":"status"}\n')
        losing = asyncio.ensure_future(link.lost.wait())
        try:
            await asyncio.wait(
                {greeting, losing}, timeout=GREETING_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            losing.cancel()
            self._greeting = None
        if not greeting.done():
            link.abort()
            reason = "the worker went away" if link.lost.is_set() else "the worker does not answer"
            raise NotRunningError(self._directory, reason)
        reply: Reply = greeting.result()
        if reply.error is not None:
            link.close()
            said = f"{self._directory}: {reply.error.message}"
            raise error_of(msgspec.structs.replace(reply.error, message=said))
        return msgspec.json.decode(reply.value, type=WorkerStatus)

    async def _pause(self, seconds: float) -> None:
        if self._closing.is_set():
            await asyncio.sleep(RETRY_S)
            return
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return

    def _is_free(self, link: Link) -> bool:
        """Whether nothing waits to be sent, and what is sent now can go."""
        return (
            not self._unsent
            and not len(self._mailbox)
            and not self._closing.is_set()
            and link.room.is_set()
        )

    def _send_at_once(self, link: Link, message: Message) -> asyncio.Future[Ack]:
        """Send the only message there is, without a turn of the loop for those that may follow."""
        answer: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._unsent.append(_Sending(Letter(message, answer, None)))
        self._write(link)
        return answer

    async def _drive(self, link: Link) -> None:
        """Send over a connection until it is lost, or all is answered and this is closed."""
        self._link = link
        pumping = asyncio.ensure_future(self._pump(link))
        losing = asyncio.ensure_future(link.lost.wait())
        try:
            await asyncio.wait({pumping, losing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._link = None
            for task in (pumping, losing):
                task.cancel()
            await asyncio.wait({pumping, losing})
        if not pumping.cancelled():
            pumping.result()

    async def _pump(self, link: Link) -> None:
        while True:
            while self._unsent:
                await link.room.wait()
                self._has_room.clear()
                if len(self._sent) >= IN_FLIGHT_MAX or self._sent_bytes >= IN_FLIGHT_BYTES_MAX:
                    await self._has_room.wait()
                self._write(link)
            taken = await self._mailbox.take(IN_FLIGHT_MAX, IN_FLIGHT_BYTES_MAX)
            if not taken and self._closing.is_set():
                await self._is_empty.wait()
                link.close()
                return
            self._unsent.extend(map(_Sending, taken))

    def _write(self, link: Link) -> None:
        """Send as many as there is room for; not what was withdrawn."""
        lines: list[bytes] = []
        while (
            self._unsent
            and len(self._sent) < IN_FLIGHT_MAX
            and self._sent_bytes < IN_FLIGHT_BYTES_MAX
        ):
            sending = self._unsent.popleft()
            if sending.letter.answer.done() and not sending.is_doubtful:
                continue
            raw = sending.letter.message.raw
            self._sent.append(sending)
            self._sent_bytes += len(raw)
            lines.append(raw)
        if lines:
            self._is_empty.clear()
            lines.append(b"")
            link.write(b"\n".join(lines))

    def _take_reply(self, reply: Reply) -> None:
        if self._greeting is not None:
            self._greeting.set_result(reply)
            return
        sending = self._sent.popleft()
        self._sent_bytes -= len(sending.letter.message.raw)
        answer = sending.letter.answer
        if reply.error is None:
            assert reply.seq is not None
            ack = Ack(reply.seq, reply.result, reply.failed_seq)
            self._on_ack(ack)
            if not answer.done():
                answer.set_result(ack)
        elif reply.error.kind == "busy":
            asyncio.get_running_loop().call_later(RETRY_S, self._send_again, sending)
        elif not answer.done():
            answer.set_exception(error_of(reply.error))
        if not self._sent:
            self._is_empty.set()
        self._has_room.set()

    def _send_again(self, sending: _Sending) -> None:
        """Send once more what was certainly not taken, by way of the mailbox."""
        letter = sending.letter
        if letter.answer.done():
            return
        try:
            self._mailbox.put_for(letter.answer, letter.message, None)
        except PeninError as error:
            letter.answer.set_exception(error)

    # -- a lost connection --------------------------------------------------------------------

    def _settle(self, link: Link) -> None:
        """What is not answered is sent again, where that is certain to be right."""
        sent, self._sent, self._sent_bytes = self._sent, deque(), 0
        self._is_empty.set()
        again: list[_Sending] = []
        for sending in sent:
            answer = sending.letter.answer
            if link.stopping is not None:
                again.append(sending)
            elif sending.letter.message.body.id is not None:
                again.append(_Sending(sending.letter, is_doubtful=True))
            elif not answer.done():
                answer.set_exception(OutcomeUnknownError(self._directory))
        self._unsent.extendleft(reversed(again))

    def _refuse(self, failure: PeninError) -> None:
        """Nobody is there: end the waiting of everything that is not answered."""
        if not self._first.done():
            self._first.set_exception(failure)
            self._first.exception()  # whoever waits for it is told all the same
        self._mailbox.refuse_all(failure)
        unsent, self._unsent = [*self._sent, *self._unsent], deque()
        is_sent = len(self._sent)
        self._sent.clear()
        for index, sending in enumerate(unsent):
            answer = sending.letter.answer
            if answer.done():
                continue
            if sending.is_doubtful or index < is_sent:
                answer.set_exception(OutcomeUnknownError(self._directory))
            else:
                answer.set_exception(failure)
