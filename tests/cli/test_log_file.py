"""`--log-file`, as a process: what is in it, and logrotate."""

from __future__ import annotations

import json
import signal
import time

import pytest

from penin.cli.exits import ExitCode
from tests.cli.processes import PATIENCE_S, Penin, scores
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several

ROTATING = """
import asyncio, pathlib, structlog

async def rotating(orchestrator):
    await orchestrator.send({"type": "add_score", "score": 1.0, "id": "m-1"})
    structlog.get_logger().warning("half of it")
    print("half", flush=True)
    while not pathlib.Path("go").exists():
        await asyncio.sleep(0.01)
    await orchestrator.add_score(2.0)
    print("done", flush=True)
    await orchestrator.stopping.wait()
"""


IMPORTED = """
import pathlib, time

print("importing", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.01)

async def worker(orchestrator):
    print("running", flush=True)
    await orchestrator.stopping.wait()
"""


def lines_of(path):
    """The lines of a log, once there are any."""
    deadline = time.monotonic() + PATIENCE_S
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_sighup_opens_the_file_anew_and_no_line_is_lost(place):
    (place / "logging_worker.py").write_text(ROTATING)
    log, rotated = place / "penin.log", place / "penin.log.1"
    with Penin(place, "run", "logging_worker:rotating", "--log-file", "penin.log") as process:
        process.output(1)
        lines_of(log)  # a thread writes them: else all could come after the signal
        log.rename(rotated)
        process.signal(signal.SIGHUP)
        lines_of(log)
        (place / "go").touch()
        process.output(2)
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS
    assert process.err == []
    before, after = lines_of(rotated), lines_of(log)
    reopened = [line["action"] for line in after if line["event"] == "signal.received"]
    assert reopened == ["reopen", "stop"]
    lines = before + after
    assert [line["seq"] for line in lines if line["event"] == "state.transition"] == [1, 2]
    assert lines[-1]["event"] == "supervisor.phase"
    # Contextual fields: the store or its directory on every line, the worker, the message's id.
    opened = next(line for line in lines if line["event"] == "store.opened")
    for line in lines:
        assert opened["store"] == line.get("store") or opened["dir"] == line.get("dir")
    caused = [line for line in lines if line["event"] in {"state.transition", "half of it"}]
    assert {line["worker"] for line in caused} == {"logging_worker:rotating"}
    assert {line["store"] for line in caused} == {opened["store"]}
    assert caused[0]["id"] == "m-1"


def test_where_it_cannot_be_opened_anew_the_file_before_goes_on_and_says_so(place):
    (place / "logs").mkdir()
    with Penin(place, "run", "workers:wait", "--log-file", "logs/penin.log") as process:
        process.output(1)
        (place / "logs").rename(place / "moved")
        process.signal(signal.SIGHUP)
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS
    unopened = [line for line in lines_of(place / "moved" / "penin.log") if "path" in line]
    assert [(line["event"], line["level"]) for line in unopened] == [("log.unopened", "warning")]
    assert unopened[0]["path"] == str(place / "logs" / "penin.log")


def test_sighup_before_the_store_is_open_does_not_end_it(place):
    (place / "imported.py").write_text(IMPORTED)
    with Penin(place, "run", "imported:worker", "--log-file", "penin.log") as process:
        process.output(1)
        process.signal(signal.SIGHUP)
        (place / "go").touch()
        assert process.output(2) == ["importing", "running"]
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS


def test_send_logs_to_a_file_too_and_stderr_keeps_what_is_said(place):
    (place / "lines.jsonl").write_bytes(scores(2))
    arguments = ["send", "lines.jsonl", "--log-file", "penin.log", "--log-level", "info"]
    process = run_penin(place, *arguments)
    assert process.code == ExitCode.SUCCESS
    assert len(process.err) == 1
    events = [line["event"] for line in lines_of(place / "penin.log")]
    assert events.count("state.transition") == 2


def test_a_log_file_that_cannot_be_opened_is_a_mistake_with_one_sentence(place):
    process = run_penin(place, "run", "workers:count", "--log-file", "nowhere/penin.log")
    assert process.code == ExitCode.USAGE
    assert len(process.err) == 1
    assert "nowhere/penin.log cannot be opened: No such file or directory" in process.err[0]
