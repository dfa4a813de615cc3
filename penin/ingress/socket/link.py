"""The client's end of one connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, cast

import msgspec
from anyio import to_thread

from penin.errors import ForbiddenError, NotRunningError
from penin.ingress.socket.address import SOCKET_NAME, fitting
from penin.ingress.socket.receiving import Receiver
from penin.ingress.socket.wire import Reply, decode_reply

UNSENT_BYTES_MAX: Final = 2**20
"""With more than this unsent, nothing more is written."""


class Link(Receiver):
    """One connection to a worker: each reply is handed to `on_reply`, in order.

    `stopping` is why the worker stops, once it has said so; `on_stopping` is told, too. `lost` is
    set when the connection is gone.
    """

    def __init__(
        self,
        on_reply: Callable[[Reply], None],
        on_stopping: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self.lost = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        self.stopping: str | None = None
        self._on_reply = on_reply
        self._on_stopping = on_stopping
        self._parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to write."""
        # Not every loop's transport is a subclass of it: uvloop has its own.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        """Hand on the replies that are whole."""
        if b"\n" not in data:
            self._parts.append(data)
            return
        if self._parts:
            data = b"".join((*self._parts, data))
            self._parts.clear()
        *lines, rest = data.split(b"\n")
        if rest:
            self._parts.append(rest)
        try:
            for line in lines:
                self._take(decode_reply(line))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._transport.abort()  # whoever is there is no worker

    def _take(self, reply: Reply) -> None:
        if reply.stopping is not None:
            self.stopping = reply.stopping
            self._on_stopping(reply.stopping)
        else:
            self._on_reply(reply)

    def pause_writing(self) -> None:
        """The worker does not read."""
        self.room.clear()

    def resume_writing(self) -> None:
        """It does."""
        self.room.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing comes any more."""
        del error
        self.lost.set()

    def write(self, data: bytes) -> None:
        """Send bytes; what does not go at once goes later, in order."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def close(self) -> None:
        """End the connection; what was written still goes."""
        self._transport.close()


L = TypeVar("L", bound=Link)


async def dial(directory: Path, make: Callable[[], L]) -> L:
    """Connect to the worker of a store.

    Raises NotRunningError where nobody listens, ForbiddenError where the socket is another user's,
    and UnsupportedPlatformError for a path that is too long.
    """
    loop = asyncio.get_running_loop()
    path = fitting(directory / SOCKET_NAME)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(0)
    try:
        address = await to_thread.run_sync(path.__enter__)
        try:
            await loop.sock_connect(made, address)
        finally:
            await to_thread.run_sync(path.__exit__, None, None, None)
        _, link = await loop.create_unix_connection(make, sock=made)
    except PermissionError as error:
        made.close()
        raise ForbiddenError(f"{directory}: its socket belongs to another user") from error
    except OSError as error:
        made.close()
        raise NotRunningError(directory, "no worker serves its socket") from error
    except BaseException:
        made.close()
        raise
    return link
