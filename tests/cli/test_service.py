"""`penin run` under a service manager: a real process, and a real socket to be told through."""

from __future__ import annotations

import os
import signal
import uuid

import pytest

import penin
from penin.cli.exits import ExitCode
from penin.cli.service import service_manager
from penin.errors import UsageError
from tests.cli.processes import Penin
from tests.cli.processes import penin as run_penin
from tests.notify_sockets import Listener, short_path

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_ready_status_and_stopping_are_told(kind, place, tmp_path):
    address = short_path(tmp_path) if kind == "path" else f"@penin-{uuid.uuid4()}"
    with (
        Listener(address) as listener,
        Penin(place, "run", "workers:count", "workers:wait", NOTIFY_SOCKET=address) as process,
    ):
        assert "running: seq" in listener.until("READY", "1")["STATUS"]
        assert process.event("ingress.opened")["source"] == "socket"
        assert (place / STORE / "penin.sock").is_socket(), "it can be connected to"
        assert process.event("recovery.finished")
        process.event("state.transition", seq=3)
        process.signal(signal.SIGTERM)
        listener.until("STOPPING", "1")
        assert process.end() == ExitCode.SUCCESS
        told = listener.drain()
    assert sum("READY" in found for found in told) == 1
    assert not any("WATCHDOG" in found for found in told), "nobody watches"
    assert told[-1]["STATUS"] == "draining: seq 3, durable up to 3"
    assert penin.load(place / STORE).seq == 3


def test_its_time_to_start_and_to_stop_is_extended_while_it_gets_on(place, tmp_path):
    with Penin(place, "run", "workers:wait") as old, Listener(short_path(tmp_path)) as listener:
        old.output(1)
        options = ["--lock-wait-s", "600", "--stop-grace-s", "600"]
        with Penin(
            place, "run", "workers:stubborn", *options, NOTIFY_SOCKET=listener.address
        ) as process:
            assert listener.until("EXTEND_TIMEOUT_USEC", "60000000")["STATUS"] == "starting"
            process.event("store.waiting")
            old.signal(signal.SIGTERM)
            assert old.end() == ExitCode.SUCCESS
            listener.until("READY", "1")
            listener.forget()
            process.signal(signal.SIGTERM)
            told = listener.until("EXTEND_TIMEOUT_USEC", "60000000")
            assert told["STOPPING"] == "1"
            assert told["STATUS"].startswith("draining: seq 0")


def test_no_sign_of_life_comes_from_a_loop_that_does_not_turn(place, tmp_path):
    (place / "hanging.py").write_text(
        "import time\n"
        "async def hang(orchestrator):\n"
        "    await orchestrator.add_score(1.0)\n"
        "    while not orchestrator.stopping.is_set():\n"
        "        with open('gate') as gate:\n"
        "            gate.read()\n"
        "        await orchestrator.add_score(2.0)\n"
        "        print('turning', flush=True)\n"
    )
    os.mkfifo(place / "gate")
    with Listener(short_path(tmp_path)) as listener:
        manager = {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "300000"}
        with Penin(place, "run", "hanging:hang", **manager) as process:
            process.event("state.transition", seq=1)  # and now the worker keeps the loop
            listener.until_silent(1.0)
            listener.forget()
            (place / "gate").write_text("")
            process.output(1)
            listener.until_silent(1.0)
            process.signal(signal.SIGKILL)
            assert process.end() == -signal.SIGKILL


def test_signs_of_life_come_while_a_worker_works(place, tmp_path):
    with Listener(short_path(tmp_path)) as listener:
        manager = {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "300000"}
        with Penin(place, "run", "workers:endless", **manager) as process:
            for _ in range(3):
                listener.forget()
                listener.until("WATCHDOG", "1")
            process.signal(signal.SIGTERM)
            assert process.end() == ExitCode.SUCCESS


def test_what_a_worker_starts_does_not_speak_for_it(place, tmp_path):
    (place / "looking.py").write_text(
        "import os\n"
        "async def look(orchestrator):\n"
        "    print(sorted({'NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'} & set(os.environ)))\n"
    )
    with Listener(short_path(tmp_path)) as listener:
        given = {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}
        process = run_penin(place, "run", "looking:look", **given)
        told = listener.drain()
    assert (process.code, process.out) == (ExitCode.SUCCESS, ["[]"])
    assert any("READY" in found for found in told)
    assert not any("WATCHDOG" in found for found in told), "another process is watched"


def test_a_store_that_cannot_be_opened_is_never_ready(place, tmp_path):
    run_penin(place, "run", "workers:count")
    for file in (place / STORE / "journal").iterdir():
        file.write_bytes(b"not a journal\n" * 100)
    with Listener(short_path(tmp_path)) as listener:
        process = run_penin(place, "run", "workers:wait", NOTIFY_SOCKET=listener.address)
        told = listener.drain()
    assert process.code == ExitCode.CORRUPT
    assert told[-1]["STATUS"].startswith("failed: ")
    assert not any("READY" in found for found in told)


def test_a_watchdog_time_that_is_none_is_refused():
    for text in ("soon", "0", "-1", "1.5"):
        with pytest.raises(UsageError, match=f"WATCHDOG_USEC={text}"):
            service_manager({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": text})
    assert service_manager({"WATCHDOG_USEC": "1"}) is None
