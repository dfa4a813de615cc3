from __future__ import annotations

import asyncio
import errno

import numpy as np
import pytest

from penin.core import NumericVectorArtifact, door
from penin.core.transitions import Ack
from penin.errors import ClosedError, JournalFailedError, MailboxFullError, RefusedError
from penin.storage.reader import JournalReader
from tests.runtime.stores import (
    JOURNAL,
    GatedFileSystem,
    open_on,
    pending,
    seen,
    state_on,
    supervised,
    until,
    within,
)


def commits_on(fs):
    """(first, last) of each commit with transitions."""
    return [(commit.first, commit.seq) for commit in JournalReader(fs, JOURNAL).read(0)]


async def test_every_writer_answers_with_its_seq_and_its_result():
    async with open_on(GatedFileSystem()) as orchestrator:
        artifact = NumericVectorArtifact([1.0])
        assert await orchestrator.add_knowledge("k", artifact) == Ack(1, "ok")
        assert await orchestrator.remove_knowledge("k") == Ack(2, "ok")
        assert await orchestrator.remove_knowledge("k") == Ack(3, "missing")
        assert await orchestrator.add_task({"a": 1}) == Ack(4, "ok")
        assert await orchestrator.add_score(0.5) == Ack(5, "ok")
        assert await orchestrator.extend_scores([1, 2]) == Ack(6, "ok")
        assert await orchestrator.append_history("h", [1]) == Ack(7, "ok")
        assert await orchestrator.put_document("d", 1, if_seq=0) == Ack(8, "ok")
        conflict = await orchestrator.put_document("d", 2, if_seq=0)
        assert (conflict.seq, conflict.result) == (9, "conflict")
        assert await orchestrator.remove_document("nothing") == Ack(10, "missing")
        assert await orchestrator.set_history_maxlen(3) == Ack(11, "ok")
        bulk = await orchestrator.extend_knowledge(["x", "y"], np.ones((2, 3)))
        assert bulk == Ack(12, "ok")
        assert await orchestrator.send({"type": "add_score", "score": 2.0}) == Ack(13, "ok")
        assert await orchestrator.send_nowait(door.add_score(3.0)) == Ack(14, "ok")
        assert orchestrator.applied_seq == orchestrator.durable_seq == 14


async def test_nobody_reads_a_change_before_it_is_durable():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        gate = fs.hold("sync_file")
        sending = await pending(orchestrator.put_document("d", 1))
        await until(gate.reached)
        assert not sending.done()
        assert orchestrator.applied_seq == 0
        assert await orchestrator.get_document("d") is None
        assert "d" not in orchestrator.view.documents
        gate.open()
        assert await within(sending) == Ack(1)
        assert await orchestrator.get_document("d") == 1


async def test_what_waits_while_an_append_is_in_flight_becomes_one_commit():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        gate = fs.hold("sync_file")
        first = await pending(orchestrator.add_score(0.0))
        await until(gate.reached)
        later = [await pending(orchestrator.add_score(float(number))) for number in range(1, 10)]
        gate.open()
        acks = await within(asyncio.gather(first, *later))
        assert [ack.seq for ack in acks] == list(range(1, 11))
        assert list(orchestrator.view.score_history) == [float(n) for n in range(10)]
        assert commits_on(fs) == [(1, 1), (2, 10)]


async def test_a_commit_takes_no_more_messages_than_set():
    fs = GatedFileSystem()
    async with open_on(fs, batch_messages_max=4) as orchestrator:
        await within(asyncio.gather(*(orchestrator.add_score(1.0) for _ in range(10))))
        assert commits_on(fs) == [(1, 4), (5, 8), (9, 10)]


async def test_a_commit_takes_no_more_bytes_than_set():
    fs = GatedFileSystem()
    async with open_on(fs, batch_bytes_max=120) as orchestrator:
        sends = (orchestrator.put_document("d", "x" * 100) for _ in range(4))
        await within(asyncio.gather(*sends))
        assert commits_on(fs) == [(1, 1), (2, 2), (3, 3), (4, 4)]


async def test_a_large_batch_lets_other_tasks_run_while_it_is_applied(monkeypatch):
    monkeypatch.setattr("penin.runtime.actor.SLICE_S", 0.0)
    monkeypatch.setattr("penin.runtime.actor.SLICE_MESSAGES", 10)
    async with open_on(GatedFileSystem()) as orchestrator:
        sends = [
            asyncio.ensure_future(orchestrator.send_nowait(door.add_score(0.0))) for _ in range(100)
        ]
        seqs_seen = set()
        while not all(send.done() for send in sends):
            seqs_seen.add(orchestrator.applied_seq)
            await asyncio.sleep(0)
        assert seqs_seen >= {10, 20, 30, 40, 50, 60, 70, 80, 90}


async def test_a_full_mailbox_makes_a_sender_wait_and_refuses_one_that_cannot():
    fs = GatedFileSystem()
    async with open_on(fs, mailbox_messages_max=2) as orchestrator:
        gate = fs.hold("sync_file")
        sends = [await pending(orchestrator.add_score(0.0))]
        await until(gate.reached)
        sends += [await pending(orchestrator.add_score(float(number))) for number in (1, 2, 3, 4)]
        with pytest.raises(MailboxFullError):
            orchestrator.send_nowait(door.add_score(5.0))
        gate.open()
        await within(asyncio.gather(*sends))
        assert list(orchestrator.view.score_history) == [0.0, 1.0, 2.0, 3.0, 4.0]


async def test_a_sender_that_waits_for_room_is_not_overtaken_by_those_who_come_later():
    async with open_on(GatedFileSystem(), mailbox_messages_max=1) as orchestrator:

        async def busy():
            for _ in range(50):
                await orchestrator.add_score(0.0)

        others = [await pending(busy()) for _ in range(3)]
        seq = orchestrator.applied_seq  # as long as it took to begin
        waiting = await pending(orchestrator.add_score(1.0))
        ack = await within(waiting)
        assert ack.seq <= seq + 10, "each of the others was served at most a few times before"
        await within(asyncio.gather(*others))


@pytest.mark.timeout(20)
async def test_closing_refuses_the_senders_that_wait_for_room():
    fs = GatedFileSystem()
    orchestrator = await open_on(fs, mailbox_messages_max=1)
    gate = fs.hold("sync_file")
    taken = await pending(orchestrator.add_score(1.0))
    await until(gate.reached)
    queued = await pending(orchestrator.add_score(2.0))
    waiting = [await pending(orchestrator.add_score(3.0)) for _ in range(3)]
    closing = await pending(orchestrator.aclose())
    gate.open()
    await within(closing)
    assert (await taken, await queued) == (Ack(1), Ack(2))
    for sender in waiting:
        with pytest.raises(ClosedError):
            await within(sender)
    assert list(state_on(fs).score_history) == [1.0, 2.0]


async def test_closing_stores_and_answers_what_is_in_the_mailbox():
    fs = GatedFileSystem()
    orchestrator = await open_on(fs)
    gate = fs.hold("sync_file")
    first = await pending(orchestrator.add_score(0.0))
    await until(gate.reached)
    queued = [
        asyncio.ensure_future(orchestrator.send_nowait(door.add_score(1.0))) for _ in range(20)
    ]
    closing = await pending(orchestrator.aclose())
    with pytest.raises(ClosedError):
        await orchestrator.add_score(2.0)
    gate.open()
    await within(closing)
    assert [answer.result().seq for answer in [first, *queued]] == list(range(1, 22))
    assert state_on(fs).seq == 21


async def test_a_message_that_was_refused_at_the_door_uses_no_seq():
    async with open_on(GatedFileSystem()) as orchestrator:
        with pytest.raises(RefusedError):
            await orchestrator.add_task({"__type__": "mine"})
        with pytest.raises(RefusedError):
            await orchestrator.send({"type": "no_such_thing"})
        assert await orchestrator.add_score(1.0) == Ack(1)


async def test_what_the_sender_does_with_its_dictionary_afterwards_changes_nothing():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        gate = fs.hold("sync_file")
        task = {"items": [1]}
        sending = await pending(orchestrator.add_task(task))
        await until(gate.reached)
        task["items"].append(2)
        gate.open()
        await within(sending)
        assert orchestrator.view.task_history[0] == {"items": [1]}


async def test_durable_waits_for_the_sync_with_everysec(monkeypatch):
    fs = GatedFileSystem()
    async with open_on(fs, fsync="everysec") as orchestrator:
        gate = fs.hold("sync_file")
        ack = await orchestrator.add_score(1.0)
        assert (orchestrator.applied_seq, orchestrator.durable_seq) == (1, 0)
        waiting = await pending(orchestrator.durable(ack.seq))
        await until(gate.reached)  # it comes by itself, within a second
        assert not waiting.done()
        gate.open()
        await within(waiting)
        assert orchestrator.durable_seq == 1


async def test_a_bound_that_is_journalled_when_opening_becomes_durable_by_itself():
    fs = GatedFileSystem()
    async with open_on(fs, fsync="everysec", history_maxlen=5) as orchestrator:
        assert orchestrator.applied_seq == 1
        await within(orchestrator.durable(1), 5.0)


async def test_durable_returns_at_once_for_what_is_durable_already():
    async with open_on(GatedFileSystem()) as orchestrator:
        ack = await orchestrator.add_score(1.0)
        await orchestrator.durable(ack.seq)
        await orchestrator.durable(0)


async def test_durable_is_answered_when_it_will_not_come_to_pass_any_more():
    orchestrator = await open_on(GatedFileSystem())
    waiting = await pending(orchestrator.durable(10))
    await orchestrator.aclose()
    with pytest.raises(ClosedError):
        await within(waiting)
    with pytest.raises(ClosedError):
        await within(orchestrator.durable(10))


async def test_durable_is_answered_too_when_asked_during_the_last_checkpoint():
    fs = GatedFileSystem()
    orchestrator = await open_on(fs)
    await orchestrator.add_score(1.0)
    gate = fs.hold("write", lambda path: path.name.startswith("state.json.tmp-"))
    closing = await pending(orchestrator.aclose())
    await until(gate.reached)
    waiting = await pending(orchestrator.durable(10))
    gate.open()
    await within(closing)
    with pytest.raises(ClosedError):
        await within(waiting, 5.0)


async def test_an_exception_in_apply_stops_the_actor_for_good():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        orchestrator = running.orchestrator
        state = orchestrator._actor.state
        state.seq = 41  # a bug of ours: the state is not where the journal is
        state.knowledge_base = None
        with pytest.raises(JournalFailedError, match="bug"):
            await within(orchestrator.add_knowledge("k", NumericVectorArtifact([1.0])))
        with pytest.raises(JournalFailedError):
            await within(orchestrator.add_score(1.0))
        await within(running.task)
        assert isinstance(running.supervisor.failure, JournalFailedError)
        assert running.supervisor.phase == "failed"
        assert running.log.of("actor.failed")
        assert not running.log.of("checkpoint.finished")


async def test_every_transition_is_logged_after_it_is_applied():
    async with supervised() as running:
        orchestrator = running.orchestrator
        await orchestrator.send(
            {
                "type": "put_document",
                "name": "d",
                "value": 1,
                "id": "m-1",
                "from": {"source": "stdin", "name": "pipe", "line": 7, "trace": "t"},
            }
        )
        async with orchestrator.transaction() as t:
            t.add_score(1.0)
            t.remove_document("d")
        await orchestrator.extend_knowledge(["a", "b"], np.ones((2, 2)))
        events = running.log.of("state.transition")
    assert [event["seq"] for event in events] == [1, 2, 3, 4]
    assert [event["type"] for event in events] == [
        "put_document",
        "add_score",
        "remove_document",
        "extend_knowledge",
    ]
    assert events[0]["id"] == "m-1"
    assert (events[0]["source"], events[0]["line"], events[0]["trace"]) == ("stdin", 7, "t")
    assert events[0]["name"] == "d"
    assert events[3]["count"] == 2


async def test_a_full_disk_is_said_once_and_that_there_is_room_again():
    fs = GatedFileSystem()
    async with supervised(fs) as running:
        for _ in range(3):
            fs.inner.fail("write", errno.ENOSPC)
            with pytest.raises(Exception, match="No space"):
                await running.orchestrator.add_score(1.0)
        await running.orchestrator.add_score(1.0)
        assert len(running.log.of("storage.full")) == 1
        assert len(running.log.of("storage.has_room")) == 1
        assert seen(running.orchestrator.view)["seq"] == 1


async def test_the_next_append_begins_before_the_last_batch_is_applied():
    fs = GatedFileSystem()
    async with open_on(fs, batch_messages_max=1) as orchestrator:
        begun = []
        actor = orchestrator._actor
        actor.listeners.append(lambda seq: begun.append((seq, len(actor._under_way))))
        gate = fs.hold("sync_file")
        sends = [await pending(orchestrator.add_score(float(number))) for number in range(3)]
        await until(gate.reached)
        gate.open()
        await within(asyncio.gather(*sends))
        assert begun == [(1, 2), (2, 2), (3, 1)]


async def test_what_is_durable_while_the_batch_before_it_is_applied_comes_after_it(monkeypatch):
    monkeypatch.setattr("penin.runtime.actor.SLICE_S", 0.0)
    monkeypatch.setattr("penin.runtime.actor.SLICE_MESSAGES", 1)
    fs = GatedFileSystem()
    async with open_on(fs, batch_messages_max=20) as orchestrator:
        gate = fs.hold("sync_file")
        sends = [await pending(orchestrator.add_score(float(number))) for number in range(22)]
        await until(gate.reached)
        gate.open()
        await within(sends[1])
        while orchestrator._actor._journal.durable_seq < 22:
            pass  # until the journal's thread has made the third batch durable
        assert orchestrator.applied_seq < 21  # the second is applied in part
        acks = await within(asyncio.gather(*sends))
        assert [ack.seq for ack in acks] == list(range(1, 23))
        assert list(orchestrator.view.score_history) == [float(number) for number in range(22)]


async def test_between_two_commits_state_and_journal_are_at_the_same_seq():
    fs = GatedFileSystem()
    async with open_on(fs, batch_messages_max=2) as orchestrator:
        stop = asyncio.Event()

        async def send() -> None:
            while not stop.is_set():
                await orchestrator.add_score(0.0)

        senders = [asyncio.ensure_future(send()) for _ in range(10)]
        actor = orchestrator._actor
        for _ in range(20):
            async with actor.between_commits():
                assert not actor._under_way
                assert actor.state.seq == actor._journal.last_seq == orchestrator.durable_seq
                await asyncio.sleep(0)
                assert actor.state.seq == actor._journal.last_seq
            await orchestrator.add_score(1.0)
        stop.set()
        await within(asyncio.gather(*senders))


async def test_what_is_durable_and_not_applied_yet_is_not_said_to_be_durable():
    fs = GatedFileSystem()
    async with open_on(fs, batch_messages_max=1) as orchestrator:
        seen_seqs = []
        actor = orchestrator._actor

        def note(seq: int) -> None:
            while len(actor._under_way) > 1 and actor._journal.durable_seq == seq:
                pass  # until the journal's thread has made the next append durable
            seen_seqs.append((seq, orchestrator.durable_seq))

        actor.listeners.append(note)
        await within(asyncio.gather(*(orchestrator.add_score(0.0) for _ in range(5))))
        assert seen_seqs == [(seq, seq) for seq in range(1, 6)]


async def test_a_bug_in_apply_refuses_the_append_that_is_under_way_too():
    def fail(seq: int) -> None:
        raise AssertionError(seq)

    fs = GatedFileSystem()
    orchestrator = await open_on(fs, batch_messages_max=1)
    orchestrator._actor.listeners.append(fail)
    gate = fs.hold("sync_file")
    sends = [await pending(orchestrator.add_score(0.0)) for _ in range(3)]
    await until(gate.reached)
    gate.open()
    results = await within(asyncio.gather(*sends, return_exceptions=True))
    assert results[0] == Ack(1)
    assert [type(result) for result in results[1:]] == [JournalFailedError] * 2
    with pytest.raises(JournalFailedError, match="bug"):
        await orchestrator.aclose()
