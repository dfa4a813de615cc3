"""The two sides of a comparison: files, stores, or seqs of one store, each read as it is now."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import msgspec

from penin.core.difference import Difference, difference
from penin.core.state import State
from penin.errors import StorageError, UsageError
from penin.runtime.files import read_snapshot_file, shown_name
from penin.runtime.past import state_at
from penin.storage.filesystem import FileSystem, OsFileSystem
from penin.storage.keys import is_encrypted

NOW: Final = "now"
_SEQ: Final = re.compile(r"[0-9]{1,20}")


class Side(msgspec.Struct, frozen=True):
    """What one side is: its name as it was given, and what its state says of itself.

    `asked_seq` is the seq that was asked for, where that is inside a message and `seq` is the end
    of the message before; otherwise None. `passed_over` are damaged snapshots that an older one
    took the place of.
    """

    name: str
    seq: int
    store: str | None
    at: str | None
    asked_seq: int | None = None
    passed_over: tuple[str, ...] = ()


class Compared(msgspec.Struct, frozen=True):
    """Two sides, and how the second differs from the first."""

    before: Side
    after: Side
    difference: Difference


def compare(before: str, after: str, directory: Path, fs: FileSystem | None = None) -> Compared:
    """Compare two sides, changing nothing and without a lock; `fs` has the key of encrypted ones.

    A side is a snapshot file, the directory of a store (as it is on disk now), or, of the store in
    `directory`, a seq in digits or `now`. Raises UsageError for what is none of these, NotKeptError
    for a seq that the store does not keep, CorruptionError, FormatError, or another StorageError.
    """
    files = OsFileSystem() if fs is None else fs
    first, old = _read(before, directory, files)
    second, new = _read(after, directory, files)
    return Compared(first, second, difference(old, new))


def _read(name: str, directory: Path, fs: FileSystem) -> tuple[Side, State]:
    if name == NOW or _SEQ.fullmatch(name):
        return _read_store(name, directory, None if name == NOW else int(name), fs)
    path = Path(name)
    if path.is_dir():
        place = Path(os.path.realpath(path))
        # A plain store beside an encrypted one: what was converted into the other, for instance.
        return _read_store(name, place, None, fs if is_encrypted(fs, place) else OsFileSystem())
    if not path.exists():
        raise UsageError(f"{name}: neither a file nor a store, a seq or {NOW}")
    state, envelope = read_snapshot_file(path, fs)
    return Side(shown_name(name), state.seq, envelope.store, envelope.at), state


def _read_store(name: str, directory: Path, seq: int | None, fs: FileSystem) -> tuple[Side, State]:
    try:
        past = state_at(directory, seq=seq, fs=fs)
    except FileNotFoundError as error:
        raise UsageError(f"there is no store in {directory}") from error
    side = Side(
        shown_name(name),
        past.state.seq,
        past.envelope.store,
        past.envelope.at,
        seq if past.inside_message else None,
        tuple(map(_reason, past.passed_over)),
    )
    return side, past.state


def _reason(error: StorageError) -> str:
    return str(error)
