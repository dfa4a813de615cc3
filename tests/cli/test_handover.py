"""Several processes and one store: a new one takes over from an old one, and never both write."""

from __future__ import annotations

import contextlib
import signal
import socket
import time

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import PATIENCE_S, Penin
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"

SLOW_TO_END = '''
import asyncio

async def write_on(orchestrator, total=5):
    """After the stop it still has something to write, one at a time."""
    print("begun", flush=True)
    await orchestrator.stopping.wait()
    for number in range(total):
        await asyncio.sleep(0.1)
        ack = await orchestrator.add_score(float(number))
        print(ack.seq, flush=True)
'''


def test_a_new_process_waits_for_the_old_one_that_still_drains(place):
    (place / "slow.py").write_text(SLOW_TO_END)
    options = ["--lock-wait-s", "30"]
    with Penin(place, "run", "slow:write_on") as old:
        old.output(1)
        with Penin(place, "run", "workers:count", *options, "--", "total=1") as new:
            waiting = new.event("store.waiting")
            assert (waiting["pid"], waiting["wait_s"]) == (old.pid, 30.0)
            old.signal(signal.SIGTERM)
            assert new.end() == ExitCode.SUCCESS
        assert old.end() == ExitCode.SUCCESS
    assert old.out == ["begun", "1", "2", "3", "4", "5"]
    assert new.event("store.opened")["seq"] == 5, "all that the old one wrote while it drained"
    assert new.out == ["6"]


def test_a_store_that_stays_locked_is_refused_with_pid_host_and_what_to_do(place):
    with Penin(place, "run", "workers:wait") as old:
        old.output(1)
        new = run_penin(place, "run", "workers:count", "--lock-wait-s", "0.2")
        assert new.code == ExitCode.LOCKED
        assert new.said(f"process {old.pid} on {socket.gethostname()} (this host) has it open")
        assert new.said(f"(kill {old.pid}), or wait longer: lock_wait_s (--lock-wait-s) was 0.2 s")
        assert new.out == []
        old.signal(signal.SIGTERM)
        assert old.end() == ExitCode.SUCCESS


@pytest.mark.long
@pytest.mark.timeout(300)
def test_of_many_processes_that_are_stopped_and_killed_one_writes_at_a_time(place):
    options = ["--lock-wait-s", "200", "--history-maxlen", "1000000"]
    numbers = [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGKILL, signal.SIGINT]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(Penin(place, "run", "workers:endless", *options)) for _ in numbers
        ]
        left = dict(enumerate(processes))
        for number in numbers:
            turn = next_with_output(left)
            process = left.pop(turn)
            assert all(not other.out for other in left.values()), "only one has the store"
            process.signal(number)
            killed = number == signal.SIGKILL
            assert process.end() == (-signal.SIGKILL if killed else ExitCode.SUCCESS)
    seqs = [int(line) for process in processes for line in process.out]
    assert len(set(seqs)) == len(seqs), "no seq was acknowledged twice"
    found = penin.load(place / STORE)
    assert found.seq >= max(seqs)
    assert list(found.score_history) == [float(n) for n in range(len(found.score_history))]


def next_with_output(processes):
    """Which of them has written something, once one has."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        for turn, process in processes.items():
            if len(process.out) >= 20:
                return turn
        time.sleep(0.01)
    raise AssertionError("none of them gets the store")
