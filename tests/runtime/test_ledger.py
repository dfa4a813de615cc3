"""The ledger: every transition once and in order, its head, and its chain."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from penin.core.state import State
from penin.core.transitions import decode_messages
from penin.errors import CorruptionError, JournalGapError, UsageError
from penin.runtime.ledger import Head, Selection, read_entries, read_head, verify_chain
from penin.runtime.progress import Progress
from penin.storage.commits import stated_hash
from penin.storage.journal import FileJournal
from penin.storage.reader import JournalReader
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import JOURNAL, STORE, open_on, within

AT = "2026-01-31T12:00:00.000123Z"


async def lived(fs):
    """Seven transitions, with a checkpoint after the second; the journal goes back to the first."""
    async with open_on(fs) as orchestrator:
        await orchestrator.add_score(float("inf"))
        await orchestrator.send(
            {"type": "add_knowledge", "key": "a", "vector": [1.5], "id": "b-1"},
        )
        await within(orchestrator.checkpoint())
        async with orchestrator.transaction() as t:
            t.put_document("offset", 7)
            t.add_task({"n": 1})
        await orchestrator.send(
            {"type": "remove_knowledge", "key": "a", "from": {"source": "crawler", "line": 3}}
        )
        await orchestrator.extend_knowledge(["a", "b"], np.array([[1.0], [2.0]]))
        await orchestrator.append_history("rewards", 3)
        return fs.after_kill()


def entries(fs, **wanted):
    return list(read_entries(STORE, Selection(**wanted), fs))


def seqs(fs, **wanted):
    return [entry.seq for entry in entries(fs, **wanted)]


async def test_every_transition_is_there_once_with_its_commit_and_message():
    fs = await lived(CrashableFileSystem())
    found = entries(fs)
    assert [entry.seq for entry in found] == [1, 2, 3, 4, 5, 6, 7]
    assert [entry.message for entry in found[1:5]] == [(2, 2), (3, 4), (3, 4), (5, 5)]
    commits = {commit.hash: commit for commit in JournalReader(fs, JOURNAL).read(0)}
    for entry in found:
        commit = commits[entry.hash]
        assert commit.first <= entry.seq <= commit.seq
        assert (entry.at, entry.epoch) == (commit.at, commit.epoch)
    assert found[1].id == "b-1"
    assert found[4].origin is not None
    assert (found[4].origin.source, found[4].origin.line) == ("crawler", 3)
    assert json.loads(bytes(found[4].transition)) == {"type": "remove_knowledge", "key": "a"}


async def test_what_is_told_leads_to_the_same_state():
    fs = await lived(CrashableFileSystem())
    state = State()
    for entry in entries(fs):
        for body in decode_messages(b"[" + bytes(entry.transition) + b"]"):
            state.apply(body, entry.seq)
    assert list(state.score_history) == [float("inf")]
    assert list(state.knowledge_base) == ["a", "b"]
    assert dict(state.documents) == {"offset": 7}


async def test_each_choice_leaves_what_fits_it():
    fs = await lived(CrashableFileSystem())
    assert seqs(fs, from_seq=4) == [4, 5, 6, 7]
    assert seqs(fs, to_seq=3) == [1, 2, 3]
    assert seqs(fs, from_seq=4, to_seq=4) == [4]
    assert seqs(fs, type="add_task") == [4]
    assert seqs(fs, key="a") == [2, 5, 6]
    assert seqs(fs, key="offset") == [3]
    assert seqs(fs, key="rewards") == [7]
    assert seqs(fs, source="crawler") == [5]
    assert seqs(fs, source="python") == [1, 2, 3, 4, 6, 7]
    assert seqs(fs, limit=2) == [1, 2]
    assert seqs(fs, key="a", limit=2, from_seq=3) == [5, 6]
    assert seqs(fs, from_seq=100) == []


def test_times_are_those_of_the_commits_from_since_to_before_until():
    fs = CrashableFileSystem()
    fs.make_directory(JOURNAL)
    journal = FileJournal(fs, JOURNAL, fsync="always")
    journal.create("store", seq=0, forked_from=None)
    journal.open(AT)
    for seq in (1, 2, 3):
        raw = b'{"type":"add_score","score":1.0}'
        journal.append(seq, seq, f"2026-01-0{seq}T00:00:00.000000Z", [raw])
    assert seqs(fs, since="2026-01-02T00:00:00.000000Z") == [2, 3]
    assert seqs(fs, until="2026-01-02T00:00:00.000000Z") == [1]


async def test_reading_begins_at_the_file_that_holds_the_first_wanted():
    fs = await lived(CrashableFileSystem())
    first = JOURNAL / f"{1:020d}.jsonl"
    fs.replace_content(first, b"nothing of this is looked at\n" * 20)
    assert seqs(fs, from_seq=3) == [3, 4, 5, 6, 7]
    with pytest.raises(CorruptionError):
        seqs(fs, from_seq=2)


async def test_what_is_not_kept_is_named():
    fs = await lived(CrashableFileSystem())
    fs.unlink(JOURNAL / f"{1:020d}.jsonl")
    assert seqs(fs) == [3, 4, 5, 6, 7]
    with pytest.raises(UsageError, match="kept from seq 3 on"):
        seqs(fs, from_seq=1)
    with pytest.raises(FileNotFoundError):
        list(read_entries(STORE / "nowhere", Selection(), fs))


async def test_a_commit_of_no_messages_is_corruption():
    fs = CrashableFileSystem()
    fs.make_directory(JOURNAL)
    journal = FileJournal(fs, JOURNAL, fsync="always")
    journal.create("store", seq=0, forked_from=None)
    journal.open(AT)
    journal.append(1, 2, AT, [b'{"type":"add_score","score":1.0}'])
    with pytest.raises(CorruptionError, match="another number"):
        seqs(fs)


async def test_beside_a_writer_each_reading_is_a_prefix_and_nothing_is_changed():
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        for number in range(1, 10):
            await orchestrator.add_score(float(number))
            if number % 3 == 0:
                await within(orchestrator.checkpoint())
            before = list(fs.operations)
            kept = seqs(fs)
            assert kept == list(range(kept[0], number + 1))
            head = read_head(STORE, fs)
            assert head.seq == number
            assert verify_chain(STORE, head, fs=fs).is_whole
            assert fs.operations == before


async def test_a_file_that_a_checkpoint_takes_away_is_read_on_behind():
    fs = await lived(CrashableFileSystem())
    found = read_entries(STORE, Selection(), fs)
    assert next(found).seq == 1
    for path in fs.names(JOURNAL):
        data = fs.content(JOURNAL / path)
        fs.unlink(JOURNAL / path)
        fd = fs.open_write(JOURNAL / path)
        fs.write(fd, data, 0)
        fs.close(fd)
    assert [entry.seq for entry in found] == [2, 3, 4, 5, 6, 7]


async def test_what_was_taken_away_before_it_was_read_ends_the_reading():
    fs = await lived(CrashableFileSystem())
    found = read_entries(STORE, Selection(), fs)
    assert next(found).seq == 1
    for name in fs.names(JOURNAL):
        fs.unlink(JOURNAL / name)
    with pytest.raises(JournalGapError):
        list(found)


# -- the head and the chain -----------------------------------------------------------------------


async def test_the_head_is_the_last_line():
    fs = await lived(CrashableFileSystem())
    newest = JOURNAL / fs.names(JOURNAL)[-1]
    last = fs.content(newest).splitlines(keepends=True)[-1]
    head = read_head(STORE, fs)
    assert (head.seq, head.hash) == (7, stated_hash(last))


async def test_every_line_ever_kept_as_head_is_found_and_no_other():
    fs = await lived(CrashableFileSystem())
    for name in fs.names(JOURNAL):
        for line in fs.content(JOURNAL / name).splitlines(keepends=True):
            members = msgspec.json.decode(line)
            seq = members.get("seq", members["first"] - 1)
            for asked in (seq, -1):
                assert verify_chain(STORE, Head(asked, members["hash"]), fs=fs).kept_found
            other = verify_chain(STORE, Head(seq + 1, members["hash"]), fs=fs)
            assert not other.kept_found
            assert not other.is_whole
    assert not verify_chain(STORE, Head(7, "0" * 64), fs=fs).is_whole


async def test_a_head_whose_file_is_retired_is_found_as_long_as_the_next_file_names_it():
    fs = await lived(CrashableFileSystem())
    first = fs.content(JOURNAL / f"{1:020d}.jsonl").splitlines(keepends=True)
    fs.unlink(JOURNAL / f"{1:020d}.jsonl")
    assert verify_chain(STORE, Head(2, str(stated_hash(first[-1]))), fs=fs).kept_found
    assert not verify_chain(STORE, Head(1, str(stated_hash(first[-2]))), fs=fs).kept_found


async def test_a_ledger_that_was_written_anew_does_not_have_the_head_that_was_kept():
    fs = await lived(CrashableFileSystem())
    other = await lived(CrashableFileSystem())
    report = verify_chain(STORE, read_head(STORE, fs), fs=other)
    assert report.damage == []
    assert not report.is_whole


async def test_the_report_names_seqs_epochs_and_sizes():
    fs = await lived(CrashableFileSystem())
    async with open_on(fs) as orchestrator:
        await orchestrator.add_score(1.0)
        progress = Progress()
        report = verify_chain(STORE, None, progress, fs)
        assert (report.first_seq, report.head.seq, report.epochs) == (1, 8, (1, 2))
        assert report.store == report.head.store
        assert report.files == 2
        assert report.size_bytes == sum(
            len(fs.content(JOURNAL / name)) for name in fs.names(JOURNAL)
        )
        assert progress.done == progress.total == report.size_bytes
        assert report.is_whole


async def test_damage_is_in_the_report():
    fs = await lived(CrashableFileSystem())
    first = JOURNAL / f"{1:020d}.jsonl"
    data = bytearray(fs.content(first))
    data[-100] ^= 1
    fs.replace_content(first, bytes(data))
    report = verify_chain(STORE, fs=fs)
    assert [damage.path for damage in report.damage] == [first]
    assert not report.is_whole
