"""What a connection promises, seen by a client that knows nothing but lines."""

from __future__ import annotations

import asyncio
import json

import pytest

import penin
from penin.errors import StorageFullError
from penin.ingress.socket import connection as connection_module
from penin.ingress.socket import server as server_module
from penin.ingress.splitting import LINE_BYTES_MAX
from tests.ingress.socket.raw import score, served, served_on_disk
from tests.runtime.stores import GatedFileSystem, pending, until, within


async def test_a_message_is_answered_with_its_seq_and_a_request_with_its_own_number():
    async with served() as store, await store.connect() as raw:
        assert await raw.ask(
            score(0.5, request=7),
            score(0.5),
            {"type": "remove_knowledge", "key": "k", "request": "the third"},
        ) == [
            {"request": 7, "seq": 1, "result": "ok"},
            {"seq": 2, "result": "ok"},
            {"request": "the third", "seq": 3, "result": "missing"},
        ]


async def test_a_transaction_that_conflicts_names_the_transition():
    put = {"type": "put_document", "name": "d", "value": 1, "if_seq": 9}
    async with served() as store, await store.connect() as raw:
        message = {"type": "transaction", "transitions": [score(1.0), put]}
        assert await raw.ask(message) == {"seq": 2, "result": "conflict", "failed_seq": 2}


async def test_the_replies_have_the_order_of_the_requests():
    requests = [
        score(1.0, request=0),
        {"type": "nearest", "vector": [1.0], "request": 1},
        {"request": 2},
        score(2.0, request=3),
        {"type": "checkpoint", "request": 4},
        {"type": "history", "name": "score_history", "request": 5},
        b"nonsense",
        score(3.0, request=7),
    ]
    async with served() as store, await store.connect() as raw:
        found = await raw.ask(*requests)
        assert [reply.get("request") for reply in found] == [0, 1, 2, 3, 4, 5, None, 7]


async def test_a_query_sees_all_that_stands_before_it():
    async with served() as store, await store.connect() as raw:
        for number in range(1, 20):
            asked = {"type": "history", "name": "score_history", "last": 1}
            _, found = await raw.ask(score(float(number)), asked)
            assert found == {"items": [number], "more": False}


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        (b"{", "message", "not JSON"),
        (b"\xff{}", "message", "not JSON"),
        (b'{"type":"add_task","task":{"\xff":1}}', "message", "UTF-8"),
        (b'{"type":"add_task","task":' + b"[" * 10**6 + b"]" * 10**6 + b"}", "message", "deep"),
        (b'{"a":' * 10**6, "message", "deep"),
        (b"[1]", "message", "list is not a JSON object"),
        (b"17", "message", "int is not a JSON object"),
        (b"null", "message", "not a JSON object"),
        (b'{"type":7}', "type", "7 is none of"),
        (b'{"type":"stats"}', "type", "transaction, and no query: checkpoint, durable, find, get,"),
        (b"{}", "type", "missing"),
        (b'{"type":"status","more":1}', "more", "no such field"),
        (b'{"type":"get"}', "key", "missing"),
        (b'{"type":"history","name":"h","last":-1}', "last", "not between"),
        (b'{"type":"history","name":"h","last":"a"}', "last", "not an integer"),
        (b'{"type":"nearest","vector":"a"}', "vector", "not a list"),
        (b'{"type":"nearest","vector":{"dtype":"<f4","data":"?"}}', "vector", "base64"),
        (b'{"type":"nearest","vector":[1],"k":0}', "k", "below 1"),
        (b'{"type":"nearest","vector":[1],"approximate":1}', "approximate", "true"),
        (b'{"type":"durable"}', "seq", "missing"),
        (b'{"type":"add_score","score":1,"request":1.5}', "request", "neither"),
        (b'{"type":"add_score","score":1,"request":' + b"9" * 30 + b"}", "request", ""),
        (b'{"type":"add_score","score":1,"request":"' + b"x" * 129 + b'"}', "request", "129"),
        (b'{"type":"rebase","schema_version":1}', "type", "none of"),
    ],
)
async def test_what_is_refused_says_why_and_the_connection_goes_on(line, field, reason):
    async with served() as store, await store.connect() as raw:
        refused, taken = await raw.ask(line, score(1.0))
        assert refused["error"]["field"] == field
        assert reason in refused["error"]["reason"]
        assert refused["error"]["kind"] in {"refused_value", "refused_type"}
        assert taken == {"seq": 1, "result": "ok"}


@pytest.mark.parametrize("size", [LINE_BYTES_MAX + 1, 100 * 2**20])
async def test_a_line_that_is_too_long_is_dropped_as_it_comes_and_refused(size):
    async with served() as store, await store.connect() as raw:
        block = b"x" * 2**20
        for _ in range(size // len(block)):
            raw.writer.write(block)
            await within(raw.writer.drain())
            assert store.server.long_lines.held_bytes <= LINE_BYTES_MAX
        refused, taken = await raw.ask(b"x" * (size % len(block) + 1), score(1.0))
        assert str(LINE_BYTES_MAX) in refused["error"]["reason"]
        assert taken == {"seq": 1, "result": "ok"}


async def test_a_long_line_keeps_its_place_among_short_ones():
    task = {"type": "add_task", "task": {"text": "x" * 200_000}}
    async with served() as store, await store.connect() as raw:
        found = await raw.ask(score(1.0), task, score(2.0), task, score(3.0))
        assert [reply["seq"] for reply in found] == [1, 2, 3, 4, 5]
        assert [entry["text"][:1] for entry in await store.orchestrator.history("task_history")]


async def test_an_empty_line_is_skipped_and_the_last_one_needs_no_end():
    async with served() as store, await store.connect() as raw:
        raw.writer.write(b"\n  \n\r\n" + json.dumps(score(1.0)).encode())
        raw.writer.write_eof()
        assert await raw.replies(2) == [{"seq": 1, "result": "ok"}, None]


async def test_a_line_that_was_cut_off_is_no_message():
    whole = json.dumps(score(12.0)).encode()
    async with served() as store:
        for size in range(1, len(whole)):
            async with await store.connect() as raw:
                raw.writer.write(whole[:size])
                raw.writer.write_eof()
                assert "error" in await raw.reply()
                assert await raw.reply() is None
        assert store.orchestrator.applied_seq == 0


async def test_who_sends_and_goes_is_answered_as_long_as_it_reads():
    async with served() as store, await store.connect() as raw:
        raw.send(*(score(float(n)) for n in range(500)), {"type": "checkpoint"})
        raw.writer.write_eof()
        found = await raw.replies(502)
        assert [reply["seq"] for reply in found[:500]] == list(range(1, 501))
        assert found[500:] == [{"value": 500}, None]


async def test_what_was_taken_is_stored_though_nobody_waits_for_the_answer():
    gated = GatedFileSystem()
    async with served(gated) as store:
        gate = gated.hold("sync_file", in_its_journal)
        raw = await store.connect()
        raw.send(score(1.0), score(2.0))
        await until(gate.reached)
        raw.writer.transport.abort()
        gate.open()
        await within(store.orchestrator.durable(2))
        await within(lost(store))


def in_its_journal(path):
    return path.parent.name == "journal"


async def lost(store):
    for connection in list(store.server.connections):
        await connection.lost.wait()


# -- bounds --------------------------------------------------------------------------------------


async def test_so_many_requests_are_taken_from_one_connection_and_others_go_on(monkeypatch):
    monkeypatch.setattr(connection_module, "REQUESTS_MAX", 8)
    gated = GatedFileSystem()
    async with served(gated) as store, await store.connect() as greedy:
        gate = gated.hold("sync_file", in_its_journal)
        greedy.send(*(score(float(n)) for n in range(100)))
        await until(gate.reached)
        async with await store.connect() as modest:
            modest.send({"type": "statistics"})
            assert (await modest.reply())["value"]["score_history_size"] == 0
            assert sum(len(c._requests) for c in store.server.connections) <= 8
        gate.open()
        assert [reply["seq"] for reply in await greedy.replies(100)] == list(range(1, 101))


async def test_so_many_bytes_are_on_their_way_from_one_connection(monkeypatch):
    monkeypatch.setattr(connection_module, "REQUESTS_BYTES_MAX", 1000)
    async with served() as store, await store.connect() as raw:
        task = {"type": "add_task", "task": {"text": "x" * 400}}
        raw.send(*[task] * 50)
        most = 0
        for _ in range(50):
            await raw.reply()
            most = max(most, *(c._requests_bytes for c in store.server.connections))
        assert most < 2000


async def test_a_full_mailbox_makes_a_connection_wait_and_loses_and_reorders_nothing():
    gated = GatedFileSystem()
    async with served(gated, mailbox_messages_max=3) as store:
        gate = gated.hold("sync_file", in_its_journal)
        clients = [await store.connect() for _ in range(5)]
        for index, raw in enumerate(clients):
            raw.send(*(score(float(1000 * index + n)) for n in range(20)))
        await until(gate.reached)
        gate.open()
        for raw in clients:
            seqs = [reply["seq"] for reply in await raw.replies(20)]
            assert seqs == sorted(seqs)
            raw.writer.close()
        scores = await store.orchestrator.history("score_history")
        assert len(scores) == 100
        for index in range(5):
            own = [number for number in scores if number // 1000 == index]
            assert own == [1000 * index + n for n in range(20)]


async def test_one_connection_too_many_is_told_so(monkeypatch):
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 2)
    async with served() as store:
        async with await store.connect() as first, await store.connect() as second:
            await first.ask(score(1.0))
            await second.ask(score(1.0))
            async with await store.connect() as third:
                assert (await third.reply())["error"]["kind"] == "busy"
                assert await third.reply() is None
        await within(lost(store))
        async with await store.connect() as again:
            assert (await again.ask(score(1.0)))["seq"] == 3


async def test_who_waits_for_what_nobody_has_sent_and_goes_leaves_room_for_another(monkeypatch):
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 2)
    future = {"type": "durable", "seq": 5}
    async with served() as store, await store.connect() as staying:
        staying.send(score(1.0), future)
        await staying.reply()
        for _ in range(3):
            async with await store.connect() as going:
                going.send(score(1.0), future, score(2.0))
                assert (await going.reply())["result"] == "ok"
        await store.orchestrator.add_score(0.0)
        assert await staying.reply() == {"value": 5}


async def test_a_client_that_never_reads_holds_up_nobody_and_grows_nothing():
    async with served() as store, await store.connect() as deaf:
        vector = {"dtype": "<f8", "data": "AAAAAAAA8D8AAAAAAAAAQA=="}
        await store.orchestrator.add_task({"text": "x" * 2**19})
        deaf.writer.transport.pause_reading()
        asked = json.dumps({"type": "history", "name": "task_history"}).encode() + b"\n"
        connection = store.connection
        sent = 0
        while not await stuck(connection):
            deaf.writer.write(asked)
            sent += 1
            assert sent < 1000
        async with await store.connect() as other:
            for number in range(100):
                assert (await other.ask({"type": "add_knowledge", "key": "k", "vector": vector}))[
                    "seq"
                ] == number + 2
        assert connection._transport.get_write_buffer_size() < 3 * 2**20
        assert len(connection._requests) <= connection_module.REQUESTS_MAX


async def stuck(connection):
    """Whether the other end does not read, after a turn of the loop."""
    await asyncio.sleep(0)
    return not connection._room.is_set()


# -- the end and failures ------------------------------------------------------------------------


async def test_a_stop_answers_what_is_on_its_way_and_says_so():
    gated = GatedFileSystem()
    async with served(gated) as store:
        gate = gated.hold("sync_file", in_its_journal)
        busy, idle = await store.connect(), await store.connect()
        busy.send(score(1.0), score(2.0))
        waiting = await store.connect()
        waiting.send({"type": "durable", "seq": 99})
        await until(gate.reached)
        closing = await pending(store.orchestrator.aclose())
        gate.open()
        assert await busy.replies(4) == [
            {"seq": 1, "result": "ok"},
            {"seq": 2, "result": "ok"},
            {"stopping": "closed"},
            None,
        ]
        assert await idle.replies(2) == [{"stopping": "closed"}, None]
        gone, said, end = await waiting.replies(3)
        assert (gone["error"]["kind"], said, end) == ("closed", {"stopping": "closed"}, None)
        await within(closing)
        for raw in (busy, idle, waiting):
            raw.writer.close()


async def test_a_full_disk_is_an_answer_and_the_connection_goes_on():
    async with served() as store, await store.connect() as raw:
        full = StorageFullError("/store/journal/1.jsonl", "No space left on device")
        store.server.orchestrator = Answering([full, penin.Ack(1)])
        first, second = await raw.ask(score(1.0), score(1.0))
        assert first["error"] == {
            "kind": "storage_full",
            "message": str(full),
            "reason": "No space left on device",
            "path": "/store/journal/1.jsonl",
        }
        assert second == {"seq": 1, "result": "ok"}


class Answering:
    def __init__(self, answers):
        self.answers = answers

    def send_for(self, answer, _):
        found = self.answers.pop(0)
        if isinstance(found, penin.Ack):
            answer.set_result(found)
        else:
            answer.set_exception(found)


async def test_a_bug_costs_one_connection_and_not_the_others():
    class Broken:
        def send_for(self, *_):
            raise RuntimeError("a bug")

    async with served() as store, await store.connect() as other:
        await other.ask(score(1.0))
        sound, store.server.orchestrator = store.server.orchestrator, Broken()
        async with await store.connect() as raw:
            raw.send(score(1.0))
            assert await raw.reply() is None
        store.server.orchestrator = sound
        assert (await other.ask(score(2.0)))["seq"] == 2


async def test_what_is_sent_says_who_sent_it(tmp_path):
    async with served_on_disk(tmp_path) as store, await store.connect() as raw:
        named = score(1.0, **{"from": {"source": "crawler"}})
        raw.send(score(1.0), named, {"type": "subscribe", "from_seq": 1})
        found = await raw.replies(5)
        assert found[2] == {"value": 1}
        assert found[3]["from"]["source"] == "socket"
        assert found[3]["from"]["name"].startswith("process ")
        assert found[4]["from"] == {"source": "crawler"}
