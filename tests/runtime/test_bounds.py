"""A store with bounds: what is refused, what is removed for it, and when there is room again."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin import Ack, NumericVectorArtifact
from penin.core import door
from penin.errors import JournalFailedError, KnowledgeFullError, StorageFullError
from penin.ingress.chunks import Input
from penin.ingress.lines import LineSource
from penin.ingress.rejected import RejectedLines
from penin.storage.reader import JournalReader
from tests.core import strategies
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import (
    JOURNAL,
    open_on,
    pending,
    seen,
    state_on,
    supervised,
    within,
)

ONE = NumericVectorArtifact([1.0])


def put(key):
    return door.add_knowledge(key, ONE)


async def sent(orchestrator, *messages):
    """All at once; the answers and the errors."""
    return await within(asyncio.gather(*map(orchestrator.send, messages), return_exceptions=True))


def keys_of(orchestrator):
    return list(orchestrator.view.knowledge_base)


def transitions_on(fs):
    """The messages of each commit, as their bytes."""
    return [bytes(commit.messages) for commit in JournalReader(fs, JOURNAL).read(0)]


async def test_beyond_the_bound_a_message_is_refused_and_everything_else_is_taken():
    async with open_on(CrashableFileSystem(), max_knowledge=2) as orchestrator:
        answers = await sent(orchestrator, put("a"), put("b"), put("c"), door.add_score(1.0))
        assert answers[:2] == [Ack(1), Ack(2)]
        assert isinstance(answers[2], KnowledgeFullError)
        assert (answers[2].size, answers[2].max_knowledge) == (2, 2)
        assert answers[3] == Ack(3)
        assert await orchestrator.add_knowledge("a", ONE) == Ack(4)
        assert await orchestrator.remove_knowledge("b") == Ack(5)
        assert await orchestrator.add_knowledge("c", ONE) == Ack(6)
        with pytest.raises(
            KnowledgeFullError, match="it holds 2 artifacts, and max_knowledge is 2"
        ):
            await orchestrator.extend_knowledge(["x", "y"], np.ones((2, 3)))
        assert keys_of(orchestrator) == ["a", "c"]


async def test_the_oldest_are_removed_by_transitions_of_their_own_in_the_same_commit():
    fs = CrashableFileSystem()
    async with open_on(fs, max_knowledge=2, when_full="evict") as orchestrator:
        await sent(orchestrator, put("a"), put("b"))
        await orchestrator.add_knowledge("a", ONE)
        assert await orchestrator.add_knowledge("c", ONE) == Ack(5)
        assert keys_of(orchestrator) == ["a", "c"]
        last = transitions_on(fs)[-1]
        assert last.startswith(
            b'[{"type":"remove_knowledge","from":{"source":"eviction"},"key":"b"},{"type":"add_'
        )
        shown, killed = seen(orchestrator.view), fs.after_kill()
    # A replay knows no bound.
    assert seen(state_on(killed)) == shown
    async with open_on(killed) as orchestrator:
        assert seen(orchestrator.view) == shown


async def test_in_one_batch_each_message_makes_its_room():
    fs = CrashableFileSystem()
    settings: dict[str, Any] = {"max_knowledge": 3, "when_full": "evict", "batch_bytes_max": 2000}
    async with supervised(fs, **settings) as running:
        orchestrator = running.orchestrator
        answers = await sent(orchestrator, *(put(f"k-{number}") for number in range(100)))
        assert [type(answer) for answer in answers] == [Ack] * 100
        assert keys_of(orchestrator) == ["k-97", "k-98", "k-99"]
        assert orchestrator.applied_seq == 100 + 97
        assert all(len(line) < 2500 for line in transitions_on(fs))
        evictions = [
            fields
            for fields in running.log.of("state.transition")
            if fields["source"] == "eviction"
        ]
        assert [fields["key"] for fields in evictions] == [f"k-{number}" for number in range(97)]
        (near,) = running.log.of("bounds.near")
        assert near == {"bound": "max_knowledge", "used": 3, "limit": 3}


async def test_a_message_that_is_larger_than_a_batch_comes_after_what_makes_room_for_it():
    fs = CrashableFileSystem()
    settings: dict[str, Any] = {"max_knowledge": 60, "when_full": "evict", "batch_bytes_max": 1500}
    async with open_on(fs, **settings) as orchestrator:
        await orchestrator.extend_knowledge([f"a-{n}" for n in range(60)], np.ones((60, 2)))
        ack = await orchestrator.extend_knowledge([f"b-{n}" for n in range(50)], np.ones((50, 2)))
        assert ack == Ack(1 + 50 + 1)
        assert len(keys_of(orchestrator)) == 60
        assert keys_of(orchestrator)[:10] == [f"a-{n}" for n in range(50, 60)]


async def test_a_bound_below_what_is_there_holds_off_what_grows_and_nothing_else():
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        await sent(orchestrator, *map(put, "abcdef"))
    async with open_on(fs, max_knowledge=2) as orchestrator:
        with pytest.raises(KnowledgeFullError):
            await orchestrator.add_knowledge("g", ONE)
        await orchestrator.add_knowledge("a", ONE)
    async with open_on(fs, max_knowledge=2, when_full="evict") as orchestrator:
        await orchestrator.add_knowledge("g", ONE)
        assert keys_of(orchestrator) == ["a", "g"]


async def test_repeats_are_answered_where_there_is_no_room_and_what_was_refused_is_not_known():
    content = {"type": "add_knowledge", "vector": [1.0]}
    async with open_on(CrashableFileSystem(), max_knowledge=1) as orchestrator:
        first = {**content, "key": "a", "id": "a"}
        second = {**content, "key": "b", "id": "b"}
        answers = await sent(orchestrator, first, second, first, second)
        assert answers[0] == answers[2] == Ack(1)
        assert isinstance(answers[1], KnowledgeFullError)
        assert isinstance(answers[3], KnowledgeFullError)
        await orchestrator.remove_knowledge("a")
        assert await orchestrator.send(first) == Ack(1)
        assert await orchestrator.send(second) == Ack(3)


async def test_when_the_disk_is_full_the_rest_of_a_batch_is_looked_at_anew():
    fs = CrashableFileSystem()
    settings: dict[str, Any] = {"max_knowledge": 2, "when_full": "evict", "batch_bytes_max": 300}
    async with open_on(fs, **settings) as orchestrator:
        await sent(orchestrator, put("a"), put("b"))
        fs.fail("write", errno.ENOSPC)
        answers = await sent(orchestrator, put("c"), put("d"), put("e"))
        assert [type(answer) for answer in answers] == [StorageFullError, Ack, Ack]
        assert keys_of(orchestrator) == ["d", "e"]
        assert seen(state_on(fs.after_kill())) == seen(orchestrator.view)


async def test_when_the_disk_is_full_for_what_is_to_make_room_the_message_is_not_stored_either():
    fs = CrashableFileSystem()
    settings: dict[str, Any] = {"max_knowledge": 2, "when_full": "evict", "batch_bytes_max": 100}
    async with open_on(fs, **settings) as orchestrator:
        await sent(orchestrator, put("a"), put("b"))
        fs.fail("write", errno.ENOSPC)
        with pytest.raises(StorageFullError, match="what was to make room for it"):
            await orchestrator.send(put("c"))
        assert keys_of(orchestrator) == ["a", "b"]
        assert await orchestrator.send(put("c")) == Ack(4)
        assert keys_of(orchestrator) == ["b", "c"]
        assert seen(state_on(fs.after_kill())) == seen(orchestrator.view)


async def test_where_the_journal_fails_all_of_a_batch_is_answered():
    fs, answers = CrashableFileSystem(), []

    async def main():
        async with open_on(fs, max_knowledge=10, batch_bytes_max=100) as orchestrator:
            fs.fail("sync_file", errno.EIO, at=2)
            answers.extend(await sent(orchestrator, *map(put, "abcdef")))

    with pytest.raises(JournalFailedError):
        await main()
    assert answers[0] == Ack(1)
    assert [type(answer) for answer in answers[1:]] == [JournalFailedError] * 5


@given(st.lists(strategies.messages(), max_size=12), st.integers(1, 3), st.booleans())
def test_whatever_is_sent_the_bound_holds_and_the_replay_is_the_live_state(messages, limit, evict):
    fs = CrashableFileSystem()

    async def main():
        when_full = "evict" if evict else "refuse"
        async with open_on(fs, max_knowledge=limit, when_full=when_full) as orchestrator:
            await sent(orchestrator, *messages)
            assert len(orchestrator.view.knowledge_base) <= limit
            return seen(orchestrator.view), fs.after_kill()

    shown, killed = asyncio.run(main())
    assert strategies.exactly_equal(seen(state_on(killed)), shown)


async def test_a_line_that_does_not_fit_is_refused_and_kept_and_the_rest_goes_on(tmp_path):
    lines = [b'{"type": "add_knowledge", "key": "%d", "vector": [1]}\n' % n for n in range(3)]
    lines.append(b'{"type": "add_score", "score": 1}\n')
    (tmp_path / "in").write_bytes(b"".join(lines))
    async with supervised(max_knowledge=2) as running:
        source = LineSource(
            [Input(str(tmp_path / "in"))],
            RejectedLines(tmp_path),
            running.log,
            waits_for_room=True,
        )
        await within(source(running.orchestrator))
        (refused,) = running.log.of("message.refused")
        assert (refused["line"], refused["field"]) == (3, "knowledge_base")
        assert (source.counts.taken, source.counts.refused) == (3, 1)
    assert (tmp_path / "rejected.jsonl").read_bytes() == lines[2]


# -- bytes ----------------------------------------------------------------------------------------

FILLING = "x" * 1000


async def fill(orchestrator):
    """Put documents until one is refused; how many there are then, and the error."""
    count = 0
    while True:
        try:
            await within(orchestrator.put_document(f"d-{count}", FILLING))
        except StorageFullError as error:
            return count, error
        count += 1


@pytest.mark.parametrize("format_", ["json", "safetensors"])
async def test_beyond_the_bytes_nothing_is_taken_but_removals_until_there_is_room(format_):
    fs = CrashableFileSystem()
    settings: dict[str, Any] = {"max_store_bytes": 60_000, "keep_last": 2, "format": format_}
    async with supervised(fs, **settings) as running:
        orchestrator, log = running.orchestrator, running.log
        count, error = await fill(orchestrator)
        assert "max_store_bytes is 60,000" in error.reason
        assert 10 < count < 60
        assert log.of("bounds.near")[0]["bound"] == "max_store_bytes"
        (reached,) = log.of("bounds.reached")
        assert reached["limit"] == 60_000
        # It has asked for a checkpoint, since that may give something back.
        await log.comes("checkpoint.finished")
        assert log.of("checkpoint.finished")[0]["reason"] == "bytes"
        for number in range(count):
            assert (await orchestrator.remove_document(f"d-{number}")).result == "ok"
        for _ in range(3):
            await orchestrator.checkpoint()
            await orchestrator.remove_document("nothing")
        again, _ = await fill(orchestrator)
        assert again > 0
        assert running.supervisor.store.size_bytes(0) < 60_000 + 5_000


async def test_what_there_is_counts_from_the_beginning():
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        for number in range(30):
            await orchestrator.put_document(f"d-{number}", FILLING)
        await orchestrator.checkpoint()
    async with supervised(fs, max_store_bytes=20_000) as running:
        with pytest.raises(StorageFullError, match="max_store_bytes is 20,000"):
            await within(running.orchestrator.add_score(1.0))
        assert await running.orchestrator.get_document("d-7") == FILLING


async def test_a_sender_that_waits_goes_on_once_there_is_room(monkeypatch, tmp_path):
    monkeypatch.setattr("penin.ingress.lines.FULL_PAUSE_S", 0.01)
    fs = CrashableFileSystem()
    async with supervised(fs, max_store_bytes=60_000) as running:
        orchestrator = running.orchestrator
        count, _ = await fill(orchestrator)
        (tmp_path / "in").write_bytes(b'{"type": "put_document", "name": "d", "value": 1}\n')
        source = LineSource(
            [Input(str(tmp_path / "in"))], RejectedLines(tmp_path), running.log, waits_for_room=True
        )
        sending = await pending(source(orchestrator))
        for number in range(count):
            await orchestrator.remove_document(f"d-{number}")
        while not sending.done():
            await orchestrator.checkpoint()
            await orchestrator.remove_document("nothing")
            await asyncio.sleep(0.01)
        assert await orchestrator.get_document("d") == 1
