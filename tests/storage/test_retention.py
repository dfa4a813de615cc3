"""Which checkpoints are kept: examples of each rule, and what holds for any."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.storage.journal import FileJournal
from penin.storage.retention import Retention, kept_seqs
from penin.storage.snapshots import FileSnapshotStore
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem
from tests.storage.owner import STORE

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def before_noon(**ago: int) -> str:
    return (NOON - timedelta(**ago)).isoformat().replace("+00:00", "Z")


def kept(hours_ago, *, valid=None, **rules):
    """The ages of those that are kept at noon, of checkpoints that are so many hours old."""
    now = before_noon()
    checkpoints = [(seq, before_noon(hours=hours)) for seq, hours in enumerate(hours_ago)]
    valid = [len(checkpoints) - 1] if valid is None else valid
    seqs = kept_seqs(checkpoints, now=now, retention=Retention(**rules), valid=valid)
    return [hours_ago[seq] for seq in sorted(seqs)]


def test_the_newest_are_kept():
    assert kept([5, 4, 3, 2, 1], keep_last=3) == [3, 2, 1]
    assert kept([5, 4, 3, 2, 1]) == [2, 1]


@pytest.mark.parametrize("keep_last", [-1, 0, 1])
def test_the_newest_and_the_one_before_are_kept_whatever_is_asked_for(keep_last):
    assert kept([3, 2, 1], keep_last=keep_last) == [2, 1]


def test_the_last_one_of_each_day_is_kept_and_a_day_begins_at_midnight_utc():
    # 12 and 13 hours before noon: midnight, and 23:00 of the day before.
    assert kept([80, 40, 37, 35, 13, 12, 3, 1, 0], keep_daily=1) == [1, 0]
    assert kept([80, 40, 37, 35, 13, 12, 3, 1, 0], keep_daily=2) == [13, 1, 0]
    assert kept([80, 40, 37, 35, 13, 12, 3, 1, 0], keep_daily=3) == [37, 13, 1, 0]


def test_days_without_a_checkpoint_do_not_count():
    assert kept([24 * 400, 24 * 30, 24 * 29, 1, 0], keep_daily=3) == [24 * 30, 24 * 29, 1, 0]


def test_what_is_not_older_than_so_long_is_kept_to_the_second():
    assert kept([37, 36, 10, 1, 0], keep_within_s=36 * 3600) == [36, 10, 1, 0]
    assert kept([37, 36, 10, 1, 0], keep_within_s=36 * 3600 - 1) == [10, 1, 0]


def test_the_rules_are_a_union():
    ages = [24 * 9, 24 * 8, 60, 50, 30, 5, 4, 3, 2, 1]
    assert kept(ages, keep_last=3, keep_daily=3, keep_within_s=4 * 3600) == [50, 30, 4, 3, 2, 1]


def test_a_clock_that_was_set_back_does_not_change_the_order():
    # The third was written last of its day, though its time is before that of the second.
    checkpoints = [(1, "2026-01-30T10:00:00Z"), (2, "2026-01-30T11:00:00Z")]
    checkpoints += [(3, "2026-01-30T09:00:00Z"), (4, "2026-01-31T00:00:00Z")]
    checkpoints += [(5, "2026-01-31T00:00:00Z")]
    daily = Retention(keep_daily=2)
    assert kept_seqs(checkpoints, now=before_noon(), retention=daily, valid=[5]) == {3, 4, 5}


def test_what_is_later_than_now_is_kept():
    assert kept([9, -5, 2, 1, 0], keep_within_s=60) == [-5, 1, 0]


def test_without_a_time_a_checkpoint_is_of_no_day_and_no_age():
    checkpoints = [(1, None), (2, before_noon(hours=3)), (3, None), (4, before_noon())]
    rules = Retention(keep_daily=9, keep_within_s=10**9)
    assert kept_seqs(checkpoints, now=before_noon(), retention=rules, valid=[4]) == {2, 3, 4}


def test_what_is_known_to_be_good_is_kept_and_all_that_is_newer():
    assert kept([5, 4, 3, 2, 1], valid=[1]) == [4, 3, 2, 1]
    assert kept([5, 4, 3, 2, 1], valid=[1, 4]) == [4, 2, 1]
    assert kept([5, 4, 3, 2, 1], valid=[]) == [5, 4, 3, 2, 1]


times = st.datetimes(NOON.replace(tzinfo=None), NOON.replace(year=2027, tzinfo=None))
checkpoints_of_any_time = st.lists(st.none() | times, max_size=30).map(
    lambda found: [
        (seq, None if time is None else f"{time.replace(microsecond=0).isoformat()}Z")
        for seq, time in enumerate(found)
    ]
)
retentions = st.builds(
    Retention, st.integers(0, 9), st.integers(0, 400), st.integers(0, 400 * 86_400)
)


@given(checkpoints_of_any_time, retentions, st.sets(st.integers(0, 30)), st.randoms())
def test_whatever_is_asked_for_the_newest_good_one_stays(checkpoints, retention, valid, random):
    now = "2026-07-01T00:00:00.000000Z"
    shuffled = random.sample(checkpoints, len(checkpoints))
    kept = kept_seqs(shuffled, now=now, retention=retention, valid=valid)
    seqs = [seq for seq, _ in checkpoints]
    assert kept <= set(seqs)
    assert set(seqs[-2:]) <= kept
    assert valid & set(seqs) <= kept
    for seq in set(seqs) - kept:
        assert any(good > seq for good in valid), "only for the sake of a newer one that is good"
    last = set(seqs[-max(2, retention.keep_last) :])
    days = sorted({at[:10] for _, at in checkpoints if at}, reverse=True)[: retention.keep_daily]
    for seq, at in checkpoints:
        is_last_of_its_day = at is not None and not any(
            later > seq and other is not None and other[:10] == at[:10]
            for later, other in checkpoints
        )
        is_daily = is_last_of_its_day and at[:10] in days
        age = None if at is None else datetime.fromisoformat(now) - datetime.fromisoformat(at)
        is_within = (
            age is not None
            and retention.keep_within_s > 0
            and age <= timedelta(seconds=retention.keep_within_s)
        )
        is_new = not any(good >= seq for good in valid)
        by_rule = seq in last or is_daily or is_within or seq in valid or is_new
        assert (seq in kept) == by_rule


# -- a crash at every operation of pruning ----------------------------------------------------

DAILY = Retention(keep_last=2, keep_daily=3)
Done = list[tuple[int, str]]


def pruned_life(fs, done):
    """Two checkpoints a day for six days; `done` has each that is durable, with its time."""
    fs.make_directory(STORE)
    snapshots = FileSnapshotStore(fs, STORE)
    journal = FileJournal(fs, STORE / "journal", fsync="always")
    journal.create("store", seq=0, forked_from=None)
    journal.open(before_noon(days=9))
    for seq in range(1, 13):
        at = before_noon(days=6 - (seq - 1) // 2, hours=-(seq % 2))
        journal.append(seq, seq, at, [b"1"])
        journal.rotate()
        snapshots.put(seq, 1, at, [b"%d" % seq * 300])
        done.append((seq, at))
        snapshots.prune(DAILY, now=at, valid=[seq])
        journal.trim(snapshots.oldest_kept_seq())
    journal.close()


def check(fs, done):
    """All that is to be kept of what was durable is there, and the journal after the oldest."""
    snapshots = FileSnapshotStore(fs, STORE)
    there = snapshots.checkpoints()
    seqs = {file.seq for file in there}
    promised = kept_seqs(
        done, now=before_noon(), retention=DAILY, valid=[seq for seq, _ in done[-1:]]
    )
    assert promised <= seqs
    for file in there:
        assert fs.content(file.path) == b"%d" % file.seq * 300
    journal = FileJournal(fs, STORE / "journal", fsync="always")
    if not done:
        return
    oldest = min(promised) if len(promised) > 1 else 0
    last = [commit.seq for commit in journal.read(oldest)][-1:]
    assert last >= [done[-1][0]] or oldest == done[-1][0]


def test_the_life_without_a_crash_keeps_what_it_says():
    fs, done = CrashableFileSystem(), Done()
    pruned_life(fs, done)
    there = [file.seq for file in FileSnapshotStore(fs, STORE).checkpoints()]
    assert there == [8, 10, 11, 12]
    check(fs, done)


def test_a_crash_at_any_operation_of_pruning_loses_nothing_that_is_to_be_kept():
    for crash_at in range(1, 1000):
        fs, done = CrashableFileSystem(seed=crash_at), Done()
        fs.crash_at, fs.crash_effect = crash_at, ("none", "half", "whole")[crash_at % 3]
        try:
            pruned_life(fs, done)
        except Crash:
            check(fs.after_kill(), done)
            for seed in range(3):
                check(fs.after_crash(seed), done)
        else:
            return
    pytest.fail("a life without an end")


@pytest.mark.parametrize("at", range(1, 6))
def test_a_deletion_that_fails_loses_nothing_and_is_made_up_for_by_the_next_one(at):
    fs, done = CrashableFileSystem(), Done()
    fs.fail("unlink", errno.EIO, at=at)
    with pytest.raises(Exception, match="Input/output"):
        pruned_life(fs, done)
    check(fs, done)
    snapshots = FileSnapshotStore(fs, STORE)
    seq, now = done[-1]
    snapshots.prune(DAILY, now=now, valid=[seq])
    promised = kept_seqs(done, now=now, retention=DAILY, valid=[seq])
    assert {file.seq for file in snapshots.checkpoints()} == promised
