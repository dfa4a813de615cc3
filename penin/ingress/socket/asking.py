"""The client's queries: each has a connection of its own while it is answered.

So nothing waits behind a query that takes its time, and a query that is given up takes its
connection with it. What only reads is asked again where a connection is lost.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec

from penin.errors import BusyError, ClosedError, NotRunningError, PeninError
from penin.ingress.socket.link import Link, dial
from penin.ingress.socket.wire import Reply, error_of

QUERIES_MAX: Final = 16
"""How many queries are on their way at a time; more of them wait."""
IDLE_MAX: Final = 8
"""How many connections are kept for later ones."""
RETRY_S: Final = 0.05

_encode: Final = msgspec.json.Encoder().encode


class Answer(msgspec.Struct):
    """What a query has given: a value and its seq, or items."""

    value: bytes
    seq: int | None
    items: list[bytes]


class _Lost(Exception):  # noqa: N818  # never leaves this module
    """The connection was lost before the answer was there."""


class _Query(Link):
    """A connection with one query at a time."""

    def __init__(self) -> None:
        super().__init__(self._take_reply)
        self._items: list[bytes] = []
        self._answer: asyncio.Future[Answer] | None = None

    def ask(self, line: bytes) -> asyncio.Future[Answer]:
        """Send a query; `_Lost`, or what the worker answers, is raised by the future."""
        self._answer = asyncio.get_running_loop().create_future()
        self._items = []
        if self.lost.is_set():
            self._answer.set_exception(_Lost())
        else:
            self.write(line)
        return self._answer

    def _take_reply(self, reply: Reply) -> None:
        answer = self._answer
        if answer is None:  # nobody has asked
            self.close()
            return
        if reply.items is not None:
            self._items.extend(map(bytes, reply.items))
            if reply.more:
                return
        self._answer = None
        if answer.done():
            return
        if reply.error is None:
            answer.set_result(Answer(bytes(reply.value), reply.seq, self._items))
        else:
            answer.set_exception(error_of(reply.error))

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_Lost())


class Asking:
    """Queries to the worker of one store; for one event loop."""

    def __init__(self, directory: Path, wait_s: float) -> None:
        self._directory = directory
        self._wait_s = wait_s
        self._idle: list[_Query] = []
        self._places = asyncio.Semaphore(QUERIES_MAX)
        self._is_closed = False

    async def ask(self, type: str, **members: Any) -> Answer:
        """The answer of the worker, or of the next one where this one stops or goes away.

        Raises what the worker answers, and NotRunningError after `wait_s` without one.
        """
        line = _encode({"type": type, **members}) + b"\n"
        async with self._places:
            return await self._ask_until(line, asyncio.get_running_loop().time() + self._wait_s)

    async def _ask_until(self, line: bytes, deadline_s: float) -> Answer:
        loop = asyncio.get_running_loop()
        while True:
            if self._is_closed:
                raise ClosedError("the orchestrator is closed")
            failure: PeninError
            try:
                return await self._ask(line)
            except _Lost:
                failure = NotRunningError(self._directory, "the worker went away")
            except (ClosedError, BusyError) as error:
                failure = error
            if loop.time() >= deadline_s:
                raise failure
            await asyncio.sleep(RETRY_S)

    async def _ask(self, line: bytes) -> Answer:
        link = self._idle_link() or await dial(self._directory, _Query)
        answer = link.ask(line)
        try:
            found = await answer
        except (asyncio.CancelledError, _Lost):
            link.close()  # a reply may still be on its way
            raise
        except PeninError:
            self._put_back(link)
            raise
        self._put_back(link)
        return found

    def _idle_link(self) -> _Query | None:
        while self._idle:
            link = self._idle.pop()
            if not link.lost.is_set():
                return link
        return None

    def _put_back(self, link: _Query) -> None:
        if self._is_closed or link.lost.is_set() or len(self._idle) >= IDLE_MAX:
            link.close()
        else:
            self._idle.append(link)

    def close(self) -> None:
        """End the connections; queries under way are answered."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()
