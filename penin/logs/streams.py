"""Sinks of lines: a file descriptor, a file, or whatever has `write` and `flush`."""

from __future__ import annotations

import io
import os
import select
from collections import deque
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from penin.logs.buffer import Sink

FILE_MODE: Final = 0o600
"""Of a log file that is made: what is in it comes out of the store, whose files are no wider."""
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


class FileSink:
    """Writes lines to the end of a file, which is made where it is not there.

    Making it raises OSError where it cannot be opened. A pipe with a name needs a reader.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sink = self._opened()
        # Opened by whoever asks for it, taken over by the thread that writes: no lock is needed,
        # which a fork could leave taken.
        self._anew: deque[DescriptorSink] = deque()

    def _opened(self) -> DescriptorSink:
        # Without waiting, for a pipe that nobody reads; of a file it changes nothing.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return DescriptorSink(os.open(self._path, flags, FILE_MODE))

    def reopen(self) -> None:
        """Let the next line go to the file that has the name now; from any thread.

        Raises OSError where it cannot be opened; then the one before goes on.
        """
        self._anew.append(self._opened())

    def write(self, items: list[bytes], /) -> None:
        """One write for all lines. Raises OSError."""
        self._take_over()
        self._sink.write(items)

    def _take_over(self) -> None:
        while self._anew:
            self._sink.close()
            self._sink = self._anew.popleft()

    def stop(self) -> None:
        """Gives up a write that waits for a pipe."""
        self._sink.stop()

    def close(self) -> None:
        """Closes the file."""
        self._take_over()
        self._sink.close()


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
