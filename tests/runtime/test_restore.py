"""A state of the past of a store as a new store."""

from __future__ import annotations

import asyncio
import errno
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import penin
from penin.errors import (
    CorruptionError,
    FormatError,
    NotKeptError,
    RefusedValueError,
    StorageError,
)
from penin.runtime.past import state_at
from penin.runtime.restore import Place, restore_at
from tests.core.strategies import exactly_equal, journalled
from tests.runtime.pasts import Writer, clock, crashed_everywhere, everything, scores
from tests.runtime.stores import STORE, open_on
from tests.runtime.test_past import checkpoint_path, damage, transaction, written

TARGET = STORE.parent / "restored"
HEADER = TARGET / "journal"


def restored_state(fs):
    return everything(state_at(TARGET, fs=fs).state)


def header(fs, seq):
    return json.loads(fs.content(HEADER / f"{seq + 1:020d}.jsonl").splitlines()[0])


commits = st.lists(
    st.lists(journalled() | st.builds(transaction, st.floats()), min_size=1, max_size=3),
    min_size=1,
    max_size=6,
)


@given(commits, st.data(), st.sampled_from(["json", "safetensors"]))
def test_restoring_to_the_end_of_any_message_equals_replaying_that_prefix(history, data, form):
    writer = Writer(format=form)
    for batch in history:
        writer.commit(*batch)
        if data.draw(st.booleans()):
            writer.checkpoint()
    for number, (seq, expected) in enumerate(writer.states.items()):
        target = TARGET.with_name(f"restored-{number}")
        made = restore_at(STORE, target, Place(seq=seq), fs=writer.fs)
        assert (made.seq, made.inside_message) == (seq, False)
        assert exactly_equal(everything(state_at(target, fs=writer.fs).state), expected)
        assert writer.fs.exists(target / f"state.{form}")


def test_the_new_store_opens_goes_on_from_the_seq_and_says_whence_it_came():
    writer = written()
    made = restore_at(STORE, TARGET, Place(seq=8), fs=writer.fs)
    assert (made.seq, made.at, made.inside_message) == (6, clock(3), True)
    assert made.forked_from == writer.store.journal.store != made.store
    origin = {"store": made.forked_from, "seq": 6, "hash": writer.hashes[6]}
    assert header(writer.fs, 6)["forked_from"] == origin
    expected = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert list(state_at(TARGET, fs=writer.fs).state.score_history) == expected
    asyncio.run(opens(writer.fs))


def test_the_old_store_is_only_read():
    writer = written()
    files = {
        directory / name: writer.fs.content(directory / name)
        for directory in (STORE / "journal", STORE / "checkpoints")
        for name in writer.fs.names(directory)
    }
    restore_at(STORE, TARGET, Place(at=clock(2)), fs=writer.fs)
    assert all(writer.fs.content(path) == content for path, content in files.items())
    writer.commit(*scores(11.0))
    assert state_at(STORE, fs=writer.fs).state.seq == 11


def test_a_dry_run_says_the_same_and_makes_nothing():
    fs = written().fs
    before = list(fs.operations)
    said = restore_at(STORE, TARGET, Place(checkpoint=5), dry_run=True, fs=fs)
    assert fs.operations == before
    made = restore_at(STORE, TARGET, Place(checkpoint=5), fs=fs)
    assert said.store is None
    assert (said.seq, said.at, said.checkpoint_seq) == (made.seq, made.at, 5) == (5, clock(2), 5)


@pytest.mark.parametrize("place", [Place(), Place(seq=1, checkpoint=1), Place(seq=1, at="2026")])
def test_exactly_one_place_is_named(place):
    with pytest.raises(RefusedValueError, match="exactly one"):
        restore_at(STORE, TARGET, place, fs=written().fs)


def test_what_is_not_kept_makes_nothing():
    fs = written().fs
    with pytest.raises(NotKeptError, match="kept is seq 0 to 10"):
        restore_at(STORE, TARGET, Place(seq=11), fs=fs)
    assert not fs.exists(TARGET)


@pytest.mark.parametrize("target", [STORE, STORE / "journal", STORE / "new"])
def test_never_in_place(target):
    fs = written().fs
    with pytest.raises(StorageError):
        restore_at(STORE, target, Place(seq=1), fs=fs)


def test_a_store_that_is_there_is_not_touched():
    fs = written().fs
    restore_at(STORE, TARGET, Place(seq=5), fs=fs)
    with pytest.raises(StorageError, match="not empty"):
        restore_at(STORE, TARGET, Place(seq=6), fs=fs)
    assert state_at(TARGET, fs=fs).state.seq == 5


@pytest.mark.parametrize("form", ["json", "safetensors"])
def test_a_damaged_snapshot_is_passed_over_and_named(form):
    writer = written(format=form)
    path = checkpoint_path(writer.fs, 9)
    damage(writer.fs, path)
    made = restore_at(STORE, TARGET, Place(seq=10), fs=writer.fs)
    assert exactly_equal(restored_state(writer.fs), writer.states[10])
    assert made.checkpoint_seq == 5
    assert str(path) in made.passed_over[0]
    with pytest.raises(CorruptionError):
        restore_at(STORE, TARGET.with_name("other"), Place(checkpoint=9), fs=writer.fs)


@pytest.mark.parametrize("form", ["json", "safetensors"])
def test_whatever_the_crash_there_is_a_whole_store_or_none_and_it_can_be_done_again(form):
    def make(fs):
        restore_at(STORE, TARGET, Place(seq=6), fs=fs)

    def written_on(fs):
        return written(fs=fs, format=form)

    for writer, disk in crashed_everywhere("restore", TARGET, make, written_on):
        assert exactly_equal(restored_state(disk), writer.states[6])
        asyncio.run(opens(disk))


async def opens(disk):
    async with open_on(disk, directory=TARGET) as orchestrator:
        assert (await orchestrator.add_score(1.0)).seq == 7


@pytest.mark.parametrize("operation", ["create", "write", "sync_file", "rename", "mkdir"])
def test_without_room_nothing_is_left(operation):
    fs = written().fs
    # The first write is who has the lock, which is information only.
    fs.fail(operation, errno.ENOSPC, at=2 if operation in {"rename", "write"} else 1)
    with pytest.raises(StorageError):
        restore_at(STORE, TARGET, Place(seq=6), fs=fs)
    assert [name for name in fs.names(STORE.parent) if "restored" in name] == []
    restore_at(STORE, TARGET, Place(seq=6), fs=fs)


def test_of_a_state_that_was_saved_outside_a_store_no_past_is_known(tmp_path):
    (tmp_path / "saved").mkdir()
    orchestrator = penin.OmegaMetaOrchestrator()
    orchestrator.add_score(0.5)
    orchestrator.save_state(tmp_path / "saved" / "state.json")
    with pytest.raises(FormatError, match="penin convert"):
        penin.restore(tmp_path / "saved", tmp_path / "new", seq=1)
    with pytest.raises(NotKeptError, match="kept is seq 1 to 1"):
        penin.restore(tmp_path / "saved", tmp_path / "new", at="2999-01-01")
    assert not (tmp_path / "new").exists()


def test_from_python(tmp_path):
    with penin.open_sync(tmp_path / "memory") as orchestrator:
        for number in range(4):
            orchestrator.add_score(float(number))
        made = penin.restore(tmp_path / "memory", tmp_path / "restored", seq=2)
        assert made.seq == 2
    assert list(penin.load(tmp_path / "restored").score_history) == [0.0, 1.0]
    with pytest.raises(FileNotFoundError):
        penin.restore(tmp_path / "nowhere", tmp_path / "other", seq=2)
