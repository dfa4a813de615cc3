"""Transitions as they become durable, one a line, from any seq that the journal still holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from anyio import to_thread

from penin.ingress.socket.queries import Asked, check_members, whole
from penin.runtime.following import JournalFollower
from penin.runtime.ledger import entries_of, journal_of
from penin.storage.commits import Commit

SUBSCRIBE: Final = "subscribe"
PART_BYTES: Final = 2**18
"""About so many bytes are read and written at a time."""

_encode: Final = msgspec.json.Encoder().encode


async def subscribe(asked: Asked) -> None:
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
        await orchestrator.durable(follower.next_seq)
        commits = follower.commits(orchestrator.durable_seq)
        while lines := await to_thread.run_sync(_next_lines, commits, directory, from_seq):
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
