"""Transitions as they become durable: all of them, once, in order, from any kept seq."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode

import pytest

from penin.errors import StorageError
from penin.ingress.socket import subscription as subscription_module
from tests.ingress.socket.raw import score, served_on_disk
from tests.runtime.stores import within


async def subscribed(store, **members):
    raw = await store.connect()
    raw.send({"type": "subscribe", **members})
    return raw, await raw.reply()


async def seqs(raw, count):
    return [reply["seq"] for reply in await raw.replies(count)]


async def test_the_past_comes_first_and_then_what_happens(tmp_path):
    async with served_on_disk(tmp_path) as store:
        for number in range(3):
            await store.orchestrator.add_score(float(number))
        raw, begun = await subscribed(store, from_seq=2)
        assert begun == {"value": 2}
        assert await seqs(raw, 2) == [2, 3]
        await store.orchestrator.add_task({"a": 1})
        entry = await raw.reply()
        assert (entry["seq"], entry["transition"]) == (4, {"type": "add_task", "task": {"a": 1}})
        assert entry.keys() == {
            "seq", "at", "epoch", "hash", "message", "id", "from", "transition",
        }  # fmt: skip
        raw.writer.close()


async def test_of_an_encrypted_store_it_gives_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("A_KEY", b64encode(bytes(32)).decode())
    async with served_on_disk(tmp_path, key_from="env:A_KEY") as store:
        await store.orchestrator.add_score(1.0)
        raw, begun = await subscribed(store, from_seq=1)
        assert begun == {"value": 1}
        assert (await raw.reply())["transition"] == {"type": "add_score", "score": 1.0}
        raw.writer.close()


async def test_without_a_place_it_begins_with_what_comes(tmp_path):
    async with served_on_disk(tmp_path) as store:
        await store.orchestrator.add_score(1.0)
        raw, begun = await subscribed(store)
        assert begun == {"value": 2}
        await store.orchestrator.add_score(2.0)
        assert await seqs(raw, 1) == [2]
        raw.writer.close()


@pytest.mark.parametrize("compress", [None, "gzip"])
async def test_checkpoints_and_restarts_are_no_holes(tmp_path, compress):
    settings = {"compress": compress, "keep_journal": "forever"}
    for epoch in range(3):
        async with served_on_disk(tmp_path, **settings) as store:
            raw, _ = await subscribed(store, from_seq=1)
            assert await seqs(raw, epoch * 40) == list(range(1, epoch * 40 + 1))
            for number in range(40):
                await store.orchestrator.add_score(float(number))
                if number % 10 == 0:
                    await store.orchestrator.checkpoint()
            assert await seqs(raw, 40) == list(range(epoch * 40 + 1, epoch * 40 + 41))
            raw.writer.close()


async def test_the_parts_of_a_transaction_come_one_by_one(tmp_path):
    async with served_on_disk(tmp_path) as store:
        async with store.orchestrator.transaction() as t:
            t.add_score(1.0)
            t.add_score(2.0)
        raw, _ = await subscribed(store, from_seq=2)
        entry = await raw.reply()
        assert (entry["seq"], entry["message"]) == (2, [1, 2])
        raw.writer.close()


async def test_a_place_that_is_not_kept_is_named_with_what_is(tmp_path):
    async with served_on_disk(tmp_path) as store:
        for number in range(4):
            await store.orchestrator.add_score(float(number))
            await store.orchestrator.checkpoint()
        raw, refused = await subscribed(store, from_seq=1)
        assert await raw.reply() is None
        error = refused["error"]
        assert (error["kind"], error["field"]) == ("not_kept", "from_seq")
        assert 1 < error["first_seq"] <= error["last_seq"] == 4
        assert await seqs_after(raw, store, error["first_seq"])
        raw.writer.close()


async def seqs_after(refused, store, first_seq):
    refused.writer.close()
    raw, begun = await subscribed(store, from_seq=first_seq)
    assert begun == {"value": first_seq}
    found = await seqs(raw, 4 - first_seq + 1)
    raw.writer.close()
    return found == list(range(first_seq, 5))


async def test_nothing_comes_before_it_is_durable(tmp_path):
    async with served_on_disk(tmp_path, fsync="everysec") as store:
        raw, _ = await subscribed(store, from_seq=1)
        await store.orchestrator.add_score(1.0)
        coming = asyncio.ensure_future(raw.reply())
        while not coming.done():
            assert store.orchestrator.durable_seq <= 1
            await asyncio.wait({coming}, timeout=0.01)
        assert coming.result()["seq"] <= store.orchestrator.durable_seq
        raw.writer.close()


async def test_a_place_that_is_not_there_yet_is_waited_for(tmp_path):
    async with served_on_disk(tmp_path) as store:
        raw, begun = await subscribed(store, from_seq=3)
        assert begun == {"value": 3}
        for number in range(4):
            await store.orchestrator.add_score(float(number))
        assert await seqs(raw, 2) == [3, 4]
        raw.writer.close()


async def test_a_slow_reader_holds_up_nobody_and_gets_everything(tmp_path):
    async with served_on_disk(tmp_path) as store:
        raw, _ = await subscribed(store, from_seq=1)
        raw.writer.transport.pause_reading()
        for number in range(60):
            await store.orchestrator.add_task({"n": number, "text": "x" * 100_000})
        (connection,) = [c for c in store.server.connections if c._is_subscribed]
        await within(stops(connection))
        assert connection._transport.get_write_buffer_size() < 2**20
        raw.writer.transport.resume_reading()
        assert await seqs(raw, 60) == list(range(1, 61))
        raw.writer.close()


async def stops(connection):
    while connection._room.is_set():  # noqa: ASYNC110  # it has no event for the contrary
        await asyncio.sleep(0.001)


async def test_what_comes_is_read_once_for_all_who_wait_for_it(tmp_path, monkeypatch):
    reads = []

    def noted(follower, *given):
        reads.append(follower.next_seq)
        return read(follower, *given)

    read = subscription_module._newest_lines
    monkeypatch.setattr(subscription_module, "_newest_lines", noted)
    async with served_on_disk(tmp_path) as store:
        raws = [(await subscribed(store))[0] for _ in range(20)]
        for seq in range(1, 11):
            await store.orchestrator.add_score(1.0)
            assert [await seqs(raw, 1) for raw in raws] == [[seq]] * 20
        for raw in raws:
            raw.writer.close()
    assert reads == list(range(1, 11))


async def test_those_who_began_elsewhere_or_fall_behind_get_everything_too(tmp_path, monkeypatch):
    monkeypatch.setattr(subscription_module, "PART_BYTES", 500)
    async with served_on_disk(tmp_path, keep_journal="forever") as store:
        async with store.orchestrator.transaction() as t:
            for _ in range(5):
                t.add_score(0.0)
        begins = [1, 3, 6, 9, 40, 150]
        raws = [(await subscribed(store, from_seq=begin))[0] for begin in begins]
        for number in range(195):
            sending = store.orchestrator.add_score(float(number))
            await (
                sending if number % 7 else asyncio.gather(sending, store.orchestrator.checkpoint())
            )
        for begin, raw in zip(begins, raws, strict=True):
            assert await seqs(raw, 200 - begin + 1) == list(range(begin, 201))
            raw.writer.close()


async def test_a_failure_to_read_ends_those_who_wait_and_not_those_who_come_later(
    tmp_path, monkeypatch
):
    def failing(*_):
        raise StorageError(tmp_path, "gone")

    async with served_on_disk(tmp_path) as store:
        raws = [(await subscribed(store))[0] for _ in range(3)]
        with monkeypatch.context() as patch:
            patch.setattr(subscription_module, "_newest_lines", failing)
            await store.orchestrator.add_score(1.0)
            for raw in raws:
                assert (await raw.reply())["error"]["kind"] == "storage"
                assert await raw.reply() is None
                raw.writer.close()
        raw, _ = await subscribed(store, from_seq=1)
        await store.orchestrator.add_score(2.0)
        assert await seqs(raw, 2) == [1, 2]
        raw.writer.close()


async def test_one_that_is_refused_ends_the_connection(tmp_path):
    async with served_on_disk(tmp_path) as store:
        for members in ({"from_seq": 0}, {"from_seq": "a"}, {"more": 1}):
            raw, refused = await subscribed(store, **members)
            assert refused["error"]["field"] in members
            assert await raw.reply() is None
            raw.writer.close()


async def test_one_whose_client_sends_no_more_is_answered_all_the_same(tmp_path):
    async with served_on_disk(tmp_path) as store:
        for members in ({}, {"from_seq": 0}, {"from_seq": "a"}, {"more": 1}):
            raw = await store.connect()
            raw.send(score(1.0), {"type": "subscribe", "request": 1, **members})
            raw.writer.write_eof()
            _, answer = await raw.replies(2)
            assert answer["request"] == 1
            assert answer["error"]["field"] in members if members else answer["value"] == 2
            assert await raw.reply() is None
            raw.writer.close()


async def test_what_comes_after_a_subscription_is_not_looked_at(tmp_path):
    async with served_on_disk(tmp_path) as store:
        raw = await store.connect()
        lines = [{"type": "subscribe", "from_seq": 1}, score(1.0), b"nonsense"]
        raw.send(*lines)
        assert await raw.reply() == {"value": 1}
        raw.send(score(1.0))
        await store.orchestrator.add_score(7.0)
        assert (await raw.reply())["transition"]["score"] == 7.0
        assert store.orchestrator.applied_seq == 1
        raw.writer.close()


async def test_it_ends_when_its_client_sends_no_more_and_with_the_worker(tmp_path):
    async with served_on_disk(tmp_path) as store:
        raw, _ = await subscribed(store)
        raw.writer.write_eof()
        assert await raw.reply() is None
        raw.writer.close()
        staying, _ = await subscribed(store)
    gone, said = await staying.replies(2)
    assert gone["error"]["kind"] == "closed"
    assert said == {"stopping": "closed"}
    staying.writer.close()


async def test_every_line_is_json(tmp_path):
    async with served_on_disk(tmp_path) as store:
        await store.orchestrator.add_task({"text": "a\nb\u2028"})
        raw, _ = await subscribed(store, from_seq=1)
        assert json.loads(await within(raw.reader.readline()))["transition"]["task"] == {
            "text": "a\nb\u2028"
        }
        raw.writer.close()
