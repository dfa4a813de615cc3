"""What is done to the files before a journal that was read to its end is written again.

In this order, so that a crash at any point leaves what the next opening repairs:

1. a leftover (a file begun and never used) is removed;
2. the bytes of a torn tail are kept aside, durably, in `<name>.torn-<offset>`, and then cut;
3. a newest file without a valid header gets one; in any other, everything after the last line that
   is known to be durable is written again with the same bytes: what was read may only be in the
   page cache, marked as clean by a sync that failed before the crash;
4. file and directory are synced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from penin.errors import CorruptionError
from penin.storage.commits import Header, InvalidLineError, Position, encode_header, parse_line
from penin.storage.filesystem import (
    FileSystem,
    read_all,
    read_file,
    write_all,
    write_file_durably,
)
from penin.storage.lines import journal_lines
from penin.storage.tail import Torn

if TYPE_CHECKING:
    from pathlib import Path

    from penin.storage.reader import JournalEnd


class Repairs(msgspec.Struct, frozen=True):
    """What opening the journal had to repair; for the log."""

    torn: Torn | None = None  # cut off the newest file
    torn_path: Path | None = None  # where the bytes that were cut are kept
    rewritten_bytes: int = 0  # written again because they may only have been in the page cache
    header_remade: bool = False
    leftover: Path | None = None  # a file removed that was begun and never used


class Repaired(msgspec.Struct, frozen=True):
    """A journal fit to be appended to: the newest file, open, and where its last line ends."""

    fd: int
    header: Header
    position: Position
    repairs: Repairs


def repair(
    fs: FileSystem, end: JournalEnd, *, epoch: int, store: str | None, key: str | None = None
) -> Repaired:
    """Repair the newest file and return it open; everything in it is durable then.

    `epoch`, `store` and `key` are for a header that has to be made; the store is taken from the
    file before where there is one. Raises `OSError`, and `CorruptionError` if what is written again
    is no longer what was read.
    """
    path = end.files[-1].path
    if end.leftover is not None:
        fs.unlink(end.leftover.path)
        fs.sync_directory(path.parent)
    fd = fs.open_write(path)
    try:
        torn_path = None
        if end.tail is not None:
            torn_path = _set_aside(fs, path, end.tail, read_all(fs, fd, end.tail.offset))
            fs.truncate(fd, end.tail.offset)
        if end.header_broken:
            header, position = _remake_header(fs, fd, end, epoch, store, key)
            rewritten = 0
        else:
            assert end.header is not None
            header, position = end.header, end.position
            rewritten = _write_again(fs, fd, end)
        fs.sync_file(fd)
        fs.sync_directory(path.parent)
    except BaseException:
        fs.close(fd)
        raise
    repairs = Repairs(
        torn=end.tail,
        torn_path=torn_path,
        rewritten_bytes=rewritten,
        header_remade=end.header_broken,
        leftover=None if end.leftover is None else end.leftover.path,
    )
    return Repaired(fd, header, position, repairs)


def _set_aside(fs: FileSystem, path: Path, torn: Torn, region: bytes) -> Path:
    """Keep the torn bytes in a file of their own, durable on return; never over other bytes."""
    name = f"{path.name}.torn-{torn.offset}"
    aside = path.with_name(name)
    number = 1
    while fs.exists(aside):
        if read_file(fs, aside) == region:
            # Kept by an opening that a crash cut short, perhaps before the name was durable.
            fs.sync_directory(path.parent)
            return aside
        number += 1
        aside = path.with_name(f"{name}.{number}")
    write_file_durably(fs, aside, [region])
    return aside


def _remake_header(  # noqa: PLR0917  # all that a header says
    fs: FileSystem, fd: int, end: JournalEnd, epoch: int, store: str | None, key: str | None
) -> tuple[Header, Position]:
    before = end.position
    known = end.header
    if known is not None:
        store = known.store
    if store is None:
        raise CorruptionError(end.files[-1].path, 0, "no header, and nothing tells whose it is")
    line, _ = encode_header(
        store=store,
        epoch=max(epoch, before.epoch),
        first=before.seq + 1,
        forked_from=None if known is None else known.forked_from,
        prev=before.hash,
        key=key,
    )
    write_all(fs, fd, line, 0)
    header = parse_line(line)
    assert isinstance(header, Header)
    return header, before.after(line, header)


def _write_again(fs: FileSystem, fd: int, end: JournalEnd) -> int:
    """Write everything after the last durable line again; return how many bytes that was.

    Each line is checked again: between the two looks the kernel may have dropped a page that never
    reached the disk, and then the old bytes of the disk must not be taken for the journal.
    """
    position = end.durable
    try:
        for line in journal_lines(fs, fd, end.files[-1].path, position.offset):
            position = position.after(line, parse_line(line))
            write_all(fs, fd, line, position.offset - len(line))
    except InvalidLineError as error:
        reason = f"it was read a moment ago and is not the same any more: {error.reason}"
        raise CorruptionError(end.files[-1].path, position.offset, reason) from error
    if position != end.position:
        reason = "it was read a moment ago and is shorter now"
        raise CorruptionError(end.files[-1].path, position.offset, reason)
    return position.offset - end.durable.offset
