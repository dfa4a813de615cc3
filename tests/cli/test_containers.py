"""`penin run` as in a container: the first process, a read-only root, the state on a volume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

import penin
from penin.cli.exits import SIGNAL_BASE, ExitCode
from tests.cli.containers import Contained, contained, need, read_only, volume
from tests.cli.processes import PATIENCE_S, REPOSITORY, Penin
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"

FIRST = """
import os, time

async def first(orchestrator):
    await orchestrator.add_score(1.0)
    print(os.getpid(), flush=True)
    await orchestrator.stopping.wait()
"""
IMPORTING = """
import time
print("importing", flush=True)
while True:
    time.sleep(0.01)
"""
ADDING = """
async def add(orchestrator):
    await orchestrator.add_score(1.0)
"""
DRAINING = """
async def drain(orchestrator):
    print("begun", flush=True)
    await orchestrator.stopping.wait()
    while True:
        ack = await orchestrator.add_score(1.0)
        print(ack.seq, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_process_of_a_container_saves_all_on_a_signal(place, number):
    (place / "first.py").write_text(FIRST)
    with Contained(place, "run", "first:first") as process:
        assert process.output(1) == ["1"]
        process.enter()
        process.signal(signal.SIGUSR1)
        process.event("checkpoint.finished", reason="signal")
        process.signal(number)
        assert process.end() == ExitCode.SUCCESS
    assert process.event("store.closed")["durable_seq"] == 1
    assert penin.load(place / STORE).seq == 1


def test_the_first_process_of_a_container_can_be_ended_before_it_opens_the_store(place):
    (place / "importing.py").write_text(IMPORTING)
    with Contained(place, "run", "importing:worker") as process:
        process.output(1)
        process.enter()
        process.signal(signal.SIGTERM)
        assert process.end() == SIGNAL_BASE + signal.SIGTERM


def test_nothing_but_the_volume_is_written_to(place):
    store = place / "state"
    store.mkdir()
    (place / "first.py").write_text(ADDING)
    setup = f"{read_only(place)}; {volume(store)}; cd '{place}'"
    need(setup)
    penin_command = f"'{sys.executable}' -m penin"
    script = (
        f"! touch written 2>&-; "
        f"{penin_command} run first:add --dir '{store}' 2>&-; "
        f"{penin_command} run first:add --dir '{store}' 2>&-; "
        f"{penin_command} status --json --dir '{store}'"
    )
    done = subprocess.run(
        [*contained(setup), "sh", "-ec", script],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seq"] == 2
    assert sorted(path.name for path in place.iterdir()) == ["first.py", "state", "workers.py"]
    assert list(store.iterdir()) == [], "the volume was in the container only"


def test_a_store_on_a_read_only_file_system_is_read_and_not_opened(place):
    assert run_penin(place, "run", "workers:count").code == ExitCode.SUCCESS
    before = {path: path.read_bytes() for path in (place / STORE).rglob("*") if path.is_file()}
    setup = f"mount --bind '{place / STORE}' '{place / STORE}'; "
    setup += f"mount -o remount,bind,ro '{place / STORE}'"
    with Contained(place, "run", "workers:count", setup=setup) as process:
        assert process.end() == ExitCode.STORAGE_FAILED
    assert process.said("penin: ").endswith("lock: Read-only file system")
    assert process.event("recovery.failed")
    for command in ("status", "verify"):
        with Contained(place, command, setup=setup) as reading:
            assert reading.end() == ExitCode.SUCCESS, reading.err
        assert reading.out
    after = {path: path.read_bytes() for path in (place / STORE).rglob("*") if path.is_file()}
    assert after == before


def test_what_was_acknowledged_is_there_where_the_grace_is_shorter_than_the_drain(place):
    (place / "draining.py").write_text(DRAINING)
    with Penin(place, "run", "draining:drain", "--stop-grace-s", "600") as process:
        process.output(1)
        process.signal(signal.SIGTERM)
        process.output(50)
        process.signal(signal.SIGKILL)
        assert process.end() == -signal.SIGKILL
    acked = int(process.out[-1])
    assert not (place / STORE / "state.json").exists(), "the last checkpoint was not written"
    assert acked <= penin.load(place / STORE).seq <= acked + 1
    again = run_penin(place, "run", "workers:count", "--", "total=0")
    assert again.event("recovery.finished")["last_replayed_seq"] >= acked
