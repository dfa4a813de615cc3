"""Sinks of lines: a file descriptor, or whatever has `write` and `flush`."""

from __future__ import annotations

import io
import os
import select
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from penin.logs.buffer import Sink

_POLL_MS: Final = 200
"""How often a write that waits for a non-blocking stream looks whether it shall stop."""


class DescriptorSink:
    """Writes lines to a file descriptor, which it takes over.

    Whether the descriptor blocks is a matter of whoever opened it, so both kinds are written.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._stopped = False
        self._inside_line = False

    def write(self, items: list[bytes], /) -> None:
        """One write for all lines, repeated while it is cut short. Raises OSError."""
        data = b"".join(items)
        if self._inside_line:
            # A failed write ended inside a line: what follows must not become a part of it.
            data = b"\n" + data
        view = memoryview(data)
        done = 0
        try:
            while done < len(view):
                written = self._write_some(view[done:])
                if written is None:
                    return
                done += written
        finally:
            if done:
                self._inside_line = view[done - 1] != ord("\n")

    def _write_some(self, view: memoryview) -> int | None:
        """The number of bytes that were written; None if there is no more time."""
        while True:
            try:
                return os.write(self._fd, view)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                while not poll.poll(_POLL_MS):
                    if self._stopped:
                        return None

    def stop(self) -> None:
        """Gives up a write that waits for a non-blocking stream."""
        self._stopped = True

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self._fd)


class StreamSink:
    """Writes lines to a Python stream that has no file descriptor. It stays open."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream
        self._is_text = isinstance(stream, io.TextIOBase)

    def write(self, items: list[bytes], /) -> None:
        """One write for all lines, and a flush. Raises what the stream raises."""
        data = b"".join(items)
        self._stream.write(data.decode("utf-8", "replace") if self._is_text else data)
        self._stream.flush()

    def stop(self) -> None:
        """Such a stream does not wait."""

    def close(self) -> None:
        """The stream is its owner's."""


def sink_of(stream: IO[Any] | None) -> Sink[bytes]:
    """The sink for `stream`; its descriptor is duplicated, so that it may be closed any time.

    None is where a process without stderr would write: nowhere.
    """
    if stream is None:
        return DescriptorSink(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
    try:
        stream.flush()
        fd = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return StreamSink(stream)
    return DescriptorSink(os.dup(fd))
