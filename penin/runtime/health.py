"""Whether a worker is alive and its disk takes writes, found out by trying."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio import fail_after, to_thread

from penin.storage.filesystem import FULL_ERRNOS

if TYPE_CHECKING:
    from penin.runtime.supervisor import Supervisor

NO_ROOM: Final = "there is no room on the disk"
ROOM_BYTES: Final = 2**16
"""A disk that was full has room again when it takes so much."""


class Health:
    """Looks at one supervisor after its recovery, for `patience_s` at most.

    Each look gives what is wrong, in a sentence, or None where nothing is. It is made on the event
    loop: that this turns is proven by an answer at all.
    """

    def __init__(self, supervisor: Supervisor, patience_s: float) -> None:
        self._supervisor = supervisor
        self._patience_s = patience_s
        self._probe: asyncio.Future[None] | None = None

    async def of_actor(self) -> str | None:
        """Look whether the actor answers: what is on its way is written and applied."""
        return await self._look(disk=False)

    async def of_all(self) -> str | None:
        """Look whether the actor answers and the disk takes a write and a sync.

        It is `NO_ROOM` where the disk says so to that; there may be less for messages.
        """
        return await self._look(disk=True)

    async def _look(self, *, disk: bool) -> str | None:
        supervisor = self._supervisor
        assert supervisor.actor is not None
        loop = asyncio.get_running_loop()
        begun_s, cause = loop.time(), "the disk does not answer"
        try:
            with fail_after(self._patience_s):
                if disk:
                    await self._probed()
                cause = "the actor does not answer"
                async with supervisor.actor.between_commits():
                    pass
        except TimeoutError:
            took_s = loop.time() - begun_s
            if took_s > 2 * self._patience_s:  # what has answered meanwhile was not looked at
                return f"the event loop did not turn for {took_s:.1f} s"
            return cause
        except OSError as error:
            is_full = error.errno in FULL_ERRNOS
            return NO_ROOM if is_full else f"the disk takes no writes: {error.strerror}"
        return None

    async def _probed(self) -> None:
        if self._probe is None or self._probe.done():
            self._probe = self._supervisor.probe_disk()
            self._probe.add_done_callback(_looked_at)
        await asyncio.shield(self._probe)

    async def of_room(self) -> str | None:
        """Look whether there is room again, where the last messages were refused for want of it.

        Whoever waits for this before they send the next message would wait for ever otherwise.
        """
        supervisor = self._supervisor
        assert supervisor.actor is not None
        if not supervisor.actor.is_full or supervisor.store.directory is None:
            return None
        try:
            await to_thread.run_sync(_take_room, supervisor.store.directory)
        except OSError as error:
            return NO_ROOM if error.errno in FULL_ERRNOS else str(error)
        return None


def _take_room(directory: Path) -> None:
    """Write a file without a name, which is gone again; raises OSError."""
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        file.write(bytes(ROOM_BYTES))


def _looked_at(probe: asyncio.Future[None]) -> None:
    """Take note of how it ended, also where nobody has waited until then."""
    if not probe.cancelled():
        probe.exception()
