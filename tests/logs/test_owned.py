"""The command line's pipeline: one line an event, from everybody in the process."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import warnings

import pytest
import structlog

from penin.errors import UsageError
from penin.logs.owned import configure
from tests.logs.fakes import (
    PATIENCE_S,
    Terminal,
    lines_of,
)


def test_a_line_has_time_level_and_event_first_then_the_fields():
    stream = io.StringIO()
    logs = configure(format="json", stream=stream)
    logs.info("state.transition", seq=1, type="add_score")
    assert logs.close(PATIENCE_S)
    (line,) = lines_of(stream)
    assert list(line) == ["timestamp", "level", "event", "seq", "type"]
    assert line["level"] == "info"
    assert line["event"] == "state.transition"


def test_a_transition_carries_its_senders_context_variables_and_its_own_fields_win():
    stream = io.StringIO()
    logs = configure(stream=stream)
    sender = contextvars.copy_context()
    sender.run(structlog.contextvars.bind_contextvars, request_id="r-1", seq=99, level="boss")
    logs.transition(sender, seq=1)
    logs.transition(None, seq=2)
    assert logs.close(PATIENCE_S)
    first, second = lines_of(stream)
    assert (first["request_id"], first["seq"], first["level"]) == ("r-1", 1, "info")
    assert "request_id" not in second


def test_a_context_that_is_being_run_can_be_logged_in():
    stream = io.StringIO()
    logs = configure(stream=stream)
    sender = contextvars.copy_context()

    def inside() -> None:
        structlog.contextvars.bind_contextvars(request_id="r-1")
        logs.transition(sender, seq=1)

    sender.run(inside)
    assert logs.close(PATIENCE_S)
    assert lines_of(stream)[0]["request_id"] == "r-1"


def test_a_level_filters_what_is_below_it():
    stream = io.StringIO()
    logs = configure(level="warning", stream=stream)
    assert not logs.enabled
    logs.transition(None, seq=1)
    logs.info("store.opened", dir="/x")
    logs.debug("checkpoint.skipped")
    logs.warning("storage.full", cause="no room")
    logs.error("journal.failed", cause="EIO")
    assert logs.close(PATIENCE_S)
    assert [line["level"] for line in lines_of(stream)] == ["warning", "error"]


@pytest.mark.parametrize("wrong", [{"level": "loud"}, {"format": "xml"}])
def test_an_unknown_level_or_format_is_a_mistake_of_usage(wrong):
    with pytest.raises(UsageError, match="no such log"):
        configure(**wrong)
    assert not structlog.is_configured()


def test_a_workers_own_structlog_logger_writes_through_the_same_pipeline():
    stream = io.StringIO()
    logs = configure(stream=stream)
    structlog.get_logger("worker").bind(worker="digits").info("generation", number=3)
    logs.logger.bind(a=1).info("bound")
    assert logs.close(PATIENCE_S)
    first, second = lines_of(stream)
    assert (first["event"], first["worker"], first["number"]) == ("generation", "digits", 3)
    assert (second["event"], second["a"]) == ("bound", 1)


def test_the_standard_librarys_records_and_warnings_take_the_same_way_until_closed():
    stream = io.StringIO()
    before = (list(logging.root.handlers), logging.root.level)
    logs = configure(stream=stream)
    logging.getLogger("asyncio").error("Task %s was destroyed", "t1")
    logs._handler.handle(logging.makeLogRecord({"levelno": 25, "msg": "%d and %d", "args": (1,)}))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("deprecated", stacklevel=1)
    assert logs.close(PATIENCE_S)
    assert (list(logging.root.handlers), logging.root.level) == before
    first, second, third = lines_of(stream)
    assert (first["event"], first["logger"]) == ("Task t1 was destroyed", "asyncio")
    assert (second["event"], second["level"]) == ("%d and %d", "info")
    assert "deprecated" in str(third["event"])


def test_a_terminal_gets_colours_and_anything_else_gets_json():
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        logs = configure(stream=stream)
        logs.info("store.opened", dir="/x")
        assert logs.close(PATIENCE_S)
    assert "\x1b[" in terminal.getvalue()
    assert "store.opened" in terminal.getvalue()
    assert lines_of(file)[0]["dir"] == "/x"


def test_readable_lines_elsewhere_than_on_a_terminal_have_no_colours():
    stream = io.StringIO()
    logs = configure(format="console", stream=stream)
    logs.info("store.opened", dir="/x")
    assert logs.close(PATIENCE_S)
    assert "\x1b" not in stream.getvalue()
    assert "store.opened" in stream.getvalue()


def test_what_is_bound_is_on_every_line_of_the_process_in_place_of_what_was_bound_before():
    stream = io.StringIO()
    logs = configure(stream=stream, events_max=3, linger_s=0.0)
    logs.bind(dir="/store")
    logs.info("recovery.started", dir="own")
    logs.bind(store="7a")
    structlog.get_logger().info("a worker's own")
    logging.getLogger("asyncio").warning("a library's")
    for seq in range(1_000):
        logs.info("state.transition", seq=seq)
    assert logs.close(PATIENCE_S)
    first, *others = lines_of(stream)
    assert (first["dir"], "store" in first) == ("own", False)
    assert {line["store"] for line in others} == {"7a"}
    assert not any("dir" in line for line in others)
    assert "log.dropped" in [line["event"] for line in others]


def test_lines_for_people_do_not_repeat_what_is_bound():
    stream = io.StringIO()
    logs = configure(format="console", stream=stream)
    logs.bind(store="7a")
    logs.info("store.closed", seq=1)
    assert logs.close(PATIENCE_S)
    assert "7a" not in stream.getvalue()


def test_a_file_gets_json_also_where_stderr_is_a_terminal_and_can_be_opened_anew(tmp_path):
    path = tmp_path / "penin.log"
    logs = configure(stream=Terminal(), file=path)
    assert logs.reopen is not None
    logs.info("store.closed", seq=1)
    logs.reopen()
    assert logs.close(PATIENCE_S)
    assert json.loads(path.read_text())["seq"] == 1
    other = configure(stream=io.StringIO())
    assert other.reopen is None
    assert other.close(PATIENCE_S)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"log file .* cannot be opened: Is a directory"):
        configure(file=tmp_path)
