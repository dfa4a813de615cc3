"""Snapshots on files; the port is `SnapshotStore` in `penin.storage.snapshot_port`.

`state.json` is the newest snapshot, and every file in `checkpoints/` one that is kept, the newest
among them being the same file as `state.json`. The snapshots of a store may have another suffix
than `.json` (`SUFFIXES`; what is in them and how it is compressed is the owner's), but all of a
store the same one: that of its first snapshot. Rules of `FileSnapshotStore`:

1. A snapshot is written and synced under a temporary name, becomes a checkpoint, durably, and only
   then replaces `state.json`, durably. Whatever the crash, `state.json` is a whole snapshot, and
   the one before it is among the checkpoints.
2. Nothing is deleted before the last of these syncs has succeeded: `prune` is a step of its own,
   and so is trimming the journal, up to `oldest_kept_seq`.
3. At least one earlier checkpoint is always kept, so that a damaged snapshot has a way back. What
   is damaged is given another name (`*.corrupt-<time>`), and never overwritten or deleted.
   Which others are is told by `penin.storage.retention`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol, Self

import msgspec

from penin.errors import (
    CorruptionError,
    FormatError,
    JournalGapError,
    KeyRequiredError,
    NotEncryptedError,
    StorageError,
)
from penin.storage.compression import SUFFIX_OF, suffix_of
from penin.storage.encryption import ENCRYPTED_SUFFIX, encrypted
from penin.storage.filesystem import (
    LINK_REFUSED_ERRNOS,
    FileBlocks,
    FileSystem,
    removed_on_failure,
    storage_error,
    write_file_durably,
    write_synced,
)
from penin.storage.keys import KEYS_NAME, is_encrypted
from penin.storage.retention import CHECKPOINTS_KEPT_MIN, Retention, kept_seqs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

JSON_SUFFIX: Final = ".json"
TENSORS_SUFFIX: Final = ".safetensors"
SUFFIXES: Final = tuple(
    content + end + outer
    for content in (JSON_SUFFIX, TENSORS_SUFFIX)
    for end in ("", *SUFFIX_OF.values())
    for outer in ("", ENCRYPTED_SUFFIX)
)

CHECKPOINTS_DIRECTORY: Final = "checkpoints"
_STATE_STEM = "state"
_STAGING_SUFFIX = ".tmp"
_ASIDE = ".corrupt-"
_ANY_SUFFIX = "|".join(map(re.escape, SUFFIXES))
_ASIDE_NAME = re.compile(rf"[^/]+(?:{_ANY_SUFFIX})\.corrupt-[0-9TZ.]+")
_CHECKPOINT_NAME = re.compile(rf"([0-9]{{20}})-([^/]*)(?:{_ANY_SUFFIX})")
_NAME_TIME = "%Y%m%dT%H%M%SZ"


class CheckpointFile(msgspec.Struct, frozen=True):
    """A kept snapshot of the state at `seq`.

    `at` is the time of its last commit as its name has it, to the second: `2026-01-31T12:00:00Z`;
    None where the name has none.
    """

    seq: int
    path: Path
    at: str | None


class SnapshotBlocks(Protocol):
    """A snapshot that is open for reading: the same bytes in every iteration, block by block.

    Leaving the context closes it. A later snapshot does not change what is read. An iteration
    raises `StorageError` where reading fails.
    """

    @property
    def size_bytes(self) -> int:
        """How long the snapshot is."""

    def map(self) -> memoryview:
        """The whole snapshot as memory that is read when it is used; it stays after closing."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class FileSnapshotStore:
    """The snapshots of one store directory (absolute, without symlinks in it).

    `suffix` is that of the first snapshot, where there is none; that of encrypted ones is added
    where the file system has a key.
    """

    def __init__(self, fs: FileSystem, directory: Path, suffix: str = JSON_SUFFIX) -> None:
        self._fs = fs
        self._directory = directory
        self._checkpoints = directory / CHECKPOINTS_DIRECTORY
        self._first_suffix = suffix if fs.keys is None else suffix + ENCRYPTED_SUFFIX

    @property
    def suffix(self) -> str:
        found = [suffix for suffix in SUFFIXES if self._fs.exists(self._state(suffix))]
        if len(found) > 1:
            names = " and ".join(self._state(suffix).name for suffix in found)
            raise FormatError(self._directory, f"{names} are both there, and a store has one")
        suffix = found[0] if found else self._first_suffix
        self._check_key(suffix, is_there=bool(found))
        return suffix

    def _check_key(self, suffix: str, *, is_there: bool) -> None:
        """Raise where there is no key for an encrypted store, another one, or one for a plain one.

        KeyRequiredError, NotEncryptedError, and what `Keys.ring` raises.
        """
        keys, is_sealed = self._fs.keys, suffix.endswith(ENCRYPTED_SUFFIX)
        has_ring = is_encrypted(self._fs, self._directory)
        if keys is None:
            if is_sealed or has_ring:
                raise KeyRequiredError(self._directory)
        elif not is_sealed:
            raise NotEncryptedError(self._state(suffix))
        elif has_ring:
            keys.ring(self._fs, self._directory)
        elif is_there:
            reason = "it is missing, beside what it encrypts"
            raise CorruptionError(self._directory / KEYS_NAME, 0, reason)

    @property
    def path(self) -> Path:
        return self._state(self.suffix)

    def _state(self, suffix: str) -> Path:
        return self._directory / (_STATE_STEM + suffix)

    def put(self, seq: int, epoch: int, at: str, chunks: Iterable[bytes | memoryview]) -> int:
        path = self.path
        temporary = path.with_name(f"{path.name}{_STAGING_SUFFIX}-{epoch}-{seq}")
        checkpoint = self._checkpoints / checkpoint_name(seq, at, suffix_of(path))
        try:
            self._fs.make_directory(self._checkpoints)
            size = write_synced(self._fs, temporary, self._encrypted(chunks, seq))
            with removed_on_failure(self._fs, temporary):
                give_second_name(self._fs, temporary, checkpoint)
                self._fs.rename(temporary, path)
            self._fs.sync_directory(self._directory)
        except OSError as error:
            raise storage_error(path, error) from error
        return size

    def _encrypted(
        self, chunks: Iterable[bytes | memoryview], seq: int
    ) -> Iterable[bytes | memoryview]:
        """What is written of a snapshot: itself, where there is no key."""
        keys = self._fs.keys
        if keys is None:
            return chunks
        return encrypted(chunks, keys.ring(self._fs, self._directory), "snapshot", seq)

    def latest(self) -> FileBlocks | None:
        try:
            return FileBlocks(self._fs, self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(self.path, error) from error

    def checkpoints(self) -> list[CheckpointFile]:
        try:
            names = self._fs.names(self._checkpoints)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error(self._checkpoints, error) from error
        return [file for name in names if (file := checkpoint_file(self._checkpoints, name))]

    def oldest_kept_seq(self) -> int:
        kept = self.checkpoints()
        return kept[0].seq if len(kept) >= CHECKPOINTS_KEPT_MIN else 0

    def prune(self, retention: Retention, *, now: str, valid: Collection[int]) -> None:
        files = self.checkpoints()
        times = [(file.seq, file.at) for file in files]
        kept = kept_seqs(times, now=now, retention=retention, valid=valid)
        superfluous = [file.path for file in files if file.seq not in kept]
        self._remove(superfluous)
        if superfluous:
            # Before the journal after them goes: else one could come back that nothing continues.
            try:
                self._fs.sync_directory(self._checkpoints)
            except OSError as error:
                raise storage_error(self._checkpoints, error) from error

    def open_checkpoint(self, file: CheckpointFile) -> FileBlocks:
        try:
            return FileBlocks(self._fs, file.path)
        except FileNotFoundError as error:
            raise JournalGapError(file.path, 0, "it vanished while it was read") from error
        except OSError as error:
            raise storage_error(file.path, error) from error

    def set_aside(self, paths: Sequence[Path], at: str) -> list[Path]:
        try:
            aside = [self._set_aside(path, at) for path in paths]
            for directory in sorted({path.parent for path in aside}):
                self._fs.sync_directory(directory)
        except OSError as error:
            raise storage_error(self.path, error) from error
        return aside

    def _set_aside(self, path: Path, at: str) -> Path:
        names = self._fs.names(path.parent)
        stem = f"{path.name}{_ASIDE}"
        is_latest = path == self.path
        for name in names if is_latest else ():
            kept = path.with_name(name)
            if _ASIDE_NAME.fullmatch(name) and name.startswith(stem) and self._is_same(path, kept):
                return kept  # by an opening that was interrupted
        first = name = stem + _compact(at)
        number = 1
        while name in names:
            number += 1
            name = f"{first}.{number}"
        if is_latest:
            give_second_name(self._fs, path, path.with_name(name))
        else:
            self._fs.rename(path, path.with_name(name))
        return path.with_name(name)

    def _is_same(self, path: Path, other: Path) -> bool:
        with FileBlocks(self._fs, path) as left, FileBlocks(self._fs, other) as right:
            return left.size_bytes == right.size_bytes and digest_of(left) == digest_of(right)

    def set_aside_checkpoints(self) -> list[CheckpointFile]:
        return [
            file
            for path in self.set_aside_files()
            if (file := checkpoint_file(path.parent, path.name.partition(_ASIDE)[0]))
        ]

    def set_aside_files(self) -> list[Path]:
        """Return what was set aside, be it the latest snapshot or a checkpoint."""
        found: list[Path] = []
        for directory in (self._directory, self._checkpoints):
            try:
                names = self._fs.names(directory)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise storage_error(directory, error) from error
            found += [directory / name for name in names if _ASIDE_NAME.fullmatch(name)]
        return found

    def adopt(self, file: CheckpointFile) -> None:
        try:
            give_second_name(self._fs, file.path, self.path)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def keep_original(self) -> Path:
        """Give `state.json` a name that no later snapshot takes, and return it; durably."""
        original = self.latest()
        if original is None:
            raise StorageError(self.path, "there is no state to keep")
        with original as blocks:
            kept = self._directory / original_name(digest_of(blocks), self.suffix)
        try:
            if not self._fs.exists(kept):
                give_second_name(self._fs, self.path, kept)
            else:
                self._fs.sync_directory(self._directory)
        except OSError as error:
            raise storage_error(kept, error) from error
        return kept

    def keep(self, name: str, seq: int, chunks: Iterable[bytes | memoryview]) -> Path:
        kept = self._directory / f"{_STATE_STEM}.{name}{self.suffix}"
        try:
            write_file_durably(self._fs, kept, self._encrypted(chunks, seq))
        except OSError as error:
            raise storage_error(kept, error) from error
        return kept

    def remove_leftovers(self) -> None:
        for directory in (self._directory, self._checkpoints):
            try:
                names = self._fs.names(directory)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise storage_error(directory, error) from error
            self._remove([directory / name for name in names if _is_leftover(name)])

    def _remove(self, paths: list[Path]) -> None:
        for path in paths:
            try:
                self._fs.unlink(path)
            except OSError as error:
                raise storage_error(path, error) from error


def give_second_name(fs: FileSystem, source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy where links are refused; durably.

    What had that name is replaced. Raises `OSError`.
    """
    staging = target.with_name(target.name + _STAGING_SUFFIX)
    if fs.exists(staging):
        fs.unlink(staging)
    try:
        fs.link(source, staging)
    except OSError as error:
        if error.errno not in LINK_REFUSED_ERRNOS:
            raise
        with FileBlocks(fs, source) as blocks:
            write_synced(fs, staging, blocks)
    # By way of another name, because a link does not replace a target that is there already.
    with removed_on_failure(fs, staging):
        fs.rename(staging, target)
    fs.sync_directory(target.parent)


def checkpoint_name(seq: int, at: str, suffix: str = JSON_SUFFIX) -> str:
    """Return the file name of a checkpoint: its seq, and its time as `20260131T120000Z`."""
    return f"{seq:020d}-{_compact(at)}{suffix}"


def _compact(at: str) -> str:
    """A time as `20260131T120000Z`."""
    return re.sub("[^0-9T]", "", at.partition(".")[0]) + "Z"


def checkpoint_file(directory: Path, name: str) -> CheckpointFile | None:
    """Return the checkpoint that a file in `checkpoints/` is by its name; None if it is none."""
    found = _CHECKPOINT_NAME.fullmatch(name)
    if found is None:
        return None
    try:
        time = datetime.strptime(found[2], _NAME_TIME).replace(tzinfo=UTC)
    except ValueError:
        at = None
    else:
        at = time.isoformat().replace("+00:00", "Z")
    return CheckpointFile(int(found[1]), directory / name, at)


def original_name(digest: str, suffix: str = JSON_SUFFIX) -> str:
    """Return the file name that a snapshot of another store is kept under."""
    return f"state.original-{digest[:12]}{suffix}"


def digest_of(blocks: Iterable[bytes]) -> str:
    """Return the SHA-256 of a whole file, in hexadecimal."""
    digest = sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _is_leftover(name: str) -> bool:
    return any(
        name.startswith(f"{_STATE_STEM}{suffix}{_STAGING_SUFFIX}-")
        or name.endswith(suffix + _STAGING_SUFFIX)
        or (name.endswith(_STAGING_SUFFIX) and f"{suffix}{_ASIDE}" in name)
        for suffix in SUFFIXES
    )
