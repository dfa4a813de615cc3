"""Many clients at once on the socket of a real worker, which is killed again and again.

Each client pipelines, and goes away in the middle of it, at random, also within a line. One kind
gives its messages ids, and sends again what it has no answer to; the other kind does not, and goes
on with the next.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
from contextlib import suppress

import pytest

import penin
from penin.cli.exits import ExitCode
from penin.ingress.socket.address import SOCKET_NAME
from tests.cli.processes import Penin

STORE = ".penin_omega"
AT_ONCE_MAX = 50
PATIENCE_S = 600.0


class Client:
    """Sends numbers to a history of its own; `acknowledged` are those that were answered."""

    def __init__(self, index, path, total, *, has_ids):
        self.name = f"client-{index}"
        self.acknowledged: set[int] = set()
        self.has_ids = has_ids
        self._path = path
        self._total = total
        self._next = 0
        self._random = random.Random(index)

    async def run(self):
        while self._next < self._total:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path)
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                await asyncio.sleep(0.01)  # the next worker is not there yet
                continue
            with suppress(ConnectionError):
                await self._talk(reader, writer)
            writer.transport.abort()

    async def _talk(self, reader, writer):
        while self._next < self._total:
            first = self._next
            count = min(self._random.randint(1, AT_ONCE_MAX), self._total - first)
            if not self.has_ids:
                self._next = first + count  # what is not answered stays unknown
            data = b"".join(self._line(number) for number in range(first, first + count))
            goes_away = self._random.random() < 0.1
            if goes_away:
                data = data[: self._random.randrange(len(data))]
            writer.write(data)
            await writer.drain()
            answered = self._random.randint(0, count) if goes_away else count
            for number in range(first, first + answered):
                reply = await self._reply(reader, cut_off=goes_away)
                if reply is None:
                    return
                assert reply["request"] == number
                assert reply["result"] == "ok"
                self.acknowledged.add(number)
                if self.has_ids:
                    self._next = number + 1
            if goes_away:
                return

    async def _reply(self, reader, *, cut_off):
        """The next reply; None where there is none to come."""
        try:
            line = await asyncio.wait_for(reader.readline(), 0.2 if cut_off else PATIENCE_S)
        except TimeoutError:
            return None
        reply = json.loads(line) if line.endswith(b"\n") else {"stopping": "killed"}
        return None if "stopping" in reply else reply

    def _line(self, number):
        message = {"type": "append_history", "name": self.name, "value": number}
        if self.has_ids:
            message["id"] = f"{self.name}-{number}"
        return json.dumps({**message, "request": number}).encode() + b"\n"

    def check(self, state):
        found = state.history(self.name)
        assert len(set(found)) == len(found), "stored twice"
        assert found == sorted(found), "out of order"
        assert self.acknowledged <= set(found), "acknowledged and lost"
        if self.has_ids:
            assert found == list(range(self._total))
        else:
            assert set(found) <= set(range(self._total))


def acknowledged_by(clients):
    return sum(len(client.acknowledged) for client in clients)


async def killing(place, clients, kills, total):
    """Keep a worker running, and kill it each time that a further part is acknowledged."""
    for kill in range(1, kills + 1):
        with Penin(place, "run", "--no-log-transitions") as worker:
            enough = total * kill / (kills + 2)
            while acknowledged_by(clients) < enough:  # noqa: ASYNC110  # a count is no event
                await asyncio.sleep(0.005)
            worker.signal(signal.SIGKILL)
            assert await asyncio.to_thread(worker.end) == -signal.SIGKILL
    return Penin(place, "run", "--no-log-transitions")


async def crowd(place, *, size, total, kills):
    path = place / STORE / SOCKET_NAME
    clients = [Client(index, path, total, has_ids=index % 2 == 0) for index in range(size)]
    running = asyncio.gather(*(client.run() for client in clients))
    # Those with an id alone acknowledge half of all that is sent.
    last = await killing(place, clients, kills, size * total // 2)
    with last as worker:
        await asyncio.wait_for(running, PATIENCE_S)
        worker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.end) == ExitCode.SUCCESS
    state = penin.load(place / STORE)
    for client in clients:
        client.check(state)


async def test_what_is_acknowledged_to_some_is_there_once_through_kills(place):
    await crowd(place, size=12, total=60, kills=1)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_what_is_acknowledged_to_two_hundred_is_there_once_through_kills(place):
    await crowd(place, size=200, total=900, kills=8)
