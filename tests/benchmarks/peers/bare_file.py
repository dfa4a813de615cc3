"""The floor: a bare file. What no durable store on this machine and this loop goes below.

Its payloads are raw bytes prepared beforehand, one write and one fdatasync a batch. There are no
checks, no encoding, no chain, no log and no state, and nothing reads the file again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.machine import sync_file
from tests.benchmarks.peers.group_commit import GroupCommit


class BareFile:
    """Appends `payload(number)` for every message; all payloads have the same length."""

    def __init__(self, payload: Callable[[int], bytes]) -> None:
        self._payload = payload

    async def open(self, directory: Path) -> None:
        self._path = directory / "payloads"
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._mailbox = GroupCommit(self._append)

    def _append(self, payloads: list[bytes]) -> None:
        data = b"".join(payloads)
        written = os.write(self._descriptor, data)
        if written != len(data):
            raise OSError(f"{self._path}: {written} of {len(data)} bytes were written")
        sync_file(self._descriptor)

    def submit(self, number: int) -> asyncio.Future[None]:
        return self._mailbox.submit(self._payload(number))

    async def close(self) -> None:
        await self._mailbox.close()
        os.close(self._descriptor)

    def held(self) -> int:
        return self._path.stat().st_size // len(self._payload(0))
