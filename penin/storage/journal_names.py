"""The names of journal files: the seq that a file begins with, and whether it is compressed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

JOURNAL_SUFFIX: Final = ".jsonl"
_FILE_NAME = re.compile(r"([0-9]{20})\.jsonl(?:\.gz|\.zst)?")


class JournalFile(msgspec.Struct, frozen=True):
    """A journal file by its name: its first transition has (or will have) seq `first`."""

    first: int
    path: Path

    @property
    def is_compressed(self) -> bool:
        """Whether it is; then all that is in it was durable, and a later file was begun."""
        return self.path.suffix != JOURNAL_SUFFIX


def journal_path(directory: Path, first: int) -> Path:
    """Return the path of the journal file whose first transition has seq `first`."""
    return directory / f"{first:020d}{JOURNAL_SUFFIX}"


def journal_file(path: Path) -> JournalFile | None:
    """Return the journal file that a path names; None for any other name."""
    name = _FILE_NAME.fullmatch(path.name)
    return None if name is None else JournalFile(int(name[1]), path)
