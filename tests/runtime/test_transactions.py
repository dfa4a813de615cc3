from __future__ import annotations

import asyncio

import numpy as np
import pytest

from penin.core import NumericVectorArtifact, door
from penin.core.transitions import Ack
from penin.errors import ClosedError, RefusedError, RefusedValueError
from penin.storage.reader import JournalReader
from tests.runtime.stores import (
    JOURNAL,
    GatedFileSystem,
    open_on,
    pending,
    seen,
    state_on,
    until,
    within,
)


async def test_a_transaction_is_one_message_with_consecutive_seqs():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        await orchestrator.add_score(0.0)
        async with orchestrator.transaction() as t:
            t.add_knowledge("k", NumericVectorArtifact([1.0]))
            t.add_task({"a": 1})
            t.add_score(1.0)
            t.extend_scores([2.0, 3.0])
            t.append_history("h", "v")
            t.put_document("d", 1, if_seq=0)
            t.set_history_maxlen(10, "h")
            t.remove_document("nothing")
            t.remove_knowledge("k")
            assert t.ack is None
        assert t.ack == Ack(10, "ok")
        [_, commit] = JournalReader(fs, JOURNAL).read(0)
        assert (commit.first, commit.seq) == (2, 10)
        assert seen(state_on(fs)) == seen(orchestrator.view)


async def test_an_exception_in_the_block_sends_nothing():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        with pytest.raises(KeyError):  # noqa: PT012  # the body is the point
            async with orchestrator.transaction() as t:
                t.add_score(1.0)
                raise KeyError("mine")
        assert t.ack is None
        assert orchestrator.applied_seq == 0
        assert await orchestrator.add_score(2.0) == Ack(1)


async def test_a_block_that_is_cancelled_sends_nothing():
    async with open_on(GatedFileSystem()) as orchestrator:

        async def work():
            async with orchestrator.transaction() as t:
                t.add_score(1.0)
                await asyncio.Event().wait()

        task = await pending(work())
        task.cancel()
        await asyncio.wait({task})
        assert await orchestrator.add_score(2.0) == Ack(1)
        assert list(orchestrator.view.score_history) == [2.0]


async def test_a_refused_call_is_raised_where_it_stands_and_nothing_is_sent():
    async with open_on(GatedFileSystem()) as orchestrator:
        with pytest.raises(RefusedError):  # noqa: PT012  # the body is the point
            async with orchestrator.transaction() as t:
                t.add_score(1.0)
                t.add_task({"__type__": "mine"})
        assert orchestrator.applied_seq == 0


async def test_a_refused_call_that_is_handled_leaves_the_others():
    async with open_on(GatedFileSystem()) as orchestrator:
        async with orchestrator.transaction() as t:
            t.add_score(1.0)
            with pytest.raises(RefusedError):
                t.add_score("much")  # type: ignore[arg-type]
        assert t.ack == Ack(1)


async def test_an_empty_block_sends_nothing_and_has_no_answer():
    async with open_on(GatedFileSystem()) as orchestrator:
        async with orchestrator.transaction() as t:
            pass
        assert t.ack is None
        assert orchestrator.applied_seq == 0


async def test_a_condition_that_does_not_hold_undoes_all_of_it_and_is_named():
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        await orchestrator.put_document("d", "old")
        before = seen(orchestrator.view)
        async with orchestrator.transaction() as t:
            t.add_score(1.0)
            t.put_document("d", "new", if_seq=7)
            t.put_document("e", "new")
        assert t.ack == Ack(4, "conflict", 3)
        assert seen(orchestrator.view) == {**before, "seq": 4}
        assert seen(state_on(fs)) == seen(orchestrator.view)


async def test_a_condition_may_name_a_change_of_the_same_transaction():
    async with open_on(GatedFileSystem()) as orchestrator:
        async with orchestrator.transaction() as t:
            t.put_document("d", "first", if_seq=0)
            t.put_document("d", "second", if_seq=1)
        assert t.ack == Ack(2, "ok")
        assert await orchestrator.get_document("d") == "second"


async def test_of_two_that_compare_and_set_one_wins():
    async with open_on(GatedFileSystem()) as orchestrator:

        async def claim(name):
            async with orchestrator.transaction() as t:
                t.put_document("leader", name, if_seq=0)
                t.append_history("claims", name)
            assert t.ack is not None
            return t.ack.result

        results = await asyncio.gather(*(claim(str(number)) for number in range(10)))
        assert sorted(results) == ["conflict"] * 9 + ["ok"]
        assert await orchestrator.history("claims") == [await orchestrator.get_document("leader")]


async def test_nobody_sees_half_of_a_transaction():
    fs = GatedFileSystem()
    async with open_on(fs, batch_messages_max=2) as orchestrator:
        stop = asyncio.Event()
        halves = []

        async def watch():
            while not stop.is_set():
                halves.append(len(orchestrator.view.score_history) % 3)
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        sends = [
            orchestrator.send_nowait(door.transaction([door.add_score(1.0)] * 3)) for _ in range(50)
        ]
        await within(asyncio.gather(*sends))
        stop.set()
        await watching
        assert set(halves) == {0}


async def test_a_transaction_is_never_split_over_commits():
    fs = GatedFileSystem()
    async with open_on(fs, batch_messages_max=3, batch_bytes_max=400) as orchestrator:
        gate = fs.hold("sync_file")
        first = await pending(orchestrator.add_score(0.0))
        await until(gate.reached)
        sizes = [1, 5, 2, 20, 1, 3, 7]
        sends = [
            orchestrator.send_nowait(door.transaction([door.add_score(1.0)] * size))
            for size in sizes
        ]
        gate.open()
        acks = await within(asyncio.gather(*sends))
        await first
        ends = {ack.seq for ack in acks}
        assert all(commit.seq in ends | {1} for commit in JournalReader(fs, JOURNAL).read(0))


async def test_a_transaction_for_a_closed_orchestrator_is_refused():
    orchestrator = await open_on(GatedFileSystem())
    await orchestrator.aclose()
    with pytest.raises(ClosedError):
        async with orchestrator.transaction() as t:
            t.add_score(1.0)
    assert t.ack is None


async def test_a_bulk_of_vectors_is_refused_inside_a_transaction():
    async with open_on(GatedFileSystem()) as orchestrator:
        async with orchestrator.transaction() as t:
            with pytest.raises(RefusedValueError, match="several messages"):
                t.extend_knowledge(["a"], np.ones((1, 2)))
        bulk = {"type": "extend_knowledge", "keys": ["a"], "matrix": [[1.0]]}
        with pytest.raises(RefusedValueError) as caught:
            await orchestrator.send({"type": "transaction", "transitions": [bulk]})
        assert caught.value.field == "transitions[0].type"
        assert orchestrator.applied_seq == 0
