"""Lines become messages, or are refused; never anything else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import penin
from penin.core.transitions import Ack, Origin
from penin.core.vocabulary import message as message_of
from penin.errors import (
    ClosedError,
    MailboxFullError,
    RefusedError,
    StorageFullError,
)
from penin.ingress import lines as lines_module
from penin.ingress.chunks import Input
from penin.ingress.lines import Counts, LineSource, id_in, read_message
from penin.ingress.rejected import RejectedLines
from penin.ingress.splitting import LINE_BYTES_MAX
from penin.logs import SilentLog

PATIENCE_S = 20.0
ORIGIN = Origin("file", "in", 7)


class Orchestrator:
    """Answers what it is told to, when it is told to, and remembers the order."""

    def __init__(self, *, room=1_000_000, full_for=()):
        self.scores: list[Any] = []
        self.waiting: list[tuple[Any, asyncio.Future[Ack]]] = []
        self.counts = Counts()
        self.room = room
        self.full_for = list(full_for)
        self.most_in_flight = 0
        self.applied_seq = 0

    def send_nowait(self, message):
        if len(self.waiting) >= self.room:
            raise MailboxFullError(self.room)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Ack] = loop.create_future()
        if not self.waiting:
            loop.call_soon(self.answer)
        self.waiting.append((message, answer))
        self.most_in_flight = max(self.most_in_flight, len(self.waiting))
        return answer

    async def send(self, message):
        while len(self.waiting) >= self.room:  # noqa: ASYNC110  # others answer meanwhile
            await asyncio.sleep(0)
        return await self.send_nowait(message)

    def answer(self):
        waiting, self.waiting = self.waiting, []
        for message, answer in waiting:
            score = message.body.score
            if score in self.full_for:
                self.full_for.remove(score)
                answer.set_exception(StorageFullError(Path("journal"), "No space left on device"))
            elif not answer.done():
                self.scores.append(score)
                answer.set_result(Ack(len(self.scores)))


def scores(count):
    return b"".join(b'{"type": "add_score", "score": %d}\n' % n for n in range(count))


async def send(tmp_path, data, orchestrator, **options):
    (tmp_path / "in").write_bytes(data)
    options = {"waits_for_room": False, **options}
    inputs = [Input(str(tmp_path / "in"))]
    source = LineSource(inputs, RejectedLines(tmp_path), SilentLog(), **options)
    try:
        await asyncio.wait_for(source(orchestrator), PATIENCE_S)
    finally:
        orchestrator.counts = source.counts
    return source.counts


def test_a_line_carries_where_it_came_from():
    message = read_message(b'{"type": "add_score", "score": 1}', ORIGIN)
    assert message.body.origin == ORIGIN


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "score",
                    "task",
                    "id",
                    "from",
                    "__type__",
                    "value",
                    "vector",
                    "dtype",
                    "data",
                    "key",
                    "keys",
                    "matrix",
                    "name",
                    "maxlen",
                    "transitions",
                    "metadata",
                ]
            ),
            inner
            | st.sampled_from(
                [
                    "add_score",
                    "add_task",
                    "add_knowledge",
                    "transaction",
                    "extend_knowledge",
                    "extend_scores",
                    "put_document",
                    "deque",
                    "float",
                    "int",
                    "NumericVectorArtifact",
                ]
            ),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=30) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_in_a_line_it_is_a_message_or_it_is_refused(line):
    try:
        message = read_message(line, ORIGIN)
    except RefusedError:
        return
    assert message_of(json.loads(line), ORIGIN).body == message.body


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b'"\xff"', "not valid UTF-8"),
        (b"[" * 1_000_000, "nested too deep"),
        (b'{"a":' * 1_000_000, "nested too deep"),
        (b'{"type": "add_score", "score": NaN}', "not JSON"),
        (b'{"type": "add_score", "score": 1e999}', "not JSON"),
        (b'{"type": "add_score", "score": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'\xef\xbb\xbf{"type": "add_score", "score": 1}', "not JSON"),
        (b"7", "not a JSON object"),
        (b'{"type": "add_task", "task": ' + b"[" * 500 + b"]" * 500 + b"}", "nested deeper"),
    ],
)
def test_what_is_no_message_is_refused_with_a_reason(line, reason):
    with pytest.raises(RefusedError, match=reason):
        read_message(line, ORIGIN)


async def test_many_are_on_their_way_at_once_within_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_module, "IN_FLIGHT_MESSAGES_MAX", 50)
    orchestrator = Orchestrator()
    counts = await send(tmp_path, scores(1000), orchestrator)
    assert orchestrator.scores == list(range(1000))
    assert 10 < orchestrator.most_in_flight <= 50
    assert (counts.taken, counts.first_seq, counts.last_seq) == (1000, 1, 1000)
    assert counts.is_complete


async def test_a_full_mailbox_is_waited_for_and_the_order_is_kept(tmp_path):
    orchestrator = Orchestrator(room=3)
    other = asyncio.ensure_future(
        orchestrator.send(read_message(b'{"type": "add_score", "score": -1}', ORIGIN))
    )
    await send(tmp_path, scores(100), orchestrator)
    await other
    assert [score for score in orchestrator.scores if score >= 0] == list(range(100))


async def test_a_full_disk_ends_the_sending_and_what_was_stored_is_counted(tmp_path):
    orchestrator = Orchestrator(full_for=[5.0])
    with pytest.raises(StorageFullError):
        await send(tmp_path, scores(10), orchestrator)
    counts = orchestrator.counts
    assert not counts.is_complete
    assert counts.taken == len(orchestrator.scores) == 9


async def test_a_worker_waits_for_room_and_sends_again_what_was_not_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_module, "FULL_PAUSE_S", 0.001)
    orchestrator = Orchestrator(full_for=[*range(5, 10), 5, 5])
    counts = await send(tmp_path, scores(10), orchestrator, waits_for_room=True)
    assert orchestrator.scores == list(range(10))
    assert counts.taken == 10


async def test_cancelled_it_withdraws_nothing_and_counts_what_is_answered(tmp_path):
    class Slow(Orchestrator):
        def send_nowait(self, message):
            answer = super().send_nowait(message)
            if len(self.waiting) == 100:
                task.cancel()
            return answer

        def answer(self):
            loop.call_later(0.05, super().answer)

    loop = asyncio.get_running_loop()
    orchestrator = Slow()
    task = asyncio.ensure_future(send(tmp_path, scores(100), orchestrator))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert orchestrator.scores == list(range(100))
    assert orchestrator.counts.taken == 100
    assert not orchestrator.counts.is_complete


async def test_a_closed_orchestrator_ends_it(tmp_path):
    class Closed(Orchestrator):
        def send_nowait(self, message):
            raise ClosedError("closed")

    with pytest.raises(ClosedError):
        await send(tmp_path, scores(1), Closed())


async def test_a_line_that_is_too_long_is_refused_and_kept_and_the_rest_goes_on(tmp_path):
    long = b'{"type": "add_score", "score": ' + b" " * LINE_BYTES_MAX + b"1}"
    orchestrator = Orchestrator()
    counts = await send(tmp_path, long + b"\n" + scores(1), orchestrator)
    assert (counts.taken, counts.refused) == (1, 1)
    assert (tmp_path / "rejected.jsonl").read_bytes() == long + b"\n"


async def test_a_long_line_within_the_bound_is_taken(tmp_path):
    long = b'{"type": "add_score", "score": ' + b" " * (LINE_BYTES_MAX // 2) + b"1}"
    orchestrator = Orchestrator()
    assert (await send(tmp_path, long, orchestrator)).taken == 1


async def test_with_a_real_store_every_line_is_logged_and_journaled_with_its_origin(tmp_path):
    events: list[dict[str, object]] = []
    logger = structlog.wrap_logger(None, processors=[lambda _l, _m, event: drop(events, event)])
    (tmp_path / "in").write_bytes(scores(3))
    async with penin.open(tmp_path / "store", logger=logger) as orchestrator:
        inputs, rejected = [Input(str(tmp_path / "in"))], RejectedLines(tmp_path / "store")
        source = LineSource(inputs, rejected, SilentLog(), waits_for_room=False)
        await asyncio.wait_for(source(orchestrator), PATIENCE_S)
        assert await orchestrator.history("score_history") == [0.0, 1.0, 2.0]
    journal = b"".join(path.read_bytes() for path in (tmp_path / "store" / "journal").iterdir())
    assert journal.count(b'"from":{"source":"file"') == 3


def drop(events, event):
    events.append(event)
    raise structlog.DropEvent


async def test_a_line_that_is_sent_again_is_counted_as_stored_and_told_apart(tmp_path):
    lines = [b'{"type": "add_score", "score": %d, "id": "m-%d"}\n' % (n, n) for n in range(5)]
    async with penin.open(":memory:") as orchestrator:
        counts = await send(tmp_path, b"".join(lines[:3] + lines[1:2]), orchestrator)
        assert (counts.taken, counts.repeated) == (4, 1)
        assert (counts.first_seq, counts.last_seq) == (1, 3)
        counts = await send(tmp_path, b"".join(lines), orchestrator)
        assert (counts.taken, counts.repeated) == (5, 3)
        assert (counts.first_seq, counts.last_seq) == (4, 5)
        assert list(orchestrator.view.score_history) == [0.0, 1.0, 2.0, 3.0, 4.0]


async def test_a_line_with_the_id_of_another_one_is_refused_and_kept_and_the_rest_goes_on(tmp_path):
    lines = [
        b'{"type": "add_score", "score": 1, "id": "a"}\n',
        b'{"type": "add_score",  "score": 2, "id": "a"}\n',
        b'{"type": "add_score", "score": 3}\n',
    ]
    with structlog.testing.capture_logs() as events:
        async with penin.open(":memory:", logger=structlog.get_logger()) as orchestrator:
            (tmp_path / "in").write_bytes(b"".join(lines))
            log = structlog.get_logger()
            source = LineSource(
                [Input(str(tmp_path / "in"))], RejectedLines(tmp_path), log, waits_for_room=False
            )
            await asyncio.wait_for(source(orchestrator), PATIENCE_S)
            assert list(orchestrator.view.score_history) == [1.0, 3.0]
    assert (source.counts.taken, source.counts.refused, source.counts.is_complete) == (2, 1, True)
    assert (tmp_path / "rejected.jsonl").read_bytes() == lines[1]
    (refused,) = [event for event in events if event["event"] == "message.refused"]
    assert (refused["line"], refused["field"], refused["id"]) == (2, "id", "a")
    assert refused["reason"] == "'a' was another message, with seq 1"


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b'{"id":"a","type":[{}],"score":"x"}', "a"),
        (b'{"type":"add_score"}', None),
        (b'{"id":""}', None),
        (b'{"id":"%b"}' % (b"x" * 129), None),
        (b'{"id":7}', None),
        (b'{"id":"a"', None),
        (b'["id"]', None),
        (b'\xff{"id":"a"}', None),
        (b'{"id":"a","x":' + b"[" * 1_000_000, None),
    ],
)
def test_the_id_of_a_refused_line_is_known_where_it_can_be(line, id):
    assert id_in(line) == id
