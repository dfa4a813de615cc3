"""What is said to people, on a terminal or wherever stderr leads."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final

from penin.logs import LogBuffer
from penin.logs.streams import sink_of

if TYPE_CHECKING:
    from penin.cli.progress import Reading

PATIENCE_S: Final = 1.0


def say(sentence: str) -> None:
    """Write a line to stderr. Never raises, and waits for a reader for `PATIENCE_S` at most.

    What is not printable is escaped: names that come from outside must not move a cursor.
    """
    shown = printable(sentence)
    # A stalled pipe would keep the process from ending: the log's buffer has a thread for that.
    buffer: LogBuffer[bytes] = LogBuffer(sink_of(sys.stderr), lambda _count: b"", linger_s=0)
    buffer.put(f"penin: {shown}\n".encode("utf-8", "backslashreplace"))
    buffer.close(PATIENCE_S)


def printable(text: str) -> str:
    """The same text with everything escaped that is not printable, but for line feeds."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a person sees what is written there."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


@contextlib.contextmanager
def progress_bar(description: str, unit: str, read: Callable[[], Reading]) -> Iterator[IO[Any]]:
    """A `ProgressBar` while the block runs, where stderr is a terminal; nothing elsewhere.

    Gives the stream for what is said meanwhile.
    """
    if not is_terminal(sys.stderr):
        yield sys.stderr
        return
    from penin.cli.progress import ProgressBar

    with ProgressBar(sys.stderr, description, unit, read) as bar:
        yield bar.stream


def print_out(text: str | bytes) -> bool:
    """Write to stdout; False where the reader has gone (`| head`), which is no error.

    Raises OSError where stdout is a file on a full disk.
    """
    try:
        if isinstance(text, bytes):
            sys.stdout.buffer.write(text)
        else:
            sys.stdout.write(text)
        sys.stdout.flush()
        return True
    except BrokenPipeError:
        # What is left in Python's buffer would raise again at the interpreter's end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    except OSError as error:
        raise OSError(error.errno, error.strerror, "stdout") from error


def reserve_standard_descriptors() -> None:
    """Let 0, 1 and 2 lead somewhere, where the process was started without them.

    Otherwise the next file that is opened gets the number: a journal as descriptor 2 would have
    written into it whatever a library or a child of a worker writes to stderr. Without a stdout,
    what is printed goes nowhere, and the exit code is the answer.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
            os.set_inheritable(fd, True)  # noqa: FBT003  # a flag of the operating system
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)


def counted(number: int, noun: str) -> str:
    """`1 message`, `2 messages`, `1,000 messages`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
