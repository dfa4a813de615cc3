"""A real worker, and clients that send what nobody should, or do not read what they asked for."""

from __future__ import annotations

import json
import re
import signal
import socket
from pathlib import Path

import pytest

from penin.cli.exits import ExitCode
from penin.ingress.socket.address import SOCKET_NAME
from tests.cli.processes import Penin

pytestmark = pytest.mark.long

STORE = ".penin_omega"
MEBIBYTE = 2**20
GROWTH_MAX = 64 * MEBIBYTE


@pytest.fixture
def worker(place):
    with Penin(place, "run", "--no-log-transitions") as process:
        process.event("ingress.opened", source="socket")
        process.path = place / STORE / SOCKET_NAME
        yield process
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS


class Client:
    def __init__(self, worker):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(worker.path))
        self._lines = self._socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._lines.close()
        self._socket.close()

    def write(self, data):
        self._socket.sendall(data)

    def write_until_full(self, data):
        """Send again and again until the other end takes no more."""
        self._socket.settimeout(1.0)
        with pytest.raises(TimeoutError):  # noqa: PT012  # whichever it is
            while True:
                self._socket.sendall(data)

    def ask(self, request):
        self.write(json.dumps(request).encode() + b"\n")
        return self.reply()

    def reply(self):
        return json.loads(self._lines.readline())


def memory_max(worker):
    """The most memory that the process has ever held, in bytes."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(kibibytes) * 1024


def test_lines_of_a_hundred_megabytes_cost_neither_memory_nor_the_connection(worker):
    before = memory_max(worker)
    with Client(worker) as abusing, Client(worker) as other:
        for _ in range(100):
            abusing.write(b"x" * MEBIBYTE)
            assert "value" in other.ask({"type": "status"})  # it goes on meanwhile
        abusing.write(b"\n")
        assert "8388608" in abusing.reply()["error"]["reason"]
        assert abusing.ask({"type": "add_score", "score": 1.0}) == {"seq": 1, "result": "ok"}
    assert memory_max(worker) - before < GROWTH_MAX


def test_many_lines_without_an_end_are_bounded_together(worker):
    before = memory_max(worker)
    clients = [Client(worker) for _ in range(30)]
    for client in clients:
        for _ in range(6):
            client.write(b"y" * MEBIBYTE)
    with Client(worker) as other:
        assert other.ask({"type": "add_score", "score": 1.0})["result"] == "ok"
    kinds = []
    for client in clients:
        client.write(b"\n")
        kinds.append(client.reply()["error"]["kind"])
        client.__exit__()
    assert set(kinds) == {"busy", "refused_value"}
    # Half of what was sent, and what is held while a line is put together.
    assert memory_max(worker) - before < 2 * GROWTH_MAX


@pytest.mark.parametrize(
    "line",
    [b'{"type":"add_task","task":{"\xff":1}}', b"[" * 10**6, b'{"a":' * 10**6, b"\0" * 1000],
    ids=["not UTF-8", "a million lists", "a million objects", "zeros"],
)
def test_what_is_no_message_is_refused_and_nothing_else_happens(worker, line):
    with Client(worker) as client:
        client.write(line + b"\n")
        assert client.reply()["error"]["kind"] == "refused_value"
        assert client.ask({"type": "add_score", "score": 1.0}) == {"seq": 1, "result": "ok"}


def test_clients_that_never_read_grow_nothing_and_hold_up_nobody(worker):
    with Client(worker) as other:
        task = {"type": "add_task", "task": {"text": "x" * 500_000}}
        for _ in range(20):
            other.ask(task)
        before = memory_max(worker)
        deaf = [Client(worker) for _ in range(20)]
        for client in deaf[:10]:
            client.write_until_full(b'{"type":"history","name":"task_history"}\n' * 100)
        for client in deaf[10:]:
            client.write_until_full(b'{"type":"add_score","score":0.5}\n' * 100)
        assert other.ask({"type": "statistics"})["value"]["task_history_size"] == 20
        assert other.ask({"type": "add_score", "score": 1.0})["result"] == "ok"
        assert memory_max(worker) - before < GROWTH_MAX
        for client in deaf:
            client.__exit__()
