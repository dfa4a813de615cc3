"""A crash at every single operation, and another one during the recovery from it.

What must hold whatever the crash did:

- what was acknowledged is there (after a power cut with `everysec`: what was durable);
- what is there is a prefix of what was written, and no transition is there twice;
- the same state is reached from the checkpoint before the latest snapshot;
- recovery succeeds without help, claims an epoch that was never claimed before, and what it read
  survives a power cut right after it.
"""

from __future__ import annotations

import contextlib
import errno
import random
from typing import TYPE_CHECKING

import pytest

from penin.errors import JournalFailedError, RotationError, StorageError, StorageFullError
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem, Effect
from tests.slices import operations
from tests.storage.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from penin.storage.journal import Fsync

EFFECTS: tuple[Effect, ...] = ("none", "half", "whole")

Life = "Callable[[CrashableFileSystem, Owner], None]"


def quiet_life(fs: CrashableFileSystem, owner: Owner) -> None:
    """Appends of all sizes and checkpoints, so that every file is made, filled, and retired."""
    owner.append()
    owner.append(3)
    owner.append(2, padding=700)
    owner.checkpoint()
    owner.append()
    owner.checkpoint()
    owner.checkpoint()  # nothing new: the journal file is not changed
    owner.append(1, padding=1500)
    owner.append()
    owner.checkpoint()
    owner.append(2)
    owner.stop()


def full_disk(fs: CrashableFileSystem, owner: Owner) -> None:
    """Appends and a checkpoint that find no room, cut back and go on."""
    owner.append(2)
    fs.fail("write", errno.ENOSPC, partial=100)
    with pytest.raises(StorageFullError):
        owner.append(2, padding=400)
    owner.append(1, padding=600)
    fs.fail("write", errno.EDQUOT, at=2)
    with pytest.raises(StorageError):
        owner.checkpoint()
    owner.append()
    fs.fail("write", errno.EFBIG)
    with pytest.raises(StorageFullError):
        owner.append()
    owner.checkpoint()
    owner.append()
    owner.stop()


def failed_rotations(fs: CrashableFileSystem, owner: Owner) -> None:
    """New files that cannot be made, and the old one that goes on past them."""
    owner.append(2)
    owner.checkpoint()
    owner.append(2)
    fs.fail("sync_directory", errno.EIO)
    fs.fail("unlink", errno.EIO)
    with pytest.raises(RotationError):
        owner.checkpoint()  # a whole header is left over
    owner.append(1, padding=600)
    fs.fail("unlink", errno.EIO)
    with pytest.raises(RotationError):
        owner.checkpoint()  # and still is
    owner.append()
    owner.checkpoint()
    owner.append()
    fs.fail("write", errno.ENOSPC, partial=30)
    fs.fail("unlink", errno.EIO)
    with pytest.raises(RotationError):
        owner.checkpoint()  # half a header is left over
    owner.append(1, padding=600)
    owner.stop()


def failed_sync(fs: CrashableFileSystem, owner: Owner) -> None:
    """A sync that fails: some of it is on the disk, and the page cache says nothing."""
    owner.append(2)
    owner.checkpoint()
    owner.append(1, padding=600)
    owner.append(1, padding=1200)
    fs.fail("sync_file", errno.EIO)
    with contextlib.suppress(JournalFailedError):
        owner.append(2, padding=800)
        owner.journal.sync()
    with pytest.raises(JournalFailedError):
        owner.append()
    with pytest.raises(JournalFailedError):
        owner.checkpoint()
    owner.stop()


def compressing(fs: CrashableFileSystem, owner: Owner) -> None:
    """Older files that are compressed, not at all for want of room, and retired."""
    owner.append(2)
    owner.checkpoint()
    owner.compress()  # the only file that is kept for what came before
    owner.append(1, padding=1500)
    owner.checkpoint()
    fs.fail("write", errno.ENOSPC)
    with pytest.raises(StorageFullError):
        owner.compress("zstd")
    owner.append()
    owner.checkpoint()
    owner.compress("zstd")  # one that was left, and one that is new
    owner.compress("zstd")  # nothing is left to do
    owner.append(2)
    owner.checkpoint()
    owner.stop()


LIVES = (quiet_life, full_disk, failed_rotations, failed_sync, compressing)


def ticking() -> Callable[[], float]:
    """A clock that moves on by 0.15 s with every look, so that `everysec` syncs now and then."""
    now_s = 0.0

    def clock() -> float:
        nonlocal now_s
        now_s += 0.15
        return now_s

    return clock


def live(fs: CrashableFileSystem, life: Callable, fsync: Fsync) -> Owner:
    """Live until the crash, or to the end."""
    owner = Owner(fs, fsync=fsync, clock=ticking())
    with contextlib.suppress(Crash):
        owner.start()
        life(fs, owner)
    return owner


def check(before: Owner, fs: CrashableFileSystem, *, promised: int) -> Owner:
    """Recover, and hold the outcome against what the owner before had promised and written."""
    after = Owner(fs).start()
    assert after.state == before.written[: len(after.state)]
    assert len(after.state) >= promised
    assert after.epoch_claimed > before.epoch_claimed
    assert after.way_back() == after.state
    return after


def crash_twice(before: Owner, disk: CrashableFileSystem, second: int, seed: int) -> bool:
    """Crash at the operation `second` of the recovery too; tell whether it came to that."""
    disk.crash_at = second
    disk.crash_effect = EFFECTS[(second + seed) % 3]
    between = Owner(disk)
    with contextlib.suppress(Crash):
        between.start()
    came = len(disk.operations) == second
    disk.crash_at = None
    # Whatever the first crash was, after a power cut only that is promised which was durable.
    check(before, disk.after_crash(seed), promised=before.durable)
    return came


def explore(
    life: Callable, fsync: Fsync, crash_at: int, effect: Effect, seed: int, *, every: bool
) -> bool:
    """Crash at one operation of a life; tell whether the life lasted that long."""
    fs = CrashableFileSystem(seed=seed)
    fs.crash_at, fs.crash_effect = crash_at, effect
    owner = live(fs, life, fsync)
    if len(fs.operations) < crash_at:
        return False
    killed = seed % 4 == 0
    disk = fs.after_kill() if killed else fs.after_crash(seed)

    once = disk.after_kill()
    after = check(owner, once, promised=owner.acknowledged if killed else owner.durable)
    after.append(2)
    after.checkpoint()
    after.append(1, padding=600)
    assert after.way_back() == after.state
    check(after, once.after_crash(seed), promised=after.acknowledged)

    rng = random.Random(seed * 1000 + crash_at)
    for second in range(1, 100) if every else (rng.randint(1, 12),):
        if not crash_twice(owner, disk.after_kill(), second, seed + second):
            break
    return True


@pytest.mark.parametrize("fsync", ["always", "everysec"])
@pytest.mark.parametrize("life", LIVES)
def test_a_crash_at_any_operation_loses_nothing_acknowledged(life, fsync):
    for crash_at in operations(f"{life} {fsync}", 1000):
        lasted = [
            explore(life, fsync, crash_at, EFFECTS[seed % 3], seed, every=False)
            for seed in range(crash_at, crash_at + 7)
        ]
        if not any(lasted):
            break
    else:
        pytest.fail("a life without an end")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fsync", ["always", "everysec"])
@pytest.mark.parametrize("life", LIVES)
def test_a_crash_at_any_operation_and_at_any_of_its_recovery_loses_nothing(life, fsync):
    for crash_at in range(1, 1000):
        lasted = [
            explore(life, fsync, crash_at, effect, seed, every=True)
            for effect in EFFECTS
            for seed in range(12)
        ]
        if not any(lasted):
            break
    else:
        pytest.fail("a life without an end")
