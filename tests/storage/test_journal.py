"""The journal on files: acknowledging, failing, rotating, trimming."""

from __future__ import annotations

import errno

import pytest

from penin.errors import JournalFailedError, RotationError, StorageError, StorageFullError
from penin.storage.commits import Commit, ForkedFrom, Header, parse_line
from penin.storage.journal import FileJournal
from penin.storage.journal_names import journal_path
from penin.storage.reader import JournalReader
from tests.storage.owner import AT, JOURNAL, Owner

FIRST, SECOND = journal_path(JOURNAL, 1), journal_path(JOURNAL, 2)


def last_commit(fs, path=FIRST) -> Commit:
    commit = parse_line(fs.content(path).splitlines(keepends=True)[-1])
    assert isinstance(commit, Commit)
    return commit


def operations_of(fs, call) -> list[str]:
    before = len(fs.operations)
    call()
    return fs.operations[before:]


def test_an_append_with_always_is_one_write_and_one_sync(fs, owner):
    assert operations_of(fs, lambda: owner.append(1000)) == ["write", "sync_file"]
    assert owner.journal.durable_seq == owner.journal.last_seq == 1000
    assert owner.journal.sync_due_s() is None


def test_an_append_with_everysec_is_one_write(fs, lazy_owner):
    assert operations_of(fs, lazy_owner.append) == ["write"]
    assert lazy_owner.journal.last_seq == 1
    assert lazy_owner.journal.durable_seq == 0


def test_with_everysec_nothing_older_than_a_second_stays_unsynced(fs, lazy_owner, clock):
    journal = lazy_owner.journal
    assert journal.sync_due_s() is None
    lazy_owner.append()
    assert journal.sync_due_s() == 1.0
    clock.now_s += 0.75
    assert journal.sync_due_s() == 0.25
    assert operations_of(fs, lazy_owner.append) == ["write"]
    clock.now_s += 0.25
    assert journal.sync_due_s() == 0.0
    assert operations_of(fs, lazy_owner.append) == ["sync_file", "write"]
    assert (journal.durable_seq, journal.last_seq) == (2, 3)
    clock.now_s += 5
    assert journal.sync_due_s() == 0.0
    assert operations_of(fs, journal.sync) == ["sync_file"]
    assert journal.sync_due_s() is None
    assert journal.durable_seq == 3
    assert operations_of(fs, journal.sync) == []


def test_a_commit_says_what_was_durable_when_it_was_written(fs, owner):
    owner.append(2)
    assert last_commit(fs).synced == 0
    owner.append()
    assert last_commit(fs).synced == 2


def test_with_everysec_a_commit_claims_no_more_than_was_synced(fs, lazy_owner):
    lazy_owner.append(2)
    lazy_owner.append()
    assert last_commit(fs).synced == 0
    lazy_owner.journal.sync()
    lazy_owner.append()
    assert last_commit(fs).synced == 3


def test_opening_claims_an_epoch_beyond_every_one_seen(fs, owner):
    assert owner.journal.epoch == 1
    owner.stop()
    journal = FileJournal(fs, JOURNAL, fsync="always")
    assert list(journal.read(0)) == []
    assert journal.epoch == 1
    journal.open(AT, epoch_seen=6)
    assert journal.epoch == 7
    assert (last_commit(fs).epoch, last_commit(fs).first, last_commit(fs).seq) == (7, 1, 0)
    journal.append(1, 1, AT, [b"1"])
    assert last_commit(fs).epoch == 7


def test_an_opening_is_durable_before_it_returns(fs, owner):
    for seed in range(10):
        assert Owner(fs.after_crash(seed)).start().epoch_claimed == 2


@pytest.mark.parametrize(("first", "seq"), [(2, 2), (0, 1), (1, 0), (3, 5)])
def test_transitions_that_do_not_follow_are_refused(fs, owner, first, seq):
    with pytest.raises(ValueError, match="do not follow"):
        owner.journal.append(first, seq, AT, [b"1"])
    owner.append()


def test_a_commit_that_cannot_be_encoded_leaves_the_journal_as_it_was(fs, owner):
    with pytest.raises(ValueError, match="newline"):
        owner.journal.append(1, 1, AT, [b"1\n"])
    owner.append()
    assert Owner(fs).start().state == owner.state


@pytest.mark.parametrize("partial", [None, 1, 150])
def test_without_room_nothing_is_stored_and_the_next_append_is_taken(fs, owner, partial):
    owner.append()
    content = fs.content(FIRST)
    fs.fail("write", errno.ENOSPC, partial=partial)
    with pytest.raises(StorageFullError):
        owner.append(2)
    assert fs.content(FIRST) == content
    assert owner.journal.last_seq == 1
    owner.append(2)
    assert Owner(fs.after_crash(1)).start().state == owner.state


def test_cutting_back_makes_everything_before_it_durable(fs, lazy_owner):
    lazy_owner.append(2)
    fs.fail("write", errno.ENOSPC)
    with pytest.raises(StorageFullError):
        lazy_owner.append()
    assert lazy_owner.journal.durable_seq == 2
    assert lazy_owner.journal.sync_due_s() is None
    lazy_owner.append()
    assert last_commit(fs).synced == 2


@pytest.mark.parametrize(("operation", "number"), [("write", errno.EIO), ("sync_file", errno.EIO)])
def test_a_failure_with_an_unknown_outcome_is_final_for_every_call(fs, owner, operation, number):
    owner.append()
    fs.fail(operation, number)
    with pytest.raises(JournalFailedError):
        owner.append()
    journal = owner.journal
    before = list(fs.operations)
    calls = (
        lambda: journal.append(3, 3, AT, [b"3"]),
        lambda: journal.append(2, 2, AT, [b"2"]),
        journal.sync,
        journal.rotate,
        lambda: journal.trim(1),
    )
    for call in calls:
        with pytest.raises(JournalFailedError, match="outcome is unknown"):
            call()
    assert journal.durable_seq == 1
    journal.close()
    assert fs.operations == before
    assert fs.open_descriptors == 0


def test_rotating_goes_on_in_a_new_file_that_is_durable(fs, owner):
    owner.append()
    done = operations_of(fs, owner.journal.rotate)
    assert done == [f"create {SECOND.name}", "write", "sync_file", "sync_directory journal"]
    owner.append()
    assert last_commit(fs, SECOND).seq == 2
    assert Owner(fs.after_crash(0)).start().state == owner.state
    assert owner.journal.first_seq == 1
    assert owner.journal.size_bytes() == JournalReader(fs, JOURNAL).size_bytes()


def test_rotating_syncs_first(fs, lazy_owner):
    lazy_owner.append()
    assert operations_of(fs, lazy_owner.journal.rotate)[0] == "sync_file"
    assert lazy_owner.journal.durable_seq == 1


def test_rotating_does_nothing_where_the_newest_file_begins_there_already(fs, owner):
    assert operations_of(fs, owner.journal.rotate) == []
    owner.append()
    owner.journal.rotate()
    assert operations_of(fs, owner.journal.rotate) == []


def test_where_a_fork_came_from_is_said_in_every_file(fs):
    journal = FileJournal(fs, JOURNAL, fsync="always")
    fork = ForkedFrom("other", 40, "c" * 64)
    journal.create("fork", seq=40, forked_from=fork)
    journal.open(AT)
    assert journal.last_seq == 40
    journal.append(41, 41, AT, [b"1"])
    journal.rotate()
    for first in (41, 42):
        header = parse_line(fs.content(journal_path(JOURNAL, first)).splitlines(keepends=True)[0])
        assert isinstance(header, Header)
        assert header.forked_from == fork
    assert fs.content(journal_path(JOURNAL, 41)).count(b'"prev":"' + b"c" * 64) == 1


STEPS = ["create", "write", "sync_file", "sync_directory"]


@pytest.mark.parametrize("operation", STEPS)
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_file_that_cannot_be_made_is_no_failure_of_the_journal(fs, owner, operation, number):
    owner.append()
    fs.fail(operation, number)
    with pytest.raises(RotationError):
        owner.journal.rotate()
    assert not fs.exists(SECOND)
    owner.append()
    owner.journal.rotate()
    owner.append()
    assert fs.open_descriptors == 1
    assert Owner(fs.after_crash(0)).start().state == owner.state


def test_no_file_is_begun_while_one_begun_in_vain_is_there(fs, owner):
    owner.append()
    fs.fail("sync_directory", errno.EIO)
    fs.fail("unlink", errno.EIO)
    with pytest.raises(RotationError):
        owner.journal.rotate()
    assert fs.exists(SECOND)
    owner.append()
    fs.fail("unlink", errno.EIO)
    with pytest.raises(RotationError):
        owner.journal.rotate()
    owner.append()
    owner.journal.rotate()
    assert not fs.exists(SECOND)
    assert [file.first for file in JournalReader(fs, JOURNAL).files()] == [1, 4]
    assert not fs.after_crash(0).exists(SECOND)


def test_a_file_of_that_name_that_somebody_else_made_is_not_touched(fs, owner):
    owner.append()
    fs.close(fs.open_write(SECOND))
    fs.replace_content(SECOND, b"theirs")
    with pytest.raises(RotationError):
        owner.journal.rotate()
    assert fs.content(SECOND) == b"theirs"


@pytest.mark.parametrize(
    ("upto", "left"),
    [(0, [1, 3, 5]), (1, [1, 3, 5]), (2, [3, 5]), (3, [3, 5]), (4, [5]), (9, [5])],
)
def test_trimming_deletes_the_files_that_lie_wholly_before(fs, owner, upto, left):
    owner.append(2)
    owner.journal.rotate()
    owner.append(2)
    owner.journal.rotate()
    owner.append(2)
    owner.journal.trim(upto)
    reader = JournalReader(fs, JOURNAL)
    assert [file.first for file in reader.files()] == left
    assert owner.journal.first_seq == left[0]
    assert owner.journal.size_bytes() == reader.size_bytes()
    for seed in range(5):
        files = JournalReader(fs.after_crash(seed), JOURNAL).files()
        assert [file.first for file in files] == left


def test_trimming_that_fails_deletes_the_oldest_first_and_is_tried_again(fs, owner):
    for _ in range(3):
        owner.append()
        owner.journal.rotate()
    fs.fail("unlink", errno.EIO, at=2)
    with pytest.raises(StorageError):
        owner.journal.trim(3)
    assert owner.journal.first_seq == 2
    owner.append()
    owner.journal.trim(3)
    assert [file.first for file in JournalReader(fs, JOURNAL).files()] == [4]


def test_a_file_that_somebody_deleted_is_trimmed_all_the_same(fs, owner):
    for _ in range(2):
        owner.append()
        owner.journal.rotate()
    fs.unlink(FIRST)
    owner.journal.trim(2)
    assert owner.journal.first_seq == 3


def test_creating_is_durable_and_repeated_after_an_interrupted_conversion(fs):
    fork = ForkedFrom(None, 7, "d" * 64)
    FileJournal(fs, JOURNAL, fsync="always").create("one", seq=7, forked_from=fork)
    journal = FileJournal(fs.after_crash(0), JOURNAL, fsync="always")
    assert not journal.is_empty()
    assert not journal.holds_transitions()
    journal.create("two", seq=5, forked_from=fork)
    assert (journal.store, journal.last_seq, journal.first_seq, journal.epoch) == ("two", 5, 6, 0)


def test_a_journal_that_holds_transitions_is_not_replaced(fs, owner):
    owner.append()
    owner.stop()
    with pytest.raises(StorageError, match="not replaced"):
        FileJournal(fs, JOURNAL, fsync="always").create("other", seq=0, forked_from=None)


@pytest.mark.parametrize("operation", [*STEPS, "mkdir"])
def test_a_creation_that_fails_is_done_again(fs, operation):
    fs.fail(operation, errno.ENOSPC)
    with pytest.raises(StorageFullError):
        FileJournal(fs, JOURNAL, fsync="always").create("s", seq=0, forked_from=None)
    assert fs.open_descriptors == 0
    owner = Owner(fs).start()
    owner.append()
    assert Owner(fs.after_crash(0)).start().state == owner.state


def test_an_opening_without_room_leaves_the_journal_as_it_was(fs, owner):
    owner.append()
    owner.stop()
    content = fs.content(FIRST)
    fs.fail("write", errno.ENOSPC, at=2)  # the first one writes again what is there
    with pytest.raises(StorageFullError):
        Owner(fs).start()
    assert fs.content(FIRST) == content
    assert fs.open_descriptors == 0
    assert Owner(fs).start().state == owner.state


def test_closing_syncs_and_may_be_repeated(fs, lazy_owner):
    lazy_owner.append()
    assert operations_of(fs, lazy_owner.stop) == ["sync_file"]
    assert operations_of(fs, lazy_owner.stop) == []
    assert fs.open_descriptors == 0
