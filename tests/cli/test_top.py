"""`penin top`: what it shows of a worker, on a terminal and elsewhere, and how it ends."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import threading

import msgspec
import pytest
from rich.console import Console

from penin.cli.exits import ExitCode
from penin.cli.top_view import Look, TopView, size_text
from penin.runtime.metrics import MetricsView
from penin.runtime.status import HistoryStatus, WorkerStatus
from penin.storage.timings import Timings
from tests.cli.processes import PATIENCE_S, Penin
from tests.cli.processes import penin as run_penin

STORE = ".penin_omega"


def timings(*seconds):
    made = Timings()
    for second in seconds:
        made.observe(second)
    return made.view()


METRICS = MetricsView(
    uptime_s=3723.0,
    messages=12_345,
    transitions=20_000,
    batches=678,
    refused={"socket": 3, "full": 4},
    mailbox_messages=17,
    mailbox_bytes=900,
    applied_seq=30_000,
    durable_seq=29_990,
    is_full=True,
    fsync=timings(0.0004, 0.0004, 0.02),
    checkpoints=timings(0.25),
    checkpoint_failures=2,
    checkpoint_age_s=185.0,
    checkpoint_seq=29_000,
    checkpoint_bytes=64_300_000,
    loop_delay=timings(0.002),
    memory_bytes=123_456_789,
    log_events_dropped=8,
)
STATUS = WorkerStatus(
    pid=4711,
    phase="running",
    dir="/store",
    store="6f1c7d0e",
    epoch=5,
    fsync="everysec",
    applied_seq=30_000,
    durable_seq=29_990,
    mailbox_messages=17,
    mailbox_messages_max=10_000,
    at=None,
    schema_version=0,
    statistics={},
    histories={},
    documents=0,
    message_ids=HistoryStatus(0, None),
    max_knowledge=None,
    max_store_bytes=None,
    metrics=METRICS,
)


def drawn(look, *, width=80, height=30):
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(TopView(look))
    return console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


def test_everything_that_was_measured_is_shown_in_eighty_columns():
    shown = drawn(Look("/store", STATUS, scores=[0.25, 0.5, float("nan"), 0.75]))
    for text in (
        "penin top  running  process 4711  epoch 5  fsync everysec  /store",
        "17 of 10,000",
        "seq 29,990 (10 behind)",
        "123.5 MB",
        "1:02:03",
        "p50 500 µs, p99 25 ms, last 20 ms",
        "3:05 ago, took 250 ms",
        "seq 29,000, 64.3 MB",
        "2 of its checkpoints",
        "7 messages, no room on the disk",
        "8 events dropped",
        "last 0.75, of the newest 4: 0.25 to 0.75",
    ):
        assert text in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_rate_is_that_of_the_time_between_two_looks():
    assert "3 /s" in drawn(Look("/store", STATUS))  # of all time
    since = msgspec.structs.replace(METRICS, uptime_s=0.5, messages=1000)
    assert "2,000 /s" in drawn(Look("/store", STATUS, since=since))


def test_why_there_is_nothing_new_stands_above_what_was_known():
    shown = drawn(Look("/store\x1b[31m", STATUS, problem="no worker\x07 there"))
    assert "no worker\\x07 there" in shown
    assert "\x1b" not in shown
    assert "running" not in shown
    assert "17 of 10,000" in shown
    assert "no scores yet" in drawn(Look("/store"))


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2 * 10**15, "2000.0 TB")]
)
def test_a_size_has_the_unit_that_fits(size, text):
    assert size_text(size) == text


@pytest.mark.sliced
def test_without_a_terminal_it_is_one_view_of_the_worker_that_runs(place):
    with Penin(place, "run", "workers:endless") as worker:
        worker.output(5)
        process = run_penin(place, "top", "--interval-s", 0.3)
        assert process.code == ExitCode.SUCCESS, process.err
        worker.signal(signal.SIGTERM)
        worker.end()
    shown = "\n".join(process.out)
    assert f"running  process {worker.pid}" in shown
    messages = re.search(r"messages +([\d,]+) /s", shown)
    assert messages is not None
    assert int(messages[1].replace(",", "")) > 0
    assert "add_score" in shown
    assert any("\u2800" < character < "\u2900" for character in shown)


@pytest.mark.sliced
def test_where_no_worker_runs_it_says_so(place):
    run_penin(place, "send", os.devnull)
    process = run_penin(place, "top")
    assert process.code == ExitCode.USAGE
    assert len(process.err) == 1
    assert "no worker serves its socket" in process.err[0]
    assert "--interval-s" in run_penin(place, "top", "--interval-s", 0).err[0]


@pytest.mark.sliced
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_it_waits_for_a_worker_and_for_the_next_and_gives_the_terminal_back(
    place, number
):
    ours, theirs = pty.openpty()
    shown, changed = bytearray(), threading.Condition()

    def collect():
        try:
            while chunk := os.read(ours, 4096):
                with changed:
                    shown.extend(chunk)
                    changed.notify_all()
        except OSError:  # the other end is closed
            return

    def wait_for(text, behind=0):
        with changed:
            is_there = changed.wait_for(lambda: text.encode() in shown[behind:], PATIENCE_S)
            assert is_there, shown[-2000:]

    reader = threading.Thread(target=collect)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    command = [sys.executable, "-m", "penin", "top", "--interval-s", "0.2"]
    with subprocess.Popen(command, cwd=place, env=environment, stdout=theirs) as process:
        os.close(theirs)
        reader.start()
        wait_for("no worker serves its socket")
        with Penin(place, "run", "workers:wait") as first:
            wait_for(f"process {first.pid}")
            first.signal(signal.SIGKILL)
            first.end()
        wait_for("no worker serves its socket", len(shown))
        with Penin(place, "run", "workers:wait") as second:
            wait_for(f"process {second.pid}")
            process.send_signal(number)
            assert process.wait(PATIENCE_S) == 128 + number
            second.signal(signal.SIGTERM)
            second.end()
    reader.join(PATIENCE_S)
    os.close(ours)
    assert b"\x1b[?1049h" in shown
    assert shown.rindex(b"\x1b[?1049l") > shown.rindex(b"\x1b[?1049h")  # the screen before is back
    assert b"Traceback" not in shown
