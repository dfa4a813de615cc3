"""The port of the snapshots; `penin.storage.snapshots` has its implementation on files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from penin.storage.retention import Retention
    from penin.storage.snapshots import CheckpointFile, SnapshotBlocks


class SnapshotStore(Protocol):
    """The port: whole states, each under the seq of the last transition in it."""

    @property
    def path(self) -> Path:
        """Of the latest snapshot; for messages."""

    @property
    def suffix(self) -> str:
        """The suffix of the snapshots, or of the first, where none is there yet.

        Raises `FormatError` where there are snapshots of several, and where they are encrypted and
        there is no key, or another one, or the other way round.
        """

    def put(self, seq: int, epoch: int, at: str, chunks: Iterable[bytes | memoryview]) -> int:
        """Make a snapshot the latest one, atomically; return its size in bytes.

        Durable on return. `at` is the time of the commit that it ends with. Raises `StorageError`
        (`StorageFullError` where there is no room) or whatever `chunks` raises; the latest is then
        the one before, or, where only the last sync failed, perhaps the new one.
        """

    def latest(self) -> SnapshotBlocks | None:
        """Open the latest snapshot, for the caller to close; None if there is none."""

    def checkpoints(self) -> list[CheckpointFile]:
        """Return the kept snapshots, oldest first."""

    def oldest_kept_seq(self) -> int:
        """Return the seq up to which the journal may be trimmed.

        That is the seq of the oldest kept checkpoint, and 0 while no earlier one is kept beside
        the latest: then the way back from a damaged snapshot is the whole journal.
        """

    def prune(self, retention: Retention, *, now: str, valid: Collection[int]) -> None:
        """Delete the checkpoints that `kept_seqs` does not keep; durable on return.

        `now` is a time like those of commits; `valid` has the seqs of checkpoints that are known to
        be good. Raises `StorageError`; what was deleted until then stays deleted.
        """

    def open_checkpoint(self, file: CheckpointFile) -> SnapshotBlocks:
        """Open a kept snapshot, for the caller to close.

        Raises `JournalGapError` where it vanished meanwhile, and `StorageError`.
        """

    def set_aside(self, paths: Sequence[Path], at: str) -> list[Path]:
        """Give damaged snapshots another name, and return those; durable on return.

        The latest one keeps its name beside, until `adopt` or `put` replaces it. No other file is
        overwritten. `at` is the time now. Raises `StorageError`.
        """

    def set_aside_checkpoints(self) -> list[CheckpointFile]:
        """Return the checkpoints that were set aside, as what they were."""

    def adopt(self, file: CheckpointFile) -> None:
        """Make a kept snapshot the latest one, atomically; durable on return.

        Raises `StorageError`.
        """

    def keep_original(self) -> Path:
        """Keep the latest snapshot for good, under the path returned; durable on return."""

    def keep(self, name: str, seq: int, chunks: Iterable[bytes | memoryview]) -> Path:
        """Keep another snapshot, at `seq`, for good; under the path returned, with `name` in it.

        Durable on return; one that was kept under that name is replaced, atomically. Raises
        `StorageError` or whatever `chunks` raises.
        """

    def remove_leftovers(self) -> None:
        """Remove what earlier runs left half-done. Raises `StorageError`."""
