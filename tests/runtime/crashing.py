"""A whole runtime on a disk that loses power, and what must hold of it afterwards.

A life is a script against the async interface. It keeps a diary: what it was about to send, what
was acknowledged, and what was said to be durable. Every message adds one score, so that the state
is the list of those numbers and a prefix is seen at a glance.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from penin.core.migration import Schema
from penin.runtime.open import Opening
from penin.settings import Settings
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem
from tests.runtime.stores import STORE, within


class Diary:
    """What one life promised; numbers are those of its messages, from `first` on."""

    def __init__(self, first: int = 1) -> None:
        self.sent = first - 1
        self.acknowledged = 0
        self.durable = 0
        self.opened = False


class Life:
    """The orchestrator of a life, and its diary."""

    def __init__(self, orchestrator: Any, diary: Diary) -> None:
        self.orchestrator = orchestrator
        self._diary = diary

    async def send(self, count: int = 1, padding: int = 0) -> None:
        """So many transactions at once, each with one number and a document of some size."""

        async def one(number: int) -> None:
            async with self.orchestrator.transaction() as t:
                t.add_score(float(number))
                t.put_document("padding", "x" * padding)
            self._diary.acknowledged = max(self._diary.acknowledged, number)
            self._note()

        first = self._diary.sent + 1
        self._diary.sent += count
        await asyncio.gather(*(one(first + index) for index in range(count)))

    async def checkpoint(self) -> None:
        await self.orchestrator.checkpoint()
        self._note()

    def _note(self) -> None:
        # Two seqs a message: what is durable in part is not a message that is durable.
        self._diary.durable = max(self._diary.durable, self.orchestrator.durable_seq // 2)


Script = Callable[[Life], Awaitable[None]]


class Dying(CrashableFileSystem):
    """Tells the loop that the power went, so that nobody waits for a thread that is dead."""

    def __init__(self, inner: CrashableFileSystem) -> None:
        super().__init__()
        self.__dict__.update(inner.__dict__)
        self.loop = asyncio.get_running_loop()
        self.died = asyncio.Event()

    def _alive(self) -> None:
        if self._dead:
            with contextlib.suppress(RuntimeError):  # the loop may be gone
                self.loop.call_soon_threadsafe(self.died.set)
        super()._alive()


def live(
    disk: CrashableFileSystem,
    script: Script,
    diary: Diary,
    schema: Schema | None = None,
    **settings: Any,
) -> CrashableFileSystem:
    """Live on a disk until the crash, or to the end; the disk as it was left."""
    left: list[Dying] = []

    async def main() -> None:
        fs = Dying(disk)
        left.append(fs)
        asyncio.get_running_loop().set_exception_handler(_keep_quiet)

        async def life() -> None:
            async with Opening(STORE, Settings(**settings), None, fs, schema) as orchestrator:
                diary.opened = True
                await script(Life(orchestrator, diary))

        task = asyncio.create_task(life())
        died = asyncio.create_task(fs.died.wait())
        await within(asyncio.wait({task, died}, return_when=asyncio.FIRST_COMPLETED))
        died.cancel()
        if fs._dead:
            task.cancel()
            # What a dead process would have answered is of no interest, only what is on the disk.
            await asyncio.wait({task}, timeout=0)
            if task.done() and not task.cancelled():
                task.exception()
            await _all_ended()
        else:
            await task

    with contextlib.suppress(Crash, BaseExceptionGroup):
        asyncio.run(main())
    return left[0]


async def _all_ended() -> None:
    """Cancel what is left, each task in a turn after the one in which it was begun.

    A task that is cancelled before its first turn never awaits the coroutine that anyio gave it,
    and says so whenever it is collected.
    """
    while asyncio.all_tasks() != {asyncio.current_task()}:
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        if others:
            await asyncio.wait(others)


def _keep_quiet(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    """Tasks of a dead process end as they like."""


def recovered(disk: CrashableFileSystem) -> list[float]:
    """The numbers in the store after an opening that must succeed, and a writing to it."""
    found: list[float] = []

    async def main() -> None:
        async with Opening(STORE, Settings(), None, disk) as orchestrator:
            found.extend(orchestrator.view.score_history)
            assert orchestrator.applied_seq == 2 * len(found)
            await orchestrator.put_document("opened", value=True)

    asyncio.run(main())
    return found
