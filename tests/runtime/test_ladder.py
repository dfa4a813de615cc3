"""The recovery ladder: damaged snapshots, what takes their place, and where there is no way."""

from __future__ import annotations

import errno

import pytest

from penin.errors import CorruptionError, FormatError, StorageError, UnrecoverableError
from penin.runtime.past import state_at
from penin.runtime.recovery import recover
from penin.runtime.store import store_at
from penin.settings import Settings
from penin.storage.snapshots import FileSnapshotStore
from tests.core.strategies import exactly_equal
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem
from tests.runtime.pasts import Writer, everything, scores
from tests.runtime.stores import JOURNAL, STORE, supervised
from tests.slices import operations

CHECKPOINTS = STORE / "checkpoints"
FORMATS = ("json", "safetensors")


def written(kind="json", *, whole_journal=False) -> Writer:
    """Checkpoints at 4 and 6, and the journal back to the older one, or to the first transition."""
    writer = Writer(format=kind)
    keep = None if whole_journal else 2
    writer.commit(*scores(1.0, 2.0))
    writer.checkpoint(keep)
    writer.commit(*scores(3.0, 4.0))
    writer.checkpoint(keep)
    writer.commit(*scores(5.0, 6.0))
    writer.checkpoint(keep)
    writer.commit(*scores(7.0))
    writer.release()
    return writer


def latest(fs):
    return FileSnapshotStore(fs, STORE).path


def checkpoints(fs):
    return [file.path for file in FileSnapshotStore(fs, STORE).checkpoints()]


def damage(fs, path):
    """Flip a bit of what is checked when the file is opened."""
    content = bytearray(fs.content(path))
    content[len(content) // 2 if path.suffix == ".json" else -1] ^= 1
    fs.replace_content(path, bytes(content))
    return bytes(content)


def unlinked(fs, path):
    """Make a file of its own of a name, as on a file system without hard links."""
    content = fs.content(path)
    fs.unlink(path)
    fd = fs.open_write(path)
    fs.write(fd, content, 0)
    fs.sync_file(fd)
    fs.close(fd)
    fs.sync_directory(path.parent)


def recovering(fs):
    """Recover as the journal's thread does, let go, and give what was recovered."""
    store = store_at(STORE, Settings(), fs)
    store.prepare(0.0, lambda _: None)
    try:
        return recover(store, Settings(), lambda: False)
    finally:
        store.release()


def tree(fs):
    """All files and what is in them."""
    return {
        directory / name: fs.content(directory / name)
        for directory in (STORE, JOURNAL, CHECKPOINTS)
        for name in fs.names(directory)
        if directory / name not in {JOURNAL, CHECKPOINTS}
    }


def way_back(fs, expected):
    """Recover, and once more: the same state, the second time with nothing damaged."""
    recovered = recovering(fs)
    assert exactly_equal(everything(recovered.state), expected)
    again = recovering(fs)
    assert again.set_aside == []
    assert exactly_equal(everything(again.state), expected)
    return recovered


# -- the rungs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_in_place_hits_the_newest_checkpoint_too_and_the_next_one_takes_its_place(kind):
    writer = written(kind)
    fs, path = writer.fs, latest(writer.fs)
    older, newest = checkpoints(fs)
    damaged = damage(fs, path)
    assert fs.content(newest) == damaged, "one file with two names"

    recovered = way_back(fs, writer.states[7])

    assert (recovered.snapshot_seq, recovered.first_replayed_seq) == (4, 5)
    assert [aside.path for aside in recovered.set_aside] == [path, newest]
    for aside in recovered.set_aside:
        assert fs.content(aside.aside) == damaged
        assert aside.aside.name.startswith(f"{aside.path.name}.corrupt-")
        assert "damaged" in aside.cause
    assert fs.content(path) == fs.content(older)
    assert checkpoints(fs) == [older]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_newest_snapshot_of_its_own_is_replaced_by_the_checkpoint_of_the_same_seq(kind):
    writer = written(kind)
    fs, path = writer.fs, latest(writer.fs)
    unlinked(fs, path)
    damage(fs, path)
    recovered = way_back(fs, writer.states[7])
    assert recovered.snapshot_seq == 6
    assert [aside.path for aside in recovered.set_aside] == [path]
    assert len(checkpoints(fs)) == 2


@pytest.mark.parametrize("kind", FORMATS)
def test_without_any_good_snapshot_the_whole_journal_gives_the_state(kind):
    writer = written(kind, whole_journal=True)
    fs, path = writer.fs, latest(writer.fs)
    for damaged in checkpoints(fs):
        damage(fs, damaged)
    recovered = way_back(fs, writer.states[7])
    assert recovered.snapshot_seq is None
    assert recovered.first_replayed_seq == 1
    assert fs.exists(path), "the format of the store is told by its newest snapshot"


def test_what_was_set_aside_is_never_overwritten():
    writer = written()
    fs, path = writer.fs, latest(writer.fs)
    contents = set()
    for number in range(3):
        contents.add(damage(fs, path) + b" " * number)
        fs.replace_content(path, fs.content(path) + b" " * number)
        recovering(fs)
        unlinked(fs, path)
    aside = [name for name in fs.names(STORE) if ".corrupt-" in name]
    assert {fs.content(STORE / name) for name in aside} == contents


async def test_what_was_set_aside_is_logged_and_the_store_goes_on():
    writer = written()
    fs, path = writer.fs, latest(writer.fs)
    damage(fs, path)
    async with supervised(fs) as running:
        events = running.log.of("snapshot.set_aside")
        assert [event["path"] for event in events] == [
            str(path),
            str(CHECKPOINTS / events[1]["path"].rpartition("/")[2]),
        ]
        assert all(fs.exists(STORE / event["set_aside"]) for event in events)
        for number in range(3):
            await running.orchestrator.add_score(float(number))
            await running.orchestrator.checkpoint()
    assert len(recovering(fs).state.score_history) == 10


def test_a_reader_goes_down_the_same_ladder_and_changes_nothing():
    for kind in FORMATS:
        writer = written(kind)
        fs = writer.fs
        damage(fs, latest(fs))
        before = list(fs.operations)
        past = state_at(STORE, fs=fs)
        assert exactly_equal(everything(past.state), writer.states[7])
        assert past.checkpoint_seq == 4
        assert len(past.passed_over) == 2
        assert fs.operations == before


# -- where there is no way ------------------------------------------------------------------------


def refused(fs):
    """The error of recovery, which changed nothing, and which a reader gets too."""
    before = tree(fs)
    with pytest.raises(UnrecoverableError) as caught:
        recovering(fs)
    after = tree(fs)
    assert {path: after[path] for path in before if path.name != "lock"} == {
        path: content for path, content in before.items() if path.name != "lock"
    }
    with pytest.raises(CorruptionError):
        state_at(STORE, fs=fs)
    return caught.value


def test_a_hole_in_the_journal_is_told_with_what_there_is_and_what_is_lost():
    writer = written()
    fs = writer.fs
    damage(fs, latest(fs))
    name = f"{5:020d}.jsonl"
    lines = fs.content(JOURNAL / name).splitlines(keepends=True)
    fs.replace_content(JOURNAL / name, b"".join(lines[:-1]) + lines[-1].replace(b"6.0", b"6.5"))
    error = refused(fs)
    assert error.path == latest(fs)
    assert (error.reachable_seq, error.lost_first_seq, error.lost_last_seq) == (4, 5, 6)
    for said in ("seq 4", "5 to at least 6", "penin verify --dir", "penin repair --dir"):
        assert said in str(error)


def test_a_journal_that_ends_before_the_damaged_snapshot_is_no_way():
    writer = written()
    fs = writer.fs
    damage(fs, latest(fs))
    for first in (5, 7):
        fs.unlink(JOURNAL / f"{first:020d}.jsonl")
    fd = fs.open_write(JOURNAL / f"{5:020d}.jsonl")
    fs.close(fd)
    assert refused(fs).lost_first_seq <= 6


def test_a_cut_journal_behind_a_damaged_snapshot_is_not_taken_for_its_end():
    writer = written()
    fs = writer.fs
    damage(fs, latest(fs))
    fs.unlink(JOURNAL / f"{7:020d}.jsonl")
    path = JOURNAL / f"{5:020d}.jsonl"
    header = fs.content(path).splitlines(keepends=True)[0]
    fs.replace_content(path, header)
    error = refused(fs)
    assert (error.reachable_seq, error.lost_first_seq, error.lost_last_seq) == (4, 5, 6)


def test_without_a_good_snapshot_and_the_whole_journal_there_is_no_way():
    writer = written()
    fs = writer.fs
    for path in checkpoints(fs):
        damage(fs, path)
    error = refused(fs)
    assert error.reachable_seq is None
    assert error.lost_last_seq == 6


def test_a_damaged_file_where_there_is_no_store_yet_is_named_as_that():
    fs = CrashableFileSystem()
    fs.make_directory(STORE)
    fs.close(fs.open_write(STORE / "state.json"))
    fs.replace_content(STORE / "state.json", b'{"knowledge_base": {}')
    with pytest.raises(CorruptionError, match="not whole JSON") as caught:
        recovering(fs)
    assert not isinstance(caught.value, UnrecoverableError)


def test_a_later_version_is_refused_and_not_set_aside():
    writer = written()
    fs, path = writer.fs, latest(writer.fs)
    newer = fs.content(path).replace(b'"version": 2', b'"version": 3', 1)
    fs.replace_content(path, newer)
    with pytest.raises(FormatError, match="version 3"):
        recovering(fs)
    assert fs.content(path) == newer


def test_a_disk_that_refuses_the_new_name_leaves_everything_as_it_is():
    writer = written()
    fs, path = writer.fs, latest(writer.fs)
    damaged = damage(fs, path)
    fs.fail("link", errno.ENOSPC)
    with pytest.raises(StorageError):
        recovering(fs)
    assert fs.content(path) == damaged
    way_back(fs, writer.states[7])


# -- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("whole_journal", [False, True])
@pytest.mark.parametrize("links", [True, False])
def test_a_crash_at_any_operation_of_the_ladder_loses_nothing(kind, whole_journal, links):
    writer = written(kind, whole_journal=whole_journal)
    disk = writer.fs
    paths = checkpoints(disk) if whole_journal else [latest(disk)]
    contents = {damage(disk, path) for path in paths}
    for crash_at in operations("ladder", 200):
        for effect in ("none", "half", "whole"):
            fs = disk.after_kill()
            if not links:
                fs.fail("link", errno.EPERM)
            fs.crash_at, fs.crash_effect = crash_at, effect
            try:
                recovering(fs)
            except Crash:
                pass
            else:
                return
            for left in (fs.after_kill(), fs.after_crash(crash_at)):
                way_back(left, writer.states[7])
                assert contents <= set(tree(left).values())
                names = [path.name for path in tree(left)]
                assert not [name for name in names if name.endswith(".tmp")]
    pytest.fail("a recovery without an end")
