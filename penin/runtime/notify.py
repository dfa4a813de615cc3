"""The notify protocol of systemd: a datagram of `NAME=value` lines to the socket that it names.

This is all of it that is needed, and so no library is. See sd_notify(3).
"""

from __future__ import annotations

import errno
import socket
from typing import Final

_FULL_ERRNOS: Final = (errno.EAGAIN, errno.ENOBUFS)
"""What the kernel answers when the receiver has not read the earlier datagrams yet."""


class NotifySocket:
    """Where a service manager listens: the path of a socket, or `@name` for an abstract one."""

    def __init__(self, address: str) -> None:
        self.address: Final = address
        self._target = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)

    def send(self, *lines: str) -> bool:
        """Send the lines as one datagram; whether it was taken. Never blocks.

        False where the receiver has not read what came before: send it again later. Raises OSError
        where there is no receiver, or no such address.
        """
        try:
            self._socket.sendto("\n".join(lines).encode(errors="replace"), self._target)
        except OSError as error:
            if error.errno not in _FULL_ERRNOS:
                raise
            return False
        return True

    def close(self) -> None:
        """Close our end; nothing can be sent afterwards."""
        self._socket.close()
