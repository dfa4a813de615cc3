"""JSON lines: one message each, from stdin or a file.

Rules:

1. The order of the lines is the order of their seqs. Many messages are on their way at a time, so
   that one commit carries many of them; how many is bounded, in messages and in bytes.
2. A line that is refused changes nothing, is logged, kept in `rejected.jsonl`, and the rest goes
   on. Whatever is in a line, it is taken or refused: nothing in it is an error of this program.
   What depends on the state (an `id` of another message, a bound of the store) is found out after
   the lines behind it were sent.
3. Empty lines are skipped, and counted in the line numbers.
4. Cancelled, nothing more is read, and what is on its way is answered before this returns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from copy import copy
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from anyio import move_on_after
from anyio.abc import TaskStatus

from penin.core.door import sender
from penin.core.transitions import OK, Ack, Message, MessageId, Origin
from penin.core.vocabulary import message as message_of
from penin.errors import (
    ClosedError,
    MailboxFullError,
    PeninError,
    RefusedError,
    RefusedTypeError,
    RefusedValueError,
    StorageError,
    StorageFullError,
)
from penin.ingress.chunks import Input
from penin.ingress.rejected import RejectedLines
from penin.ingress.splitting import LINE_BYTES_MAX, Line, split_lines
from penin.ingress.typed import is_typed, typed_message
from penin.logs import EventLog

if TYPE_CHECKING:
    from penin.runtime.protocol import AsyncOrchestrator
    from penin.runtime.supervisor import Supervisor

IN_FLIGHT_MESSAGES_MAX: Final = 4096
IN_FLIGHT_BYTES_MAX: Final = 16 * 2**20
THREAD_BYTES: Final = 2**16
"""A longer line is read on a thread."""
SLICE_S: Final = 0.005
"""After so long on the loop, reading lines lets the other tasks run."""
FULL_PAUSE_S: Final = 1.0
ANSWERS_WAIT_S: Final = 10.0

_decode: Final = msgspec.json.Decoder().decode


class _Named(msgspec.Struct):
    """Any line, but for its `id`."""

    id: MessageId | None = None


_decode_named: Final = msgspec.json.Decoder(_Named).decode


class Counts:
    """How it went so far; the owner of a source may read it at any time."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self.taken = 0  # acknowledged
        self.repeated = 0  # acknowledged as an earlier message with the same id
        self.refused = 0
        self.without_effect = 0  # acknowledged with `missing` or `conflict`
        self.first_seq: int | None = None
        self.last_seq: int | None = None
        self.before_seq = 0  # the last seq before the first line was sent
        self.is_complete = False  # read to the end, everything answered
        self.unreadable: OSError | None = None

    def note(self, ack: Ack, message: Message) -> None:
        """One more message is acknowledged."""
        self.taken += 1
        # The order of the lines is that of their seqs: a seq that is not a new one is a repeat's.
        if ack.seq <= (self.last_seq or self.before_seq):
            self.repeated += 1
            return
        self.without_effect += ack.result != OK
        if self.first_seq is None:
            self.first_seq = ack.seq - message.count + 1
        self.last_seq = ack.seq


class _Sent(NamedTuple):
    """A message on its way, with the line that it was, since it may yet be refused."""

    message: Message
    answer: asyncio.Future[Ack]
    given: Input
    line: Line
    receiver: AsyncOrchestrator


class LineSource:
    """Reads inputs one after the other and sends their lines; called with the orchestrator.

    With `waits_for_room`, a full disk is waited out and what was not stored is sent again (for a
    worker, which goes on reading and writes again once there is room); without it, StorageFullError
    ends the reading. With `reopen`, an orchestrator that is closed is followed by what that gives,
    which is sent what was certainly not stored. Raises besides what else the orchestrator raises,
    and StorageError where a refused line cannot be kept. An input that cannot be read (any more) is
    left in `counts.unreadable`, and reading ends there.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        rejected: RejectedLines,
        log: EventLog,
        *,
        waits_for_room: bool,
        reopen: Callable[[], Awaitable[AsyncOrchestrator]] | None = None,
    ) -> None:
        self.counts = Counts()
        self._inputs = inputs
        self._rejected = rejected
        self._log = log
        self._waits_for_room = waits_for_room
        self._reopen = reopen
        self._sent: deque[_Sent] = deque()
        self._sent_bytes = 0

    async def tell_refusals(self, supervisor: Supervisor, *, task_status: TaskStatus[None]) -> None:
        """Let the metrics of a worker know how many lines of stdin were refused; a companion."""
        supervisor.metrics.refusals["stdin"] = lambda: self.counts.refused
        task_status.started()

    async def __call__(self, orchestrator: AsyncOrchestrator) -> None:
        """Send everything; returns when it is answered."""
        self.counts.before_seq = orchestrator.applied_seq
        self._orchestrator = orchestrator
        try:
            await self._read_all()
        except StorageError as error:
            if error.path == self._rejected.path:  # the store's own failures are in the log
                self._log.error("ingress.failed", path=str(error.path), cause=error.reason)
            raise

    async def _read_all(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._rejected:
            for given in self._inputs:
                begun_s, before = loop.time(), copy(self.counts)
                names = {} if given.name is None else {"name": given.name}
                self._log.info("ingress.opened", source=given.source, **names)
                try:
                    await self._send_all(given)
                finally:
                    self._log.info(
                        "ingress.ended",
                        source=given.source,
                        taken=self.counts.taken - before.taken,
                        repeated=self.counts.repeated - before.repeated,
                        refused=self.counts.refused - before.refused,
                        seconds=round(loop.time() - begun_s, 6),
                        **names,
                    )
                if self.counts.unreadable is not None:
                    return
        self.counts.is_complete = True

    async def _send_all(self, given: Input) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with given.opened() as blocks, aclosing(split_lines(blocks)) as lines:
                slice_begun_s = loop.time()
                async for line in lines:
                    self.counts.bytes_read += len(line.data) + line.is_last
                    await self._take(given, line)
                    if loop.time() - slice_begun_s > SLICE_S:
                        await asyncio.sleep(0)
                        slice_begun_s = loop.time()
            while self._sent:
                await self._settle_oldest()
        except OSError as error:  # the store's own errors are PeninErrors
            self.counts.unreadable = error
        finally:
            await self._count_answers()

    # -- one line -----------------------------------------------------------------------------

    async def _take(self, given: Input, line: Line) -> None:
        if not line.is_whole:
            await self._keep(line)
            if line.is_last:
                reason = f"longer than the {LINE_BYTES_MAX} bytes that a line may have"
                self._note_refused(given, line, RefusedValueError("message", reason), None)
            return
        if not line.data.strip():
            return
        origin = Origin(given.source, given.name, line.number)
        is_long = len(line.data) > THREAD_BYTES
        try:
            if is_long:
                message = await asyncio.to_thread(read_message, line.data, origin)
            else:
                message = read_message(line.data, origin)
        except RefusedError as error:
            await self._keep(line)
            named = await asyncio.to_thread(id_in, line.data) if is_long else id_in(line.data)
            self._note_refused(given, line, error, named)
        else:
            await self._send(message, given, line)

    async def _keep(self, line: Line) -> None:
        while True:
            try:
                await self._rejected.append(line.data, ends_line=line.is_last)
                return
            except StorageFullError:
                if not self._waits_for_room:
                    raise
                await asyncio.sleep(FULL_PAUSE_S)

    def _note_refused(self, given: Input, line: Line, error: RefusedError, id: str | None) -> None:
        self.counts.refused += 1
        names = {} if given.name is None else {"name": given.name}
        if id is not None:
            names["id"] = id
        self._log.warning(
            "message.refused",
            source=given.source,
            line=line.number,
            field=error.field,
            reason=error.reason,
            **names,
        )

    # -- what is on its way -------------------------------------------------------------------

    async def _send(self, message: Message, given: Input, line: Line) -> None:
        while self._sent and (
            len(self._sent) >= IN_FLIGHT_MESSAGES_MAX or self._sent_bytes >= IN_FLIGHT_BYTES_MAX
        ):
            await self._settle_oldest()
        while True:
            try:
                answer = asyncio.ensure_future(self._orchestrator.send_nowait(message))
                self._note_sent(message, answer, given, line)
                return
            except MailboxFullError:
                if not self._sent:
                    # Others fill the mailbox: it waits for its turn, and nothing overtakes it.
                    sending = asyncio.ensure_future(self._orchestrator.send(message))
                    self._note_sent(message, sending, given, line)
                    await self._settle_oldest()
                    return
                await self._settle_oldest()
            except ClosedError as error:
                await self._move(error)
                await self._send_again()

    def _note_sent(
        self, message: Message, answer: asyncio.Future[Ack], given: Input, line: Line
    ) -> None:
        self._sent.append(_Sent(message, answer, given, line, self._orchestrator))
        self._sent_bytes += len(message.raw) + len(line.data)

    async def _settle_oldest(self) -> None:
        """Wait for the oldest answer. Raises what `_settle` raises."""
        answer = self._sent[0].answer
        if not answer.done():
            # `await answer` would withdraw this message, and not those behind it, when cancelled.
            await asyncio.wait({answer})
        try:
            await self._settle()
        except (StorageFullError, ClosedError):
            await self._send_again()

    async def _settle(self) -> None:
        """Note the oldest answer, which is there.

        Raises what the orchestrator answered, other than an ack and a refusal.
        """
        sent = self._sent[0]
        try:
            ack = sent.answer.result()
        except RefusedError as error:
            self._forget_oldest()
            await self._keep(sent.line)
            self._note_refused(sent.given, sent.line, error, sent.message.body.id)
        else:
            self._forget_oldest()
            self.counts.note(ack, sent.message)

    def _forget_oldest(self) -> None:
        sent = self._sent.popleft()
        self._sent_bytes -= len(sent.message.raw) + len(sent.line.data)

    async def _move(self, error: ClosedError) -> None:
        """The orchestrator is closed: go on with another one, or raise where there is none."""
        if self._reopen is None:
            raise error
        self._orchestrator = await self._reopen()

    async def _send_again(self) -> None:
        """Send again, one by one and in order, all that was not stored; where that can help."""
        while self._sent:
            sent = self._sent[0]
            if not sent.answer.done():
                await asyncio.wait({sent.answer})
            try:
                await self._settle()
                continue
            except StorageFullError:
                if not self._waits_for_room:
                    raise
                await asyncio.sleep(FULL_PAUSE_S)
            except ClosedError as error:
                if sent.receiver is self._orchestrator:
                    await self._move(error)
            again = asyncio.ensure_future(self._orchestrator.send(sent.message))
            self._sent[0] = sent._replace(answer=again, receiver=self._orchestrator)

    async def _count_answers(self) -> None:
        """At the end, however it came: what is still on its way is answered, and counted."""
        if not self._sent:
            return
        pending = {sent.answer for sent in self._sent}
        with move_on_after(ANSWERS_WAIT_S, shield=True):
            await asyncio.wait(pending)
        while self._sent:
            answer = self._sent[0].answer
            is_known = answer.done() and not answer.cancelled()
            if is_known and isinstance(answer.exception(), RefusedError | None):
                with move_on_after(ANSWERS_WAIT_S, shield=True):
                    await self._settle()
            else:
                self._forget_oldest()


def read_message(line: bytes, origin: Origin) -> Message:
    """The message in a line. Raises RefusedError for everything that is none."""
    try:
        taken = typed_message(line, sender(origin)) if is_typed(line) else None
        return taken or message_of(decode_line(line), origin)
    except RefusedError:
        raise
    except RecursionError as error:
        raise RefusedValueError("message", "nested too deep") from error
    except PeninError as error:
        raise RefusedTypeError("message", str(error)) from error


def id_in(line: bytes) -> str | None:
    """The `id` that a line gives its message, whatever else is wrong with it, for the log."""
    try:
        return _decode_named(line).id
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def decode_line(line: bytes) -> Any:
    """The JSON value in a line. Raises RefusedValueError for everything that is none."""
    try:
        return _decode(line)
    except UnicodeDecodeError as error:
        reason = f"not valid UTF-8: {error.reason}"
        raise RefusedValueError("message", reason) from error
    except RecursionError as error:
        raise RefusedValueError("message", "nested too deep") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise RefusedValueError("message", f"not JSON: {error}") from error
