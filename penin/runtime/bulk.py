"""Sending a bulk of vectors: in messages, or through sealed files where there is much.

The numbers of a large bulk are written part by part, beside everything else: while keys and
metadata are checked, and while the messages of the part before are committed. So every number is
written once before it is acknowledged, and the disk has always something to do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from anyio import to_thread
from numpy.typing import NDArray

from penin.core import door
from penin.core.bulk import Part, is_large, parts_of
from penin.core.transitions import Ack, Message
from penin.runtime.sealer import Sealer
from penin.storage.sealed import SealedFile, SealedFiles

IN_FLIGHT_MAX: Final = 4
"""How many messages with their numbers are under way: one on the disk, the next ones made."""
AHEAD_MAX: Final = 8
"""How many files are written, or are there, before the messages that name them are made."""

_Deliver = Callable[[Message], Awaitable[Ack]]
_Metadata = Sequence[Mapping[str, Any]] | None


async def send_bulk(
    keys: Sequence[str],
    matrix: NDArray[Any],
    metadata: _Metadata,
    deliver: _Deliver,
    sealer: Sealer,
) -> Ack:
    """Check all, and store all rows; the answer to the last message.

    Failed or cancelled in between, some messages are stored and some are not. Raises what the door
    raises, before any is stored.
    """
    rows = await to_thread.run_sync(door.take_matrix, matrix)
    if sealer.files is None or not is_large(rows):
        bulk = await to_thread.run_sync(door.bulk, keys, rows, metadata)
        return await _send(iter(bulk), deliver, IN_FLIGHT_MAX)
    return await _Sealing(rows, deliver, sealer, sealer.files).run(keys, metadata)


class _Sealing:
    """A large bulk on its way. `sealing` are the parts without messages so far, in order."""

    def __init__(
        self, rows: NDArray[Any], deliver: _Deliver, sealer: Sealer, files: SealedFiles
    ) -> None:
        self._rows = rows
        self._parts = parts_of(rows)
        self._deliver = deliver
        self._sealer = sealer
        self._files = files
        self._sealing: deque[tuple[Part, asyncio.Future[SealedFile]]] = deque()

    async def run(self, keys: Sequence[str], metadata: _Metadata) -> Ack:
        ack: Ack | None = None
        try:
            self._seal_on()
            bulk = await to_thread.run_sync(door.bulk, keys, self._rows, metadata)
            while self._sealing:
                part, sealing = self._sealing[0]
                sealed = await asyncio.shield(sealing)
                self._sealing.popleft()
                self._seal_on()
                messages = await to_thread.run_sync(bulk.messages, part, sealed)
                ack = await _send(iter(messages), self._deliver, len(messages))
                self._files.settle(sealed.name, ack.seq)
        finally:
            for _, sealing in self._sealing:
                sealing.add_done_callback(self._give_up)
        assert ack is not None  # the door refuses an empty matrix
        return ack

    def _seal_on(self) -> None:
        while len(self._sealing) < AHEAD_MAX and (part := next(self._parts, None)) is not None:
            self._sealing.append((part, self._sealer.seal(part.blocks())))

    def _give_up(self, sealed: asyncio.Future[SealedFile]) -> None:
        """No message names this file."""
        if not sealed.cancelled() and sealed.exception() is None:
            self._sealer.discard(sealed.result().name)


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
