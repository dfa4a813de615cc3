"""Messages that are sent again with their `id`: no new seq, and the first answer."""

from __future__ import annotations

import asyncio
import errno

import pytest

import penin
from penin import Ack
from penin.core.message_ids import MESSAGE_IDS_MAX_DEFAULT
from penin.errors import (
    IdReusedError,
    JournalFailedError,
    RefusedError,
    StorageFullError,
)
from penin.runtime.convert import convert
from penin.storage.reader import JournalReader
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import (
    JOURNAL,
    GatedFileSystem,
    open_on,
    pending,
    supervised,
    until,
    within,
)


def score(identity, number=0.5):
    return {"type": "add_score", "score": number, "id": identity}


def scores_of(orchestrator):
    return list(orchestrator.view.score_history)


async def sent(orchestrator, *messages):
    """All at once; the answers and the errors."""
    return await within(asyncio.gather(*map(orchestrator.send, messages), return_exceptions=True))


async def test_a_repeat_of_what_is_applied_is_answered_as_the_first_one():
    async with supervised() as running:
        orchestrator = running.orchestrator
        first = await orchestrator.send(score("a"))
        await orchestrator.add_score(1.0)
        assert await orchestrator.send(score("a")) == first == Ack(1)
        assert await orchestrator.send_nowait(score("a")) == first
        assert (orchestrator.applied_seq, scores_of(orchestrator)) == (2, [0.5, 1.0])
        assert running.log.of("message.repeated") == [{"seq": 1, "id": "a"}] * 2
        assert len(running.log.of("state.transition")) == 2


async def test_repeats_in_one_batch_are_one_message():
    async with open_on(CrashableFileSystem()) as orchestrator:
        answers = await sent(
            orchestrator, score("a"), score("b"), score("a"), score("a", 9.0), score("b")
        )
        assert answers[:3] == [Ack(1), Ack(2), Ack(1)]
        assert answers[4] == Ack(2)
        assert isinstance(answers[3], IdReusedError)
        assert (answers[3].id, answers[3].first_seq) == ("a", 1)
        assert (orchestrator.applied_seq, scores_of(orchestrator)) == (2, [0.5, 0.5])


async def test_a_repeat_of_what_is_on_its_way_waits_until_that_is_durable():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        gate = fs.hold("sync_file")
        first = await pending(orchestrator.send(score("a")))
        await until(gate.reached)
        repeat = await pending(orchestrator.send(score("a")))
        other = await pending(orchestrator.send(score("a", 9.0)))
        new = await pending(orchestrator.send(score("b")))
        assert not any(task.done() for task in (first, repeat, other, new))
        gate.open()
        assert await within(asyncio.gather(first, repeat, new)) == [Ack(1), Ack(1), Ack(2)]
        with pytest.raises(IdReusedError, match="with seq 1"):
            await within(other)
        assert scores_of(orchestrator) == [0.5, 0.5]
    commits = [(commit.first, commit.seq) for commit in JournalReader(fs, JOURNAL).read(0)]
    assert commits == [(1, 1), (2, 2)]


async def test_a_first_one_whose_sender_is_gone_answers_its_repeats_all_the_same():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        gate = fs.hold("sync_file")
        first = await pending(orchestrator.send(score("a")))
        await until(gate.reached)
        first.cancel()
        repeat = await pending(orchestrator.send(score("a")))
        gone = await pending(orchestrator.send(score("a")))
        await asyncio.sleep(0)
        gate.open()
        assert await within(repeat) == Ack(1)
        assert await within(gone) == Ack(1)
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_a_withdrawn_message_is_not_known():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        gate = fs.hold("sync_file")
        before = await pending(orchestrator.add_score(0.0))
        await until(gate.reached)
        withdrawn = await pending(orchestrator.send(score("a", 1.0)))
        withdrawn.cancel()
        again = await pending(orchestrator.send(score("a", 2.0)))
        gate.open()
        assert await within(asyncio.gather(before, again)) == [Ack(1), Ack(2)]
        assert scores_of(orchestrator) == [0.0, 2.0]


async def test_on_a_full_disk_a_repeat_is_refused_with_its_first_one_and_neither_is_known():
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        fs.fail("write", errno.ENOSPC)
        answers = await sent(orchestrator, score("a"), score("a"), score("a", 9.0))
        assert [type(answer) for answer in answers] == [StorageFullError] * 3
        assert await within(orchestrator.send(score("a", 9.0))) == Ack(1)
        assert scores_of(orchestrator) == [9.0]


async def test_where_the_journal_fails_repeats_have_the_unknown_outcome_of_the_first_one():
    fs, answers = CrashableFileSystem(), []

    async def main():
        async with open_on(fs) as orchestrator:
            fs.fail("sync_file", errno.EIO)
            answers.extend(await sent(orchestrator, score("a"), score("a")))

    with pytest.raises(JournalFailedError):
        await main()
    assert [type(answer) for answer in answers] == [JournalFailedError] * 2


async def test_they_are_known_after_a_kill_a_checkpoint_and_a_restart():
    fs = CrashableFileSystem()
    for format_ in ("json", "safetensors"):
        fs = CrashableFileSystem()
        async with open_on(fs, format=format_) as orchestrator:
            await orchestrator.send(score("in the snapshot"))
            await orchestrator.checkpoint()
            await orchestrator.send(score("in the journal"))
            killed = fs.after_kill()
        for disk in (fs, killed):
            async with open_on(disk, format=format_) as orchestrator:
                answers = await sent(
                    orchestrator, score("in the journal"), score("in the snapshot"), score("new")
                )
                assert answers == [Ack(2), Ack(1), Ack(3)]
                with pytest.raises(IdReusedError, match="with seq 1"):
                    await orchestrator.send(score("in the snapshot", 9.0))


async def test_a_transaction_has_an_id():
    async with penin.open(":memory:") as orchestrator:
        acks = []
        for _ in range(2):
            async with orchestrator.transaction(id="t") as t:
                t.add_score(0.5)
                t.put_document("d", 1, if_seq=0)
            acks.append(t.ack)
        assert acks == [Ack(2), Ack(2)]
        async with orchestrator.transaction(id="empty") as t:
            pass
        assert t.ack is None
        with pytest.raises(IdReusedError, match="with seq 2"):
            async with orchestrator.transaction(id="t") as t:
                t.add_score(0.75)
        with pytest.raises(RefusedError, match="id"):
            async with orchestrator.transaction(id="") as t:
                raise AssertionError("not reached")
        assert orchestrator.applied_seq == 2


def test_a_transaction_has_an_id_without_await_too():
    with penin.open_sync(":memory:") as orchestrator:
        for _ in range(2):
            with orchestrator.transaction(id="t") as t:
                t.add_score(0.5)
            assert t.ack == Ack(1)


async def test_another_window_in_the_settings_is_journalled_and_kept():
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        await sent(orchestrator, *(score(str(number)) for number in range(5)))
        assert orchestrator._actor.state.message_ids.maxlen == MESSAGE_IDS_MAX_DEFAULT
    async with open_on(fs, message_ids_max=2) as orchestrator:
        assert orchestrator.applied_seq == 6
        assert await orchestrator.send(score("4")) == Ack(5)
        assert await orchestrator.send(score("2")) == Ack(7)  # too long ago
        killed = fs.after_kill()
    for window in (None, 2):
        async with open_on(fs.after_kill(), message_ids_max=window) as orchestrator:
            assert orchestrator.applied_seq == 7
            assert orchestrator._actor.state.message_ids.maxlen == 2
    (bounded,) = [
        commit.messages
        for commit in JournalReader(killed, JOURNAL).read(5)
        if b"set_message_ids_max" in bytes(commit.messages)
    ]
    assert bytes(bounded) == b'[{"type":"set_message_ids_max","maxlen":2}]'


async def test_nobody_can_send_a_window():
    async with open_on(CrashableFileSystem()) as orchestrator:
        with pytest.raises(RefusedError, match="set_message_ids_max"):
            await orchestrator.send({"type": "set_message_ids_max", "maxlen": 1})


async def test_a_window_smaller_than_a_batch_forgets_in_the_order_of_the_messages():
    async with open_on(CrashableFileSystem(), message_ids_max=1) as orchestrator:
        answers = await sent(orchestrator, score("a"), score("b"), score("c"), score("a"))
        # Together on their way they are told apart, however small the window is.
        assert answers == [Ack(2), Ack(3), Ack(4), Ack(2)]
        assert await orchestrator.send(score("c")) == Ack(4)
        assert await orchestrator.send(score("a")) == Ack(5)


async def test_they_are_known_in_what_was_made_of_the_store(tmp_path):
    store = tmp_path / "store"
    async with penin.open(store) as orchestrator:
        first = await orchestrator.send(score("a"))
        await orchestrator.add_score(1.0)
    await asyncio.to_thread(penin.backup, store, tmp_path / "copy")
    await asyncio.to_thread(penin.restore, store, tmp_path / "past", seq=1)
    await asyncio.to_thread(convert, store, tmp_path / "converted", format="safetensors")
    for name in ("copy", "past", "converted"):
        async with penin.open(tmp_path / name) as orchestrator:
            assert await orchestrator.send(score("a")) == first
    migrations = {0: lambda draft: draft.documents.update(migrated=True)}
    async with penin.open(store, schema_version=1, migrations=migrations) as orchestrator:
        assert await orchestrator.send(score("a")) == first
        assert await orchestrator.get_document("migrated") is True
    report = await asyncio.to_thread(penin.verify, store)
    assert report.is_sound, report.problems
