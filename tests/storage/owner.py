"""An owner of a store in small: what the runtime does with the storage layer, and nothing more.

The state is the list of the payloads of all transitions, so that two states are compared at a
glance and one can be seen to be a prefix of another.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from penin.errors import StorageFullError
from penin.settings import Compression
from penin.storage.filesystem import FileSystem, read_file
from penin.storage.journal import FileJournal, Fsync
from penin.storage.reader import JournalReader
from penin.storage.retention import Retention
from penin.storage.snapshot_port import SnapshotStore
from penin.storage.snapshots import FileSnapshotStore, SnapshotBlocks

if TYPE_CHECKING:
    from collections.abc import Callable

STORE = Path("/store")
JOURNAL = STORE / "journal"
AT = "2026-01-31T12:00:00.000123Z"


class Snapshot(msgspec.Struct):
    seq: int
    epoch: int
    journal_hash: str
    state: list[str]


def content(snapshot: SnapshotBlocks) -> bytes:
    """What an open snapshot holds; it is closed after."""
    with snapshot as blocks:
        data = b"".join(blocks)
        assert blocks.size_bytes == len(data)
    return data


def latest_content(snapshots: SnapshotStore) -> bytes | None:
    """What the latest snapshot holds; None if there is none."""
    latest = snapshots.latest()
    return None if latest is None else content(latest)


def decoded(snapshot: SnapshotBlocks) -> Snapshot:
    return msgspec.json.decode(content(snapshot), type=Snapshot)


class Owner:
    """Recovers on `start`; `state` is what it holds, `written` what could be on the disk."""

    def __init__(
        self,
        fs: FileSystem,
        *,
        fsync: Fsync = "always",
        directory: Path = STORE,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.fs = fs
        self.journal = FileJournal(fs, directory / "journal", fsync=fsync, clock=clock)
        self.snapshots = FileSnapshotStore(fs, directory)
        self.state: list[str] = []
        self.written: list[str] = []
        self.epoch_claimed = 0
        self._directory = directory

    @property
    def acknowledged(self) -> int:
        """How many transitions are promised to survive `kill -9`."""
        return len(self.state)

    @property
    def durable(self) -> int:
        """How many transitions are promised to survive a power cut."""
        return min(self.journal.durable_seq, len(self.state))

    def start(self) -> Owner:
        self.fs.make_directory(self._directory)
        self.snapshots.remove_leftovers()
        epoch_seen = self.recover()
        self.journal.open(AT, epoch_seen=epoch_seen, store="store")
        self.epoch_claimed = self.journal.epoch
        return self

    def recover(self) -> int:
        """Take the state from the files and return the epoch of the snapshot."""
        latest = self.snapshots.latest()
        if latest is None:
            if self.journal.is_empty():
                self.journal.create("store", seq=0, forked_from=None)
            snapshot, anchor = Snapshot(0, 0, "", []), None
        else:
            snapshot = decoded(latest)
            anchor = snapshot.journal_hash
        self.state = snapshot.state
        for commit in self.journal.read(snapshot.seq, anchor):
            assert commit.first == len(self.state) + 1
            self.state += msgspec.json.decode(commit.messages, type=list[str])
            assert commit.seq == len(self.state)
        self.written = self.state
        return snapshot.epoch

    def append(self, count: int = 1, padding: int = 10) -> None:
        """Append a commit; on return it is acknowledged."""
        seq = len(self.state)
        epoch = self.journal.epoch
        payloads = [f"{epoch}/{seq + n}/{'x' * padding}" for n in range(1, count + 1)]
        self.written = self.state + payloads
        try:
            messages = [msgspec.json.encode(payload) for payload in payloads]
            self.journal.append(seq + 1, seq + count, AT, messages)
        except StorageFullError:
            self.written = self.state
            raise
        self.state = self.written

    def checkpoint(self) -> None:
        snapshot = Snapshot(
            len(self.state), self.journal.epoch, self.journal.head_hash, list(self.state)
        )
        self.journal.rotate()
        encoded = msgspec.json.encode(snapshot)
        chunks = [encoded[at : at + 700] for at in range(0, len(encoded), 700)]
        self.snapshots.put(snapshot.seq, snapshot.epoch, AT, chunks)
        self.snapshots.prune(Retention(), now=AT, valid=[snapshot.seq])
        self.journal.trim(self.snapshots.oldest_kept_seq())

    def compress(self, compression: Compression = "gzip") -> None:
        """Compress what the latest snapshot covers of the journal."""
        latest = self.snapshots.latest()
        assert latest is not None
        self.journal.compress(decoded(latest).seq, compression, None, lambda: None)

    def way_back(self) -> list[str]:
        """Return the state as it is recovered without the latest snapshot."""
        latest = self.snapshots.latest()
        newest = 0 if latest is None else decoded(latest).seq
        earlier = [file for file in self.snapshots.checkpoints() if file.seq < newest]
        state: list[str] = []
        anchor = None
        if self.journal.first_seq > 1:
            data = read_file(self.fs, earlier[-1].path)
            snapshot = msgspec.json.decode(data, type=Snapshot)
            state, anchor = snapshot.state, snapshot.journal_hash
        reader = JournalReader(self.fs, self._directory / "journal")
        for commit in reader.read(len(state), anchor):
            state += msgspec.json.decode(commit.messages, type=list[str])
        return state

    def stop(self) -> None:
        self.journal.close()
