"""What opening repairs, and that it looks twice before it writes."""

from __future__ import annotations

import errno

import pytest

from penin.errors import CorruptionError, JournalFailedError, StorageError
from penin.storage.journal import FileJournal
from penin.storage.journal_names import journal_path
from penin.storage.repair import Repairs
from penin.storage.tail import Torn
from tests.storage.owner import AT, JOURNAL, Owner

FIRST, SECOND = journal_path(JOURNAL, 1), journal_path(JOURNAL, 2)


def reopened(fs, **keywords) -> FileJournal:
    journal = FileJournal(fs, JOURNAL, fsync="always")
    for _ in journal.read(0):
        pass
    journal.open(AT, **keywords)
    return journal


def test_a_torn_tail_is_cut_and_its_bytes_kept_aside(fs, owner):
    owner.append()
    owner.stop()
    whole = fs.content(FIRST)
    fs.replace_content(FIRST, whole + b"torn")
    journal = reopened(fs)
    aside = JOURNAL / f"{FIRST.name}.torn-{len(whole)}"
    assert journal.repairs.torn == Torn(len(whole), 4)
    assert journal.repairs.torn_path == aside
    assert fs.content(aside) == b"torn"
    assert fs.content(FIRST).startswith(whole + b'{"epoch":2,')
    assert fs.after_crash(1).content(aside) == b"torn"


def test_a_torn_tail_is_repaired_in_this_order(fs, owner):
    owner.append()
    owner.stop()
    aside = f"{FIRST.name}.torn-{len(fs.content(FIRST))}"
    fs.replace_content(FIRST, fs.content(FIRST) + b"torn")
    before = len(fs.operations)
    reopened(fs)
    assert fs.operations[before:] == [
        f"create {aside}.tmp",
        "truncate",
        "write",
        "sync_file",
        f"rename {aside}",
        "sync_directory journal",
        "truncate",
        "write",  # the last commit again
        "sync_file",
        "sync_directory journal",
        "write",  # the opening of the epoch
        "sync_file",
    ]


def test_a_file_begun_in_vain_is_removed_before_anything_else(fs, owner):
    owner.append()
    owner.journal.rotate()
    owner.stop()
    fs.replace_content(FIRST, fs.content(FIRST) + b"torn")
    before = len(fs.operations)
    reopened(fs)
    assert fs.operations[before : before + 2] == [
        f"unlink {SECOND.name}",
        "sync_directory journal",
    ]


def test_what_was_kept_aside_is_never_overwritten(fs, owner):
    owner.append()
    owner.stop()
    whole = fs.content(FIRST)
    kept = []
    for torn in (b"first", b"second", b"first", b"third"):
        fs.replace_content(FIRST, whole + torn)
        kept.append(reopened(fs).repairs.torn_path)
    assert [fs.content(path) for path in kept] == [b"first", b"second", b"first", b"third"]
    assert kept[0] == kept[2]
    assert len(set(kept)) == 3


def test_only_what_is_not_known_to_be_durable_is_written_again(fs, owner):
    owner.append()
    owner.append()
    size = len(fs.content(FIRST))
    owner.append()
    last = len(fs.content(FIRST)) - size
    owner.stop()
    assert reopened(fs).repairs == Repairs(rewritten_bytes=last)


def test_with_everysec_all_that_no_line_knew_to_be_durable_is_written_again(fs, lazy_owner, clock):
    lazy_owner.append()
    clock.now_s += 1
    lazy_owner.append()  # the sync came first
    synced = fs.content(FIRST).rfind(b"\n", 0, -1) + 1
    lazy_owner.append()
    size = len(fs.content(FIRST))
    assert reopened(fs.after_kill()).repairs == Repairs(rewritten_bytes=size - synced)


def test_what_only_the_page_cache_had_is_durable_after_opening(fs, lazy_owner):
    for _ in range(5):
        lazy_owner.append(padding=400)
    fs.fail("sync_file", errno.EIO)
    with pytest.raises(JournalFailedError):
        lazy_owner.journal.sync()
    killed = fs.after_kill()
    after = Owner(killed).start()
    assert after.state == lazy_owner.state
    for seed in range(20):
        assert Owner(killed.after_crash(seed)).start().state == lazy_owner.state


@pytest.mark.parametrize("cut", [0, 20])
def test_pages_that_are_gone_at_the_second_look_are_not_written(fs, owner, cut):
    owner.append()
    owner.append()
    owner.stop()
    journal = FileJournal(fs, JOURNAL, fsync="always")
    list(journal.read(0))
    content = fs.content(FIRST)
    start = content.rfind(b"\n", 0, -1) + 1
    lost = content[: start + cut] + bytes(len(content) - start - cut) if cut else content[:start]
    fs.replace_content(FIRST, lost)
    with pytest.raises(CorruptionError, match="moment ago"):
        journal.open(AT)
    assert fs.content(FIRST) == lost
    assert fs.open_descriptors == 0


@pytest.mark.parametrize("broken", [b"", b'{"format":"pen', bytes(300), b"garbage\n"])
def test_a_newest_file_with_nothing_but_a_broken_header_is_made_anew(fs, owner, broken):
    owner.append()
    owner.journal.rotate()
    header = fs.content(SECOND)
    owner.stop()
    fs.replace_content(SECOND, broken)
    journal = reopened(fs)
    assert fs.content(SECOND).startswith(header)
    assert journal.repairs.header_remade
    assert journal.repairs.torn == (Torn(0, len(broken)) if broken else None)
    journal.append(2, 2, AT, [b'"2"'])
    assert reopened(fs.after_crash(3)).last_seq == 2


def test_a_sole_broken_header_is_made_anew_from_the_snapshot(fs, owner):
    owner.append()
    anchor = owner.journal.head_hash
    owner.journal.rotate()
    owner.journal.trim(1)
    owner.stop()
    fs.replace_content(SECOND, b"broken")
    journal = FileJournal(fs, JOURNAL, fsync="always")
    assert not journal.is_empty()
    assert list(journal.read(1, anchor)) == []
    with pytest.raises(CorruptionError, match="whose"):
        journal.open(AT, epoch_seen=7)
    journal = FileJournal(fs, JOURNAL, fsync="always")
    assert list(journal.read(1, anchor)) == []
    journal.open(AT, epoch_seen=7, store="store")
    assert (journal.epoch, journal.store, journal.last_seq) == (8, "store", 1)
    journal.append(2, 2, AT, [b"2"])
    again = FileJournal(fs, JOURNAL, fsync="always")
    assert [commit.seq for commit in again.read(1, anchor)] == [2]


@pytest.mark.parametrize("torn", [b"", b"torn"])
@pytest.mark.parametrize("header", ["whole", "broken"])
def test_a_file_begun_in_vain_is_removed(fs, owner, torn, header):
    owner.append()
    owner.journal.rotate()
    leftover = fs.content(SECOND) if header == "whole" else b"broken"
    owner.stop()
    fs.unlink(SECOND)
    if not torn:
        owner = Owner(fs).start()
        owner.append()
        owner.stop()
    fs.close(fs.open_write(SECOND))
    fs.replace_content(SECOND, leftover)
    fs.replace_content(FIRST, fs.content(FIRST) + torn)
    journal = reopened(fs)
    assert journal.repairs.leftover == SECOND
    assert not fs.exists(SECOND)
    assert not fs.after_crash(2).exists(SECOND)
    assert journal.last_seq == (1 if torn else 2)


@pytest.mark.parametrize("operation", ["write", "sync_file", "sync_directory", "truncate"])
def test_a_repair_that_fails_closes_the_file_and_loses_nothing(fs, owner, operation):
    owner.append()
    owner.stop()
    fs.replace_content(FIRST, fs.content(FIRST) + b"torn")
    journal = FileJournal(fs, JOURNAL, fsync="always")
    list(journal.read(0))
    fs.fail(operation, errno.EIO)
    with pytest.raises(StorageError):
        journal.open(AT)
    assert fs.open_descriptors == 0
    assert Owner(fs).start().state == owner.state
