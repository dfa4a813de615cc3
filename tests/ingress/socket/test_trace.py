"""The span of a program that sends over the socket, which the worker does not have."""

from __future__ import annotations

import asyncio
import os
import sys
from contextvars import ContextVar
from types import ModuleType

import pytest

import penin
from penin import NumericVectorArtifact
from penin.core.transitions import Origin
from penin.runtime.ledger import Selection, read_entries
from tests.ingress.socket.raw import served_on_disk
from tests.runtime.test_trace import INVALID, PARENT, Span


@pytest.fixture
def span(monkeypatch):
    """The current span, one for each context: there is none where it was not set."""
    current: ContextVar[Span] = ContextVar("span")
    module = ModuleType("opentelemetry.trace")
    module.get_current_span = lambda: current.get(Span(INVALID))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    return current


async def test_everything_that_is_sent_in_a_span_names_it_and_the_process(tmp_path, span):
    async with served_on_disk(tmp_path), penin.connect(tmp_path) as orchestrator:
        await orchestrator.add_score(1.0)
        span.set(Span())
        await orchestrator.add_knowledge("a", NumericVectorArtifact([1.0]))
        await orchestrator.send_nowait({"type": "add_score", "score": 2.0})
        await orchestrator.prune_knowledge(prefix="a")
    own = Origin("socket", f"process {os.getpid()}")
    linked = Origin("socket", own.name, trace=PARENT)
    entries = await asyncio.to_thread(lambda: list(read_entries(tmp_path, Selection())))
    assert [entry.origin for entry in entries] == [own, linked, linked, linked]
