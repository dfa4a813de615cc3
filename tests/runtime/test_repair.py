"""Repair: the longest prefix of a damaged store as a new one, and the old one as it was."""

from __future__ import annotations

import contextlib
import json

import pytest

from penin.core.vocabulary import message
from penin.errors import CorruptionError, StorageError
from penin.runtime.past import state_at
from penin.runtime.repair import plan_repair, repair
from tests.core.strategies import exactly_equal
from tests.fakes.crashable_filesystem import Crash
from tests.runtime.pasts import Writer, everything, scores
from tests.runtime.stores import JOURNAL, STORE
from tests.runtime.test_ladder import (
    FORMATS,
    checkpoints,
    damage,
    latest,
    recovering,
    tree,
    unlinked,
    written,
)

MENDED = STORE.with_name("mended")


def opened(fs, directory=MENDED):
    """The state of the repaired store, and the header of its journal."""
    (name, *_) = fs.names(directory / "journal")
    header = json.loads(fs.content(directory / "journal" / name).splitlines()[0])
    return everything(state_at(directory, whole=True, fs=fs).state), header


def without_lock(fs):
    """All files but the one that says who had the store open, which nobody syncs."""
    return {path: content for path, content in tree(fs).items() if path.name != "lock"}


def break_line(fs, first, number=-1):
    """Damage a line of a journal file in a way that no crash explains."""
    path = JOURNAL / f"{first:020d}.jsonl"
    lines = fs.content(path).splitlines(keepends=True)
    lines[number] = lines[number].replace(b'"score":', b'"scare":')
    fs.replace_content(path, b"".join(lines))
    return path


def mended(fs):
    """Plan and repair; the original is as it was."""
    before = tree(fs)
    plan = plan_repair(STORE, fs=fs)
    assert plan.is_needed
    store = repair(plan, MENDED, fs)
    assert tree(fs) == before
    state, header = opened(fs)
    assert header["store"] == store
    return plan, state, header


@pytest.mark.parametrize("kind", FORMATS)
def test_what_comes_behind_a_damaged_line_is_cut_and_the_rest_is_a_store_of_its_own(kind):
    writer = written(kind)
    fs = writer.fs
    path = break_line(fs, 7)
    with pytest.raises(CorruptionError):
        recovering(fs)
    plan, state, header = mended(fs)
    assert exactly_equal(state, writer.states[6])
    assert (plan.seq, plan.snapshot_seq, plan.lost_first_seq) == (6, 6, 7)
    assert [place.path for place in plan.damaged_journal] == [str(path)]
    assert plan.cut_bytes == len(fs.content(path).splitlines(keepends=True)[-1])
    assert header["forked_from"]["seq"] == 6
    assert header["forked_from"]["store"] == plan.envelope.store
    assert fs.exists(MENDED / f"state.{kind}")


def test_a_damaged_snapshot_beside_a_hole_gives_the_state_before_the_hole():
    writer = written()
    fs = writer.fs
    damage(fs, latest(fs))
    break_line(fs, 5)
    plan, state, _ = mended(fs)
    assert exactly_equal(state, writer.states[4])
    assert (plan.snapshot_seq, plan.lost_first_seq, plan.lost_last_seq) == (4, 5, 7)
    assert len(plan.damaged_snapshots) >= 1


def test_damage_behind_a_good_snapshot_loses_nothing():
    writer = written()
    fs = writer.fs
    break_line(fs, 5)
    plan, state, _ = mended(fs)
    assert exactly_equal(state, writer.states[7])
    assert (plan.lost_first_seq, plan.lost_last_seq, plan.cut_bytes) == (None, None, 0)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_snapshot_that_the_ladder_gets_over_loses_nothing(kind):
    writer = written(kind)
    fs = writer.fs
    damage(fs, latest(fs))
    plan, state, _ = mended(fs)
    assert exactly_equal(state, writer.states[7])
    assert plan.snapshot_seq == 4
    assert plan.lost_first_seq is None


def test_damage_in_a_block_that_opening_does_not_read_is_found():
    writer = Writer(format="safetensors")
    numbers = [float(number) for number in range(4)]
    writer.commit(message({"type": "add_knowledge", "key": "a", "vector": numbers}))
    writer.checkpoint()
    writer.commit(*scores(1.0))
    writer.checkpoint()
    writer.release()
    fs = writer.fs
    plan = plan_repair(STORE, fs=fs)
    assert not plan.is_needed
    content = bytearray(fs.content(latest(fs)))
    content[4096] ^= 1
    fs.replace_content(latest(fs), bytes(content))
    _, state, _ = mended(fs)
    assert exactly_equal(state, writer.states[2])


def test_without_a_snapshot_the_beginning_of_the_journal_is_begun_from():
    writer = written(whole_journal=True)
    fs = writer.fs
    for path in checkpoints(fs):
        damage(fs, path)
    break_line(fs, 3)
    plan, state, header = mended(fs)
    assert plan.snapshot is None
    assert exactly_equal(state, writer.states[3 if plan.seq == 3 else 2])
    assert header["forked_from"]["seq"] == plan.seq


def test_a_missing_snapshot_is_no_obstacle():
    writer = written()
    fs = writer.fs
    path = latest(fs)
    fs.unlink(path)
    fs.unlink(checkpoints(fs)[-1])
    with pytest.raises(StorageError):
        recovering(fs)
    plan, state, _ = mended(fs)
    assert exactly_equal(state, writer.states[7])
    assert [place.path for place in plan.damaged_snapshots] == [str(path)]
    assert plan.snapshot_seq == 4


def test_a_checkpoint_that_is_newer_than_the_newest_snapshot_is_taken():
    writer = written()
    fs = writer.fs
    older, _ = checkpoints(fs)
    unlinked(fs, latest(fs))
    fs.replace_content(latest(fs), fs.content(older))
    break_line(fs, 5)
    plan, state, _ = mended(fs)
    assert exactly_equal(state, writer.states[7])
    assert plan.snapshot_seq == 6


def test_where_nothing_is_damaged_nothing_is_needed_and_a_torn_tail_is_no_damage():
    fs = written().fs
    path = JOURNAL / f"{7:020d}.jsonl"
    fs.replace_content(path, fs.content(path) + b'{"epoch":')
    plan = plan_repair(STORE, fs=fs)
    assert not plan.is_needed
    assert (plan.incomplete_bytes, plan.cut_bytes, plan.lost_first_seq) == (9, 0, None)


def test_where_nothing_is_left_it_says_so():
    fs = written().fs
    for path in checkpoints(fs):
        damage(fs, path)
    with pytest.raises(CorruptionError, match="nothing is left"):
        plan_repair(STORE, fs=fs)
    with pytest.raises(FileNotFoundError):
        plan_repair(STORE / "nowhere", fs=fs)


def test_a_directory_that_holds_a_store_and_the_damaged_one_are_refused():
    fs = written().fs
    break_line(fs, 7)
    plan = plan_repair(STORE, fs=fs)
    with pytest.raises(StorageError, match="never changed"):
        repair(plan, STORE, fs)
    repair(plan, MENDED, fs)
    with pytest.raises(StorageError, match="a store already"):
        repair(plan, MENDED, fs)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_repair_that_a_crash_interrupts_can_be_done_again(kind):
    writer = written(kind)
    disk = writer.fs
    break_line(disk, 7)
    before = without_lock(disk)
    for crash_at in range(1, 100):
        fs = disk.after_kill()
        fs.crash_at, fs.crash_effect = crash_at, ("none", "half", "whole")[crash_at % 3]
        try:
            repair(plan_repair(STORE, fs=fs), MENDED, fs)
        except Crash:
            pass
        else:
            return
        for left in (fs.after_kill(), fs.after_crash(crash_at)):
            assert without_lock(left) == before
            with contextlib.suppress(StorageError):  # a store already: its last step was done
                repair(plan_repair(STORE, fs=left), MENDED, left)
            state, _ = opened(left)
            assert exactly_equal(state, writer.states[6])
    pytest.fail("a repair without an end")
