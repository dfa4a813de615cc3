"""The newest transitions and those that come: each once and in order, whatever is done to files."""

from __future__ import annotations

import pytest

from penin.errors import CorruptionError, StorageError
from penin.runtime.ledger import Entry, Selection
from penin.runtime.tail import Missed, Tail
from penin.storage.journal import FileJournal
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import JOURNAL, STORE, open_on, within


def time(number):
    return f"2026-01-31T12:{number // 60:02d}:{number % 60:02d}.000000Z"


def score(value=1.0):
    return b'{"type":"add_score","score":%f}' % value


def put(name):
    return b'{"type":"put_document","name":"%b","value":1}' % name


class Written:
    """A journal that a test writes: a commit a second."""

    def __init__(self, store="store"):
        self.fs = CrashableFileSystem()
        self.begin(store)

    def begin(self, store):
        self.fs.make_directory(JOURNAL)
        self.journal = FileJournal(self.fs, JOURNAL, fsync="always")
        self.journal.create(store, seq=0, forked_from=None)
        self.journal.open(time(0))

    def append(self, *messages):
        seq = self.journal.last_seq
        self.journal.append(seq + 1, seq + len(messages), time(seq + 1), list(messages))

    def forget(self):
        """Rotate, and let go of everything before."""
        self.journal.rotate()
        self.journal.trim(self.journal.last_seq)

    def tail(self, **wanted):
        return Tail(STORE, Selection(**wanted), self.fs)


@pytest.fixture
def written():
    made = Written()
    for _ in range(6):
        made.append(score(), put(b"a"), score())
    return made


def seqs(entries):
    return [item if isinstance(item, Missed) else item.seq for item in entries]


def test_without_a_place_it_is_all_that_is_kept(written):
    assert seqs(written.tail().read()) == list(range(1, 19))


@pytest.mark.parametrize("count", [0, 1, 2, 4, 17, 18, 100])
def test_the_newest_are_the_last_ones_in_order(written, count):
    tail = written.tail()
    assert seqs(tail.newest(count)) == list(range(1, 19))[18 - min(count, 18) :]
    assert seqs(tail.read()) == []
    written.append(score())
    assert seqs(tail.read()) == [19]


def test_the_newest_that_fit_are_found_however_far_back_they_are(written):
    for _ in range(3):
        written.append(*[score()] * 400)
        written.journal.rotate()
    assert seqs(written.tail(type="put_document").newest(2)) == [14, 17]
    assert seqs(written.tail(key="a").newest(100)) == [2, 5, 8, 11, 14, 17]
    assert seqs(written.tail(key="nobody").newest(1)) == []


def test_a_place_is_a_seq_or_a_time(written):
    tail = written.tail()
    tail.begin_at(16)
    assert seqs(tail.read()) == [16, 17, 18]
    tail.begin_at(time(16))  # the time of the commit of 16 to 18
    assert tail.seq == 16
    tail.begin_at(time(14))
    assert seqs(tail.newest(2)) == [17, 18]
    tail.begin_at(time(50))
    assert seqs(tail.read()) == []
    tail.begin_at(21)
    written.append(score(), score())
    assert seqs(tail.read()) == []
    written.append(score())
    assert seqs(tail.read()) == [21]


def test_what_comes_is_given_once_across_rotations_and_other_epochs(written):
    tail = written.tail()
    tail.newest(0)
    expected = 19
    for step in range(4):
        written.append(score(), score())
        if step % 2:
            written.journal.rotate()
        assert seqs(tail.read()) == [expected, expected + 1]
        expected += 2
        written.journal.close()
        again = FileJournal(written.fs, JOURNAL, fsync="always")
        list(again.read(0))
        again.open(time(0))
        written.journal = again
        assert seqs(tail.read()) == []


def test_what_a_checkpoint_takes_away_before_it_was_read_is_said_to_be_missed(written):
    tail = written.tail(type="add_score")
    tail.begin_at(16)
    assert seqs(tail.read()) == [16, 18]
    written.append(score(), score())
    written.forget()
    assert seqs(tail.read()) == [Missed(19, 20)]
    written.append(score(), put(b"b"))
    assert seqs(tail.read()) == [21]
    written.forget()
    assert seqs(tail.read()) == []  # all of it was read


def test_a_place_before_what_is_kept_begins_with_what_is_missed(written):
    written.forget()
    written.append(score())
    tail = written.tail()
    tail.begin_at(3)
    assert seqs(tail.read()) == [Missed(3, 18), 19]


def test_a_file_that_goes_while_it_is_read_is_gone_on_behind(written):
    written.journal.rotate()
    written.append(score())
    reading = written.tail().read()
    assert next(reading).seq == 1
    written.forget()  # what is open can be read to its end
    written.append(score())
    assert seqs(reading) == [*range(2, 19), Missed(19, 19), 20]


def test_an_incomplete_line_is_waited_for(written):
    tail = written.tail()
    tail.newest(0)
    path = JOURNAL / written.fs.names(JOURNAL)[-1]
    before = written.fs.content(path)
    written.append(score())
    after = written.fs.content(path)
    for end in range(len(before) + 1, len(after)):
        written.fs.replace_content(path, after[:end])
        assert seqs(tail.read()) == []
    written.fs.replace_content(path, before)  # as recovery cuts it
    assert seqs(tail.read()) == []
    written.fs.replace_content(path, after)
    assert seqs(tail.read()) == [19]


def test_damage_is_told(written):
    tail = written.tail()
    path = JOURNAL / written.fs.names(JOURNAL)[-1]
    content = written.fs.content(path)
    written.fs.replace_content(path, content[:-100] + b"?" + content[-99:])
    with pytest.raises(CorruptionError):
        list(tail.read())


@pytest.mark.parametrize("commits", [1, 6, 20])
def test_another_store_in_the_same_place_is_told_and_not_taken_for_the_first(written, commits):
    tail = written.tail()
    assert len(seqs(tail.read())) == 18
    for name in written.fs.names(JOURNAL):
        written.fs.unlink(JOURNAL / name)
    written.begin("another")
    for _ in range(commits):
        written.append(score(), score(), score())
    with pytest.raises(StorageError, match="another store"):
        list(tail.read())


def test_nothing_is_read_before_names_and_sizes_have_changed(written):
    tail = written.tail()
    assert tail.has_changed()
    assert not tail.has_changed()
    written.append(score())
    assert tail.has_changed()
    assert not tail.has_changed()
    written.journal.rotate()
    assert tail.has_changed()
    before = list(written.fs.operations)
    seqs(tail.read())
    assert written.fs.operations == before


def test_where_there_is_no_journal_it_says_so(written):
    tail = written.tail()
    with pytest.raises(FileNotFoundError):
        Tail(STORE / "nowhere", Selection(), written.fs)
    for name in written.fs.names(JOURNAL):
        written.fs.unlink(JOURNAL / name)
    assert tail.has_changed()
    with pytest.raises(FileNotFoundError):
        list(tail.read())


async def test_beside_a_worker_every_transition_is_given_once_or_said_to_be_missed():
    fs = CrashableFileSystem()
    async with open_on(fs, compress="gzip") as orchestrator:
        await orchestrator.add_score(0.0)
        tail = Tail(STORE, Selection(), fs)
        given: list[Entry | Missed] = []
        for number in range(40):
            await orchestrator.add_score(float(number))
            if number % 4 == 0:
                await within(orchestrator.checkpoint())
            if number % 3 == 0:
                given += tail.read()
        given += tail.read()
    expected = 1
    for item in given:
        first, last = (
            (item.first_seq, item.last_seq) if isinstance(item, Missed) else (item.seq,) * 2
        )
        assert first == expected
        expected = last + 1
    assert expected == 42
