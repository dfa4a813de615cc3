"""Single files, whatever they are called: which of our formats one is, and the state in it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from penin.core.formats import decode_state
from penin.core.snapshots import OPENING, Envelope
from penin.core.state import State
from penin.core.tensors import LENGTH, METADATA, TENSORS_FORMAT
from penin.errors import CorruptionError, FormatError, UsageError
from penin.storage.commits import JOURNAL_FORMAT
from penin.storage.compression import content_of, split_suffix, suffix_of
from penin.storage.encryption import ENCRYPTED_SUFFIX
from penin.storage.filesystem import FileBlocks, FileSystem, OsFileSystem, storage_error
from penin.storage.journal_names import JOURNAL_SUFFIX, journal_file
from penin.storage.keys import is_encrypted, store_of
from penin.storage.snapshots import JSON_SUFFIX, TENSORS_SUFFIX

Kind = Literal["json", "tensors", "journal"]

_JOURNAL_OPENING: Final = b'{"format":"%s"' % JOURNAL_FORMAT.encode()
_TENSORS_OPENING: Final = b'{"%s":{"format":"%s"' % (METADATA.encode(), TENSORS_FORMAT.encode())
_LOOKED_AT_BYTES: Final = 128
_SUFFIX_OF: Final = {"json": JSON_SUFFIX, "tensors": TENSORS_SUFFIX}


def given_file(path: Path) -> Path:
    """The file that somebody names, without symbolic links in its path.

    Raises UsageError where there is none, or where it is a directory or anything but a file.
    """
    if path.is_dir():
        raise UsageError(
            f"{path}: it is a directory; penin status --dir {path} shows what a store holds, and "
            "the files in it can be inspected"
        )
    if not path.exists():
        raise UsageError(f"{path}: there is no such file")
    if not path.is_file():  # opening a pipe would wait for somebody to write into it
        raise UsageError(f"{path}: it is not a regular file")
    return path.resolve()


def medium_of(path: Path, fs: FileSystem) -> FileSystem:
    """What a file that somebody names is read with: without the key, where nothing is encrypted.

    A plain file in the directory of an encrypted store is refused, as it is there.
    """
    is_inside = is_encrypted(fs, store_of(path)) or path.suffix == ENCRYPTED_SUFFIX
    return fs if is_inside else OsFileSystem()


def shown_name(path: Path | str) -> str:
    """A file's name as text that any encoding takes: on Linux it may be no UTF-8."""
    return str(path).encode(errors="backslashreplace").decode()


def kind_of(fs: FileSystem, path: Path) -> Kind:
    """Which format a file is of: by how it begins, and where that is not ours, by its name.

    Whether it is compressed is told by its name. Raises FormatError for a file that is none of
    ours, and StorageError.
    """
    begin = _beginning(fs, path)
    if begin.startswith(_JOURNAL_OPENING):
        return "journal"
    if begin.startswith(OPENING):
        return "json"
    if begin[LENGTH.size :].startswith(_TENSORS_OPENING):
        return "tensors"
    # Damaged at its beginning, of the original format, or edited.
    if journal_file(path) is not None:
        return "journal"
    suffix, _ = split_suffix(suffix_of(path))
    if suffix == TENSORS_SUFFIX:
        return "tensors"
    if suffix == JSON_SUFFIX or (suffix != ".jsonl" and begin.lstrip()[:1] == b"{"):
        return "json"
    raise FormatError(path, "neither a snapshot nor a journal file of penin")


def _beginning(fs: FileSystem, path: Path) -> bytes:
    """The first bytes of what is in a file, as far as it can be expanded."""
    try:
        with FileBlocks(fs, path) as file:
            # The lines of a journal are encrypted, and not the file.
            blocks = file if path.suffix == JOURNAL_SUFFIX else content_of(file, path)
            return next(iter(blocks), b"")[:_LOOKED_AT_BYTES]
    except CorruptionError:
        return b""
    except OSError as error:
        raise storage_error(path, error) from error


def read_snapshot_file(path: Path, fs: FileSystem) -> tuple[State, Envelope]:
    """The state in a snapshot file, and what the file says about itself; see `given_file`.

    `fs` has the key, where it is encrypted. Raises UsageError for what is no snapshot file,
    CorruptionError, FormatError, StorageError.
    """
    file = given_file(path)
    fs = medium_of(file, fs)
    kind = kind_of(fs, file)
    if kind == "journal":
        raise UsageError(f"{path}: it is a file of a journal, and holds no state by itself")
    with FileBlocks(fs, file) as blocks:
        return decode_state(content_of(blocks, file), path, _SUFFIX_OF[kind])
