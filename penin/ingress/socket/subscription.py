"""Transitions as they become durable, one a line, from any seq that the journal still holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from anyio import to_thread

from penin.ingress.socket.queries import Asked, check_members, whole
from penin.runtime.following import JournalFollower
from penin.runtime.ledger import entries_of, journal_of
from penin.storage.commits import Commit
from penin.storage.filesystem import FileSystem

SUBSCRIBE: Final = "subscribe"
PART_BYTES: Final = 2**18
"""About so many bytes are read and written at a time."""

_encode: Final = msgspec.json.Encoder().encode


class NewestLines:
    """What comes, as lines: read once for all subscriptions of a store that wait for it."""

    def __init__(self) -> None:
        self._from_seq = 0
        self._reading: asyncio.Future[tuple[bytes, int]] | None = None

    async def read(
        self, fs: FileSystem, directory: Path, from_seq: int, upto_seq: int
    ) -> tuple[bytes, int]:
        """The lines from a seq on, about `PART_BYTES` of them at most, and the seq behind them.

        Raises what `JournalFollower` raises. Cancelled, it goes on for the others.
        """
        if self._reading is None or self._from_seq != from_seq:
            follower = JournalFollower(fs, directory, from_seq)
            self._from_seq = from_seq
            self._reading = asyncio.ensure_future(
                to_thread.run_sync(_newest_lines, follower, directory, upto_seq)
            )
            self._reading.add_done_callback(self._take_note)
        return await asyncio.shield(self._reading)

    def _take_note(self, reading: asyncio.Future[tuple[bytes, int]]) -> None:
        """Keep what was read for those who come to it later; not a failure, nor what is large."""
        is_kept = (
            not reading.cancelled()
            and reading.exception() is None
            and len(reading.result()[0]) < PART_BYTES
        )
        if reading is self._reading and not is_kept:
            self._reading = None


def _newest_lines(follower: JournalFollower, directory: Path, upto_seq: int) -> tuple[bytes, int]:
    begun_seq = follower.next_seq
    lines = _next_lines(follower.commits(upto_seq), directory, begun_seq)
    return lines, follower.next_seq


async def subscribe(asked: Asked, newest: NewestLines) -> None:
    """Write the transitions from `from_seq` on, past ones and then each that becomes durable.

    Ends only by cancellation, or raises what reading the journal raises: NotKeptError for a place
    before what is kept, also where the reader is so slow that a checkpoint overtakes it.
    """
    check_members(asked.members, ("from_seq",))
    orchestrator, store = asked.supervisor.orchestrator, asked.supervisor.store
    assert orchestrator is not None
    fs, directory = store.fs, store.directory
    assert directory is not None
    assert fs is not None
    default = orchestrator.durable_seq + 1
    from_seq = whole(asked.members, "from_seq", at_least=1, default=default)
    follower = JournalFollower(fs, directory, from_seq)
    await to_thread.run_sync(follower.check)
    await asked.answer(b"%d" % from_seq)
    while True:
        commits = follower.commits(orchestrator.durable_seq)
        while lines := await to_thread.run_sync(_next_lines, commits, directory, from_seq):
            await asked.write(lines)
        while len(lines) < PART_BYTES:  # what comes is read with the others, as long as it keeps up
            await orchestrator.durable(follower.next_seq)
            upto_seq = orchestrator.durable_seq
            lines, follower.next_seq = await newest.read(fs, directory, follower.next_seq, upto_seq)
            await asked.write(lines)


def _next_lines(commits: Iterator[Commit], directory: Path, from_seq: int) -> bytes:
    """The lines of some commits; nothing at their end."""
    lines: list[bytes] = []
    size = 0
    for commit in commits:
        for entry in entries_of(commit, journal_of(directory)):
            if entry.seq >= from_seq:
                line = _encode(entry) + b"\n"
                lines.append(line)
                size += len(line)
        if size >= PART_BYTES:
            break
    return b"".join(lines)
