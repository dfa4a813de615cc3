"""What lies in a store beside its snapshots and its journal, and who may read it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

import msgspec

from penin.storage.filesystem import DIRECTORY_MODE, FILE_MODE

_DIRECTORIES: Final = ("journal", "checkpoints", "sealed", "index")
_COMPRESSED: Final = r"(?:\.gz|\.zst)?"
_SNAPSHOT: Final = r"(?:json|safetensors)" + _COMPRESSED + r"(?:\.enc)?"
_KNOWN: Final = (
    (r"state\." + _SNAPSHOT, None),
    (r"lock", None),
    (r"keys\.json", None),
    (r"heads\.jsonl", None),
    (r"rejected\.jsonl", None),
    (r"penin\.sock(?:\.new)?", None),
    (r"state\.original-[0-9a-f]{12}\." + _SNAPSHOT, None),
    (r"state\.before-schema-[0-9]+\." + _SNAPSHOT, None),
    (r"journal/[0-9]{20}\.jsonl" + _COMPRESSED, None),
    (r"checkpoints/[0-9]{20}-[^/]*\." + _SNAPSHOT, None),
    (r"sealed/[0-9]{20}-(?:blake3-)?[0-9a-f]{64}", None),
    (r"index/[a-z]+-[0-9]+\.index", None),
    (r"(?:checkpoints/)?[^/]+\.corrupt-[0-9TZ.]+", "a damaged snapshot that was set aside"),
    (r"journal/[0-9]{20}\.jsonl\.torn-[0-9.]+", "bytes that were cut off a torn tail"),
    (
        r"(?:checkpoints/|journal/|sealed/|index/)?[^/]+\.tmp(?:-[0-9]+(?:-[0-9]+)?)?",
        "being made, or left by a crash; the next opening removes what is left",
    ),
)
"""Names in a store, and what there is to say of them. The first that fits is taken."""


class Note(msgspec.Struct, frozen=True):
    """Something that is no damage and worth knowing."""

    path: str
    what: str


def noted_files(directory: Path) -> list[Note]:
    """What is not part of a store, or open to others, or a symbolic link; of the real disk.

    What vanishes meanwhile is left out. Raises OSError where a directory cannot be read.
    """
    notes = list(_modes(directory, directory))
    for path in sorted(directory.iterdir()):
        if path.name in _DIRECTORIES and path.is_dir() and not path.is_symlink():
            notes += _modes(path, directory)
            for inner in sorted(path.iterdir()):
                notes += _notes(inner, directory)
        else:
            notes += _notes(path, directory)
    return notes


def _notes(path: Path, directory: Path) -> list[Note]:
    name = path.relative_to(directory).as_posix()
    fitting = (what for pattern, what in _KNOWN if re.fullmatch(pattern, name))
    what = next(fitting, "not a file of a store")
    said = [] if what is None else [Note(str(path), what)]
    return said + _modes(path, directory)


def _modes(path: Path, directory: Path) -> list[Note]:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return []
    if stat.S_ISLNK(mode) and path != directory:
        return [Note(str(path), "a symbolic link: nothing in a store is opened through one")]
    wanted = DIRECTORY_MODE if stat.S_ISDIR(mode) else FILE_MODE
    if stat.S_IMODE(mode) & ~wanted:
        return [
            Note(str(path), f"open to others: mode {stat.S_IMODE(mode):04o}, made as {wanted:04o}")
        ]
    return []
