"""A table on its way into a store, and how far it is.

Rules:

1. The rows are sent in order, a block at a time, and after each block the position behind it is
   put into a document: the journal has them in this order, so what the document says is stored.
2. The document's name is made of what the files are (name, size, time of change, beginning and
   end): a changed file begins anew. It is removed at the end, and when a row is refused.
3. Interrupted after a block and before the document, the block is sent again. That changes
   nothing: rows put again under their keys are the same.
4. A block that is under way is finished before this is cancelled.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anyio import CancelScope, to_thread

from penin.errors import RefusedError, TableError
from penin.ingress.tables.table import Rows, Table, refused_at_door
from penin.logs import EventLog

if TYPE_CHECKING:
    from penin.runtime.protocol import AsyncOrchestrator

PROGRESS_PREFIX: Final = "penin.import/"
_EDGE_BYTES: Final = 2**16
_POSITION: Final = "position"


class TableSource:
    """Sends one table; called with the orchestrator. `taken` and `is_complete` say how it went.

    Called again after it was interrupted, it goes on where it is known to be stored.

    With `restart` it begins at the first row, whatever was stored before. `resumed` is called,
    on the event loop, with the position that it goes on from, if that is not the first.
    A row that is refused is left in `refusal`, and sending ends there; what was sent before is
    stored. Raises what else the orchestrator raises.
    """

    def __init__(
        self,
        table: Table,
        log: EventLog,
        *,
        restart: bool = False,
        resumed: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self.taken = 0
        self.last_seq: int | None = None
        self.is_complete = False
        self.refusal: TableError | None = None
        self._table = table
        self._log = log
        self._restart = restart
        self._resumed = resumed

    async def __call__(self, orchestrator: AsyncOrchestrator) -> None:
        """Send everything; returns when it is acknowledged."""
        loop = asyncio.get_running_loop()
        name = str(self._table.paths[0])
        begun_s = loop.time()
        self._log.info("ingress.opened", source="table", name=name)
        try:
            await self._send_all(orchestrator)
        finally:
            self._log.info(
                "ingress.ended",
                source="table",
                name=name,
                taken=self.taken,
                refused=int(self.refusal is not None),
                seconds=round(loop.time() - begun_s, 6),
            )

    async def _send_all(self, orchestrator: AsyncOrchestrator) -> None:
        document = await to_thread.run_sync(progress_name, self._table)
        stored = await orchestrator.get_document(document)
        first = 0 if self._restart else _position(stored)
        self._restart = False  # called again, it goes on
        if first and self._resumed is not None:
            await self._resumed(first)
        blocks = self._table.read_rows(first)
        try:
            while (rows := await to_thread.run_sync(_next, self._table, blocks)) is not None:
                with CancelScope(shield=True):
                    await self._send(orchestrator, rows, document)
        except TableError as error:
            self.refusal = error
        finally:
            with CancelScope(shield=True):  # it has files open
                await to_thread.run_sync(blocks.close)
        with CancelScope(shield=True):
            if await orchestrator.get_document(document) is not None:
                await orchestrator.remove_document(document)
        self.is_complete = self.refusal is None

    async def _send(self, orchestrator: AsyncOrchestrator, rows: Rows, document: str) -> None:
        try:
            await orchestrator.extend_knowledge(rows.keys, rows.matrix, rows.metadata)
        except RefusedError as error:  # all of it is checked before any of it is sent
            raise refused_at_door(self._table, rows, error) from error
        progress = {"file": self._table.paths[0].name, _POSITION: rows.stop}
        ack = await orchestrator.put_document(document, progress)
        self.taken += len(rows.keys)
        self.last_seq = ack.seq


def _next(table: Table, blocks: Generator[Rows, None, None]) -> Rows | None:
    try:
        return next(blocks, None)
    except OSError as error:
        raise TableError(table.paths[0], None, error.strerror or str(error)) from error


def _position(stored: Any) -> int:
    """The position in a document; 0 where there is none, or somebody else's."""
    position = stored.get(_POSITION) if isinstance(stored, dict) else None
    return position if isinstance(position, int) and position > 0 else 0


def progress_name(table: Table) -> str:
    """The name of the document that says how far a table is stored. Reads its files' ends."""
    digest = hashlib.sha256()
    for path in table.paths:
        digest.update(_identity(path))
    return PROGRESS_PREFIX + digest.hexdigest()[:32]


def _identity(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _EDGE_BYTES))
        end = file.read(_EDGE_BYTES)
        file.seek(0)
        begin = file.read(_EDGE_BYTES)
    described = f"{path.name}\0{size}\0{path.stat().st_mtime_ns}\0".encode()
    return described + hashlib.sha256(begin + end).digest()
