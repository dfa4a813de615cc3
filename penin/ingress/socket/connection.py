"""One connection of the socket: requests in, replies out, in the same order.

Rules:

1. Messages go to the mailbox as they come, many at a time and in their order. A query begins when
   everything before it on the connection is answered, and nothing behind it is taken before it is:
   it sees what stands before it, and no more of its own connection.
2. Whatever is in a line, it is answered: with a reason, where it is refused. The connection goes
   on.
3. Nothing more is taken while too much is on its way, or while the other end does not read: then
   the bytes stay in the kernel, and its client waits. Nobody else does.
4. What is on its way when a connection is lost is not withdrawn, but for the one message that may
   be waiting for room in the mailbox.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from penin.core import door
from penin.core.transitions import Message
from penin.errors import (
    BusyError,
    ClosedError,
    ForbiddenError,
    MailboxFullError,
    PeninError,
    RefusedError,
)
from penin.ingress.socket import wire
from penin.ingress.socket.address import is_allowed, is_gone, peer_of
from penin.ingress.socket.lines import LONG_BYTES, TOO_LONG, TOO_MANY, Discarded, IncomingLines
from penin.ingress.socket.parsing import Parsed, Refusal, parsed, refused
from penin.ingress.socket.queries import QUERIES, WAITING, Asked
from penin.ingress.socket.receiving import Receiver
from penin.ingress.socket.request import Request
from penin.ingress.socket.subscription import SUBSCRIBE, subscribe

if TYPE_CHECKING:
    from penin.ingress.socket.server import SocketServer

REQUESTS_MAX: Final = 1024
"""How many requests of one connection are on their way."""
REQUESTS_BYTES_MAX: Final = 16 * 2**20
"""The same in bytes of their messages; the one that goes beyond it is taken."""
UNREAD_BYTES_MAX: Final = 2**18
"""With more replies than this unread, nothing more is taken from a connection."""
LINES_AT_ONCE: Final = 64
"""So many lines are taken from one connection before it is another one's turn."""
REFUSED_WAIT_S: Final = 1.0
"""How long a connection that is not let in may take to read why."""


class Connection(Receiver):
    """See the head of the module.

    `settled` is set when nothing is on its way any more after `stop`, `lost` when it is gone.
    """

    def __init__(self, server: SocketServer) -> None:
        super().__init__()
        self.settled = asyncio.Event()
        self.lost = asyncio.Event()
        self._server = server
        self._lines = IncomingLines(server.long_lines)
        self._requests: deque[Request] = deque()
        self._requests_bytes = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._query: asyncio.Task[None] | None = None
        self._query_type = ""
        self._has_query = False  # nothing behind it is taken
        self._is_subscribed = False  # nothing that comes after that is looked at
        self._is_following = False  # it is answered that it is: only the client ends it
        self._room = asyncio.Event()  # the other end reads
        self._room.set()
        self._is_waiting = False  # one line is read on a thread, or waits for the mailbox
        self._is_reading = True
        self._is_at_end = False  # the other end sends nothing more
        self._is_stopping = False
        self._is_last_said = False  # what comes is not looked at, until the other end closes

    # -- what asyncio tells -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, or say why not and close it."""
        # Not every loop's transport is a subclass of it: uvloop has its own.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=UNREAD_BYTES_MAX)
        peer = peer_of(transport.get_extra_info("socket"))
        self._sender = door.sender(wire.sender_of(None if peer is None else peer[0]))
        refusal: PeninError | None = self._server.refusal()
        if peer is not None and not is_allowed(peer[1]):
            refusal = ForbiddenError(f"this worker belongs to another user than {peer[1]}")
            self._server.log.warning("connection.refused", uid=peer[1], pid=peer[0])
        self._server.connections.add(self)
        if refusal is not None:
            self._is_stopping = True
            self._say_last(wire.error_line(b"{", refusal))
            asyncio.get_running_loop().call_later(REFUSED_WAIT_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take bytes; they are looked at when it is this connection's turn."""
        if not self._is_stopping and not self._is_subscribed:
            self._lines.feed(data)
            self._server.give_turn(self)

    def eof_received(self) -> bool:
        """Nothing more comes; what is on its way is answered all the same."""
        if self._is_last_said:
            return False
        self._is_at_end = True
        if not self._is_subscribed:
            self._lines.end()
        if self._is_following:
            self._transport.close()
        self._server.give_turn(self)
        return True

    def pause_writing(self) -> None:
        """The other end does not read."""
        self._room.clear()

    def resume_writing(self) -> None:
        """It does."""
        self._room.set()
        self._server.give_turn(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Let go of everything; nothing more can be answered."""
        del error
        self._is_stopping = True
        self._lines.clear()
        self._requests.clear()
        for task in self._tasks:
            task.cancel()
        self._server.connections.discard(self)
        self.settled.set()
        self.lost.set()

    # -- taking lines -------------------------------------------------------------------------

    def take_turn(self) -> bool:
        """Take some lines, and send what is answered; whether there is more to take at once."""
        lines = self._lines.whole
        for _ in range(LINES_AT_ONCE):
            if not lines or not self._can_take():
                break
            self._take(lines.popleft())
        self._answer()
        can_take = self._can_take()
        self._set_reading(self._is_subscribed or (can_take and not lines))
        if not self._requests and not self._is_waiting:
            if self._is_stopping:
                self.settled.set()
            elif self._is_at_end and not lines:
                self._transport.close()
        return can_take and bool(lines)

    def _can_take(self) -> bool:
        return not (
            self._is_waiting
            or self._is_stopping
            or self._has_query
            or len(self._requests) >= REQUESTS_MAX
            or self._requests_bytes >= REQUESTS_BYTES_MAX
            or not self._room.is_set()
        )

    def _set_reading(self, wanted: bool) -> None:  # noqa: FBT001  # the state, by its name
        if wanted == self._is_reading or self._transport.is_closing():
            return
        self._is_reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _take(self, line: bytes | Discarded) -> None:
        if isinstance(line, Discarded):
            reason = TOO_MANY if line.is_busy else TOO_LONG
            self._refuse(b"{", BusyError(reason) if line.is_busy else refused(reason), None)
        elif len(line) > LONG_BYTES:
            self._is_waiting = True
            self._start(self._take_long(line))
        elif line.strip():
            self._enter(*parsed(line, self._sender))

    async def _take_long(self, line: bytes) -> None:
        head, found = await asyncio.to_thread(parsed, line, self._sender)
        self._is_waiting = False
        self._enter(head, found)
        self._server.give_turn(self)

    def _enter(self, head: bytes, found: Parsed) -> None:
        """Bring a request on its way."""
        if isinstance(found, Message):
            self._send(head, found)
        elif isinstance(found, Refusal):
            self._refuse(head, *found)
        else:
            self._requests.append(Request(self, head, type=found[0], members=found[1]))
            self._has_query = True
            if found[0] == SUBSCRIBE:
                self._is_subscribed = True
                self._lines.clear()

    def _send(self, head: bytes, message: Message) -> None:
        size = len(message.raw)
        request = Request(self, head, size, message.body.id)
        self._requests_bytes += size
        self._requests.append(request)
        try:
            self._server.orchestrator.send_for(request, message)
        except MailboxFullError:
            # Others fill the mailbox: it waits for its turn, and nothing overtakes it.
            self._is_waiting = True
            self._start(self._send_waiting(request, message))
        except PeninError as error:
            request.reply = wire.error_line(head, error)

    async def _send_waiting(self, request: Request, message: Message) -> None:
        try:
            request.set_result(await self._server.orchestrator.send(message))
        except PeninError as error:
            request.set_exception(error)
        finally:
            self._is_waiting = False
            self._server.give_turn(self)

    def note_refused(self, error: RefusedError, id: str | None) -> None:
        """Count and log a message that is refused."""
        self._server.refused += 1
        told = {"name": self._sender.origin.name, "id": id}
        self._server.log.warning(
            "message.refused",
            source=wire.SOURCE,
            field=error.field,
            reason=error.reason,
            **{name: value for name, value in told.items() if value is not None},
        )

    def _refuse(self, head: bytes, error: PeninError, id: str | None) -> None:
        if isinstance(error, RefusedError):
            self.note_refused(error, id)
        self._requests.append(Request(self, head, reply=wire.error_line(head, error)))

    # -- answering ----------------------------------------------------------------------------

    def _answer(self) -> None:
        """Send the replies that are there, up to the first request that is not answered."""
        lines: list[bytes] = []
        while self._requests:
            request = self._requests[0]
            if request.reply is None:
                if request.type and not request.has_begun:
                    self._write(lines)
                    lines = []
                    self._begin(request)
                break
            lines.append(request.reply)
            if request.type:
                self._has_query = False
                # A subscription that failed takes its connection with it.
                self._is_at_end = self._is_at_end or request.type == SUBSCRIBE
            self._requests_bytes -= request.size
            self._requests.popleft()
        self._write(lines)

    def note_answer(self) -> None:
        """A request is answered: its reply goes with those of the same commit, in one write."""
        self._server.put_off(self)

    def _write(self, lines: list[bytes]) -> None:
        if lines and not self._transport.is_closing():
            self._transport.write(b"".join(lines))

    async def _write_with_room(self, line: bytes) -> None:
        """Write a line of a query, and wait until the other end takes more."""
        if self._transport.is_closing():
            await self.lost.wait()  # which ends this task
        self._transport.write(line)
        if self._query_type == SUBSCRIBE:
            self._is_following = True
            if self._is_at_end:
                self._transport.close()
        await asyncio.sleep(0)
        await self._room.wait()

    def _begin(self, request: Request) -> None:
        request.has_begun = True
        self._query_type = request.type
        newest = self._server.newest
        query = QUERIES.get(request.type, partial(subscribe, newest=newest))
        asked = Asked(
            self._server.supervisor,
            self._sender,
            request.head,
            request.members,
            self._write_with_room,
        )
        self._query = self._start(query(asked))
        self._query.add_done_callback(partial(_end_query, request))

    def _start(self, coroutine: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or isinstance(error := task.exception(), PeninError) or error is None:
            return
        assert isinstance(error, Exception)
        self.fail(error)

    # -- the end ------------------------------------------------------------------------------

    @property
    def is_forsaken(self) -> bool:
        """Whether its query may wait for ever, for a client that is gone.

        Nothing is read while a query is under way, so that its going is not told by the loop.
        """
        if self._query is None or self._query.done() or self._query_type not in WAITING:
            return False
        return is_gone(self._transport.get_extra_info("socket"))

    def stop(self) -> None:
        """Take nothing more; what may wait for ever is given up."""
        self._is_stopping = True
        self._set_reading(wanted=False)
        self._lines.clear()
        if self._query is not None and self._query_type in (*WAITING, SUBSCRIBE):
            self._query.cancel()
        self._server.give_turn(self)

    def finish(self, reason: str) -> None:
        """Say that the worker stops, as the last thing."""
        if not self._transport.is_closing() and not self._is_last_said:
            self._say_last(wire.stopping_line(reason))
            self._set_reading(wanted=True)
        if self._is_at_end:
            self._transport.close()

    def _say_last(self, line: bytes) -> None:
        """Write a last line; the connection is closed when the other end has closed it.

        Closed at once, it would fail what the other end is sending, and that would look away
        before it has read this.
        """
        self._is_last_said = True
        self._transport.write(line)
        self._transport.write_eof()

    def fail(self, error: Exception) -> None:
        """Say that something of ours went wrong, and close the connection."""
        self._server.log.error("connection.failed", cause=repr(error), exc_info=error)
        self._transport.abort()

    def abort(self) -> None:
        """Close it at once, whatever is unread."""
        self._transport.abort()


def _end_query(request: Request, query: asyncio.Task[None]) -> None:
    """A query that has ended has written its reply, unless it says why not."""
    error = ClosedError(wire.CLOSED) if query.cancelled() else query.exception()
    if isinstance(error, PeninError):
        request.set_exception(error)
    else:
        request.reply = b""
        request.connection.note_answer()
