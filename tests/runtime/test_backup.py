"""A consistent copy of a store, whatever its writer does meanwhile."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import penin
from penin.errors import CorruptionError, FormatError, StorageError, StorageFullError
from penin.runtime.backup import backup_at
from penin.runtime.past import state_at
from tests.core.strategies import exactly_equal, journalled
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.pasts import Writer, crashed_everywhere, everything, scores
from tests.runtime.stores import JOURNAL, STORE, open_on
from tests.runtime.test_past import Overtaking, checkpoint_path, damage, written

TARGET = STORE.parent / "copy"


def files_in(fs, directory):
    return {
        str(path.relative_to(directory)): fs.content(path)
        for part in ("journal", "checkpoints", "sealed")
        if fs.exists(directory / part)
        for path in (directory / part / name for name in fs.names(directory / part))
    }


def state_of(fs, directory=TARGET):
    return everything(state_at(directory, whole=True, fs=fs).state)


@given(
    st.lists(st.lists(journalled(), min_size=1, max_size=3), max_size=6),
    st.data(),
    st.sampled_from(["json", "safetensors"]),
)
def test_a_copy_is_the_store_with_its_past(history, data, form):
    writer = Writer(format=form)
    for batch in history:
        writer.commit(*batch)
        if data.draw(st.booleans()):
            writer.checkpoint(keep=data.draw(st.sampled_from([None, 2])))
    made = backup_at(STORE, TARGET, writer.fs)
    assert (made.store, made.seq) == (writer.store.journal.store, writer.state.seq)
    assert files_in(writer.fs, TARGET) == files_in(writer.fs, STORE)
    assert made.size_bytes == sum(map(len, files_in(writer.fs, TARGET).values()))
    assert exactly_equal(state_of(writer.fs), writer.states[writer.state.seq])
    assert not [name for name in writer.fs.names(STORE.parent) if "partial" in name]


@pytest.mark.parametrize("form", ["json", "safetensors"])
def test_a_copy_opens_by_itself_and_goes_on(form):
    writer = written(format=form)
    made = backup_at(STORE, TARGET, writer.fs)
    assert made.checkpoints == (2 if form == "json" else 3)  # of tensors, the first one too
    assert state_at(TARGET, seq=6, fs=writer.fs).state.seq == 6
    asyncio.run(opens(writer.fs))
    assert state_at(TARGET, fs=writer.fs).state.seq == 11


def test_the_newest_checkpoint_and_the_snapshot_are_one_file(tmp_path: Path):
    with penin.open_sync(tmp_path / "memory") as orchestrator:
        for _ in range(3):
            orchestrator.add_score(0.5)
            orchestrator.checkpoint()
    penin.backup(tmp_path / "memory", tmp_path / "copy")
    newest = max((tmp_path / "copy" / "checkpoints").iterdir())
    assert newest.samefile(tmp_path / "copy" / "state.json")
    originals = {path.stat().st_ino for path in (tmp_path / "memory").rglob("*")}
    assert not originals & {path.stat().st_ino for path in (tmp_path / "copy").rglob("*")}
    assert (
        penin.load(tmp_path / "copy").score_history == penin.load(tmp_path / "memory").score_history
    )
    for path in (tmp_path / "copy").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_a_store_without_a_checkpoint_is_its_journal():
    writer = Writer()
    writer.commit(*scores(1.0, 2.0))
    made = backup_at(STORE, TARGET, writer.fs)
    assert (made.seq, made.checkpoints) == (2, 0)
    assert exactly_equal(state_of(writer.fs), writer.states[2])


def test_a_file_of_the_original_format_is_copied_as_it_is(tmp_path: Path):
    (tmp_path / "memory").mkdir()
    text = '{"knowledge_base": {}, "task_history": [], "score_history": [0.5]}'
    (tmp_path / "memory" / "state.json").write_text(text)
    assert penin.backup(tmp_path / "memory", tmp_path / "copy").store is None
    assert (tmp_path / "copy" / "state.json").read_text() == text


def test_an_incomplete_last_line_is_not_copied():
    writer = written()
    path = JOURNAL / f"{10:020d}.jsonl"
    whole = writer.fs.content(path)
    writer.fs.replace_content(path, whole + whole.splitlines(keepends=True)[-1][:100])
    backup_at(STORE, TARGET, writer.fs)
    assert files_in(writer.fs, TARGET)[f"journal/{10:020d}.jsonl"] == whole


def test_a_file_that_was_just_begun_is_not_copied():
    writer = written()
    fs = writer.fs
    fs.close(fs.open_write(JOURNAL / f"{11:020d}.jsonl"))
    backup_at(STORE, TARGET, fs)
    assert f"journal/{11:020d}.jsonl" not in files_in(fs, TARGET)
    assert exactly_equal(state_of(fs), writer.states[10])


def test_a_checkpoint_of_another_store_is_left_out():
    fs = written().fs
    other = Writer()
    other.commit(*scores(1.0))
    other.checkpoint()
    name = checkpoint_path(other.fs, 1)
    fs.close(fs.open_write(name))
    fs.replace_content(name, other.fs.content(name))
    assert backup_at(STORE, TARGET, fs).checkpoints == 2
    assert not fs.exists(TARGET / "checkpoints" / name.name)


@pytest.mark.parametrize("form", ["json", "safetensors"])
@pytest.mark.parametrize("seq", [5, 9])
def test_a_damaged_checkpoint_is_named_and_nothing_is_left(form, seq):
    fs = written(format=form).fs
    path = checkpoint_path(fs, seq)
    damage(fs, path)
    with pytest.raises(CorruptionError) as caught:
        backup_at(STORE, TARGET, fs)
    assert caught.value.path == path
    assert str(caught.value).count("damaged at byte") == 1
    assert not fs.exists(TARGET)
    assert not [name for name in fs.names(STORE.parent) if "partial" in name]


@pytest.mark.parametrize("first", [1, 6, 10])
def test_a_damaged_journal_is_named(first):
    fs = written().fs
    path = JOURNAL / f"{first:020d}.jsonl"
    damage(fs, path)
    with pytest.raises(CorruptionError) as caught:
        backup_at(STORE, TARGET, fs)
    assert caught.value.path == path


def test_a_newer_format_is_named():
    fs = written().fs
    path = checkpoint_path(fs, 5)
    fs.replace_content(path, fs.content(path).replace(b'"version": 2', b'"version": 9'))
    with pytest.raises(FormatError) as caught:
        backup_at(STORE, TARGET, fs)
    assert caught.value.path == path


def test_where_there_is_no_store_nothing_is_made():
    fs = CrashableFileSystem()
    with pytest.raises(FileNotFoundError):
        backup_at(STORE, TARGET, fs)
    assert not fs.exists(TARGET)


@pytest.mark.parametrize("target", [STORE, STORE / "checkpoints" / "copy"])
def test_a_copy_does_not_lie_in_the_store(target):
    with pytest.raises(StorageError):
        backup_at(STORE, target, written().fs)


def test_what_is_there_is_not_touched():
    writer = written()
    backup_at(STORE, TARGET, writer.fs)
    before = files_in(writer.fs, TARGET)
    writer.commit(*scores(11.0))
    with pytest.raises(StorageError, match="not empty"):
        backup_at(STORE, TARGET, writer.fs)
    assert files_in(writer.fs, TARGET) == before


# -- beside a writer --------------------------------------------------------------------------


@pytest.mark.parametrize("countdown", range(1, 30))
@pytest.mark.parametrize("checkpoints", [1, 2])
def test_a_checkpoint_may_take_files_away_at_any_moment(countdown, checkpoints):
    fs = Overtaking()
    writer = written(fs=fs)

    def overtake():
        for _ in range(checkpoints):
            writer.commit(*scores(11.0))
            writer.checkpoint(keep=2)
        writer.commit(*scores(12.0))

    fs.overtake, fs.countdown = overtake, countdown
    made = backup_at(STORE, TARGET, fs)
    assert made.seq in {10, writer.state.seq, writer.state.seq - 1}
    assert exactly_equal(state_of(fs), writer.states[made.seq])
    kept = [int(name[:20]) for name in fs.names(TARGET / "checkpoints")]
    for seq in range(kept[0], made.seq + 1):
        end = max(end for end in writer.states if end <= seq)
        assert exactly_equal(everything(state_at(TARGET, seq=seq, fs=fs).state), writer.states[end])


class Restless(Overtaking):
    """A writer that makes a checkpoint before every look at a file."""

    def open_read(self, path):
        self.countdown = 1
        return super().open_read(path)


def test_a_store_that_changes_faster_than_it_is_copied_is_an_error_that_leaves_nothing():
    fs = Restless()
    writer = written(fs=fs)

    def overtake():
        fs.overtake = lambda: None  # what the checkpoint itself reads
        writer.commit(*scores(1.0))
        writer.checkpoint(keep=2)
        fs.overtake = overtake

    fs.overtake = overtake
    with pytest.raises(StorageError):
        backup_at(STORE, TARGET, fs)
    fs.overtake = lambda: None
    assert fs.names(STORE.parent) == ["store"]
    assert backup_at(STORE, TARGET, fs).seq == writer.state.seq


@pytest.mark.parametrize("form", ["json", "safetensors"])
def test_whatever_the_crash_there_is_a_whole_copy_or_none_and_it_can_be_done_again(form):
    def make(fs):
        backup_at(STORE, TARGET, fs)

    def written_on(fs):
        return written(fs=fs, format=form)

    for writer, disk in crashed_everywhere("backup", TARGET, make, written_on):
        assert exactly_equal(state_of(disk), writer.states[10])
        asyncio.run(opens(disk))


async def opens(disk):
    async with open_on(disk, directory=TARGET) as orchestrator:
        assert (await orchestrator.add_score(1.0)).seq == 11


@pytest.mark.parametrize("operation", ["create", "write", "sync_file", "rename", "mkdir"])
def test_without_room_nothing_is_left(operation):
    fs = written().fs
    fs.fail(operation, errno.ENOSPC, at=2 if operation == "rename" else 3)
    with pytest.raises(StorageFullError):
        backup_at(STORE, TARGET, fs)
    assert fs.names(STORE.parent) == ["store"]
    backup_at(STORE, TARGET, fs)
