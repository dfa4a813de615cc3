"""Any state and any function, and a crash at every file operation of a migration."""

from __future__ import annotations

import asyncio
import contextlib
import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core.migration import Schema
from penin.errors import StorageError
from tests.core import strategies
from tests.fakes.crashable_filesystem import CrashableFileSystem, Effect
from tests.runtime.crashing import Diary, Life, live
from tests.runtime.migrating import (
    FORMATS,
    SCHEMA,
    SEALED,
    bits,
    check_migrated,
    killed,
    on_disk,
    recovering,
    state_of,
)
from tests.runtime.stores import STORE, open_on, state_on
from tests.slices import operations

# -- any state, any function ----------------------------------------------------------------------


@given(
    st.lists(strategies.messages(), min_size=1, max_size=8),
    strategies.migrations(),
    st.lists(strategies.messages(), max_size=4),
    st.sampled_from(FORMATS),
    st.booleans(),
)
def test_the_live_state_is_the_replayed_one_bit_for_bit(
    before, migration, after, format_, checkpoint
):
    fs = CrashableFileSystem()

    async def main() -> None:
        async with open_on(fs, format=format_) as orchestrator:
            for message in before:
                await orchestrator.send(message)
            if checkpoint:
                await orchestrator.checkpoint()
            past = fs.after_kill()
        async with open_on(past, schema=Schema(1, {0: migration})) as orchestrator:
            shown = bits(state_of(orchestrator))
            assert on_disk(past.after_kill()) == shown
            for message in after:
                await orchestrator.send(message)
            shown = bits(state_of(orchestrator))
            disk = past.after_kill()
            assert on_disk(disk) == shown
        async with open_on(disk) as orchestrator:
            assert bits(state_of(orchestrator)) == shown
        assert on_disk(past) == on_disk(disk) == shown

    asyncio.run(main())


# -- crashes --------------------------------------------------------------------------------------

EFFECTS: tuple[Effect, ...] = ("none", "half", "whole")


async def nothing(_life: Life) -> None:
    """Opening and closing alone."""


def check(disk: CrashableFileSystem, before: bytes) -> bool:
    """The state is that before or that after; and the next opening migrates it. Which it was."""
    is_before = on_disk(disk) == before
    if not is_before:
        check_migrated(state_on(disk))

    async def main() -> None:
        async with open_on(disk.after_kill()) as orchestrator:
            assert (bits(state_of(orchestrator)) == before) is is_before
        async with open_on(disk, schema=SCHEMA) as orchestrator:
            check_migrated(orchestrator.view)
            assert orchestrator.applied_seq == 8
            kept = [name for name in disk.names(STORE) if "before" in name]
            assert len(kept) == 1
            assert not kept[0].endswith(".tmp")
            assert not [name for name in disk.names(SEALED) if name.endswith(".tmp")]
            await orchestrator.add_score(0.5)

    asyncio.run(main())
    return is_before


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_crash_at_any_operation_leaves_the_store_before_or_after(format_, seed):
    past = asyncio.run(killed(format_))
    before = on_disk(past)
    found: set[bool] = set()
    for crash_at in operations("migration", 400):
        disk = past.after_kill()
        disk.crash_at, disk.crash_effect = crash_at, EFFECTS[(crash_at + seed) % 3]
        lived = live(disk, nothing, Diary(), SCHEMA)
        if not lived._dead:
            assert found == {True, False}
            return
        lived.crash_at = None
        found.add(check(lived.after_kill(), before))
        found.add(check(lived.after_crash(seed + crash_at), before))
    pytest.fail("an opening without an end")


def test_a_failed_rebase_leaves_it_unknown_and_the_next_opening_decides():
    past = asyncio.run(killed())
    before = on_disk(past)
    for number in range(1, 12):
        disk = past.after_kill()
        disk.fail("sync_file", errno.EIO, at=number)
        with contextlib.suppress(StorageError):
            recovering(disk, SCHEMA)
        check(disk.after_kill(), before)
        check(disk.after_crash(number), before)
