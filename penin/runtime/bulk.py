"""Sending a bulk of vectors: in messages, or through sealed files where there is much.

A large bulk goes part by part: while one part is digested and written, the one before it waits for
the disk, and the messages of the one before that are committed. So every number is written once
before it is acknowledged, and the disk has always something to do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from anyio import to_thread

from penin.core.bulk import Bulk, Part
from penin.core.transitions import Ack, Message
from penin.runtime.sealer import SEALING_MAX, Sealer
from penin.storage.sealed import SealedFile, SealedFiles

IN_FLIGHT_MAX: Final = 4
"""How many messages with their numbers are under way: one on the disk, the next ones made."""

_Deliver = Callable[[Message], Awaitable[Ack]]


async def send_bulk(bulk: Bulk, deliver: _Deliver, sealer: Sealer) -> Ack:
    """Store all rows; the answer to the last message.

    Failed or cancelled in between, some messages are stored and some are not.
    """
    if sealer.files is None or not bulk.is_large:
        return await _send(iter(bulk), deliver, IN_FLIGHT_MAX)
    return await _Sealing(bulk.parts(), deliver, sealer, sealer.files).run()


class _Sealing:
    """A large bulk on its way. `sealing` are the parts whose files are being written, in order."""

    def __init__(
        self, parts: Iterator[Part], deliver: _Deliver, sealer: Sealer, files: SealedFiles
    ) -> None:
        self._parts = parts
        self._deliver = deliver
        self._sealer = sealer
        self._files = files
        self._sealing: deque[tuple[Part, asyncio.Future[SealedFile]]] = deque()

    async def run(self) -> Ack:
        ack: Ack | None = None
        try:
            await self._seal_on()
            while self._sealing:
                part, sealing = self._sealing[0]
                sealed = await asyncio.shield(sealing)
                self._sealing.popleft()
                await self._seal_on()
                ack = await self._send(part, sealed)
        finally:
            for _, sealing in self._sealing:
                sealing.add_done_callback(self._give_up)
        assert ack is not None  # the door refuses an empty matrix
        return ack

    async def _seal_on(self) -> None:
        while len(self._sealing) < SEALING_MAX:
            part = await to_thread.run_sync(next, self._parts, None)
            if part is None:
                return
            self._sealing.append((part, self._sealer.seal(part.blocks())))

    async def _send(self, part: Part, sealed: SealedFile) -> Ack:
        messages = await to_thread.run_sync(part.messages, sealed)
        ack = await _send(iter(messages), self._deliver, len(messages))
        self._files.settle(sealed.name, ack.seq)
        return ack

    def _give_up(self, sealed: asyncio.Future[SealedFile]) -> None:
        """No message names this file."""
        if not sealed.cancelled() and sealed.exception() is None:
            self._files.settle(sealed.result().name, 0)


async def _send(messages: Iterator[Message], deliver: _Deliver, in_flight_max: int) -> Ack:
    """Send the messages in order, so many at once; the answer to the last one."""
    sent: deque[asyncio.Future[Ack]] = deque()
    try:
        while (message := await to_thread.run_sync(next, messages, None)) is not None:
            if len(sent) == in_flight_max:
                await sent.popleft()
            sent.append(asyncio.ensure_future(deliver(message)))
        while len(sent) > 1:
            await sent.popleft()
        return await sent[0]
    finally:
        for answer in sent:
            answer.add_done_callback(_look_at)
            answer.cancel()  # what the actor has not taken yet is withdrawn


def _look_at(answer: asyncio.Future[Ack]) -> None:
    """An answer that nobody waits for any more, so that its exception is not reported."""
    if not answer.cancelled():
        answer.exception()
