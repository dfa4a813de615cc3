"""The state after any message that a store keeps, read without the lock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import door
from penin.core.transitions import Message
from penin.core.vocabulary import message
from penin.errors import (
    CorruptionError,
    FormatError,
    NotKeptError,
    RefusedValueError,
)
from penin.runtime.past import state_at
from tests.core.strategies import exactly_equal, journalled
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.pasts import Writer, clock, everything, scores
from tests.runtime.stores import JOURNAL, STORE

CHECKPOINTS = STORE / "checkpoints"


def transaction(*numbers: float) -> Message:
    content = [{"type": "add_score", "score": number} for number in numbers]
    return message({"type": "transaction", "transitions": content})


def written(**options) -> Writer:
    """Commits 1 | 2 3 | (4 5) | checkpoint at 5 | 6 (7 8 9) | checkpoint at 9 | 10."""
    writer = Writer(**options)
    writer.commit(*scores(1.0))
    writer.commit(*scores(2.0, 3.0))
    writer.commit(transaction(4.0, 5.0))
    writer.checkpoint()
    writer.commit(*scores(6.0), transaction(7.0, 8.0, 9.0))
    writer.checkpoint()
    writer.commit(*scores(10.0))
    return writer


def damage(fs: CrashableFileSystem, path) -> None:
    content = bytearray(fs.content(path))
    content[len(content) // 2] ^= 1
    fs.replace_content(path, bytes(content))


def checkpoint_path(fs: CrashableFileSystem, seq: int):
    (name,) = (name for name in fs.names(CHECKPOINTS) if int(name[:20]) == seq)
    return CHECKPOINTS / name


commits = st.lists(
    st.lists(journalled() | st.builds(transaction, st.floats()), min_size=1, max_size=3)
)
afterwards = st.sampled_from(["nothing", "nothing", "checkpoint", "prune", "reopen"])


@given(commits, st.data(), st.sampled_from(["json", "safetensors"]))
def test_any_seq_gives_the_state_after_the_last_message_that_ends_there_or_before(
    history, data, form
):
    writer = Writer(format=form)
    oldest = 0
    for batch in history:
        writer.commit(*batch)
        match data.draw(afterwards):
            case "checkpoint":
                writer.checkpoint()
            case "prune":
                writer.checkpoint(keep=2)
                oldest = writer.store.snapshots.oldest_kept_seq()
            case "reopen" if oldest == 0:
                writer.reopen()
    before = list(writer.fs.operations)
    for seq in range(oldest, writer.state.seq + 1):
        past = state_at(STORE, seq=seq, fs=writer.fs)
        end = max(end for end in writer.states if end <= seq)
        assert exactly_equal(everything(past.state), writer.states[end])
        assert past.inside_message == (end < seq)
        assert past.envelope.store == writer.store.journal.store
        if end in writer.hashes and past.checkpoint_seq != end:
            assert past.envelope.journal_hash == writer.hashes[end]
    assert writer.fs.operations == before
    assert writer.fs.open_descriptors == 2  # the lock and the journal of the writer


def test_a_seq_inside_a_message_rounds_down_and_says_so():
    fs = written().fs
    past = state_at(STORE, seq=8, fs=fs)
    assert past.state.seq == 6
    assert past.inside_message
    assert past.checkpoint_seq == 5
    assert past.envelope.at == clock(3)
    inside_the_first = state_at(STORE, seq=4, fs=fs)
    assert (inside_the_first.state.seq, inside_the_first.envelope.at) == (3, clock(1))


def test_a_message_in_the_middle_of_a_commit_names_the_line_of_the_commit():
    writer = written()
    past = state_at(STORE, seq=6, fs=writer.fs)
    assert not past.inside_message
    assert past.envelope.journal_hash == writer.hashes[6] == writer.hashes[9]


def test_the_beginning_is_a_state_too():
    past = state_at(STORE, seq=0, fs=written().fs)
    assert past.state.seq == 0
    assert past.envelope.at is None
    assert past.envelope.journal_hash is not None


@pytest.mark.parametrize("seq", [-1, 11, 10**30])
def test_a_seq_that_is_not_kept_is_an_error_that_names_what_is(seq):
    with pytest.raises(NotKeptError, match=r"kept is seq 0 to 10") as caught:
        state_at(STORE, seq=seq, fs=written().fs)
    assert (caught.value.first_seq, caught.value.last_seq) == (0, 10)


def test_before_the_oldest_checkpoint_nothing_is_kept():
    writer = written()
    writer.checkpoint(keep=2)
    assert state_at(STORE, seq=9, fs=writer.fs).state.seq == 9
    for place in ({"seq": 8}, {"at": clock(2)}, {"checkpoint": 5}):
        with pytest.raises(NotKeptError, match=r"kept is seq 9 to 10"):
            state_at(STORE, fs=writer.fs, **place)


def test_a_store_that_goes_on_from_another_one_begins_with_its_first_snapshot():
    writer = Writer(forked=True)
    writer.commit(*scores(1.0))
    assert state_at(STORE, seq=3, fs=writer.fs).state.seq == 3
    with pytest.raises(NotKeptError, match="kept is seq 3 to 4"):
        state_at(STORE, seq=2, fs=writer.fs)


@pytest.mark.parametrize(
    ("at", "seq"),
    [
        ("2026-01-31T00:00:00Z", 1),
        ("2026-01-31T00:00:59.999999Z", 1),
        ("2026-01-31T00:01:00Z", 3),
        ("2026-01-31T00:01:00", 3),
        ("2026-01-31T02:01:00+02:00", 3),
        ("2026-01-31T00:02:30Z", 5),
        ("2026-01-31T00:03:00Z", 9),
        ("2026-02-01", 10),
    ],
)
def test_a_time_gives_the_last_commit_before_the_first_that_is_later(at, seq):
    past = state_at(STORE, at=at, fs=written().fs)
    assert past.state.seq == seq
    assert not past.inside_message


def test_where_the_clock_was_set_back_the_first_later_commit_counts():
    writer = Writer()
    for minute in (10, 30, 15, 40):
        writer.minute = minute
        writer.commit(*scores(1.0))
    assert state_at(STORE, at=clock(20), fs=writer.fs).state.seq == 1
    assert state_at(STORE, at=clock(30), fs=writer.fs).state.seq == 3


@pytest.mark.parametrize("at", ["yesterday", "", "2026-13-01", "0001-01-01T00:00:00+10:00"])
def test_what_is_no_time_is_refused(at):
    with pytest.raises(RefusedValueError, match="at: "):
        state_at(STORE, at=at, fs=written().fs)


def test_a_time_before_the_first_commit_is_not_kept():
    with pytest.raises(NotKeptError, match="kept is seq 0 to 10"):
        state_at(STORE, at="2026-01-30T23:59:59Z", fs=written().fs)


def test_a_checkpoint_is_read_by_itself_also_where_the_journal_is_damaged():
    fs = written().fs
    for name in fs.names(JOURNAL):
        fs.replace_content(JOURNAL / name, b"lost")
    past = state_at(STORE, checkpoint=5, fs=fs)
    assert (past.state.seq, past.checkpoint_seq, past.envelope.at) == (5, 5, clock(2))


def test_a_checkpoint_that_is_not_there_is_an_error_that_names_those_that_are():
    with pytest.raises(NotKeptError, match=r"checkpoint: 6 is not there \(there are: 5, 9\)"):
        state_at(STORE, checkpoint=6, fs=written().fs)


@pytest.mark.parametrize("form", ["json", "safetensors"])
def test_a_damaged_snapshot_is_passed_over_for_an_older_one_with_the_same_state(form):
    writer = written(format=form)
    fs = writer.fs
    path = checkpoint_path(fs, 9)
    damage(fs, path)
    past = state_at(STORE, seq=10, whole=True, fs=fs)
    assert exactly_equal(everything(past.state), writer.states[10])
    assert past.checkpoint_seq == 5
    assert path in [error.path for error in past.passed_over]
    with pytest.raises(CorruptionError):
        state_at(STORE, checkpoint=9, whole=True, fs=fs)
    damage(fs, checkpoint_path(fs, 5))
    past = state_at(STORE, seq=10, whole=True, fs=fs)
    assert exactly_equal(everything(past.state), writer.states[10])


def test_the_state_as_it_is_now_is_the_same_beside_a_damaged_snapshot():
    writer = written()
    damage(writer.fs, STORE / "state.json")
    past = state_at(STORE, fs=writer.fs)
    assert exactly_equal(everything(past.state), writer.states[10])
    assert {error.path.name for error in past.passed_over} >= {"state.json"}


def test_without_the_checkpoints_the_newest_snapshot_is_used():
    fs = written().fs
    for name in fs.names(CHECKPOINTS):
        fs.unlink(CHECKPOINTS / name)
    fs.unlink(JOURNAL / f"{1:020d}.jsonl")
    fs.unlink(JOURNAL / f"{6:020d}.jsonl")
    assert state_at(STORE, seq=10, fs=fs).checkpoint_seq == 9
    with pytest.raises(NotKeptError, match="kept is seq 9 to 10"):
        state_at(STORE, seq=8, fs=fs)


def test_what_comes_after_the_place_is_not_read():
    fs = written().fs
    damage(fs, JOURNAL / f"{10:020d}.jsonl")
    assert state_at(STORE, seq=8, fs=fs).state.seq == 6
    with pytest.raises(CorruptionError):
        state_at(STORE, seq=10, fs=fs)


def test_a_hole_in_the_journal_is_named():
    fs = written().fs
    fs.unlink(JOURNAL / f"{6:020d}.jsonl")
    with pytest.raises(CorruptionError):
        state_at(STORE, seq=6, fs=fs)
    assert state_at(STORE, seq=10, fs=fs).state.seq == 10


def test_a_checkpoint_of_another_store_is_not_taken():
    fs = written().fs
    other = Writer()
    other.commit(*scores(*(float(n) for n in range(5))))
    other.checkpoint()
    content = other.fs.content(checkpoint_path(other.fs, 5))
    fs.replace_content(checkpoint_path(fs, 5), content)
    with pytest.raises(FormatError, match="beside a journal of"):
        state_at(STORE, checkpoint=5, fs=fs)
    for seq in (5, 8):
        past = state_at(STORE, seq=seq, fs=fs)
        assert past.checkpoint_seq is None
        assert isinstance(past.passed_over[0], FormatError)


def test_a_state_that_was_saved_outside_a_store_is_led_nowhere_by_a_journal():
    fs = written().fs
    content = b'{"knowledge_base": {}, "task_history": [], "score_history": [0.5]}'
    fs.unlink(STORE / "state.json")
    for name in fs.names(CHECKPOINTS):
        fs.unlink(CHECKPOINTS / name)
    fs.close(fs.open_write(STORE / "state.json"))
    fs.replace_content(STORE / "state.json", content)
    for file in fs.names(JOURNAL)[:2]:
        fs.unlink(JOURNAL / file)
    with pytest.raises(NotKeptError):
        state_at(STORE, seq=10, fs=fs)


def test_only_one_place_can_be_asked_for():
    with pytest.raises(RefusedValueError, match="only one"):
        state_at(STORE, seq=1, checkpoint=5, fs=written().fs)


@pytest.mark.parametrize("place", [{}, {"seq": 1}, {"checkpoint": 1}, {"at": "2026-01-01"}])
def test_where_there_is_no_store_it_says_so(place):
    with pytest.raises(FileNotFoundError):
        state_at(STORE, fs=CrashableFileSystem(), **place)


class Overtaking(CrashableFileSystem):
    """Lets a writer make a checkpoint and prune just before a file is opened for reading."""

    def __init__(self) -> None:
        super().__init__()
        self.countdown = 0
        self.overtake = lambda: None

    def open_read(self, path):
        self.countdown -= 1
        if self.countdown == 0:
            self.overtake()
        return super().open_read(path)


@pytest.mark.parametrize("countdown", range(1, 8))
def test_a_checkpoint_may_take_files_away_at_any_moment(countdown):
    fs = Overtaking()
    writer = written(fs=fs)

    def overtake():
        writer.commit(*scores(11.0))
        writer.checkpoint(keep=2)

    fs.overtake, fs.countdown = overtake, countdown
    past = state_at(STORE, seq=10, fs=fs)
    assert exactly_equal(everything(past.state), writer.states[10])


def test_what_was_taken_away_meanwhile_is_not_kept_any_more():
    fs = Overtaking()
    writer = written(fs=fs)
    fs.overtake, fs.countdown = lambda: writer.checkpoint(keep=2), 2
    with pytest.raises(NotKeptError, match="kept is seq 9 to 10"):
        state_at(STORE, seq=6, fs=fs)


def test_the_bound_of_the_histories_is_that_of_the_moment():
    writer = Writer()
    writer.commit(*scores(1.0, 2.0))
    writer.commit(door.set_history_maxlen(1))
    assert state_at(STORE, seq=2, fs=writer.fs).state.history_maxlen == 1000
    assert state_at(STORE, seq=3, fs=writer.fs).state.history_maxlen == 1
