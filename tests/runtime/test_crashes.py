"""A crash at every operation of a whole life, and another one during the recovery from it.

- What was acknowledged is there after `kill -9`, and what was durable after a power cut.
- What is there is a prefix of what was sent, in order, and nothing is there twice.
- Recovery succeeds without help, and the store takes messages again.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.fakes.crashable_filesystem import CrashableFileSystem, Effect
from tests.runtime.crashing import Diary, Life, live, recovered
from tests.slices import operations

SETTINGS: dict[str, dict[str, Any]] = {
    "always": {"fsync": "always"},
    "everysec": {"fsync": "everysec"},
    "safetensors": {"format": "safetensors"},
    "compressed": {"compress": "gzip"},
    "retention": {"keep_last": 3, "keep_daily": 2},
}
EFFECTS: tuple[Effect, ...] = ("none", "half", "whole")
OPERATIONS_MAX = 400


async def appends(life: Life):
    await life.send()
    await life.send(5)
    await life.send(1, padding=1500)
    await life.send(3, padding=200)


async def checkpoints(life: Life):
    await life.send(2)
    await life.checkpoint()
    await life.send(2, padding=700)
    await life.checkpoint()
    await life.checkpoint()
    await life.send()
    await life.checkpoint()
    await life.send()


async def nothing(life: Life):
    """Recovery and closing alone."""


LIVES = {"appends": appends, "checkpoints": checkpoints}


def disk_with_a_past(seed, settings):
    """A killed store with checkpoints and a journal after them: much to recover."""
    fs, past, killed = CrashableFileSystem(seed=seed), Diary(), []

    async def before(life: Life):
        await life.send(3)
        await life.checkpoint()
        await life.send(2, padding=600)
        await life.checkpoint()
        await life.send(2)
        killed.append(fs.after_kill())

    live(fs, before, past, **settings)
    return killed[0], past


def check(disk, diary, *, promised):
    found = recovered(disk)
    assert found == [float(number) for number in range(1, len(found) + 1)]
    assert promised <= len(found) <= diary.sent


def crashed(life, settings, crash_at, effect, seed):
    """A life with a crash at one operation; None where it did not last that long."""
    fs = CrashableFileSystem(seed=seed)
    fs.crash_at, fs.crash_effect = crash_at, effect
    diary = Diary()
    lived = live(fs, life, diary, **settings)
    return (lived, diary) if lived._dead else None


def crash_again(disk, diary, second, seed):
    """Crash at one operation of the recovery too, then check; whether it came to that."""
    disk.crash_at, disk.crash_effect = second, EFFECTS[(second + seed) % 3]
    lived = live(disk, nothing, Diary())
    came = lived._dead
    lived.crash_at = None
    check(lived.after_crash(seed), diary, promised=diary.durable)
    return came


def explore(life, settings, crash_at, effect, seed, *, every):
    outcome = crashed(life, settings, crash_at, effect, seed)
    if outcome is None:
        return False
    lived, diary = outcome
    check(lived.after_kill(), diary, promised=diary.acknowledged)
    check(lived.after_crash(seed), diary, promised=diary.durable)
    power_cut = lived.after_crash(seed + 1)
    rng = random.Random(1000 * seed + crash_at)
    for second in range(1, OPERATIONS_MAX) if every else (rng.randint(1, 20),):
        if not crash_again(power_cut.after_kill(), diary, second, seed + second):
            break
    return True


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("life", LIVES)
def test_a_crash_at_any_operation_loses_nothing_acknowledged(life, settings):
    for crash_at in operations(f"{life} {settings}", OPERATIONS_MAX):
        effect = EFFECTS[crash_at % 3]
        if not explore(LIVES[life], settings, crash_at, effect, crash_at, every=False):
            return
    pytest.fail("a life without an end")


def test_acknowledged_with_always_is_durable():
    fs = CrashableFileSystem(seed=5)
    diary = Diary()
    live(fs, appends, diary, fsync="always")
    assert diary.durable == diary.acknowledged == diary.sent == 10


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("seed", range(3))
def test_a_crash_at_any_operation_of_a_recovery_loses_nothing(seed, settings):
    for crash_at in operations(f"{seed} {settings}", OPERATIONS_MAX):
        disk, past = disk_with_a_past(seed, settings)
        if not crash_again(disk, past, crash_at, seed):
            return
    pytest.fail("a recovery without an end")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("effect", EFFECTS)
def test_a_crash_at_any_operation_and_at_any_of_its_recovery_loses_nothing(life, settings, effect):
    for crash_at in range(1, OPERATIONS_MAX):
        lasted = [
            explore(LIVES[life], settings, crash_at, effect, seed, every=True) for seed in range(3)
        ]
        if not any(lasted):
            return
    pytest.fail("a life without an end")
