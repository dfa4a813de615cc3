"""Every error that PENIN raises for the world; asserts are for its own bugs.

One root, `PeninError`. Leaves carry the data that a caller needs to act: the path of a field, the
path of a file, a position in bytes, a seq. `str(error)` is a sentence for a person.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Literal


class PeninError(Exception):
    """The root of every error of this package."""


# -- the door ---------------------------------------------------------------------------------


class RefusedError(PeninError):
    """Bad input, refused before anything changed.

    `field` is the path of what was refused (`task.items[3].price`), `reason` says why.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class RefusedValueError(RefusedError, ValueError):
    """The type is right and the value is not: NaN in a vector, an empty key, too large."""


class RefusedTypeError(RefusedError, TypeError):
    """A type that has no place there: a set in a task, a string as a score."""


class IdReusedError(RefusedValueError):
    """The `id` of another message, whose content was another one; its last seq is `first_seq`."""

    def __init__(self, id: str, first_seq: int) -> None:  # the word of the message
        super().__init__("id", f"{id!r} was another message, with seq {first_seq}")
        self.id = id
        self.first_seq = first_seq


class KnowledgeFullError(RefusedValueError):
    """`max_knowledge` leaves no room for what a message puts; certainly not stored."""

    def __init__(self, size: int, max_knowledge: int) -> None:
        there = f"it holds {size} artifacts, and max_knowledge is {max_knowledge}"
        super().__init__("knowledge_base", f"no room for what this puts: {there}")
        self.size = size
        self.max_knowledge = max_knowledge


class NotKeptError(RefusedValueError):
    """A seq, time or checkpoint of a store that it does not keep any more, or not yet.

    Every state from `first_seq` to `last_seq` is kept.
    """

    def __init__(self, field: str, reason: str, first_seq: int, last_seq: int) -> None:
        super().__init__(field, f"{reason}; kept is seq {first_seq} to {last_seq}")
        self.first_seq = first_seq
        self.last_seq = last_seq


class TableError(PeninError):
    """A file of rows that is not taken, or only up to somewhere.

    `path` is the file, `place` where in it ("row 17", "line 18", the name of an array; None for
    the whole file), `reason` says why.
    """

    def __init__(self, path: Path | str, place: str | None, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if place is None else f"{path}: {place}: {reason}")
        self.path = Path(path)
        self.place = place
        self.reason = reason


# -- the mailbox and the phases ---------------------------------------------------------------


class MailboxFullError(PeninError):
    """`send_nowait` found the mailbox full. The message was not taken; nothing changed."""

    def __init__(self, messages_max: int) -> None:
        super().__init__(f"the mailbox holds {messages_max} messages and takes no more for now")
        self.messages_max = messages_max


class ClosedError(PeninError):
    """The orchestrator is not open (any more). The message was not taken and is not stored."""


class NotRunningError(ClosedError):
    """No worker serves the socket of a store, or none does any more. `path` is the store."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason


class OutcomeUnknownError(PeninError):
    """The worker went away before it answered: the message may be stored, or not.

    `path` is the store. What only reads is asked again, and never ends in this.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(
            f"{path}: the worker went away before it answered; the message may be stored, or not"
        )
        self.path = Path(path)


class BusyError(PeninError):
    """The worker has too much on its way for one more. Nothing changed; try again later."""


class ForbiddenError(PeninError):
    """The worker belongs to another user."""


class WrongContextError(PeninError):
    """Called where it would deadlock or cannot work: `open_sync` on an event loop, trio, ..."""


# -- storage ----------------------------------------------------------------------------------


class StorageError(PeninError):
    """Something about the files of a store. `path` names the file or directory."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason


class StorageFullError(StorageError):
    """No room (ENOSPC, EDQUOT, EFBIG). What was sent is certainly not stored; try again later."""


class JournalFailedError(StorageError):
    """Writing the journal failed in a way that leaves the outcome unknown.

    The message may or may not be there after the next recovery. The actor has stopped for good;
    the way on is to open the store again.
    """


class RotationError(StorageError):
    """The next journal file could not be made; the old one goes on, without a checkpoint."""


class CorruptionError(StorageError):
    """Damage that no crash explains. Nothing was changed; `position` is the byte in `path`."""

    def __init__(self, path: Path | str, position: int, reason: str) -> None:
        super().__init__(path, f"damaged at byte {position}: {reason}")
        self.position = position


class JournalGapError(CorruptionError):
    """No journal file continues the snapshot, or one of them vanished while it was read.

    Under the lock this is corruption. A reader without the lock may only have been overtaken by
    a checkpoint: it reads the newest snapshot and starts again.
    """


class SealedFileMissingError(JournalGapError):
    """A sealed file that the journal names is not there."""


class UnrecoverableError(CorruptionError):
    """The newest snapshot is damaged, and nothing that is left leads to the state that it had.

    Nothing was changed. `reachable_seq` is the last transition that an older checkpoint and the
    journal lead to, of the time `reachable_at`, or None where nothing leads anywhere. Everything
    from `lost_first_seq` on is lost: to `lost_last_seq` at least, where that is known.
    """

    def __init__(
        self,
        path: Path | str,
        position: int,
        damage: str,
        *,
        place: Path | str,
        why: str,
        reachable_seq: int | None,
        reachable_at: str | None,
        lost_first_seq: int,
        lost_last_seq: int | None,
    ) -> None:
        time = f" (of {reachable_at})" if reachable_at else ""
        there = "nothing" if reachable_seq is None else f"the state at seq {reachable_seq}{time}"
        upto = "" if lost_last_seq is None else f" to at least {lost_last_seq}"
        StorageError.__init__(
            self,
            path,
            f"{damage}; what is left leads to {there} and not further: {why}. "
            f"Lost: seq {lost_first_seq}{upto}. Nothing was changed. "
            f"penin verify --dir {place} tells all that is damaged; "
            f"penin repair --dir {place} --to DIR makes a new store of what is left",
        )
        self.position = position
        self.reachable_seq = reachable_seq
        self.reachable_at = reachable_at
        self.lost_first_seq = lost_first_seq
        self.lost_last_seq = lost_last_seq


class FormatError(StorageError):
    """A file that this version does not read: another format, a newer version."""


class ExpansionError(FormatError):
    """A compressed file that expands further than any of ours; it was not read to its end.

    `limit_bytes` is how far a file of `size_bytes` may expand.
    """

    def __init__(self, path: Path | str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            path,
            f"it has {size_bytes:,} bytes and expands to more than {limit_bytes:,}, as no file of "
            "penin does; it is not read",
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class KeyRequiredError(FormatError):
    """It is encrypted, and no key was given."""

    def __init__(self, path: Path | str, reason: str | None = None) -> None:
        ours = "it is encrypted; say where its key is, with --key-from or the setting key_from"
        super().__init__(path, reason or ours)


class WrongKeyError(FormatError):
    """The data keys of the store are wrapped by another master key than the one that was given."""

    def __init__(self, path: Path | str, reason: str | None = None) -> None:
        super().__init__(path, reason or "the key that was given is not the one of this store")


class NotEncryptedError(FormatError):
    """A key was given, and what was to be opened with it is not encrypted: it is refused."""

    def __init__(self, path: Path | str, reason: str | None = None) -> None:
        ours = (
            "it is not encrypted, and a key was given, with which nothing plain is opened; "
            "penin convert makes an encrypted store of a plain one"
        )
        super().__init__(path, reason or ours)


LockHolderPlace = Literal["here", "this host", "another host", "a child", "unknown"]
"""Where the process is that took the lock of a store, seen from one that was refused."""


class LockedError(StorageError):
    """Another process (or this one) has the store open for writing.

    `pid` and `host` are what the holder wrote down: information, not proof. A forked child keeps
    the lock of a parent that is dead, and then the pid names the parent.
    """

    def __init__(
        self,
        path: Path | str,
        pid: int | None,
        host: str | None,
        *,
        where: LockHolderPlace,
        waited_s: float,
    ) -> None:
        who = f"process {pid} on {host}"
        advice = {
            "here": "this process has it open already; close it first",
            "this host": f"{who} (this host) has it open; stop it (kill {pid})",
            "another host": f"{who} (another host or container) has it open; stop it there",
            "a child": f"{who} (this host) had it open and is not there any more, and a child that "
            f"it left behind, or another container, keeps it open; stop that (fuser {path} shows "
            "it)",
            "unknown": f"another process has it open; stop it (fuser {path} shows it)",
        }[where]
        if where != "here":
            advice += f", or wait longer: lock_wait_s (--lock-wait-s) was {waited_s:g} s"
        super().__init__(path, f"locked: {advice}")
        self.pid = pid
        self.host = host


class UnsupportedPlatformError(PeninError):
    """The platform lacks what `penin.open` needs."""


# -- migrations ------------------------------------------------------------------------------


class MigrationError(PeninError):
    """The owner's data cannot be brought to another schema version. Nothing was changed.

    `path` is the store, `version` the one that the migration starts from: `migrations[version]`.
    """

    def __init__(self, path: Path | str, version: int, reason: str) -> None:
        super().__init__(f"{path}: schema version {version} to {version + 1}: {reason}")
        self.path = Path(path)
        self.version = version
        self.reason = reason


# -- workers ----------------------------------------------------------------------------------


class WorkerGaveUpError(PeninError):
    """A worker failed too often within the stated time; the process was stopped cleanly."""

    def __init__(self, worker: str, failures: int, within_s: float) -> None:
        super().__init__(f"worker {worker} failed {failures} times within {within_s:g} s")
        self.worker = worker
        self.failures = failures
        self.within_s = within_s


class FinalCheckpointError(PeninError):
    """Everything was drained and is in the journal, but the checkpoint at the end failed."""


class UsageError(PeninError):
    """A mistake in how something was called: no such worker, an argument that no worker has."""


def raised_at(error: BaseException) -> str:
    """Where an error was raised, as the end of a sentence about it; for code that is not ours."""
    if isinstance(error, SyntaxError):
        return ""  # it names its place itself
    frames = traceback.extract_tb(error.__traceback__)
    return f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
