"""A plain client of the socket: lines out, lines in, nothing else."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import penin
from penin.ingress.socket.address import SOCKET_NAME
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import open_on, within


class Served:
    """A store that is served, with its server at hand."""

    def __init__(self, orchestrator, server, directory):
        self.orchestrator = orchestrator
        self.server = server
        self.directory = directory

    async def connect(self):
        return await connected(self.directory)

    @property
    def connection(self):
        """The one connection that there is."""
        (connection,) = self.server.connections
        return connection


@asynccontextmanager
async def served(fs=None, **settings):
    """A store on `fs`, or in a real directory with None; the socket is always in a real one."""
    server = penin.SocketServer()
    with TemporaryDirectory() as name:
        directory = Path(name)
        files = CrashableFileSystem() if fs is None else fs
        opening = open_on(files, directory=directory, servers=[server], **settings)
        async with opening as orchestrator:
            await there(directory)
            yield Served(orchestrator, server, directory)


@asynccontextmanager
async def served_on_disk(directory, **settings):
    server = penin.SocketServer()
    chosen = penin.Settings(**settings)
    async with penin.open(directory, servers=[server], settings=chosen) as orchestrator:
        await there(directory)
        yield Served(orchestrator, server, directory)


async def there(directory):
    """Wait until somebody listens; the connection that found it is gone on both sides."""

    async def look():
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(directory / SOCKET_NAME)
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.001)
            else:
                writer.write_eof()
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()
                return

    await within(look())


async def connected(directory):
    return Raw(*await asyncio.open_unix_connection(directory / SOCKET_NAME, limit=2**25))


class Raw:
    """One connection."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    def send(self, *lines):
        """Send each: bytes as they are, anything else as JSON."""
        for line in lines:
            data = line if isinstance(line, bytes) else json.dumps(line).encode()
            self.writer.write(data + b"\n")

    async def reply(self):
        try:
            line = await within(self.reader.readline())
        except ConnectionResetError:  # what the other end has not read is no part of its answer
            return None
        return json.loads(line) if line else None

    async def replies(self, count):
        return [await self.reply() for _ in range(count)]

    async def ask(self, *lines):
        """The reply to each."""
        self.send(*lines)
        found = await self.replies(len(lines))
        return found if len(lines) > 1 else found[0]


def score(number, **more):
    return {"type": "add_score", "score": number, **more}
