"""The two servers, each in a process of its own, and their clients, in this one.

A client is used as its documentation shows it: `await` for one message, and for many at once what
it has for that (`send_nowait`; a pipeline). Turning a message into bytes is the client's own work,
and is measured.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import penin
from penin import NumericVectorArtifact, RemoteOrchestrator
from tests.benchmarks.workload import Tasks, Workload, encode

START_S: Final = 30.0
_LOOK_S: Final = 0.01
REDIS: Final = "redis-server"


def has_redis() -> bool:
    """Whether the server is installed."""
    return shutil.which(REDIS) is not None


class Peer(Protocol):
    """One server and its clients; opened once and closed once."""

    async def open(self, directory: Path, connections: int) -> None:
        """Start the server on an empty directory, and connect so often."""

    async def send(self, connection: int, numbers: Sequence[int]) -> None:
        """Send these messages at once over one connection; returns when all are durable."""

    async def close(self) -> int:
        """End both; how many messages the server has taken."""


class _Process:
    """A server's process."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
        )

    async def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self._process.wait, START_S)


class PeninPeer:
    """`penin run`, which logs no transitions, and `penin.connect`."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._clients: list[RemoteOrchestrator] = []

    async def open(self, directory: Path, connections: int) -> None:
        self._directory = directory / "store"
        words = ["-m", "penin", "run", "--no-log-transitions", "--dir", str(self._directory)]
        self._process = _Process(sys.executable, *words)
        self._clients = [
            await penin.connect(self._directory, wait_s=START_S) for _ in range(connections)
        ]

    async def send(self, connection: int, numbers: Sequence[int]) -> None:
        client = self._clients[connection]
        if len(numbers) == 1:
            await self._send_one(client, numbers[0])
            return
        answers = [client.send_nowait(self._message(number)) for number in numbers]
        for answer in answers:
            await answer

    async def _send_one(self, client: RemoteOrchestrator, number: int) -> None:
        if isinstance(self._workload, Tasks):
            await client.add_task(self._workload.task(number))
        else:
            key, vector, metadata = self._workload.entry(number)
            await client.add_knowledge(key, NumericVectorArtifact(vector, metadata))

    def _message(self, number: int) -> dict[str, Any]:
        if isinstance(self._workload, Tasks):
            return {"type": "add_task", "task": self._workload.task(number)}
        key, vector, metadata = self._workload.entry(number)
        artifact = NumericVectorArtifact(vector, metadata)
        return {"type": "add_knowledge", "key": key, "vector": artifact}

    async def close(self) -> int:
        for client in self._clients:
            await client.aclose()
        await self._process.end()
        state = await asyncio.to_thread(penin.load, self._directory)
        return state.seq


class RedisPeer:
    """Redis with `appendfsync always`, and redis-py on asyncio.

    A task is one RPUSH of its JSON. A vector is one HSET of its bytes, its metadata before them.
    """

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._clients: list[Any] = []

    async def open(self, directory: Path, connections: int) -> None:
        import redis.asyncio

        # Its client has no way around the length of an address.
        self._short = tempfile.TemporaryDirectory()
        socket = f"{self._short.name}/redis.sock"
        options = {
            "port": "0",
            "unixsocket": socket,
            "dir": str(directory),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = _Process(REDIS, *words)
        self._clients = [
            redis.asyncio.Redis(unix_socket_path=socket, single_connection_client=True)
            for _ in range(connections)
        ]
        async with asyncio.timeout(START_S):
            while not await asyncio.to_thread(Path(socket).exists):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)
        for client in self._clients:
            await client.initialize()

    async def send(self, connection: int, numbers: Sequence[int]) -> None:
        client = self._clients[connection]
        if len(numbers) == 1:
            await self._put(client, numbers[0])
            return
        async with client.pipeline(transaction=False) as pipeline:
            for number in numbers:
                self._put(pipeline, number)
            await pipeline.execute()

    def _put(self, to: Any, number: int) -> Any:
        if isinstance(self._workload, Tasks):
            return to.rpush("tasks", encode(self._workload.task(number)))
        key, vector, metadata = self._workload.entry(number)
        return to.hset("knowledge", key, encode(metadata) + b" " + vector.tobytes())

    async def close(self) -> int:
        command = "rpush" if isinstance(self._workload, Tasks) else "hset"
        statistics = await self._clients[0].info("commandstats")
        for client in self._clients:
            await client.aclose()
        await self._process.end()
        self._short.cleanup()
        calls: int = statistics[f"cmdstat_{command}"]["calls"]
        return calls
