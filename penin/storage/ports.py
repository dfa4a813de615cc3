"""The port of the journal; `penin.storage.journal` has its implementation on files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from penin.settings import Compression
    from penin.storage.commits import Commit, ForkedFrom
    from penin.storage.repair import Repairs
    from penin.storage.tail import Torn
    from penin.storage.timings import Timings


class Journal(Protocol):
    """The port: an append-only chain of commits with one writer.

    In use: `create` for a new store, else `read` to its end; then `open`; then `append`, `sync`,
    `rotate` and `trim`, one at a time, from one thread; then `close`.
    """

    @property
    def store(self) -> str:
        """The id of the store, once read or created; `CorruptionError` where nothing tells it."""

    @property
    def forked_from(self) -> ForkedFrom | None:
        """Where the state came from that the chain begins after; None for an empty one."""

    @property
    def epoch(self) -> int:
        """The epoch that `open` claimed; before that, of the last line read."""

    @property
    def first_seq(self) -> int:
        """The seq that the oldest kept part begins with."""

    @property
    def last_seq(self) -> int:
        """The seq of the last transition."""

    @property
    def durable_seq(self) -> int:
        """Once open: the highest seq known to survive a power cut."""

    @property
    def head_hash(self) -> str:
        """The hash of the last line."""

    @property
    def tail(self) -> Torn | None:
        """The torn tail that the last reading stopped at."""

    @property
    def syncs(self) -> Timings:
        """How long making durable took, each time."""

    @property
    def repairs(self) -> Repairs:
        """What `open` had to repair."""

    def size_bytes(self, after_seq: int = 0) -> int:
        """Return the size of all that is kept, but what lies in parts wholly up to `after_seq`."""

    def is_empty(self) -> bool:
        """Tell whether no journal was made yet."""

    def holds_transitions(self) -> bool:
        """Tell whether there is any transition in it."""

    def create(self, store: str, *, seq: int, forked_from: ForkedFrom | None) -> None:
        """Make the journal of a new store that begins after `seq`; durable on return.

        A journal without a transition is replaced. Raises `StorageError` if there is one.
        """

    def read(self, after_seq: int, anchor_hash: str | None = None) -> Iterator[Commit]:
        """Yield, in order, the commits with transitions after `after_seq`."""

    def open(self, at: str, *, epoch_seen: int = 0, store: str | None = None) -> None:
        """Claim the next epoch, beyond `epoch_seen` too; durable on return.

        What was read is durable then. `at` is the time of the opening.
        """

    def append(self, first: int, seq: int, at: str, messages: Sequence[bytes]) -> None:
        """Store the transitions `first` to `seq` as one commit; return when `fsync` is met.

        `messages` are encoded JSON values without newlines. Raises `StorageFullError` (certainly
        not stored; later appends are taken again) or `JournalFailedError` (unknown; for good).
        """

    def sync(self) -> None:
        """Make everything appended so far durable. Raises `JournalFailedError`, for good."""

    def sync_due_s(self) -> float | None:
        """Return in how many seconds a sync is due; None if nothing waits for one."""

    def rotate(self) -> None:
        """Sync, and let what follows go to a new file, so that `trim` can retire the old one.

        Raises `JournalFailedError` if the sync fails, and `RotationError` if the new file cannot
        be made; then everything goes on as it was.
        """

    def trim(self, upto_seq: int) -> None:
        """Retire what lies wholly at or before `upto_seq`. Raises `StorageError`."""

    def compress(
        self,
        upto_seq: int,
        compression: Compression,
        level: int | None,
        abandoned: Callable[[], None],
    ) -> None:
        """Compress what lies wholly at or before `upto_seq`, as far as it is kept.

        What is encrypted is left as it is.
        May be called from another thread than the others, but not while `rotate` or `trim` runs.
        `abandoned` is called now and then, and may raise. Raises `StorageError`. Whatever is
        raised, nothing is lost.
        """

    def close(self) -> None:
        """Sync what is unsynced and let go. Raises `JournalFailedError` if that sync fails."""
