"""A service manager's end of the notify protocol: a real socket, and what came in through it."""

from __future__ import annotations

import socket
import tempfile
import time
from pathlib import Path

PATIENCE_S = 30.0


class Listener:
    """Receives datagrams; `address` is what the manager would put into NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.received: list[dict[str, str]] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def drain(self):
        """Take what is there, without waiting; all datagrams so far, each as a dictionary."""
        self._socket.settimeout(0)
        while self._take():
            pass
        return self.received

    def forget(self):
        """Take what is there, and have nothing received so far."""
        self.drain()
        self.received.clear()

    def until(self, name, text=""):
        """Wait for a datagram with that name in it, and that text in its value; it."""
        begun_s, seen = time.monotonic(), 0
        while True:
            for found in self.received[seen:]:
                if text in found.get(name, "") and name in found:
                    return found
            seen = len(self.received)
            left_s = begun_s + PATIENCE_S - time.monotonic()
            assert left_s > 0, f"no {name} {text}: {self.received[-5:]}"
            self._socket.settimeout(left_s)
            self._take()

    def until_without(self, name):
        """Wait for a datagram to come that has no such name in it."""
        self.forget()
        self._socket.settimeout(PATIENCE_S)
        while self._take():
            if name not in self.received[-1]:
                return
        raise AssertionError(f"{name} is in all of {self.received[-5:]}")

    def until_silent(self, seconds):
        """Read on until nothing has come for so long."""
        begun_s = time.monotonic()
        self._socket.settimeout(seconds)
        while self._take():
            assert time.monotonic() < begun_s + PATIENCE_S, "it goes on speaking"

    def _take(self):
        try:
            datagram = self._socket.recv(65536).decode()
        except (BlockingIOError, TimeoutError):
            return False
        self.received.append(dict(line.split("=", 1) for line in datagram.split("\n")))
        return True


def short_path(tmp_path: Path) -> str:
    """A path that fits into the address of a socket, whatever the one of the test is."""
    path = str(tmp_path / "notify")
    return path if len(path) < 100 else str(Path(tempfile.mkdtemp()) / "notify")
