"""In somebody else's program: its logger on a thread of its own, or silence."""

from __future__ import annotations

import contextvars
import io
import logging
import subprocess
import sys
import threading

import pytest
import structlog

from penin.errors import RefusedTypeError
from penin.logs import (
    EventLog,
    HostLog,
    SilentLog,
    embedded_logger,
)
from penin.logs.owned import configure
from tests.logs.fakes import (
    PATIENCE_S,
    HostLogger,
)


def test_a_host_that_has_not_configured_structlog_sees_nothing(capfd):
    log = embedded_logger()
    assert isinstance(log, SilentLog)
    assert not log.enabled
    for method in (log.debug, log.info, log.warning, log.error):
        method("journal.failed", cause="EIO")
    log.transition(contextvars.copy_context(), seq=1)
    assert log.close(PATIENCE_S)
    assert capfd.readouterr() == ("", "")
    assert not structlog.is_configured()


def test_a_host_without_structlog_does_not_import_it():
    code = (
        "import asyncio, sys, penin\n"
        "async def main():\n"
        "    async with penin.open(':memory:') as orchestrator:\n"
        "        await orchestrator.add_score(1.0)\n"
        "asyncio.run(main())\n"
        "print({'structlog', 'rich'} & set(sys.modules), callable(penin.run))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set() True\n"


def test_a_hosts_configured_structlog_is_used_with_the_context_of_each_sender():
    entries: list[dict[str, object]] = []

    def capture(_logger, _method, event):
        entries.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, capture],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    log = embedded_logger()
    assert log.enabled
    log.debug("checkpoint.skipped")
    for number in (1, 2):
        sender = contextvars.copy_context()
        sender.run(structlog.contextvars.bind_contextvars, request_id=number)
        log.transition(sender, seq=number)
    structlog.contextvars.bind_contextvars(request_id="mine")
    log.transition(None, seq=3)
    log.info("store.closed", seq=3)
    assert log.close(PATIENCE_S)
    assert entries == [
        {"event": "state.transition", "seq": 1, "request_id": 1},
        {"event": "state.transition", "seq": 2, "request_id": 2},
        {"event": "state.transition", "seq": 3, "request_id": "mine"},
        {"event": "store.closed", "seq": 3, "request_id": "mine"},
    ]


def test_the_host_is_called_on_a_thread_that_is_not_the_callers_also_in_a_running_context():
    host = HostLogger()
    log = embedded_logger(host)
    sender = contextvars.copy_context()
    sender.run(log.transition, sender, seq=1)
    log.debug("a")
    log.warning("b")
    log.error("c")
    assert log.close(PATIENCE_S)
    assert [(method, event) for method, event, _ in host.calls] == [
        ("info", "state.transition"),
        ("debug", "a"),
        ("warning", "b"),
        ("error", "c"),
    ]
    assert threading.get_ident() not in host.threads
    assert len(host.threads) == 1


def test_a_host_whose_logger_raises_is_left_alone_with_it():
    host = HostLogger(fails=True)
    log = embedded_logger(host)
    assert isinstance(log, HostLog)
    log.info("a")
    log.info("b")
    assert log.close(PATIENCE_S)
    assert log.failures == 2


def test_a_host_whose_logger_stalls_holds_nobody_and_learns_what_it_missed():
    host = HostLogger()
    host.gate.clear()
    log = embedded_logger(host, events_max=10)
    assert isinstance(log, HostLog)
    for number in range(1_000):
        log.transition(None, seq=number)
    assert log.dropped > 0
    host.gate.set()
    assert log.close(PATIENCE_S)
    missing = sum(call[2]["count"] for call in host.calls if call[1] == "log.dropped")
    assert missing + sum(call[1] == "state.transition" for call in host.calls) == 1_000


def test_closing_on_a_stalled_host_is_bounded_and_ends_its_events():
    host = HostLogger()
    host.gate.clear()
    log = embedded_logger(host, linger_s=0.0)
    assert isinstance(log, HostLog)
    for number in range(3):
        log.info("event", number=number)
    assert not log.close(0.01)
    host.gate.set()
    log._buffer._thread.join(PATIENCE_S)
    assert len(host.calls) + log.dropped == 3


@pytest.mark.parametrize("logger", [logging.getLogger("host"), object()])
def test_a_logger_that_takes_no_fields_is_refused_at_once(logger):
    with pytest.raises(RefusedTypeError, match="logger"):
        embedded_logger(logger)


def test_a_host_on_the_standard_library_may_change_its_level_while_running():
    host = logging.getLogger("penin-test-host")
    log = embedded_logger(structlog.wrap_logger(host, wrapper_class=structlog.stdlib.BoundLogger))
    host.setLevel(logging.ERROR)
    assert not log.enabled
    host.setLevel(logging.INFO)
    assert log.enabled
    assert log.close(PATIENCE_S)


def test_what_is_bound_is_on_every_event_and_an_events_own_fields_go_first():
    logger = HostLogger()
    log = HostLog(logger)
    log.bind(dir="/store")
    log.bind(store="7a")
    log.info("store.closed", seq=3)
    log.transition(None, seq=4, store="own")
    assert log.close(PATIENCE_S)
    assert [fields for _, _, fields in logger.calls] == [
        {"store": "7a", "seq": 3},
        {"store": "own", "seq": 4},
    ]


def test_all_three_logs_fit_the_protocol():
    owned: EventLog = configure(stream=io.StringIO())
    host: EventLog = HostLog(HostLogger())
    silent: EventLog = SilentLog()
    for log in (owned, host, silent):
        assert log.close(PATIENCE_S)
