"""Journal files that are kept for what came before are compressed, and nothing is ever lost."""

from __future__ import annotations

import errno
import gzip

import pytest
import zstandard

from penin.errors import (
    ClosedError,
    CorruptionError,
    JournalFailedError,
    JournalGapError,
    StorageError,
    StorageFullError,
)
from penin.storage.filesystem import FileSystem, read_file
from penin.storage.journal_file import JournalFileScan
from penin.storage.journal_names import journal_path
from penin.storage.lines import journal_lines
from penin.storage.reader import JournalReader
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.storage.owner import AT, JOURNAL, Owner

BOTH = pytest.mark.parametrize("compression", ["gzip", "zstd"])
SUFFIX = {"gzip": ".gz", "zstd": ".zst"}


def names(fs: CrashableFileSystem) -> list[str]:
    return fs.names(JOURNAL)


def name(first: int, compression: str | None = None) -> str:
    return journal_path(JOURNAL, first).name + SUFFIX.get(compression or "", "")


def seqs(fs: FileSystem, after_seq: int = 0) -> list[int]:
    return [commit.seq for commit in JournalReader(fs, JOURNAL).read(after_seq)]


def expanded(fs: FileSystem, path, compression: str) -> bytes:
    data = read_file(fs, path)
    if compression == "gzip":
        return gzip.decompress(data)
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


@pytest.fixture
def kept(owner) -> Owner:
    """A store with three journal files: two that the snapshot covers, and the newest."""
    for count in (2, 3):
        owner.append(count, padding=300)
        owner.journal.rotate()
    owner.append(1)
    owner.journal.rotate()
    owner.append(1)
    assert names(owner.fs) == [name(1), name(3), name(6), name(7)]
    return owner


@BOTH
def test_what_a_snapshot_covers_is_compressed_and_the_rest_is_not(fs, kept, compression):
    before = fs.content(JOURNAL / name(1)), fs.content(JOURNAL / name(3))
    size = kept.journal.size_bytes()
    kept.journal.compress(5, compression, None, lambda: None)
    assert names(fs) == [name(1, compression), name(3, compression), name(6), name(7)]
    for first, content in zip((1, 3), before, strict=True):
        assert expanded(fs, JOURNAL / name(first, compression), compression) == content
    assert kept.journal.size_bytes() < size
    assert sum(len(fs.content(JOURNAL / file)) for file in names(fs)) == kept.journal.size_bytes()
    assert seqs(fs) == [2, 5, 6, 7]
    assert seqs(fs, 5) == [6, 7]


@BOTH
def test_the_newest_file_is_never_compressed(fs, kept, compression):
    kept.journal.compress(2**62, compression, None, lambda: None)
    assert names(fs)[-1] == name(7)
    kept.append(2)
    kept.journal.rotate()
    assert names(fs)[-1] == name(10)
    kept.journal.compress(2**62, compression, None, lambda: None)
    assert names(fs) == [name(first, compression) for first in (1, 3, 6, 7)] + [name(10)]
    assert seqs(fs) == [2, 5, 6, 7, 9]


def test_a_file_in_which_the_snapshot_lies_is_not_compressed(fs, kept):
    kept.journal.compress(4, "gzip", None, lambda: None)
    assert names(fs) == [name(1, "gzip"), name(3), name(6), name(7)]


def test_the_order_is_write_sync_compare_rename_sync_and_then_unlink(fs, kept):
    done = len(fs.operations)
    kept.journal.compress(2, "gzip", None, lambda: None)
    assert [operation.split()[0] for operation in fs.operations[done:]] == [
        "create",
        "truncate",
        "write",
        "sync_file",
        "rename",
        "sync_directory",
        "unlink",
    ]


def test_a_compressed_journal_is_opened_and_goes_on(fs, kept):
    kept.journal.compress(7, "zstd", None, lambda: None)
    kept.stop()
    again = Owner(fs).start()
    assert len(again.state) == 7
    again.append(2)
    again.journal.compress(5, "zstd", None, lambda: None)
    again.stop()
    assert len(Owner(fs).start().state) == 9


def test_one_whose_newest_file_has_only_a_header_is_opened_and_goes_on(fs, kept):
    kept.journal.rotate()
    kept.journal.compress(7, "gzip", None, lambda: None)
    kept.stop()
    assert names(fs)[-2:] == [name(7, "gzip"), name(8)]
    again = Owner(fs).start()
    assert len(again.state) == 7
    again.append()
    assert seqs(fs)[-1] == 8


def test_where_both_are_there_the_plain_one_counts_and_it_is_done_again(fs, kept):
    whole = fs.content(JOURNAL / name(1))
    kept.journal.compress(2, "gzip", None, lambda: None)
    kept.stop()
    compressed = fs.content(JOURNAL / name(1, "gzip"))
    fd = fs.open_write(JOURNAL / name(1))
    fs.write(fd, whole, 0)
    fs.close(fd)
    fs.replace_content(JOURNAL / name(1, "gzip"), b"half")
    again = Owner(fs).start()
    assert len(again.state) == 7
    again.journal.compress(2, "gzip", None, lambda: None)
    assert name(1) not in names(fs)
    assert fs.content(JOURNAL / name(1, "gzip")) == compressed


def test_trimming_removes_both_of_a_file(fs, kept):
    kept.journal.compress(5, "zstd", None, lambda: None)
    fd = fs.open_write(JOURNAL / name(3))
    fs.close(fd)
    kept.journal.trim(5)
    assert names(fs) == [name(6), name(7)]
    kept.journal.compress(6, "gzip", None, lambda: None)
    kept.journal.trim(6)
    assert names(fs) == [name(7)]


def test_what_an_interruption_left_is_removed_when_it_is_opened(fs, kept):
    kept.stop()
    for suffix in (".gz.tmp", ".zst.tmp"):
        fs.close(fs.open_write(JOURNAL / (name(1) + suffix)))
    fs.close(fs.open_write(JOURNAL / "of-somebody.tmp"))
    Owner(fs).start()
    assert [file for file in names(fs) if "tmp" in file] == ["of-somebody.tmp"]


@pytest.mark.parametrize(
    "operation", ["write", "truncate", "sync_file", "rename", "sync_directory", "unlink"]
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_what_fails_loses_nothing_and_is_done_again(fs, kept, operation, number):
    fs.fail(operation, number)
    with pytest.raises(StorageFullError if number == errno.ENOSPC else StorageError):
        kept.journal.compress(5, "gzip", None, lambda: None)
    assert not [file for file in names(fs) if file.endswith(".tmp")]
    assert seqs(fs) == [2, 5, 6, 7]
    kept.append()
    kept.journal.compress(5, "gzip", None, lambda: None)
    assert names(fs)[:2] == [name(1, "gzip"), name(3, "gzip")]
    assert seqs(fs) == [2, 5, 6, 7, 8]


def test_a_journal_that_has_failed_removes_nothing(fs, kept):
    fs.fail("sync_file", errno.EIO)
    with pytest.raises(JournalFailedError):
        kept.append()
    before = names(fs)
    with pytest.raises(JournalFailedError):
        kept.journal.compress(5, "gzip", None, lambda: None)
    assert names(fs) == before


@pytest.mark.parametrize("calls", range(1, 5))
def test_it_can_be_abandoned_at_any_moment(fs, kept, calls):
    left = calls

    def abandoned() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise ClosedError("stop")

    before = {file: fs.content(JOURNAL / file) for file in names(fs)}
    with pytest.raises(ClosedError):
        kept.journal.compress(2, "gzip", None, abandoned)
    for file, content in before.items():
        assert fs.content(JOURNAL / file) == content
    assert not [file for file in names(fs) if file.endswith(".tmp")]
    kept.journal.compress(2, "gzip", None, lambda: None)
    assert seqs(fs) == [2, 5, 6, 7]


def test_what_does_not_come_back_the_same_is_not_put_in_place(fs, kept, monkeypatch):
    from penin.storage import journal_compression

    monkeypatch.setattr(journal_compression, "compressed", lambda *_: [gzip.compress(b"other")])
    with pytest.raises(CorruptionError, match="not what was written"):
        kept.journal.compress(2, "gzip", None, lambda: None)
    assert names(fs)[0] == name(1)
    assert len(names(fs)) == 4


@BOTH
def test_any_damage_of_a_compressed_file_is_an_error_or_the_same_journal(fs, kept, compression):
    kept.journal.compress(2, compression, None, lambda: None)
    path = JOURNAL / name(1, compression)
    whole, refused = fs.content(path), 0
    expected = list(JournalReader(fs, JOURNAL).read(0))
    for position in range(len(whole)):
        for changed in (
            whole[:position],
            whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :],
        ):
            fs.replace_content(path, changed)
            try:
                assert list(JournalReader(fs, JOURNAL).read(0)) == expected
            except CorruptionError as error:
                assert error.path == path  # noqa: PT017  # of every one that there is
                refused += 1
    assert refused > len(whole)
    fs.replace_content(path, whole)


@BOTH
def test_where_it_cannot_be_expanded_the_place_is_that_of_a_line(fs, kept, compression):
    content = fs.content(JOURNAL / name(1))
    kept.journal.compress(2, compression, None, lambda: None)
    path = JOURNAL / name(1, compression)
    places = {0}
    for line in content.splitlines(keepends=True):
        places.add(max(places) + len(line))
    whole = fs.content(path)
    for length in range(len(whole)):
        fs.replace_content(path, whole[:length])
        with pytest.raises(CorruptionError) as raised:
            seqs(fs)
        assert raised.value.position in places
        assert raised.value.reason.count("damaged at byte") == 1


def test_lines_are_read_from_any_place_of_a_compressed_file(fs, kept):
    content = fs.content(JOURNAL / name(1))
    kept.journal.compress(2, "zstd", None, lambda: None)
    path = JOURNAL / name(1, "zstd")
    fd = fs.open_read(path)
    for offset in (0, 10, len(content) - 1, len(content)):
        assert b"".join(journal_lines(fs, fd, path, offset)) == content[offset:]
    fs.close(fd)


def test_a_line_that_is_damaged_inside_is_told_by_its_place_in_the_plain_file(fs, kept):
    content = fs.content(JOURNAL / name(1))
    kept.journal.compress(2, "gzip", None, lambda: None)
    lines = content.splitlines(keepends=True)
    third = len(b"".join(lines[:2]))
    changed = bytearray(content)
    changed[third + 100] ^= 1
    fs.replace_content(JOURNAL / name(1, "gzip"), gzip.compress(bytes(changed)))
    with pytest.raises(CorruptionError) as raised:
        seqs(fs)
    assert raised.value.position == third
    scan = JournalFileScan(fs, JOURNAL / name(1, "gzip"))
    assert [commit.seq for _, commit in scan.commits()] == []
    assert scan.damage is not None
    assert scan.damage.position == third


def test_without_the_file_after_it_a_compressed_one_is_not_the_end(fs, kept):
    kept.journal.compress(6, "gzip", None, lambda: None)
    kept.stop()
    fs.unlink(JOURNAL / name(7))
    with pytest.raises(CorruptionError, match="there was a file after it, which is missing"):
        seqs(fs)
    with pytest.raises(CorruptionError, match="missing"):
        Owner(fs).start()


def test_the_header_of_a_compressed_file_is_found(fs, kept):
    kept.journal.compress(2, "zstd", None, lambda: None)
    reader = JournalReader(fs, JOURNAL)
    header = reader.first_header()
    assert header is not None
    assert header.first == 1
    assert not reader.is_empty()
    assert reader.holds_transitions()
    fs.replace_content(JOURNAL / name(1, "zstd"), b"nothing of ours")
    assert reader.first_header() is None


def test_a_file_that_vanishes_before_its_header_is_read_is_a_gap(fs, kept, monkeypatch):
    reader = JournalReader(fs, JOURNAL)
    files = reader.files()
    kept.journal.compress(2, "zstd", None, lambda: None)
    monkeypatch.setattr(reader, "files", lambda: files)
    with pytest.raises(JournalGapError, match="vanished"):
        reader.first_header()


def test_one_file_by_itself_is_told_whole(fs, kept):
    kept.journal.compress(5, "gzip", None, lambda: None)
    scan = JournalFileScan(fs, JOURNAL / name(3, "gzip"))
    assert [commit.seq for _, commit in scan.commits()] == [5]
    assert (scan.damage, scan.tail, scan.first_at) == (None, None, AT)
    assert scan.size_bytes == len(fs.content(JOURNAL / name(3, "gzip")))
