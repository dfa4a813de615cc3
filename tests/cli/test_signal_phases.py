"""Every signal in every phase, to real processes, which gates in front of the disk hold there."""

from __future__ import annotations

import os
import signal

import pytest

import penin
from penin.cli.exits import SIGNAL_BASE, ExitCode
from tests.cli.processes import Penin
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"
ENDING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]

GATED = '''
"""A module of workers whose store lies on a disk that takes its time, until `gate` is written."""
import os
from penin.storage.filesystem import OsFileSystem

def gate():
    with open("gate") as opened:
        opened.read()

slow = os.environ["SLOW"]
read, write = OsFileSystem.open_read, OsFileSystem.open_write

def open_read(self, path):
    if slow == "recovery" and path.name == "state.json":
        gate()
    return read(self, path)

def open_write(self, path, *, exclusive=False):
    if slow == "checkpoint" and path.name.startswith("state.json.tmp-"):
        gate()
    return write(self, path, exclusive=exclusive)

OsFileSystem.open_read, OsFileSystem.open_write = open_read, open_write

async def add(orchestrator):
    ack = await orchestrator.add_score(1.0)
    print(ack.seq, flush=True)

async def last_words(orchestrator):
    await add(orchestrator)
    await orchestrator.stopping.wait()
    while not os.path.exists("enough"):
        await add(orchestrator)
'''


IMPORTING = """
import time
print("importing", flush=True)
while True:
    time.sleep(0.01)
"""


@pytest.fixture
def gated(place):
    (place / "gated.py").write_text(GATED)
    os.mkfifo(place / "gate")
    return place


def open_gate(place):
    (place / "gate").write_text("")


def files(place):
    store = place / STORE
    return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.mark.parametrize("number", ENDING)
def test_before_the_store_is_opened_nothing_is_saved_and_nothing_is_there(gated, number):
    (gated / "importing.py").write_text(IMPORTING)
    with Penin(gated, "run", "importing:worker") as process:
        process.output(1)
        process.signal(signal.SIGUSR1)
        process.signal(number)
        assert process.end() == SIGNAL_BASE + number
    assert process.err == []
    assert not (gated / STORE).exists()


@pytest.mark.parametrize("number", ENDING)
def test_while_the_lock_is_waited_for_the_waiting_ends_and_nothing_is_written(place, number):
    with Penin(place, "run", "workers:wait") as old:
        old.output(1)
        before = files(place)
        with Penin(place, "run", "workers:count", "--lock-wait-s", "600") as process:
            process.event("store.waiting")
            process.signal(signal.SIGUSR1)
            process.event("signal.received", signal="SIGUSR1", phase="starting", action="none")
            process.signal(number)
            assert process.end() == ExitCode.SUCCESS
        assert process.event("recovery.abandoned")["signal"] == number.name
        assert files(place) == before
        old.signal(number)
        assert old.end() == ExitCode.SUCCESS


@pytest.mark.parametrize("number", ENDING)
def test_while_recovering_it_is_abandoned_and_nothing_is_written(gated, number):
    assert run_penin(gated, "run", "workers:count").code == ExitCode.SUCCESS
    before = files(gated)
    with Penin(gated, "run", "gated:add", SLOW="recovery") as process:
        process.event("recovery.started")
        process.signal(signal.SIGUSR1)
        process.event("signal.received", signal="SIGUSR1", phase="recovering", action="none")
        process.signal(number)
        process.event("signal.received", signal=number.name, phase="recovering", action="stop")
        open_gate(gated)
        assert process.end() == ExitCode.SUCCESS
    assert process.event("recovery.abandoned")["signal"] == number.name
    assert process.out == []
    assert files(gated) == before


@pytest.mark.parametrize("number", ENDING)
def test_while_draining_a_checkpoint_can_be_asked_for_and_the_first_signal_counts(gated, number):
    with Penin(gated, "run", "gated:last_words", SLOW="nothing") as process:
        process.output(1)
        process.signal(number)
        process.event("supervisor.phase", phase="draining", reason=number.name)
        process.signal(signal.SIGUSR1)
        process.event("signal.received", signal="SIGUSR1", phase="draining", action="checkpoint")
        process.event("checkpoint.finished", reason="signal")
        (gated / "enough").touch()
        assert process.end() == ExitCode.SUCCESS
    assert penin.load(gated / STORE).seq == len(process.out)
    assert process.event("checkpoint.finished", reason="shutdown")["seq"] == len(process.out)


@pytest.mark.parametrize("number", ENDING)
def test_during_the_last_checkpoint_signals_change_nothing_for_a_second(gated, number):
    with Penin(gated, "run", "gated:add", SLOW="checkpoint") as process:
        process.event("supervisor.phase", phase="draining", reason="all work has ended")
        for sent, action in (
            (number, "stop"),
            (signal.SIGTERM, "none"),
            (signal.SIGUSR1, "checkpoint"),
        ):
            process.signal(sent)
            process.event("signal.received", signal=sent.name, phase="draining", action=action)
        open_gate(gated)
        assert process.end() == ExitCode.SUCCESS
    assert process.event("checkpoint.finished", reason="shutdown")["seq"] == 1
    assert penin.load(gated / STORE).seq == 1


@pytest.mark.parametrize("number", ENDING)
def test_during_the_last_checkpoint_a_second_signal_ends_it_and_loses_nothing(gated, number):
    with Penin(gated, "run", "gated:add", SLOW="checkpoint") as process:
        process.event("supervisor.phase", phase="draining")
        process.signal(number)
        process.event("signal.received", action="stop")
        process.signal_until_it_ends(number, interval_s=0.3)
        assert process.end() == SIGNAL_BASE + number
    assert not (gated / STORE / "state.json").exists()
    assert penin.load(gated / STORE).seq == 1


@pytest.mark.parametrize("number", ENDING)
def test_what_comes_when_all_is_saved_ends_the_waiting_for_what_is_left(place, number):
    options = ["--stop-grace-s", "0.1", "--cancel-grace-s", "600"]
    with Penin(place, "run", "workers:leaving", *options) as process:
        process.event("worker.failed")
        process.signal(number)
        process.event("supervisor.phase", phase="stopped")
        process.signal(signal.SIGUSR1)
        process.signal(number)
        assert process.end() == SIGNAL_BASE + number
    assert process.event("store.closed")
