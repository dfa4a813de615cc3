"""How either end of a connection receives."""

from __future__ import annotations

import asyncio
import mmap
from abc import abstractmethod
from typing import Final

RECEIVED_BYTES_MAX: Final = 2**16
"""How much is received at once."""


class Receiver(asyncio.BufferedProtocol):
    """A protocol that is handed the bytes that come, out of a buffer of its own.

    For an `asyncio.Protocol`, asyncio makes an object of 256 KiB for every piece, however small,
    which the C library takes from the system and gives back each time.
    """

    def __init__(self) -> None:
        # Of a mapping, only what was ever received in takes memory.
        self._received = mmap.mmap(-1, RECEIVED_BYTES_MAX)

    def get_buffer(self, sizehint: int) -> mmap.mmap:
        """Where asyncio puts what comes next."""
        del sizehint
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        """So much has come."""
        self.data_received(self._received[:nbytes])

    @abstractmethod
    def data_received(self, data: bytes) -> None:
        """Take what has come."""
