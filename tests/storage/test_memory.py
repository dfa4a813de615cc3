"""The ports, and that files and memory keep them alike."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.errors import JournalGapError, StorageError
from penin.storage.commits import ZERO_HASH, ForkedFrom
from penin.storage.journal import FileJournal, Journal
from penin.storage.memory import MemoryJournal, MemorySnapshotStore
from penin.storage.retention import Retention
from penin.storage.snapshot_port import SnapshotStore
from penin.storage.snapshots import FileSnapshotStore
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.storage.owner import AT, JOURNAL, STORE, latest_content

if TYPE_CHECKING:
    from collections.abc import Callable


def file_journals() -> Callable[[], Journal]:
    fs = CrashableFileSystem()
    fs.make_directory(STORE)
    return lambda: FileJournal(fs, JOURNAL, fsync="always")


def memory_journals() -> Callable[[], Journal]:
    journal = MemoryJournal()
    return lambda: journal


def file_snapshots() -> SnapshotStore:
    fs = CrashableFileSystem()
    fs.make_directory(STORE)
    return FileSnapshotStore(fs, STORE)


@pytest.fixture(params=[file_journals, memory_journals])
def journals(request) -> Callable[[], Journal]:
    """What gives the same journal again, as the next process would find it."""
    return request.param()


@pytest.fixture(params=[file_snapshots, MemorySnapshotStore])
def snapshots(request) -> SnapshotStore:
    return request.param()


def opened(journals, after_seq=0, anchor=None, epoch_seen=0) -> Journal:
    journal = journals()
    if journal.is_empty():
        journal.create("store", seq=0, forked_from=None)
    for _ in journal.read(after_seq, anchor):
        pass
    journal.open(AT, epoch_seen=epoch_seen)
    return journal


def facts(journal: Journal) -> tuple:
    return (
        journal.store,
        journal.epoch,
        journal.first_seq,
        journal.last_seq,
        journal.durable_seq,
        journal.head_hash,
        journal.size_bytes(),
        journal.tail,
        journal.sync_due_s(),
    )


def contents(journal: Journal, after_seq=0, anchor=None) -> list[tuple[int, int, bytes]]:
    commits = journal.read(after_seq, anchor)
    return [(commit.first, commit.seq, bytes(commit.messages)) for commit in commits]


def test_a_new_journal_is_empty_until_it_is_made(journals):
    journal = journals()
    assert journal.is_empty()
    assert not journal.holds_transitions()
    journal.create("store", seq=0, forked_from=None)
    assert not journal.is_empty()
    assert not journal.holds_transitions()
    assert (journal.store, journal.epoch, journal.last_seq) == ("store", 0, 0)


def test_what_is_appended_is_read_again_by_the_next_owner(journals):
    journal = opened(journals)
    journal.append(1, 2, AT, [b'"a"', b'"b"'])
    journal.append(3, 3, AT, [b'"c"'])
    journal.close()
    journal = opened(journals)
    assert contents(journal) == [(1, 2, b'["a","b"]'), (3, 3, b'["c"]')]
    assert contents(journal, 2) == [(3, 3, b'["c"]')]
    assert journal.epoch == 2
    assert journal.holds_transitions()


def test_opening_claims_an_epoch_beyond_the_one_that_was_seen(journals):
    assert opened(journals, epoch_seen=41).epoch == 42


def test_a_snapshot_is_continued_after_rotating_and_trimming(journals):
    journal = opened(journals)
    journal.append(1, 1, AT, [b"1"])
    anchor = journal.head_hash
    journal.rotate()
    journal.append(2, 2, AT, [b"2"])
    journal.rotate()
    journal.append(3, 3, AT, [b"3"])
    journal.trim(1)
    assert journal.first_seq == 2
    assert contents(journal, 1, anchor) == [(2, 2, b"[2]"), (3, 3, b"[3]")]
    with pytest.raises(JournalGapError):
        contents(journal, 0)
    with pytest.raises(JournalGapError):
        contents(journal, 1, ZERO_HASH)
    journal.trim(9)
    assert journal.first_seq == 3


def test_transitions_that_do_not_follow_are_refused(journals):
    journal = opened(journals)
    with pytest.raises(ValueError, match="do not follow"):
        journal.append(2, 2, AT, [b"2"])


def test_a_fork_goes_on_from_where_it_came(journals):
    journal = journals()
    journal.create("fork", seq=40, forked_from=ForkedFrom("other", 40, "c" * 64))
    assert journal.last_seq == 40
    journal.create("again", seq=7, forked_from=ForkedFrom(None, 7, "d" * 64))
    journal.open(AT)
    journal.append(8, 8, AT, [b"8"])
    assert contents(journal, 7, "d" * 64) == [(8, 8, b"[8]")]
    with pytest.raises(StorageError, match="not replaced"):
        journal.create("third", seq=0, forked_from=None)


moves = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 3)),
    st.tuples(st.just("rotate"), st.just(0)),
    st.tuples(st.just("trim"), st.integers(0, 12)),
    st.tuples(st.just("sync"), st.just(0)),
    st.tuples(st.just("reopen"), st.integers(0, 5)),
)


@given(steps=st.lists(moves, max_size=15))
def test_files_and_memory_do_the_same(steps):
    both = (file_journals(), memory_journals())
    ours = [opened(journals) for journals in both]
    for name, number in steps:
        for at, journals in enumerate(both):
            journal = ours[at]
            if name == "append":
                first = journal.last_seq + 1
                journal.append(first, first + number - 1, AT, [b"%d" % first] * number)
            elif name == "trim":
                journal.trim(number)
            elif name == "reopen":
                journal.close()
                ours[at] = opened(journals, journal.last_seq, journal.head_hash, number)
            else:
                getattr(journal, name)()
        assert facts(ours[0]) == facts(ours[1])
        after = ours[0].first_seq - 1
        assert contents(ours[0], after) == contents(ours[1], after)


def test_the_latest_snapshot_is_the_one_put_last(snapshots):
    assert latest_content(snapshots) is None
    assert snapshots.checkpoints() == []
    assert snapshots.put(3, 1, AT, [b"thr", b"ee"]) == 5
    assert snapshots.put(5, 1, AT, [b"five"]) == 4
    assert latest_content(snapshots) == b"five"
    assert [checkpoint.seq for checkpoint in snapshots.checkpoints()] == [3, 5]


def test_the_journal_may_be_trimmed_up_to_the_oldest_of_two_snapshots_at_least(snapshots):
    assert snapshots.oldest_kept_seq() == 0
    snapshots.put(3, 1, AT, [b"x"])
    assert snapshots.oldest_kept_seq() == 0
    snapshots.put(5, 1, AT, [b"x"])
    assert snapshots.oldest_kept_seq() == 3
    snapshots.put(8, 1, AT, [b"x"])
    snapshots.prune(Retention(), now=AT, valid=[8])
    assert snapshots.oldest_kept_seq() == 5


def test_an_earlier_snapshot_is_always_kept(snapshots):
    for seq in (3, 5, 8):
        snapshots.put(seq, 1, AT, [b"x"])
    snapshots.prune(Retention(keep_last=1), now=AT, valid=[8])
    assert [checkpoint.seq for checkpoint in snapshots.checkpoints()] == [5, 8]


def test_the_time_of_a_snapshot_is_told_to_the_second(snapshots):
    snapshots.put(3, 1, AT, [b"x"])
    assert [checkpoint.at for checkpoint in snapshots.checkpoints()] == [f"{AT[:19]}Z"]


def test_the_original_is_kept_by_its_digest(snapshots):
    with pytest.raises(StorageError):
        snapshots.keep_original()
    snapshots.put(1, 1, AT, [b"original"])
    name = f"state.original-{hashlib.sha256(b'original').hexdigest()[:12]}.json"
    assert snapshots.keep_original().name == name
    assert snapshots.keep_original().name == name
    snapshots.remove_leftovers()
    assert latest_content(snapshots) == b"original"
