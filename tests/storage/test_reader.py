"""Reading the journal: where it begins, where it ends, and what it refuses."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.errors import CorruptionError, FormatError, JournalGapError, StorageError
from penin.storage.commits import FRAME_BYTES_MAX, ZERO_HASH, encode_commit, encode_header
from penin.storage.journal_names import journal_path
from penin.storage.reader import JournalReader
from penin.storage.tail import Torn
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.storage.owner import JOURNAL, STORE, Owner

FIRST = journal_path(JOURNAL, 1)


@pytest.fixture
def reader(fs) -> JournalReader:
    return JournalReader(fs, JOURNAL)


def seqs(reader, after_seq=0, anchor=None) -> list[tuple[int, int]]:
    return [(commit.first, commit.seq) for commit in reader.read(after_seq, anchor)]


def damage(fs, path, at: int) -> None:
    content = fs.content(path)
    fs.replace_content(path, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def test_where_no_journal_is_there_is_nothing(reader):
    assert reader.is_empty()
    assert not reader.holds_transitions()
    assert reader.size_bytes() == 0
    with pytest.raises(JournalGapError):
        seqs(reader)


def test_commits_are_read_in_order_over_all_files_and_openings_are_not(owner, reader):
    owner.append()
    owner.append(3)
    owner.journal.rotate()
    owner.append(2)
    assert seqs(reader) == [(1, 1), (2, 4), (5, 6)]
    assert reader.end is not None
    assert reader.end.position.seq == 6
    assert reader.end.position.hash == owner.journal.head_hash
    assert reader.size_bytes() == owner.journal.size_bytes()


def test_a_short_file_whose_header_lost_its_newline_is_not_taken_for_one_that_was_being_made(
    fs, owner, reader
):
    owner.append()
    owner.journal.rotate()
    owner.append()
    path = journal_path(JOURNAL, 2)
    header, _, rest = fs.content(path).partition(b"\n")
    fs.replace_content(path, header + b"\x0b" + rest)
    with pytest.raises(CorruptionError):
        seqs(reader)


def test_reading_changes_nothing_and_closes_what_it_opened(fs, owner, reader):
    owner.append()
    owner.stop()
    fs.replace_content(FIRST, fs.content(FIRST) + b"torn")
    before = list(fs.operations)
    assert seqs(reader) == [(1, 1)]
    assert reader.holds_transitions()
    assert fs.operations == before
    assert fs.open_descriptors == 0


def test_a_reading_that_is_left_early_closes_its_file_and_has_no_end(fs, owner, reader):
    owner.append()
    owner.append()
    owner.stop()
    reading = reader.read(0)
    next(reading)
    reading.close()
    assert reader.end is None
    assert fs.open_descriptors == 0


def test_older_files_are_not_read(fs, owner, reader):
    owner.append(2)
    anchor = owner.journal.head_hash
    owner.journal.rotate()
    owner.append(2)
    fs.replace_content(FIRST, b"lost")
    assert seqs(reader, 2, anchor) == [(3, 4)]
    with pytest.raises(CorruptionError):
        seqs(reader, 0)


def test_a_snapshot_is_continued_at_any_line_of_its_seq(owner, reader, fs):
    anchors = [owner.journal.head_hash]  # the opening
    owner.append(2)
    at_two = [owner.journal.head_hash]  # the commit
    owner.stop()
    owner = Owner(fs).start()
    at_two.append(owner.journal.head_hash)  # the next opening
    owner.journal.rotate()
    at_two.append(owner.journal.head_hash)  # the header
    owner.append()
    assert seqs(reader, 0, anchors[0]) == [(1, 2), (3, 3)]
    # The commit is in the file before: only the line that the header names reaches over.
    assert seqs(reader, 2, at_two[1]) == [(3, 3)]
    assert seqs(reader, 2, at_two[2]) == [(3, 3)]
    with pytest.raises(JournalGapError, match="continues"):
        seqs(reader, 2, at_two[0])


@pytest.mark.parametrize("after_seq", [0, 1, 2, 3, 7])
def test_a_snapshot_that_no_line_continues_is_refused(owner, reader, after_seq):
    owner.append(2)
    owner.append()
    with pytest.raises(JournalGapError, match="continues"):
        seqs(reader, after_seq, "b" * 64)


def test_a_snapshot_within_a_commit_is_refused(owner, reader):
    owner.append(3)
    with pytest.raises(JournalGapError):
        seqs(reader, 2, owner.journal.head_hash)


def test_without_a_snapshot_the_journal_begins_at_seq_1(owner, reader, fs):
    owner.append(2)
    owner.journal.rotate()
    owner.journal.trim(2)
    with pytest.raises(JournalGapError):
        seqs(reader, 0)
    assert seqs(reader, 2) == []


def test_an_incomplete_last_line_is_ignored_and_told(fs, owner, reader):
    owner.append()
    size = len(fs.content(FIRST))
    fs.replace_content(FIRST, fs.content(FIRST) + b'{"epoch":1,"fir')
    assert seqs(reader) == [(1, 1)]
    assert reader.end is not None
    assert reader.end.tail == Torn(size, 15)


def test_a_missing_file_in_the_middle_is_corruption(fs, owner, reader):
    for _ in range(3):
        owner.append()
        owner.journal.rotate()
    fs.unlink(journal_path(JOURNAL, 2))
    with pytest.raises(CorruptionError, match="prev"):
        seqs(reader)


def test_a_damaged_end_of_an_older_file_is_corruption(fs, owner, reader):
    owner.append()
    owner.append()
    owner.journal.rotate()
    owner.append()
    fs.replace_content(FIRST, fs.content(FIRST)[:-10])
    with pytest.raises(CorruptionError) as caught:
        seqs(reader)
    assert caught.value.path == FIRST
    assert caught.value.position == fs.content(FIRST).rfind(b"\n") + 1


def test_a_damaged_end_of_the_file_before_a_bare_one_is_corruption(fs, owner, reader):
    owner.append()
    owner.append()
    owner.journal.rotate()
    fs.replace_content(FIRST, fs.content(FIRST)[:-10])
    with pytest.raises(CorruptionError, match="ends at seq 1"):
        seqs(reader)


@pytest.mark.parametrize("content", [b"", b"\n", b"garbage\nmore\n", bytes(2000)])
def test_an_older_file_without_a_header_is_corruption(fs, owner, reader, content):
    owner.append()
    owner.journal.rotate()
    owner.append()
    fs.replace_content(FIRST, content)
    with pytest.raises(CorruptionError):
        seqs(reader)


@pytest.mark.parametrize("content", [b"garbage\nmore\n", bytes(2000), b"\n\n"])
def test_a_broken_header_with_something_after_it_is_corruption(fs, owner, reader, content):
    owner.append()
    owner.journal.rotate()
    fs.replace_content(journal_path(JOURNAL, 2), content)
    with pytest.raises(CorruptionError):
        seqs(reader)


def test_a_commit_in_the_place_of_a_header_is_corruption(fs, owner, reader):
    owner.append()
    line = fs.content(FIRST).splitlines(keepends=True)[-1]
    fs.replace_content(FIRST, line)
    with pytest.raises(CorruptionError, match="start of a file"):
        seqs(reader)


def test_a_file_under_another_name_is_corruption(fs, owner, reader):
    owner.append()
    owner.stop()
    fs.rename(FIRST, journal_path(JOURNAL, 2))
    with pytest.raises(CorruptionError):
        seqs(reader, 1)


def test_a_file_of_another_store_is_corruption(fs, owner, reader):
    owner.append()
    header, _ = encode_header(
        store="other", epoch=1, first=2, forked_from=None, prev=owner.journal.head_hash
    )
    fs.close(fs.open_write(journal_path(JOURNAL, 2)))
    fs.replace_content(journal_path(JOURNAL, 2), header)
    with pytest.raises(CorruptionError, match="another store"):
        seqs(reader)


def test_a_first_file_that_goes_on_from_something_is_not_the_first_of_all(fs, reader):
    fs.make_directory(JOURNAL)
    fs.close(fs.open_write(FIRST))
    header, _ = encode_header(store="s", epoch=1, first=1, forked_from=None, prev="b" * 64)
    fs.replace_content(FIRST, header)
    with pytest.raises(CorruptionError, match="first of all"):
        seqs(reader)


def test_a_later_version_is_told_from_damage(fs, owner, reader):
    owner.stop()
    header = b'{"format":"penin-journal","version":2'
    digest = hashlib.sha256(header).hexdigest().encode()
    fs.replace_content(FIRST, header + b',"hash":"' + digest + b'"}\n')
    with pytest.raises(FormatError, match=r"version 2; .* version 1"):
        seqs(reader)


def test_a_line_longer_than_a_frame_is_corruption(fs, owner, reader):
    owner.append()
    size = len(fs.content(FIRST))
    too_long = b"x" * (FRAME_BYTES_MAX + 1) + b"\n"
    fs.replace_content(FIRST, fs.content(FIRST) + too_long)
    with pytest.raises(CorruptionError) as caught:
        seqs(reader)
    assert caught.value.position == size


def test_what_cannot_be_read_is_an_error_of_the_store(fs, owner, reader):
    fs.make_directory(journal_path(JOURNAL, 2))
    with pytest.raises(StorageError, match="directory"):
        seqs(reader)
    with pytest.raises(StorageError, match="directory"):
        JournalReader(fs, FIRST).files()


def test_files_that_are_not_journal_files_are_none_of_ours(fs, owner, reader):
    owner.append()
    for name in ("00000000000000000002.jsonl.torn-7", "2.jsonl", "notes", "x.tmp"):
        fs.close(fs.open_write(JOURNAL / name))
    assert seqs(reader) == [(1, 1)]


def test_a_first_file_that_was_being_made_counts_as_no_journal(fs, reader):
    fs.make_directory(JOURNAL)
    fs.close(fs.open_write(FIRST))
    assert reader.is_empty()
    fs.replace_content(FIRST, b'{"format":"penin-jou')
    assert reader.is_empty()
    assert not reader.holds_transitions()


def test_a_file_that_vanishes_before_it_is_opened_is_a_gap(fs, owner, reader):
    owner.append()
    owner.journal.rotate()
    owner.append()
    owner.journal.rotate()
    owner.append()
    reading = reader.read(0)
    next(reading)
    owner.journal.trim(2)
    with pytest.raises(JournalGapError, match="vanished"):
        list(reading)


class BusyFileSystem(CrashableFileSystem):
    """A writer goes on while somebody reads: a step of it before every read."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[bytes | None] = []  # what the first file holds from then on

    def read(self, fd: int, size: int, offset: int) -> bytes:
        step = self.steps.pop(0) if self.steps else None
        if step is not None:
            self.replace_content(FIRST, step)
        return super().read(fd, size, offset)


@pytest.fixture
def busy() -> tuple[BusyFileSystem, Owner]:
    fs = BusyFileSystem()
    fs.make_directory(STORE)
    owner = Owner(fs).start()
    owner.append()
    return fs, owner


def test_a_line_that_is_being_written_is_read_when_it_is_whole(busy):
    fs, owner = busy
    whole = fs.content(FIRST)
    prev = owner.journal.head_hash
    line, _ = encode_commit(epoch=1, first=2, seq=2, synced=1, at="t", messages=[b"1"], prev=prev)
    # The look at the header; half a line; that was cut back, and another one begun; whole.
    fs.steps = [None, whole + line[:50], whole + b"y" * 60, whole + line]
    assert seqs(JournalReader(fs, JOURNAL)) == [(1, 1), (2, 2)]


def test_a_line_that_is_cut_back_while_it_is_read_is_not_there(busy):
    fs, _ = busy
    whole = fs.content(FIRST)
    fs.steps = [None, whole + b"y" * 60, None, whole]
    reader = JournalReader(fs, JOURNAL)
    assert seqs(reader) == [(1, 1)]
    assert reader.end is not None
    assert reader.end.tail is None


@given(data=st.data())
def test_damage_anywhere_before_the_last_line_is_corruption(data):
    fs = CrashableFileSystem()
    owner = Owner(fs).start()
    for count in (1, 3, 1):
        owner.append(count, padding=data.draw(st.integers(0, 600)))
        if data.draw(st.booleans()):
            owner.journal.rotate()
    owner.append()
    paths = [file.path for file in JournalReader(fs, JOURNAL).files()]
    path = data.draw(st.sampled_from(paths))
    last_line = fs.content(path)[:-1].rfind(b"\n") if path == paths[-1] else None
    at = data.draw(st.integers(0, len(fs.content(path)[:last_line]) - 1))
    damage(fs, path, at)
    with pytest.raises(CorruptionError) as caught:
        seqs(JournalReader(fs, JOURNAL))
    assert caught.value.path in paths


def test_the_chain_begins_with_zeros(fs, owner):
    assert f'"prev":"{ZERO_HASH}"'.encode() in fs.content(FIRST).splitlines()[0]
