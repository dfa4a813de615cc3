"""The contract of `AsyncOrchestrator`: what every implementation of it must pass.

An implementation is an async context manager that yields an open, empty orchestrator, and the name
that it has in the list.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import pytest

import penin
from penin.core import NumericVectorArtifact
from penin.core.transitions import Ack
from penin.errors import RefusedError, RefusedTypeError, RefusedValueError
from penin.runtime.protocol import AsyncOrchestrator
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import open_on, supervised, within


@asynccontextmanager
async def on_files():
    async with open_on(CrashableFileSystem()) as orchestrator:
        yield orchestrator


@asynccontextmanager
async def on_files_every_second():
    async with open_on(CrashableFileSystem(), fsync="everysec") as orchestrator:
        yield orchestrator


@asynccontextmanager
async def in_memory():
    async with penin.open(":memory:") as orchestrator:
        yield orchestrator


@asynccontextmanager
async def of_a_supervisor():
    async with supervised() as running:
        yield running.orchestrator


@asynccontextmanager
async def over_the_socket(fsync="always"):
    # The socket alone is on the disk.
    with TemporaryDirectory() as directory:
        opening = open_on(
            CrashableFileSystem(),
            directory=Path(directory),
            servers=[penin.SocketServer()],
            fsync=fsync,
        )
        async with opening, penin.connect(directory) as orchestrator:
            yield orchestrator


def over_the_socket_every_second():
    return over_the_socket("everysec")


IMPLEMENTATIONS = [
    on_files,
    on_files_every_second,
    in_memory,
    of_a_supervisor,
    over_the_socket,
    pytest.param(over_the_socket_every_second, marks=pytest.mark.long),
]


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda made: made.__name__)
async def orchestrator(request):
    async with request.param() as opened:
        yield opened


def names_of_the_protocol():
    return [name for name in vars(AsyncOrchestrator) if not name.startswith("_")]


@pytest.mark.parametrize("name", names_of_the_protocol())
async def test_it_has_every_name_of_the_protocol_with_the_same_parameters(orchestrator, name):
    promised = inspect.getattr_static(AsyncOrchestrator, name)
    if isinstance(promised, property):
        getattr(orchestrator, name)
        return
    given = inspect.signature(getattr(type(orchestrator), name))
    wanted = inspect.signature(promised)
    assert [(p.name, p.kind, p.default) for p in given.parameters.values()] == [
        (p.name, p.kind, p.default) for p in wanted.parameters.values()
    ]


# -- writers -------------------------------------------------------------------------------------


async def test_every_writer_returns_the_seq_of_its_last_transition(orchestrator):
    o = orchestrator
    writers = [
        lambda: o.add_knowledge("k", NumericVectorArtifact([1.0], {"a": 1})),
        lambda: o.remove_knowledge("k"),
        lambda: o.extend_knowledge(["a", "b"], np.eye(2), [{"n": 1}, {"n": 2}]),
        lambda: o.add_task({"a": 1}),
        lambda: o.add_score(0.5),
        lambda: o.extend_scores(np.array([1.0, 2.0])),
        lambda: o.append_history("h", 1),
        lambda: o.put_document("d", 1),
        lambda: o.remove_document("d"),
        lambda: o.set_history_maxlen(10),
        lambda: o.send({"type": "add_score", "score": 0.5}),
        lambda: o.send_nowait({"type": "add_score", "score": 0.5}),
    ]
    for seq, write in enumerate(writers, 1):
        assert await within(write()) == Ack(seq, "ok")
    assert orchestrator.applied_seq == len(writers)


async def test_what_depends_on_the_state_is_a_result(orchestrator):
    assert (await orchestrator.remove_knowledge("k")).result == "missing"
    assert (await orchestrator.remove_document("d")).result == "missing"
    assert (await orchestrator.set_history_maxlen(3, "h")).result == "missing"
    first = await orchestrator.put_document("d", 1, if_seq=0)
    assert first.result == "ok"
    assert (await orchestrator.put_document("d", 2, if_seq=0)).result == "conflict"
    assert (await orchestrator.put_document("d", 3, if_seq=first.seq)).result == "ok"
    assert await orchestrator.get_document("d") == 3


async def test_what_is_refused_names_the_field_and_changes_nothing(orchestrator):
    with pytest.raises(RefusedTypeError) as wrong_type:
        await orchestrator.add_score("much")
    assert wrong_type.value.field == "score"
    with pytest.raises(RefusedValueError) as wrong_value:
        await orchestrator.put_document("", 1)
    assert wrong_value.value.field == "name"
    with pytest.raises(RefusedError):
        orchestrator.send_nowait({"type": "add_score"})
    with pytest.raises(RefusedError):
        await orchestrator.extend_knowledge(["a"], np.ones((2, 2)))
    assert orchestrator.applied_seq == 0


async def test_the_order_of_sending_is_the_order_of_seqs(orchestrator):
    acks = await asyncio.gather(*(orchestrator.add_score(float(n)) for n in range(200)))
    assert [ack.seq for ack in acks] == list(range(1, 201))
    assert await orchestrator.history("score_history") == [float(n) for n in range(200)]


async def test_a_writer_reads_its_own_writing(orchestrator):
    for number in range(10):
        await orchestrator.put_document("d", number)
        assert await orchestrator.get_document("d") == number


async def test_a_large_matrix_arrives_whole(orchestrator):
    keys = [f"k{number}" for number in range(5000)]
    matrix = np.arange(5000 * 128, dtype=np.float32).reshape(5000, 128)
    ack = await orchestrator.extend_knowledge(keys, matrix)
    assert ack.seq == orchestrator.applied_seq > 1
    assert (await orchestrator.statistics())["knowledge_base_size"] == 5000
    last = await orchestrator.get("k4999")
    assert np.array_equal(last.array, matrix[-1])


async def test_a_transaction_is_all_or_nothing(orchestrator):
    async with orchestrator.transaction() as t:
        t.add_score(1.0)
        t.put_document("d", 1, if_seq=0)
    assert t.ack == Ack(2, "ok")
    async with orchestrator.transaction() as t:
        t.add_score(2.0)
        t.put_document("d", 2, if_seq=0)
    assert t.ack == Ack(4, "conflict", 4)
    assert await orchestrator.history("score_history") == [1.0]
    with pytest.raises(KeyError):  # noqa: PT012  # the body is the point
        async with orchestrator.transaction() as t:
            t.add_score(3.0)
            raise KeyError("mine")
    assert orchestrator.applied_seq == 4


# -- values --------------------------------------------------------------------------------------


async def test_values_come_back_as_they_were(orchestrator):
    await orchestrator.put_document("big", 2**4000)
    assert await orchestrator.get_document("big") == 2**4000
    await orchestrator.add_score(-math.inf)
    assert await orchestrator.history("score_history") == [-math.inf]
    rng = np.random.default_rng(1).bit_generator.state
    await orchestrator.put_document("rng", rng)
    assert await orchestrator.get_document("rng") == rng


class Point(msgspec.Struct):
    x: int
    y: int


@dataclass
class Budget:
    left: float
    owner: uuid.UUID


async def test_a_document_comes_back_as_the_type_asked_for(orchestrator):
    budget = Budget(0.5, uuid.uuid4())
    await orchestrator.put_document("p", Point(1, 2))
    await orchestrator.put_document("b", budget)
    assert await orchestrator.get_document("p") == {"x": 1, "y": 2}
    assert await orchestrator.get_document("p", Point) == Point(1, 2)
    assert await orchestrator.get_document("b", type=Budget) == budget
    assert await orchestrator.get_document("nothing", Point) is None
    with pytest.raises(RefusedError):
        await orchestrator.get_document("p", list[int])


async def test_what_is_read_is_a_copy(orchestrator):
    await orchestrator.put_document("d", {"items": [1]})
    await orchestrator.add_task({"items": [1]})
    (await orchestrator.get_document("d"))["items"].append(2)
    (await orchestrator.history("task_history"))[0]["items"].append(2)
    assert await orchestrator.get_document("d") == {"items": [1]}
    assert await orchestrator.history("task_history") == [{"items": [1]}]


# -- readers -------------------------------------------------------------------------------------


async def test_readers_of_an_empty_state(orchestrator):
    assert await orchestrator.get("k") is None
    assert await orchestrator.get_document("d") is None
    assert await orchestrator.history("h") == []
    assert await orchestrator.statistics() == {
        "knowledge_base_size": 0,
        "task_history_size": 0,
        "score_history_size": 0,
        "avg_score": 0.0,
    }


async def test_the_newest_items_of_a_history_oldest_first(orchestrator):
    for number in range(5):
        await orchestrator.append_history("h", number)
    assert await orchestrator.history("h", 2) == [3, 4]
    assert await orchestrator.history("h", last=0) == []
    assert await orchestrator.history("h", last=99) == [0, 1, 2, 3, 4]


# -- durability and the end ----------------------------------------------------------------------


async def test_durable_returns_when_it_is(orchestrator):
    ack = await orchestrator.add_score(1.0)
    await within(orchestrator.durable(ack.seq))
    assert orchestrator.durable_seq >= ack.seq


async def test_a_checkpoint_makes_all_that_is_applied_durable(orchestrator):
    await orchestrator.add_score(1.0)
    assert await within(orchestrator.checkpoint()) == 1
    assert orchestrator.durable_seq == 1


async def test_it_is_running_and_not_stopping(orchestrator):
    assert orchestrator.phase == "running"
    assert not orchestrator.stopping.is_set()


async def test_what_is_old_or_begins_with_a_prefix_is_pruned_in_one_call(orchestrator):
    keys = [f"{group}-{number}" for group in "ab" for number in range(3)]
    for key in keys:
        await orchestrator.add_knowledge(key, NumericVectorArtifact([1.0]))
    await orchestrator.add_knowledge("a-0", NumericVectorArtifact([1.0, 2.0]))
    assert await orchestrator.prune_knowledge(prefix="a-", before_seq=7) == 2
    assert await orchestrator.prune_knowledge(before_seq=5) == 1
    assert [key for key in keys if await orchestrator.get(key) is not None] == ["a-0", "b-1", "b-2"]
    assert await orchestrator.prune_knowledge(prefix="") == 3
    assert (await orchestrator.add_score(1.0)).seq == 7 + 6 + 1
    with pytest.raises(RefusedError, match="prefix"):
        await orchestrator.prune_knowledge()
