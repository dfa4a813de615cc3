"""`penin.connect` where it differs from `penin.open`: workers come and go.

What is the same for both stands in `tests/runtime/test_protocol.py`.
"""

from __future__ import annotations

import asyncio
import json
import socket

import msgspec
import pytest
import uvloop

import penin
from penin.core.transitions import Ack
from penin.errors import (
    ClosedError,
    IdReusedError,
    MailboxFullError,
    NotRunningError,
    OutcomeUnknownError,
    UsageError,
    WrongContextError,
)
from penin.ingress.socket import sender as sender_module
from penin.ingress.socket.address import SOCKET_NAME
from penin.runtime.status import HistoryStatus, WorkerStatus
from tests.ingress.socket.raw import served, served_on_disk
from tests.runtime.stores import GatedFileSystem, pending, until, within

STATUS = msgspec.to_builtins(
    WorkerStatus(
        pid=1,
        phase="running",
        dir="/store",
        store="x",
        epoch=1,
        fsync="always",
        applied_seq=0,
        durable_seq=0,
        mailbox_messages=0,
        mailbox_messages_max=1,
        at=None,
        schema_version=0,
        statistics={},
        histories={},
        documents=0,
        message_ids=HistoryStatus(0, 1),
        max_knowledge=None,
        max_store_bytes=None,
    )
)


class Worker:
    """Answers on a socket as it is told to: `answers` are lines, or what is done instead."""

    def __init__(self, directory, *answers):
        self.requests = []
        self._directory = directory
        self._answers = list(answers)
        self.came = asyncio.Event()

    async def __aenter__(self):
        path = self._directory / SOCKET_NAME
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path)
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        self._writer = writer
        while line := await reader.readline():
            request = json.loads(line)
            if request["type"] == "status":
                writer.write(json.dumps({"value": STATUS}).encode() + b"\n")
                continue
            self.requests.append(request)
            if self._answers:
                writer.write(json.dumps(self._answers.pop(0)).encode() + b"\n")
            self.came.set()
        writer.close()

    def say(self, line):
        self._writer.write(json.dumps(line).encode() + b"\n")

    def kill(self):
        self._server.close()
        self._writer.transport.abort()


async def test_without_a_worker_it_says_so_and_names_the_store(tmp_path):
    with pytest.raises(NotRunningError, match=str(tmp_path)) as raised:
        await penin.connect(tmp_path, wait_s=0.0)
    assert raised.value.path == tmp_path
    (tmp_path / "file").write_text("")
    with pytest.raises(NotRunningError):
        await penin.connect(tmp_path / "file", wait_s=0.0)


async def test_a_worker_that_does_not_answer_counts_as_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(sender_module, "GREETING_S", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / SOCKET_NAME))
        silent.listen()
        with pytest.raises(NotRunningError, match="does not answer"):
            await penin.connect(tmp_path, wait_s=0.0)


async def test_a_store_in_memory_is_of_one_process():
    with pytest.raises(UsageError):
        await penin.connect(":memory:")
    with pytest.raises(UsageError):
        async with penin.open(":memory:", servers=[penin.SocketServer()]) as orchestrator:
            await orchestrator.stopping.wait()


def test_it_needs_an_event_loop(tmp_path):
    with pytest.raises(WrongContextError):
        penin.connect(tmp_path).__await__().send(None)


async def test_a_worker_that_comes_later_is_waited_for(tmp_path):
    connecting = await pending(penin.connect(tmp_path)._open())
    async with served_on_disk(tmp_path):
        orchestrator = await within(connecting)
        assert (await orchestrator.add_score(1.0)).seq == 1
        await orchestrator.aclose()


async def test_after_a_restart_it_goes_on_with_the_next_worker(tmp_path):
    async with served_on_disk(tmp_path):
        orchestrator = await penin.connect(tmp_path)
        assert await orchestrator.add_score(1.0) == Ack(1)
    await within(orchestrator.stopping.wait())
    assert orchestrator.phase in {"draining", "stopped"}
    sent = [orchestrator.send_nowait({"type": "add_score", "score": n}) for n in (2.0, 3.0)]
    asked = await pending(orchestrator.history("score_history"))
    async with served_on_disk(tmp_path) as store:
        assert [await within(answer) for answer in sent] == [Ack(2), Ack(3)]
        assert (await within(asked))[:1] == [1.0]
        assert not orchestrator.stopping.is_set()
        assert orchestrator.phase == "running"
        assert await store.orchestrator.history("score_history") == [1.0, 2.0, 3.0]
        await orchestrator.aclose()


async def test_what_a_worker_that_stops_has_not_taken_goes_to_the_next_one_once(tmp_path):
    orchestrator = None
    async with Worker(tmp_path, {"seq": 1, "result": "ok"}) as worker:
        orchestrator = await penin.connect(tmp_path)
        answers = [orchestrator.send_nowait({"type": "add_score", "score": n}) for n in range(3)]
        assert await within(answers[0]) == Ack(1)
        worker.say({"stopping": "SIGTERM"})
        worker.kill()
    async with Worker(tmp_path, {"seq": 2}, {"seq": 3}) as following:
        assert [await within(answer) for answer in answers[1:]] == [Ack(2), Ack(3)]
        assert [request["score"] for request in following.requests] == [1.0, 2.0]
        await within(orchestrator.aclose())


async def test_what_a_killed_worker_has_not_answered_is_unknown(tmp_path):
    async with Worker(tmp_path) as worker, penin.connect(tmp_path) as orchestrator:
        answer = orchestrator.send_nowait({"type": "add_score", "score": 1.0})
        await within(worker.came.wait())
        worker.kill()
        with pytest.raises(OutcomeUnknownError, match="may be stored") as raised:
            await within(answer)
        assert raised.value.path == tmp_path
        async with Worker(tmp_path, {"seq": 2}) as following:
            assert await within(orchestrator.add_score(2.0)) == Ack(2)
            assert [request["score"] for request in following.requests] == [2.0]


async def test_with_an_id_it_is_settled_by_sending_it_again(tmp_path):
    async with Worker(tmp_path) as worker, penin.connect(tmp_path) as orchestrator:
        message = {"type": "add_score", "score": 1.0, "id": "batch-17"}
        answer = orchestrator.send_nowait(message)
        await within(worker.came.wait())
        worker.kill()
        async with Worker(tmp_path, {"seq": 1}) as following:
            assert await within(answer) == Ack(1)
            assert following.requests == worker.requests
            (request,) = following.requests
            assert message.items() <= request.items()


async def test_a_message_with_an_id_is_stored_once_however_often_it_is_sent(tmp_path):
    message = {"type": "add_score", "score": 1.0, "id": "batch-17"}
    async with served_on_disk(tmp_path) as store, penin.connect(tmp_path) as orchestrator:
        assert await orchestrator.send(message) == Ack(1)
        for connection in list(store.server.connections):
            connection.abort()
        answers = [orchestrator.send_nowait(message) for _ in range(3)]
        assert [await within(answer) for answer in answers] == [Ack(1)] * 3
        with pytest.raises(IdReusedError) as raised:
            await orchestrator.send({**message, "score": 2.0})
        assert (raised.value.id, raised.value.first_seq) == ("batch-17", 1)
        assert store.orchestrator.applied_seq == 1


async def test_where_no_worker_comes_it_is_told_what_is_certain_and_what_is_not(tmp_path):
    async with Worker(tmp_path) as worker:
        orchestrator = await penin.connect(tmp_path, wait_s=0.2)
        doubtful = orchestrator.send_nowait({"type": "add_score", "score": 1.0, "id": "a"})
        await within(worker.came.wait())
        worker.kill()
        while orchestrator.phase != "stopped":  # noqa: ASYNC110  # it has no event for that
            await asyncio.sleep(0)
    certain = orchestrator.send_nowait({"type": "add_score", "score": 2.0})
    with pytest.raises(OutcomeUnknownError):
        await within(doubtful)
    with pytest.raises(NotRunningError):
        await within(certain)
    with pytest.raises(NotRunningError):  # at once
        await orchestrator.add_score(3.0)
    with pytest.raises(NotRunningError):
        await within(orchestrator.get("k"))
    async with served_on_disk(tmp_path) as store:
        while True:
            try:
                assert await orchestrator.add_score(4.0) == Ack(1)
                break
            except NotRunningError:  # it has not looked again yet
                await asyncio.sleep(0.01)
        assert await store.orchestrator.history("score_history") == [4.0]
        await orchestrator.aclose()


async def test_a_cancelled_sender_takes_nobody_with_it():
    async with served() as store, penin.connect(store.directory) as orchestrator:
        tasks = [asyncio.ensure_future(orchestrator.add_score(float(n))) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await within(asyncio.wait(tasks))
        acks = [await task for task in tasks[1::2]]
        found = await orchestrator.history("score_history")
        assert [found[ack.seq - 1] for ack in acks] == [float(n) for n in range(1, 20, 2)]


async def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(sender_module, "MESSAGES_MAX", 4)
    monkeypatch.setattr(sender_module, "IN_FLIGHT_MAX", 2)
    gated = GatedFileSystem()
    async with served(gated) as store, penin.connect(store.directory) as orchestrator:
        gate = gated.hold("sync_file", lambda path: path.parent.name == "journal")
        message = {"type": "add_score", "score": 1.0}
        sent = []
        with pytest.raises(MailboxFullError):  # noqa: PT012  # whichever it is
            while True:
                sent.append(orchestrator.send_nowait(message))
        waiting = [await pending(orchestrator.add_score(float(n))) for n in range(3)]
        await until(gate.reached)
        gate.open()
        seqs = [(await within(answer)).seq for answer in [*sent, *waiting]]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_many_wait_for_durability_with_one_question():
    async with served() as store, penin.connect(store.directory) as orchestrator:
        high = await pending(orchestrator.durable(30))
        many = [await pending(orchestrator.durable(seq)) for seq in range(1, 30)]
        assert len(store.server.connections) < 10
        await store.orchestrator.extend_scores([1.0])
        await within(many[0])
        assert not high.done()
        for _ in range(29):
            await store.orchestrator.add_score(1.0)
        await within(asyncio.gather(high, *many))
        assert orchestrator.durable_seq >= 30


async def test_many_readers_share_a_few_connections():
    async with served() as store, penin.connect(store.directory) as orchestrator:
        await orchestrator.put_document("d", {"a": 1})
        found = await asyncio.gather(*(orchestrator.get_document("d") for _ in range(200)))
        assert found == [{"a": 1}] * 200
        assert len(store.server.connections) <= 20


async def test_a_query_that_is_given_up_spoils_no_other():
    async with served() as store, penin.connect(store.directory) as orchestrator:
        await orchestrator.put_document("d", 1)
        waiting = await pending(orchestrator.durable(99))
        asking = [await pending(orchestrator.get_document("d")) for _ in range(8)]
        for task in (waiting, *asking[::2]):
            task.cancel()
        assert await asyncio.gather(*asking[1::2]) == [1] * 4
        assert await orchestrator.statistics() == await store.orchestrator.statistics()


async def test_leaving_waits_for_what_is_on_its_way():
    gated = GatedFileSystem()
    async with served(gated) as store:
        orchestrator = await penin.connect(store.directory)
        gate = gated.hold("sync_file", lambda path: path.parent.name == "journal")
        answer = asyncio.ensure_future(
            orchestrator.send_nowait({"type": "add_score", "score": 1.0})
        )
        await until_reached(gate)
        closing = await pending(orchestrator.aclose())
        assert not closing.done()
        with pytest.raises(ClosedError):
            await orchestrator.add_score(2.0)
        gate.open()
        await within(closing)
        assert answer.result() == Ack(1)
        assert (orchestrator.phase, orchestrator.stopping.is_set()) == ("stopped", True)
        await within(orchestrator.aclose())


async def until_reached(gate):
    await asyncio.sleep(0)  # it is written in the next turn
    await until(gate.reached)


def test_it_works_on_another_event_loop(tmp_path):
    async def both():
        task = {"text": "x" * 100_000}
        async with penin.open(tmp_path, servers=[penin.SocketServer()]):
            async with penin.connect(tmp_path) as orchestrator:
                await asyncio.gather(*(orchestrator.add_task(task) for _ in range(20)))
                assert len(await orchestrator.history("task_history")) == 20
            staying = await penin.connect(tmp_path)
        await within(staying.stopping.wait())
        async with penin.open(tmp_path, servers=[penin.SocketServer()]):
            assert (await within(staying.add_score(1.0))).seq == 21
            await staying.aclose()

    uvloop.run(both())


async def test_who_is_no_worker_is_not_believed(tmp_path):
    async def nonsense(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_unix_server(nonsense, tmp_path / SOCKET_NAME)
    with pytest.raises(NotRunningError):
        await within(penin.connect(tmp_path, wait_s=0.1)._open())
    server.close()


async def test_messages_keep_their_order_whether_one_is_on_its_way_or_many_wait():
    async with served() as store, penin.connect(store.directory) as client:
        answers: list[asyncio.Future[Ack]] = []
        for number in range(0, 60, 3):
            answers.append(await pending(client.add_score(float(number))))
            at_once = client.send_nowait({"type": "add_score", "score": number + 1.0})
            answers.append(asyncio.ensure_future(at_once))
            answers.append(await pending(client.add_score(number + 2.0)))
            if number % 4 == 0:
                await within(asyncio.wait({answers[-1]}))
        acks = [await within(answer) for answer in answers]
        assert [ack.seq for ack in acks] == list(range(1, 61))
        assert await client.history("score_history") == [float(number) for number in range(60)]
