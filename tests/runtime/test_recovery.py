from __future__ import annotations

import json

import pytest

from penin.core.orchestrator import OmegaMetaOrchestrator
from penin.errors import CorruptionError, FormatError, StorageError
from penin.runtime.past import read_state
from penin.runtime.recovery import Recovered, RecoveryAbandonedError, recover
from penin.runtime.store import store_at
from penin.settings import Settings
from penin.storage.journal import FileJournal
from penin.storage.reader import JournalReader
from tests.core.samples import filled
from tests.core.strategies import exactly_equal
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import JOURNAL, STORE, open_on, seen, state_on, supervised, within

AT = "2026-01-31T12:00:00.000123Z"
STATE = STORE / "state.json"
FIRST = JOURNAL / f"{1:020d}.jsonl"


def recovering(fs, *, abandoned=lambda: False, **settings) -> Recovered:
    """Recover as the journal's thread does, and let go of the store."""
    chosen = Settings(**settings)
    store = store_at(STORE, chosen, fs)
    store.prepare(0.0, lambda _: None)
    try:
        return recover(store, chosen, abandoned)
    finally:
        store.release()


async def lived(fs, *, checkpoint_after=None, scores=6, **settings):
    """A store with so many scores, killed; optionally with a checkpoint after some of them."""
    orchestrator = await open_on(fs, **settings)
    for number in range(1, scores + 1):
        await orchestrator.add_score(float(number))
        if number == checkpoint_after:
            await within(orchestrator.checkpoint())
    killed = fs.after_kill()
    await orchestrator.aclose()
    return killed


def version_1(fs):
    """The state of the original format in place of a snapshot, and its bytes."""
    fs.make_directory(STORE)
    data = json.dumps(
        {
            "knowledge_base": {},
            "task_history": {"__type__": "deque", "items": [{"a": 1}], "maxlen": 1000},
            "score_history": {"__type__": "deque", "items": [0.5, float("nan")], "maxlen": 1000},
        },
        indent=2,
    ).encode()
    put(fs, STATE, data)
    return data


def put(fs, path, data):
    fd = fs.open_write(path)
    fs.write(fd, data, 0)
    fs.sync_file(fd)
    fs.close(fd)
    fs.sync_directory(path.parent)


# -- what comes back ------------------------------------------------------------------------------


def test_a_new_store_begins_empty_at_epoch_1():
    fs = CrashableFileSystem()
    recovered = recovering(fs)
    assert recovered.is_new
    assert recovered.state.seq == 0
    assert not JournalReader(fs, JOURNAL).holds_transitions()


async def test_without_a_snapshot_the_whole_journal_is_replayed():
    recovered = recovering(await lived(CrashableFileSystem()))
    assert list(recovered.state.score_history) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert recovered.snapshot_seq is None
    assert (recovered.first_replayed_seq, recovered.last_replayed_seq) == (1, 6)
    assert not recovered.is_new


async def test_with_a_snapshot_only_what_comes_after_it_is_replayed():
    recovered = recovering(await lived(CrashableFileSystem(), checkpoint_after=4))
    assert list(recovered.state.score_history) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert recovered.snapshot_seq == 4
    assert (recovered.first_replayed_seq, recovered.last_replayed_seq) == (5, 6)


async def test_a_snapshot_that_holds_everything_needs_no_replay():
    recovered = recovering(await lived(CrashableFileSystem(), checkpoint_after=6))
    assert recovered.state.seq == recovered.snapshot_seq == 6
    assert recovered.first_replayed_seq is None


async def test_every_opening_claims_the_next_epoch():
    fs = CrashableFileSystem()
    epochs = []
    for _ in range(3):
        store = store_at(STORE, Settings(), fs)
        store.prepare(0.0, lambda _: None)
        recover(store, Settings(), lambda: False)
        epochs.append(store.journal.epoch)
        store.release()
    assert epochs == [1, 2, 3]


async def test_a_torn_tail_is_cut_and_what_was_acknowledged_is_there():
    fs = await lived(CrashableFileSystem())
    whole = fs.content(FIRST)
    fs.replace_content(FIRST, whole + b'{"epoch":1,"first":7,"seq":7,"syn')
    recovered = recovering(fs)
    assert recovered.state.seq == 6
    assert recovered.repairs.torn is not None
    assert recovered.repairs.torn.size == 33
    assert recovered.repairs.torn_path is not None
    assert fs.content(recovered.repairs.torn_path) == b'{"epoch":1,"first":7,"seq":7,"syn'
    assert recovering(fs).repairs.torn is None


async def test_what_recovery_did_is_logged():
    fs = await lived(CrashableFileSystem(), checkpoint_after=2)
    newest = JOURNAL / f"{3:020d}.jsonl"
    fs.replace_content(newest, fs.content(newest) + b'{"torn')
    async with supervised(fs) as running:
        [finished] = running.log.of("recovery.finished")
    assert finished["loaded"] == "previous state"
    assert (finished["snapshot_seq"], finished["first_replayed_seq"]) == (2, 3)
    assert finished["last_replayed_seq"] == 6
    assert finished["score_history_size"] == 6
    assert finished["cut_bytes"] == 6


async def test_the_log_of_a_new_store_says_that_there_was_no_previous_state():
    fs = CrashableFileSystem()
    async with supervised(fs) as running:
        assert running.log.of("recovery.finished")[0]["loaded"] == "no previous state"
        await running.orchestrator.add_score(1.0)
    async with supervised(fs) as running:
        assert running.log.of("recovery.finished")[0]["loaded"] == "previous state"


# -- another history_maxlen ----------------------------------------------------------------------


async def test_another_bound_in_the_settings_is_journalled():
    fs = await lived(CrashableFileSystem())
    assert list(recovering(fs, history_maxlen=2).state.score_history) == [5.0, 6.0]
    bound = list(JournalReader(fs, JOURNAL).read(6))
    assert [b"set_history_maxlen" in bytes(commit.messages) for commit in bound] == [True]


async def test_a_bound_that_is_stored_already_is_not_journalled_again():
    fs = await lived(CrashableFileSystem(), history_maxlen=3)
    assert recovering(fs, history_maxlen=3).state.seq == 7
    recovered = recovering(fs)
    assert recovered.state.seq == 7
    assert recovered.state.history_maxlen == 3


# -- conversion ----------------------------------------------------------------------------------


def test_a_state_of_the_original_format_is_converted_and_kept_beside():
    fs = CrashableFileSystem()
    data = version_1(fs)
    recovered = recovering(fs)
    assert list(recovered.state.task_history) == [{"a": 1}]
    assert recovered.original is not None
    assert fs.content(recovered.original) == data
    again = recovering(fs)
    assert again.original is None
    assert list(again.state.task_history) == [{"a": 1}]


def test_a_saved_state_is_converted_and_says_where_it_came_from(tmp_path):
    saved = filled()
    saved.save_state(tmp_path / "saved.json")
    fs = CrashableFileSystem()
    fs.make_directory(STORE)
    put(fs, STATE, (tmp_path / "saved.json").read_bytes())
    recovered = recovering(fs)
    assert exactly_equal(seen(OmegaMetaOrchestrator.from_state(recovered.state)), seen(saved))
    header = json.loads(fs.content(JOURNAL / f"{saved.seq + 1:020d}.jsonl").splitlines()[0])
    assert header["forked_from"]["seq"] == saved.seq
    assert header["forked_from"]["store"] is None


async def test_a_foreign_state_beside_a_journal_with_transitions_is_refused():
    fs = await lived(CrashableFileSystem())
    version_1(fs)
    before = fs.content(FIRST)
    with pytest.raises(FormatError):
        recovering(fs)
    assert fs.content(FIRST) == before


def test_an_interrupted_conversion_is_done_again():
    fs = CrashableFileSystem()
    data = version_1(fs)
    fs.make_directory(JOURNAL)
    FileJournal(fs, JOURNAL, fsync="always").create("half-made", seq=0, forked_from=None)
    recovered = recovering(fs)
    assert recovered.original is not None
    assert fs.content(recovered.original) == data


# -- damage --------------------------------------------------------------------------------------


async def test_a_damaged_line_is_corruption_with_its_file_and_position_and_stays_as_it_is():
    fs = await lived(CrashableFileSystem())
    lines = fs.content(FIRST).splitlines(keepends=True)
    position = sum(map(len, lines[:4]))
    damaged = bytearray(b"".join(lines))
    damaged[position + 30] ^= 1
    fs.replace_content(FIRST, bytes(damaged))
    before = fs.content(FIRST)
    with pytest.raises(CorruptionError) as caught:
        recovering(fs)
    assert caught.value.path == FIRST
    assert caught.value.position == position
    assert fs.content(FIRST) == before


async def test_a_damaged_snapshot_is_kept_aside_and_not_overwritten():
    fs = await lived(CrashableFileSystem(), checkpoint_after=4)
    damaged = fs.content(STATE).replace(b"4.0", b"9.0", 1)
    fs.replace_content(STATE, damaged)
    recovered = recovering(fs)
    assert list(recovered.state.score_history) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert {fs.content(aside.aside) for aside in recovered.set_aside} == {damaged}


async def test_a_snapshot_that_no_journal_file_continues_is_corruption():
    fs = await lived(CrashableFileSystem(), checkpoint_after=4)
    for name in fs.names(JOURNAL):
        fs.unlink(JOURNAL / name)
    with pytest.raises(CorruptionError):
        recovering(fs)


async def test_a_snapshot_of_another_store_is_refused():
    fs = await lived(CrashableFileSystem(), checkpoint_after=4)
    other = await lived(CrashableFileSystem(), checkpoint_after=4)
    fs.replace_content(STATE, other.content(STATE))
    with pytest.raises(StorageError):
        recovering(fs)


async def test_a_commit_that_holds_no_messages_of_ours_is_corruption():
    fs = CrashableFileSystem()
    fs.make_directory(JOURNAL)
    journal = FileJournal(fs, JOURNAL, fsync="always")
    journal.create("store", seq=0, forked_from=None)
    journal.open(AT)
    journal.append(1, 1, AT, [b'{"type":"no_such_thing"}'])
    journal.close()
    with pytest.raises(CorruptionError, match="no messages"):
        recovering(fs)


async def test_a_commit_that_does_not_fill_its_seqs_is_corruption():
    fs = CrashableFileSystem()
    fs.make_directory(JOURNAL)
    journal = FileJournal(fs, JOURNAL, fsync="always")
    journal.create("store", seq=0, forked_from=None)
    journal.open(AT)
    journal.append(1, 2, AT, [b'{"type":"add_score","score":1.0}'])
    journal.close()
    with pytest.raises(CorruptionError):
        recovering(fs)


# -- abandoning ----------------------------------------------------------------------------------


async def test_a_recovery_that_is_abandoned_has_written_nothing():
    fs = await lived(CrashableFileSystem())
    before = fs.content(FIRST)
    names = fs.names(STORE)
    asked = []

    def abandoned():
        asked.append(0)
        return len(asked) > 3

    with pytest.raises(RecoveryAbandonedError):
        recovering(fs, abandoned=abandoned)
    assert fs.content(FIRST) == before
    assert fs.names(STORE) == names


def test_a_new_store_that_is_abandoned_while_recovering_is_not_made():
    fs = CrashableFileSystem()
    with pytest.raises(RecoveryAbandonedError):
        recovering(fs, abandoned=lambda: True)
    assert fs.names(JOURNAL) == []


def test_a_conversion_that_is_abandoned_has_written_nothing():
    fs = CrashableFileSystem()
    data = version_1(fs)
    with pytest.raises(RecoveryAbandonedError):
        recovering(fs, abandoned=lambda: True)
    assert fs.content(STATE) == data
    assert set(fs.names(STORE)) <= {"journal", "lock", "state.json"}


# -- reading without the lock --------------------------------------------------------------------


async def test_a_reader_sees_what_is_acknowledged_beside_a_live_writer_and_changes_nothing():
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        for number in range(8):
            await orchestrator.add_score(float(number))
            if number % 3 == 2:
                await within(orchestrator.checkpoint())
            before = list(fs.operations)
            assert seen(state_on(fs)) == seen(orchestrator.view)
            assert fs.operations == before


async def test_a_reader_ignores_an_incomplete_last_line_and_leaves_it():
    fs = await lived(CrashableFileSystem())
    torn = fs.content(FIRST) + b'{"epoch":1'
    fs.replace_content(FIRST, torn)
    assert state_on(fs).seq == 6
    assert fs.content(FIRST) == torn


def test_a_reader_says_where_there_is_no_store():
    with pytest.raises(FileNotFoundError):
        read_state(STORE, CrashableFileSystem())


def test_a_reader_reads_a_state_of_the_original_format_as_it_is():
    fs = CrashableFileSystem()
    version_1(fs)
    assert list(state_on(fs).task_history) == [{"a": 1}]
    assert fs.names(STORE) == ["state.json"]


async def test_a_reader_whom_a_checkpoint_overtakes_begins_anew():
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        await orchestrator.add_score(1.0)
        await within(orchestrator.checkpoint())
        await orchestrator.add_score(2.0)
        stale = fs.content(STATE)

        put(fs, STORE / "stale.json", stale)
        served: list[object] = []
        open_read = fs.open_read

        def open_stale_first(path):
            """What a reader finds who opened the snapshot before the checkpoints came."""
            if path == STATE and not served:
                served.append(path)
                return open_read(STORE / "stale.json")
            return open_read(path)

        for number in (3.0, 4.0):
            await within(orchestrator.checkpoint())
            await orchestrator.add_score(number)
        await within(orchestrator.checkpoint())
        fs.open_read = open_stale_first  # type: ignore[method-assign]  # one reader, one file
        assert state_on(fs).seq == 4
        assert served
