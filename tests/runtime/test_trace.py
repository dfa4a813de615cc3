"""The sender's span, by the interface that OpenTelemetry documents (the package is not locked)."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import NamedTuple

import pytest

from penin.core import door
from penin.core.transitions import Origin, decode_messages
from penin.runtime.ledger import Selection, read_entries
from penin.runtime.trace import traced
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import STORE, supervised

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class SpanContext(NamedTuple):
    trace_id: int
    span_id: int
    trace_flags: int
    is_valid: bool


VALID = SpanContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, 1, is_valid=True)
INVALID = SpanContext(0, 0, 0, is_valid=False)


class Span:
    """What `opentelemetry.trace.get_current_span` returns."""

    def __init__(self, context=VALID):
        self.context = context

    def get_span_context(self):
        return self.context


@pytest.fixture
def span(monkeypatch):
    current = Span()
    module = ModuleType("opentelemetry.trace")
    module.get_current_span = lambda: current  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    return current


def traces(fs):
    return [entry.origin and entry.origin.trace for entry in read_entries(STORE, Selection(), fs)]


async def test_the_senders_span_is_in_the_log_event_and_in_the_transition(span):
    fs = CrashableFileSystem()
    async with supervised(fs) as running:
        orchestrator = running.orchestrator
        await orchestrator.add_score(1.0)
        await orchestrator.send({"type": "add_score", "score": 2.0, "id": "a"})
        await orchestrator.send_nowait({"type": "add_score", "score": 3.0})
        async with orchestrator.transaction() as t:
            t.add_score(4.0)
            t.add_score(5.0)
        span.context = INVALID
        await orchestrator.add_score(6.0)
    assert traces(fs) == [PARENT] * 5 + [None]
    logged = running.log.of("state.transition")
    assert [event.get("trace") for event in logged] == [PARENT] * 5 + [None]
    assert logged[1]["id"] == "a"
    assert {event["source"] for event in logged} == {"python"}


async def test_what_a_message_says_itself_is_kept(span):
    fs = CrashableFileSystem()
    async with supervised(fs) as running:
        for origin in ({"source": "queue", "trace": "other"}, {"source": "queue", "line": 7}):
            await running.orchestrator.send({"type": "add_score", "score": 1.0, "from": origin})
    first, second = (entry.origin for entry in read_entries(STORE, Selection(), fs))
    assert first is not None
    assert second is not None
    assert first.trace == "other"
    assert (second.source, second.line, second.trace) == ("queue", 7, PARENT)


async def test_a_message_that_is_sent_again_in_another_span_is_known(span):
    fs = CrashableFileSystem()
    message = {"type": "add_score", "score": 1.0, "id": "a", "from": {"source": "queue"}}
    async with supervised(fs) as running:
        first = await running.orchestrator.send(message)
        span.context = span.context._replace(span_id=7)
        assert await running.orchestrator.send(message) == first
    assert traces(fs) == [PARENT]


def test_no_member_stands_twice_in_a_message_with_a_trace(span):
    origin = Origin("queue", "n", 7)
    for plain in (door.add_score(1.0), door.add_task({"from": 1, "id": 2})):
        for message in (plain, door.stamp(plain, "a", origin), door.stamp(plain, None, origin)):
            raw = traced(message).raw
            names = json.loads(raw, object_pairs_hook=lambda pairs: [name for name, _ in pairs])
            assert len(names) == len(set(names))
            (body,) = decode_messages(b"[%b]" % raw)
            assert (body.id, body.origin) == (message.body.id, traced(message).body.origin)


async def test_without_opentelemetry_nothing_is_added():
    fs = CrashableFileSystem()
    async with supervised(fs) as running:
        await running.orchestrator.add_score(1.0)
    assert [entry.origin for entry in read_entries(STORE, Selection(), fs)] == [None]
