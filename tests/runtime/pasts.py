"""A store with a past, written line by line, that remembers its state after each message.

The times of its commits are those that a test chooses.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penin.core import door
from penin.core.formats import encode_state
from penin.core.orchestrator import OmegaMetaOrchestrator
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.core.transitions import Message
from penin.runtime.recovery import begin_store
from penin.runtime.store import Store, store_at
from penin.settings import Settings
from penin.storage.retention import Retention
from penin.storage.snapshots import JSON_SUFFIX
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem
from tests.runtime.stores import STORE, seen
from tests.slices import operations

MIDNIGHT = "2026-01-31T00:00:00.000000Z"


def clock(minute: int) -> str:
    """The time so many minutes after midnight, as commits have it."""
    return f"2026-01-31T{minute // 60:02d}:{minute % 60:02d}:00.000000Z"


def everything(state: State) -> dict[str, Any]:
    """What readers see, and what later transitions depend on, as it is now."""
    shown = seen(OmegaMetaOrchestrator.from_state(state))
    return {
        **shown,
        "histories": {name: deque(kept, kept.maxlen) for name, kept in shown["histories"].items()},
        "history_maxlen": state.history_maxlen,
        "document_seqs": dict(state.document_seqs),
        "history_seqs": dict(state.history_seqs),
        "message_ids": (state.message_ids.maxlen, state.message_ids.kept()),
    }


def scores(*numbers: float) -> list[Message]:
    """A message for each number; the number is seen in the state."""
    return [door.add_score(number) for number in numbers]


class Writer:
    """Writes a store. `states` has the state at the end of each message, by its seq.

    `minute` is the time of the next commit; each takes one.
    """

    def __init__(
        self, fs: Any = None, directory: Path = STORE, *, forked: bool = False, **settings: Any
    ) -> None:
        self.fs = CrashableFileSystem() if fs is None else fs
        self.state = State()
        self.minute = 0
        self.at = MIDNIGHT
        self.hashes: dict[int, str] = {}
        self.store: Store = store_at(directory, Settings(**settings), self.fs)
        self.store.prepare(0.0, lambda _: None)
        origin = Envelope(store="another", journal_hash="a" * 64) if forked else Envelope()
        if forked:
            for message in scores(0.0, 0.0, 0.0):
                self.state.apply(message.body, self.state.seq + 1)
        if forked or self.store.snapshots.suffix != JSON_SUFFIX:
            begin_store(self.store, self.state, self.at, origin, None)
        else:
            self.store.journal.create(str(uuid.uuid4()), seq=0, forked_from=None)
        self.states = {self.state.seq: everything(self.state)}
        self.store.journal.open(MIDNIGHT)

    def commit(self, *messages: Message) -> None:
        """One commit of these messages."""
        first = self.state.seq + 1
        for message in messages:
            self.state.apply(message.body, self.state.seq + 1)
            self.states[self.state.seq] = everything(self.state)
        self.at = clock(self.minute)
        self.minute += 1
        raws = [message.raw for message in messages]
        self.store.journal.append(first, self.state.seq, self.at, raws)
        for seq in range(first, self.state.seq + 1):
            self.hashes[seq] = self.store.journal.head_hash

    def checkpoint(self, keep: int | None = None) -> None:
        """A checkpoint; with `keep`, only so many of them and the journal after them stay."""
        journal, snapshots = self.store.journal, self.store.snapshots
        envelope = Envelope(journal.store, journal.epoch, self.at, journal.head_hash)
        journal.rotate()
        chunks = encode_state(self.state.view(), envelope, snapshots.suffix)
        snapshots.put(self.state.seq, journal.epoch, self.at, chunks)
        if keep is not None:
            snapshots.prune(Retention(keep), now=self.at, valid=[self.state.seq])
            journal.trim(snapshots.oldest_kept_seq())

    def reopen(self) -> None:
        """Claim another epoch, which is a line without messages."""
        self.store.release()
        self.store.prepare(0.0, lambda _: None)
        self.store.journal = store_at(self.store.directory or "", Settings(), self.fs).journal
        list(self.store.journal.read(0))
        self.store.journal.open(self.at)

    def release(self) -> Any:
        """Close the store; its file system."""
        self.store.release()
        return self.fs


def crashed_everywhere(
    name: str,
    target: Path,
    make: Callable[[CrashableFileSystem], object],
    written_on: Callable[[CrashableFileSystem], Writer],
) -> Iterator[tuple[Writer, CrashableFileSystem]]:
    """The writer of a store, and a disk where `make` has put `target`, whatever the crash before.

    One for each operation of `make` that is in the slice of `name`: where the crash left nothing
    of the target, `make` was done again; it must be whole where it is there.
    """
    for crash_at in operations(name, 300):
        writer = written_on(CrashableFileSystem(seed=crash_at))
        fs = writer.fs
        fs.crash_at = len(fs.operations) + crash_at
        fs.crash_effect = ("none", "half", "whole")[crash_at % 3]
        has_ended = True
        try:
            make(fs)
        except Crash:
            has_ended = False
        for left in (fs.after_kill(), fs.after_crash(crash_at), fs.after_crash(-crash_at)):
            disk = left
            assert disk.exists(target) or not has_ended
            if not disk.exists(target):
                make(disk)
                disk = disk.after_crash(crash_at)
            yield writer, disk
        if has_ended:
            return
    pytest.fail(f"a {name} without an end")
