"""Where the socket of a store is, and how it is made there.

Everything in here reads or writes the disk: not for an event loop's thread.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from penin.errors import StorageError, UnsupportedPlatformError

SOCKET_NAME: Final = "penin.sock"
NEW_NAME: Final = "penin.sock.new"
"""The socket before it has its name. Only the owner of the lock makes one."""
BACKLOG: Final = 512
PATH_BYTES_MAX: Final = 107 if sys.platform == "linux" else 103
"""How long the path in the address of a socket may be."""
_SOCKET_MODE: Final = 0o600


@contextmanager
def fitting(path: Path) -> Iterator[str]:
    """A path to the same place that fits the address of a socket, for as long as this is entered.

    Raises OSError, and UnsupportedPlatformError where only a shorter path would do.
    """
    size = len(os.fsencode(path))
    if size <= PATH_BYTES_MAX:
        yield str(path)
        return
    if sys.platform != "linux":
        raise UnsupportedPlatformError(
            f"{path}: {size} bytes, and a socket's address has room for {PATH_BYTES_MAX}; "
            "only Linux has a way around it"
        )
    directory_fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory_fd}/{path.name}"
    finally:
        os.close(directory_fd)


def listening_socket(directory: Path) -> socket.socket:
    """The socket of the store in `directory`, listening; only for who holds the lock of the store.

    What a killed worker has left there is replaced, in one step. Raises StorageError where
    something else is in its place, OSError, and UnsupportedPlatformError as `fitting`.
    """
    path, new = directory / SOCKET_NAME, directory / NEW_NAME
    for place in (path, new):
        if _is_something_else(place):
            raise StorageError(place, "it is no socket, and is not replaced by one")
    new.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with fitting(new) as address:
            made.bind(address)
        # Nobody can connect before it listens; so nobody does before this mode holds.
        new.chmod(_SOCKET_MODE)
        made.listen(BACKLOG)
        made.settimeout(0)
        new.rename(path)
    except BaseException:
        made.close()
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    return made


def remove_socket(directory: Path) -> None:
    """Remove the name of the socket at its end; not what somebody has put in its place."""
    path = directory / SOCKET_NAME
    with contextlib.suppress(OSError):
        if not _is_something_else(path):
            path.unlink()


def _is_something_else(path: Path) -> bool:
    try:
        return not stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def peer_of(connected: socket.socket) -> tuple[int, int] | None:
    """The process and the user at the other end; None where the platform does not tell.

    There the mode of the socket alone keeps others out.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    form = "3i"
    pid, uid, _ = struct.unpack(
        form, connected.getsockopt(socket.SOL_SOCKET, option, struct.calcsize(form))
    )
    return pid, uid


def is_gone(connected: socket.socket) -> bool:
    """Whether the other end has closed the connection, also where its end is not read yet."""
    poller = select.poll()
    poller.register(connected.fileno(), 0)
    return any(happened & select.POLLHUP for _, happened in poller.poll(0))


def is_allowed(uid: int) -> bool:
    """Whether a user may talk to this process: its own user, and root."""
    return uid in (0, os.geteuid())
