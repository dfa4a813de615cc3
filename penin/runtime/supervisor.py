"""The supervisor: starts, watches and stops everything that belongs to one open store.

Phases: starting (the lock), recovering, running, draining, and at the end stopped or failed. One
anyio task group, held by a task of its own, so that who opens a store need not be who closes it,
and so that nothing in here ever cancels the host.

The way down, whoever asks for it: `stopping` is set; ways in (stdin, the socket) end; workers have
`stop_grace_s`, then are cancelled and have `cancel_grace_s`; the mailbox is closed and drained;
the last checkpoint is written; the journal's thread gives up the lock after its last write.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from anyio import CancelScope, create_task_group, move_on_after, to_thread
from anyio.abc import TaskGroup

from penin.errors import ClosedError, JournalFailedError, PeninError, WorkerGaveUpError
from penin.logs import EventLog
from penin.runtime import recovery_events
from penin.runtime.actor import Actor
from penin.runtime.bounds import bounds_of
from penin.runtime.checkpointer import Checkpointer
from penin.runtime.indexer import Indexer
from penin.runtime.mailbox import Mailbox
from penin.runtime.metrics import Metrics
from penin.runtime.orchestrator import EmbeddedOrchestrator
from penin.runtime.recovery import Recovered, RecoveryAbandonedError, recover
from penin.runtime.sealer import Sealer
from penin.runtime.segment_keeper import SegmentKeeper
from penin.runtime.stop_request import StopRequest
from penin.runtime.storage_thread import StorageThread
from penin.runtime.ways_in import Companion, Server, Source, WaysIn
from penin.settings import Settings
from penin.storage.filesystem import storage_error

if TYPE_CHECKING:
    from penin.core.migration import Schema
    from penin.runtime.store import Store
    from penin.runtime.workers import Worker

Phase = Literal["starting", "recovering", "running", "draining", "stopped", "failed"]
LOG_CLOSE_S: Final = 1.0


class Supervisor:
    """One store from the lock to its release. `run` is its one task; all else is called beside it.

    `started` is set when the store is running or will not be; `failure` says why it is not, or
    what ended it, and `stop_reason` why it was stopped. With `closes_log` the log ends with it.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        log: EventLog,
        *,
        schema: Schema | None = None,
        workers: Sequence[Worker] = (),
        sources: Sequence[Source] = (),
        companions: Sequence[Companion] = (),
        servers: Sequence[Server] = (),
        closes_log: bool = False,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.stop_reason = ""
        self._is_released = False
        self._stop_request = StopRequest()
        self.phase: Phase = "starting"
        self.started = asyncio.Event()
        self.stopping = asyncio.Event()
        self.ended = asyncio.Event()
        self.failure: BaseException | None = None
        self.store = store
        self.settings = settings
        self.log = log
        self.mailbox = Mailbox(settings.mailbox_messages_max, settings.mailbox_bytes_max)
        self.orchestrator: EmbeddedOrchestrator | None = None
        self.actor: Actor | None = None
        self.sealer = Sealer(store.sealed)
        self.metrics = Metrics(self)
        self._checkpointer: Checkpointer | None = None
        self._caretakers: list[SegmentKeeper | Indexer] = []
        self._schema = schema
        self._workers = workers
        self._sources = WaysIn([partial(self._call_source, source) for source in sources])
        self.servers = WaysIn([partial(server, self) for server in servers])
        self._companions = companions
        self._closes_log = closes_log
        self._scope = CancelScope()
        self._actor_ended = asyncio.Event()
        self._workers_ended = asyncio.Event()
        self._checkpointer_ended = asyncio.Event()

    # -- what others ask of it ----------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Begin the way down, from any phase. Calling it again is harmless."""
        if not self.stopping.is_set():
            self.stop_reason = reason
            self.stopping.set()
            self._stop_request.ask()

    def request_checkpoint(self, reason: str) -> asyncio.Future[int] | None:
        """A checkpoint of what is applied now; None where there is nothing to write yet."""
        if self._checkpointer is None:
            return None
        answer = self._checkpointer.request(reason)
        # Who asked by a signal does not wait; the log has the outcome.
        answer.add_done_callback(lambda future: future.cancelled() or future.exception())
        return answer

    @property
    def progress(self) -> tuple[int, ...]:
        """Numbers, of which one changes as long as recovery or the way down gets on."""
        seq = 0 if self.actor is None else self.actor.state.seq
        blocks = 0 if self._checkpointer is None else self._checkpointer.blocks_written
        return self._stop_request.looks, seq, blocks

    def probe_disk(self) -> asyncio.Future[None]:
        """Write to the disk and sync it, behind what is on its way there; may raise OSError."""
        return self._journal_thread.call(self.store.probe)

    def fail(self, error: BaseException) -> None:
        """End everything because of `error`; the first one counts."""
        if self.failure is None:
            self.failure = error
        is_bug = self.actor is not None and self.actor.has_bug
        if isinstance(error, JournalFailedError) and not is_bug and self.phase != "failed":
            self.log.error("journal.failed", path=str(error.path), cause=error.reason)
        if isinstance(error, PeninError):
            self.mailbox.close(error)
            if self.actor is not None:
                self.actor.failure = self.actor.failure or error
        if self._checkpointer is not None:
            self._checkpointer.abort()
        self._enter("failed", str(error))
        self.stop("failed")
        self._scope.cancel()

    # -- the task -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Hold the store until it is stopped. Never raises but CancelledError; see `failure`.

        Cancelled from outside, it leaves what is under way to the threads, which finish it and
        give up the lock; nothing acknowledged is lost.
        """
        # With `always` nothing is left for a tick, and between its answer and its next wait the
        # thread is to do little: the loop wakes up for the answer and waits for the interpreter.
        self.log.bind(dir=self.store.name)
        tick = self._tick if self.settings.fsync == "everysec" else None
        self._journal_thread = StorageThread("penin-journal", tick)
        self._snapshot_thread = StorageThread("penin-snapshots")
        self._writers = (self._snapshot_thread, self.sealer)
        try:
            async with create_task_group() as group:
                self._scope = group.cancel_scope
                await self._guarded(self._live, group)
                group.cancel_scope.cancel()
        finally:
            self.mailbox.refuse_all(self._refusal())
            if self._checkpointer is not None:
                self._checkpointer.abort()
            for writer in self._writers:
                writer.close()
            released = self._journal_thread.close(self._release)
            released.add_done_callback(lambda future: future.cancelled() or future.exception())
            try:
                with CancelScope(shield=True):
                    await asyncio.wait({released})
                self._note_release(released)
            finally:
                self.stopping.set()
                self._enter("failed" if self.failure is not None else "stopped")
                self.started.set()
                await self._end()

    async def _end(self) -> None:
        """The last thing: what was logged is handed on, and whoever closes goes on."""
        try:
            if self._closes_log:
                with CancelScope(shield=True):
                    await to_thread.run_sync(self.log.close, LOG_CLOSE_S)
        finally:
            self.ended.set()

    async def _guarded(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """Call it; an exception out of it ends everything and is kept instead of raised."""
        try:
            await function(*args)
        except Exception as error:  # noqa: BLE001  # kept in `failure`
            self.fail(error)

    async def _live(self, group: TaskGroup) -> None:
        for companion in self._companions:
            await group.start(companion, self)
        if (recovered := await self._recover()) is None:
            return
        self._build(recovered)
        caretakers = [caretaker.run for caretaker in self._caretakers]
        for task in (self._run_actor, self._run_checkpointer, *caretakers):
            group.start_soon(self._guarded, task)
        self.mailbox.open()
        self._enter("running")
        self.started.set()
        group.start_soon(self._guarded, self.servers.run, self._guarded)
        group.start_soon(self._guarded, self._run_work)
        await self.stopping.wait()
        await self._wind_down()

    async def _recover(self) -> Recovered | None:
        """The recovered state, or None where a stop came first. Raises what `recover` raises."""
        store, log = self.store, self.log
        begun_s, wait_s = time.monotonic(), self.settings.lock_wait_s
        try:
            await self._journal_thread.call(store.prepare, wait_s, self._wait_for_lock)
            self._enter("recovering")
            log.info("recovery.started", dir=store.name)
            recovered = await self._journal_thread.call(
                recover, store, self.settings, self._stop_request.is_asked, self._schema
            )
        except RecoveryAbandonedError:
            seconds = time.monotonic() - begun_s
            log.info("recovery.abandoned", signal=self.stop_reason, seconds=round(seconds, 6))
            return None
        except OSError as error:
            failure = storage_error(Path(error.filename or store.name), error)
            recovery_events.log_unrecovered(log, failure)
            raise failure from error
        except PeninError as error:
            recovery_events.log_unrecovered(log, error)
            raise
        log.bind(store=store.journal.store)
        seconds = time.monotonic() - begun_s
        recovery_events.log_recovered(log, store, recovered, self.settings.fsync, seconds)
        return recovered

    def _build(self, recovered: Recovered) -> None:
        settings, log = self.settings, self.log
        bounds = bounds_of(self.store, recovered.state, settings, log, self.request_checkpoint)
        self.actor = Actor(
            state=recovered.state,
            mailbox=self.mailbox,
            journal=self.store.journal,
            thread=self._journal_thread,
            settings=settings,
            log=log,
            at=recovered.at,
            bounds=bounds,
        )
        self._checkpointer = Checkpointer(
            store=self.store,
            actor=self.actor,
            journal_thread=self._journal_thread,
            snapshot_thread=self._snapshot_thread,
            settings=settings,
            log=log,
            snapshot_seq=recovered.snapshot_seq or 0,
            snapshot_bytes=recovered.snapshot_bytes,
        )
        self.metrics.begin(self.actor, self._checkpointer)
        keeper = SegmentKeeper(recovered.state.knowledge_base, log)
        self.actor.listeners.append(keeper.note_applied)
        indexer = Indexer(self.store, self.actor, log)
        self._caretakers = [keeper, indexer]
        self.orchestrator = EmbeddedOrchestrator(self, self.actor, recovered.state, indexer)

    # -- children -----------------------------------------------------------------------------

    async def _run_actor(self) -> None:
        assert self.actor is not None
        try:
            await self.actor.run()
        finally:
            self._actor_ended.set()

    async def _run_checkpointer(self) -> None:
        assert self._checkpointer is not None
        try:
            await self._checkpointer.run()
        finally:
            self._checkpointer_ended.set()

    async def _run_work(self) -> None:
        """Workers and sources; when there were any and all have ended, everything stops."""
        if not self._workers and not self._sources:
            self._workers_ended.set()
            return
        async with create_task_group() as group:
            for worker in self._workers:
                group.start_soon(self._guarded, self._run_worker, worker)
            await self._sources.run(self._guarded)
        self._workers_ended.set()
        self.stop("all work has ended")

    async def _run_worker(self, worker: Worker) -> None:
        assert self.orchestrator is not None
        try:
            await worker.run(self.orchestrator, self.stopping, self.settings, self.log)
        except WorkerGaveUpError as error:
            # A clean way down: what is in the mailbox is drained and a checkpoint written.
            self.failure = self.failure or error
            self.stop(str(error))

    def _call_source(self, source: Source) -> Awaitable[object]:
        assert self.orchestrator is not None
        return source(self.orchestrator)

    # -- the way down -------------------------------------------------------------------------

    async def _wind_down(self) -> None:
        assert self._checkpointer is not None
        self._enter("draining", self.stop_reason)
        self._sources.cancel()
        self.servers.cancel()
        await self._end_workers()
        await self.servers.ended.wait()
        self.mailbox.close(ClosedError("the orchestrator is closing"))
        await self._actor_ended.wait()
        for caretaker in self._caretakers:
            caretaker.close()
        self._checkpointer.finish()
        await self._checkpointer_ended.wait()

    async def _end_workers(self) -> None:
        with move_on_after(grace_s := self.settings.stop_grace_s):
            await self._workers_ended.wait()
            return
        for worker in self._workers:
            if worker.cancel():
                self.log.warning("worker.cancelled", worker=worker.name, grace_s=grace_s)
        with move_on_after(self.settings.cancel_grace_s):
            await self._workers_ended.wait()

    def _refusal(self) -> PeninError:
        if isinstance(self.failure, PeninError) and not isinstance(self.failure, WorkerGaveUpError):
            return self.failure
        return ClosedError("the orchestrator is closed")

    def _note_release(self, released: asyncio.Future[None]) -> None:
        self.failure = self.failure or released.exception()
        if self.actor is not None:
            recovery_events.log_closed(self.log, self.store, self.actor.state.seq)

    def _enter(self, phase: Phase, reason: str | None = None) -> None:
        if phase == self.phase or self.phase in {"failed", "stopped"}:
            return
        why = {} if reason is None else {"reason": reason}
        self.log.info("supervisor.phase", phase=phase, previous=self.phase, **why)
        self.phase = phase

    # -- on the journal's thread --------------------------------------------------------------

    def _tick(self) -> float | None:
        """Sync what `everysec` left unsynced for a second; how long until the next is due."""
        if self.actor is None or self._is_released:
            return None
        journal = self.store.journal
        try:
            if journal.sync_due_s() == 0:
                journal.sync()
                self._from_thread(self._note_durable, journal.durable_seq)
            return journal.sync_due_s()
        except JournalFailedError as error:
            self._from_thread(self.fail, error)
            return None

    def _note_durable(self, seq: int) -> None:
        if self.actor is not None:
            self.actor.note_durable(min(seq, self.actor.state.seq))

    def _from_thread(self, function: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # a closed loop has nobody left to tell
            self._loop.call_soon_threadsafe(function, *args)

    def _wait_for_lock(self, seconds: float) -> None:
        """Wait before the lock is tried again, on the journal's thread; a stop ends it at once."""
        if not self._stop_request.looks:
            holder, wait_s = self.store.holder(), self.settings.lock_wait_s
            self._from_thread(recovery_events.log_waiting, self.log, self.store, holder, wait_s)
        if self._stop_request.wait(seconds):
            raise RecoveryAbandonedError

    def _release(self) -> None:
        # A snapshot that an earlier owner of the store puts in place after the lock went on to
        # the next one would undo what that one wrote: the lock is the last thing to go.
        for writer in self._writers:
            writer.join()
        self._is_released = True
        self.store.release()
