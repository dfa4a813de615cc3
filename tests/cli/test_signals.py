"""Real signals to real processes, `kill -9` among them, and logs that nobody reads."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import Penin
from tests.cli.processes import penin as run_penin

STORE = ".penin_omega"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_saves_everything_and_is_a_success(place, number):
    with Penin(place, "run", "workers:endless") as process:
        process.output(5)
        process.signal(number)
        assert process.end() == ExitCode.SUCCESS
    assert process.event("signal.received", signal=number.name)["action"] == "stop"
    assert process.event("checkpoint.finished", reason="shutdown")
    acked = int(process.out[-1])
    assert penin.load(place / STORE).seq == acked


def test_a_second_signal_a_second_later_exits_at_once_and_loses_nothing(place):
    with Penin(place, "run", "workers:stubborn", "workers:count") as process:
        process.output(4)
        process.signal(signal.SIGTERM)
        process.event("signal.received", action="stop")
        # Those that come before the second is over lead to nothing.
        seconds = process.signal_until_it_ends(signal.SIGINT, interval_s=0.2)
        assert process.end() == 128 + signal.SIGINT
    assert 0.8 < seconds < 5
    assert process.event("signal.received", signal="SIGINT", action="none")
    assert not (place / STORE / "state.json").exists()
    assert list(penin.load(place / STORE).score_history) == [0.0, 1.0, 2.0]


def test_sigusr1_writes_a_checkpoint(place):
    with Penin(place, "run", "workers:count", "workers:wait") as process:
        process.output(4)
        process.event("state.transition", seq=3)
        process.signal(signal.SIGUSR1)
        assert process.event("checkpoint.finished", reason="signal")["seq"] == 3
        assert (place / STORE / "state.json").exists()
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS


def test_what_was_acknowledged_before_kill_9_is_there_in_order_and_once(place):
    found: list[float] = []
    for _ in range(3):
        options = ["--checkpoint-transitions-max", "50", "--history-maxlen", "1000000"]
        with Penin(place, "run", "workers:endless", *options) as process:
            process.output(120)
            process.signal(signal.SIGKILL)
            assert process.end() == -signal.SIGKILL
        acked = int(process.out[-1])
        found = list(penin.load(place / STORE).score_history)
        assert found == [float(number) for number in range(len(found))]
        # Seq 1 sets the bound of the histories; one score may have been on its way.
        assert acked - 1 <= len(found) <= acked
    process = run_penin(place, "run", "workers:count", "--", "total=0")
    assert process.event("recovery.finished")["score_history_size"] == len(found)


def test_a_stalled_stderr_stops_neither_acknowledgements_nor_the_end(place):
    receiver, sender = os.pipe()  # nobody reads, and 2,000 events are more than a pipe holds
    try:
        with Penin(place, "run", "workers:blocking_log", stderr=sender) as process:
            assert process.output(1) == ["done"]
            assert process.end() == ExitCode.SUCCESS
    finally:
        os.close(receiver)
        os.close(sender)
    assert penin.load(place / STORE).seq == 2000


def test_an_error_is_said_also_where_stderr_is_stalled(place):
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    try:
        while True:
            os.write(sender, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(sender, True)
    try:
        with Penin(place, "run", "nowhere:worker", stderr=sender) as process:
            assert process.end() == ExitCode.USAGE
    finally:
        os.close(receiver)
        os.close(sender)


def test_a_stderr_whose_reader_has_gone_does_not_stop_a_worker(place):
    receiver, sender = os.pipe()
    os.close(receiver)
    try:
        with Penin(place, "run", "workers:count", stderr=sender) as process:
            assert process.end() == ExitCode.SUCCESS
    finally:
        os.close(sender)
    assert process.out == ["1", "2", "3"]


def test_a_stdin_that_never_ends_does_not_hold_the_end(place):
    with Penin(place, "run", "--stdin", stdin=subprocess.PIPE) as process:
        process.event("ingress.opened")
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS


@pytest.mark.parametrize("worker", ["deaf", "in_thread"])
def test_a_worker_that_never_ends_does_not_keep_the_process(place, worker):
    options = ["--stop-grace-s", "0.2", "--cancel-grace-s", "0.2"]
    with Penin(place, "run", f"workers:{worker}", *options) as process:
        process.output(1)
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS
    assert process.event("worker.abandoned", worker=f"workers:{worker}")["level"] == "warning"
    assert process.event("checkpoint.finished", reason="shutdown")
    assert list(penin.load(place / STORE).score_history) == [1.0]


def test_what_is_left_behind_does_not_change_the_exit_code(place):
    options = ["--worker-failures-max", "1", "--cancel-grace-s", "0.2"]
    with Penin(place, "run", "workers:leaving", *options) as process:
        assert process.end() == ExitCode.WORKER_GAVE_UP
    assert process.event("worker.abandoned", worker="workers:leaving")
    assert process.said("penin: worker workers:leaving failed 1 times")
