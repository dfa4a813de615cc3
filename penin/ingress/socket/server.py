"""The server of the socket: who is connected, and whose turn it is."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, move_on_after, to_thread

from penin.errors import BusyError, ClosedError, PeninError, UsageError
from penin.ingress.socket import wire
from penin.ingress.socket.address import SOCKET_NAME, listening_socket, remove_socket
from penin.ingress.socket.connection import Connection
from penin.ingress.socket.lines import LongLines
from penin.ingress.socket.subscription import NewestLines

if TYPE_CHECKING:
    from penin.logs import EventLog
    from penin.runtime.orchestrator import EmbeddedOrchestrator
    from penin.runtime.supervisor import Supervisor

CONNECTIONS_MAX: Final = 512
SLICE_S: Final = 0.005
"""After so long on the loop, taking lines lets the other tasks run."""
ANSWERS_WAIT_S: Final = 10.0
"""How long a stop waits for what is on its way."""
READERS_WAIT_S: Final = 1.0
"""How long it waits after that for clients to read what they were sent."""


class SocketServer:
    """Serves the store of a supervisor on `penin.sock`, until it is cancelled.

    Where the socket cannot be made it says so in the log, and returns: the store works without.
    Cancelled, it takes nothing more, answers what is on its way, and says that the worker stops.
    """

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.long_lines = LongLines()
        self.newest = NewestLines()
        self.refused = 0  # messages
        self._turns: deque[Connection] = deque()
        self._has_turn: set[Connection] = set()
        self._is_scheduled = False
        self._slice_end_s = 0.0
        self._is_closing = False

    async def __call__(self, supervisor: Supervisor) -> None:
        """Serve; for the task group of the supervisor. Raises UsageError for a store in memory."""
        directory = supervisor.store.directory
        if directory is None:
            raise UsageError("a store in memory has no socket: it is of one process")
        assert supervisor.orchestrator is not None  # it is there before a server is called
        self.supervisor = supervisor
        self.orchestrator: EmbeddedOrchestrator = supervisor.orchestrator
        self.log: EventLog = supervisor.log
        supervisor.metrics.refusals[wire.SOURCE] = lambda: self.refused
        path = directory / SOCKET_NAME
        loop = asyncio.get_running_loop()
        self._loop = loop
        try:
            listening = await to_thread.run_sync(listening_socket, directory)
        except (OSError, PeninError) as error:
            self.log.warning("socket.failed", path=str(path), cause=str(error))
            supervisor.servers.note_ready()
            return
        begun_s = loop.time()
        server: asyncio.AbstractServer | None = None
        try:
            server = await loop.create_unix_server(lambda: Connection(self), sock=listening)
            self.log.info("ingress.opened", source=wire.SOURCE, name=str(path))
            supervisor.servers.note_ready()
            await loop.create_future()
        finally:
            if server is not None:
                server.close()
            listening.close()
            with CancelScope(shield=True):
                await self._end(directory)
            seconds = round(loop.time() - begun_s, 6)
            self.log.info("ingress.ended", source=wire.SOURCE, name=str(path), seconds=seconds)

    def refusal(self) -> PeninError | None:
        """Why one more connection is not let in, if it is not."""
        if self._is_closing:
            return ClosedError("the worker is stopping")
        if len(self.connections) >= CONNECTIONS_MAX and not self._let_go():
            return BusyError(f"{CONNECTIONS_MAX} connections are open, and no more are taken")
        return None

    def _let_go(self) -> bool:
        """Whether there is room again without those whose clients are gone."""
        kept = 0
        for connection in list(self.connections):
            if connection.is_forsaken:
                connection.abort()
            else:
                kept += 1
        return kept < CONNECTIONS_MAX

    # -- turns --------------------------------------------------------------------------------

    def give_turn(self, connection: Connection) -> None:
        """Let a connection take lines and send answers: now, or when those before it have.

        At once as long as a slice of time lasts, so that one message after the other does not wait
        for a further turn of the loop each time.
        """
        if not self._turns and self._loop.time() < self._slice_end_s:
            if self._turn(connection):
                self.put_off(connection)
        else:
            self.put_off(connection)

    def put_off(self, connection: Connection) -> None:
        """Let a connection have a turn in the next turn of the loop."""
        if connection not in self._has_turn:
            self._has_turn.add(connection)
            self._turns.append(connection)
            self._schedule()

    def _turn(self, connection: Connection) -> bool:
        """Whether the connection has more to take at once."""
        try:
            return connection.take_turn()
        except Exception as error:  # noqa: BLE001  # a bug of ours costs one connection, not all
            connection.fail(error)
            return False

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._run_turns)

    def _run_turns(self) -> None:
        self._is_scheduled = False
        self._slice_end_s = self._loop.time() + SLICE_S
        while self._turns:
            connection = self._turns.popleft()
            self._has_turn.discard(connection)
            if self._turn(connection):
                self.put_off(connection)
            if self._turns and self._loop.time() > self._slice_end_s:
                self._schedule()
                return

    # -- the end ------------------------------------------------------------------------------

    async def _end(self, directory: Path) -> None:
        self._is_closing = True
        await to_thread.run_sync(remove_socket, directory)
        for connection in list(self.connections):
            connection.stop()
        with move_on_after(ANSWERS_WAIT_S):
            for connection in list(self.connections):
                await connection.settled.wait()
        for connection in list(self.connections):
            connection.finish(self.supervisor.stop_reason)
        with move_on_after(READERS_WAIT_S):
            for connection in list(self.connections):
                await connection.lost.wait()
        for connection in list(self.connections):
            connection.abort()
            await connection.lost.wait()
