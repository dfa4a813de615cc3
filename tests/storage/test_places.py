"""Reading from a place on: what is found there, and how little is read on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.errors import CorruptionError, JournalGapError
from penin.storage import places
from penin.storage.filesystem import READ_BYTES, OsFileSystem
from penin.storage.journal import FileJournal
from penin.storage.journal_names import journal_path
from penin.storage.reader import JournalReader
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.storage.owner import AT, JOURNAL, Owner

FIRST = journal_path(JOURNAL, 1)


@pytest.fixture(autouse=True)
def _bisects_small_files(monkeypatch):
    monkeypatch.setattr(places, "NEAR_BYTES", 64)


def time(number):
    return f"2026-01-31T12:{number // 60:02d}:{number % 60:02d}.000000Z"


def written(commits, *, rotate_after=()):
    """A journal of commits, each so many transitions of so many bytes, one a second."""
    fs = CrashableFileSystem()
    fs.make_directory(JOURNAL)
    journal = FileJournal(fs, JOURNAL, fsync="always")
    journal.create("store", seq=0, forked_from=None)
    journal.open(time(0))
    for number, (count, padding) in enumerate(commits, 1):
        seq = journal.last_seq
        journal.append(seq + 1, seq + count, time(number), [b'"%b"' % (b"x" * padding)] * count)
        if number in rotate_after:
            journal.rotate()
    journal.close()
    return fs


COMMITS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([0, 10, 300, 6_000])), min_size=1, max_size=12
)


@given(COMMITS, st.sets(st.integers(1, 12), max_size=3), st.data())
def test_from_any_seq_on_is_what_a_whole_reading_finds_there(commits, rotate_after, data):
    fs = written(commits, rotate_after=rotate_after)
    reader = JournalReader(fs, JOURNAL)
    everything = list(reader.read(0))
    whole = reader.end
    seq = data.draw(st.integers(1, everything[-1].seq + 2))
    assert list(reader.read_from(seq)) == [commit for commit in everything if commit.seq >= seq]
    assert reader.end is not None
    assert whole is not None
    assert reader.end.position == whole.position
    assert reader.end.durable.seq <= whole.durable.seq
    number = data.draw(st.integers(0, len(commits) + 1))
    firsts = [commit.first for commit in everything if commit.at >= time(number)]
    assert reader.seq_since(time(number)) == (firsts or [everything[-1].seq + 1])[0]
    assert fs.open_descriptors == 0


@given(COMMITS, st.integers(1, 400))
def test_a_torn_tail_ends_it_wherever_it_was_to_begin(commits, cut):
    fs = written([*commits, (2, 200)])
    content = fs.content(FIRST)
    last_line = len(content.splitlines(keepends=True)[-1])
    fs.replace_content(FIRST, content[: -min(cut, last_line - 1)])
    reader = JournalReader(fs, JOURNAL)
    last = sum(count for count, _ in commits)
    for seq in (1, last, last + 1, last + 2, last + 9):
        found = list(reader.read_from(seq))
        assert [commit.seq for commit in found][-1:] == ([last] if seq <= last else [])
        assert reader.end is not None
        assert reader.end.position.seq == last
        assert reader.end.tail is not None


def test_damage_from_the_place_on_is_told_and_before_it_is_not_looked_at():
    fs = written([(1, 300)] * 30)
    content = fs.content(FIRST)
    lines = content.splitlines(keepends=True)
    damaged = len(b"".join(lines[:20])) + 150
    changed = content[:damaged] + bytes([content[damaged] ^ 1]) + content[damaged + 1 :]
    fs.replace_content(FIRST, changed)
    reader = JournalReader(fs, JOURNAL)
    assert [commit.seq for commit in reader.read_from(28)] == [28, 29, 30]
    for seq in (1, 10, 19):
        with pytest.raises(CorruptionError):
            list(reader.read_from(seq))


def test_a_line_whose_beginning_is_damaged_is_never_passed_over():
    fs = written([(1, 300)] * 30)
    content = fs.content(FIRST)
    lines = content.splitlines(keepends=True)
    begin = len(b"".join(lines[:16]))  # the middle, where bisecting looks first
    fs.replace_content(FIRST, content[:begin] + b"?" + content[begin + 1 :])
    reader = JournalReader(fs, JOURNAL)
    for seq in (1, 10, 15):
        with pytest.raises(CorruptionError):
            list(reader.read_from(seq))


def test_a_compressed_file_is_read_from_its_beginning_and_gives_the_same(fs, owner):
    for _ in range(9):
        owner.append(2)
    owner.checkpoint()
    owner.append(2)
    plain = list(JournalReader(fs, JOURNAL).read_from(7))
    owner.compress()
    assert list(JournalReader(fs, JOURNAL).read_from(7)) == plain
    assert JournalReader(fs, JOURNAL).seq_since(AT) == 1


def test_a_seq_that_is_not_kept_is_a_gap(fs):
    owner = Owner(fs).start()
    owner.append(3)
    owner.checkpoint()
    owner.append()
    owner.checkpoint()
    owner.append()
    reader = JournalReader(fs, JOURNAL)
    first = reader.files()[0].first
    assert first > 1
    with pytest.raises(JournalGapError):
        list(reader.read_from(first - 1))
    assert reader.seq_since(AT) == first


class CountingFileSystem(OsFileSystem):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_read = 0

    def read(self, fd: int, size: int, offset: int) -> bytes:
        data = super().read(fd, size, offset)
        self.bytes_read += len(data)
        return data


def test_how_much_is_read_does_not_grow_with_the_journal(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "NEAR_BYTES", 2**16)
    journal = FileJournal(OsFileSystem(), tmp_path, fsync="everysec")
    journal.create("store", seq=0, forked_from=None)
    journal.open(time(0))
    payload = b'"%b"' % (b"x" * 2**13)
    seq, costs = 0, []
    for size_mib in (4, 64):
        while journal.size_bytes() < size_mib * 2**20:
            seq += 4
            journal.append(seq - 3, seq, time(seq % 3600), [payload] * 4)
        fs = CountingFileSystem()
        reader = JournalReader(fs, tmp_path)
        # Near the end, where nothing but the way there is read.
        assert [commit.seq for commit in reader.read_from(seq)] == [seq]
        costs.append(fs.bytes_read)
    journal.close()
    assert max(costs) < 3 * READ_BYTES
    assert costs[1] - costs[0] < 2**18
