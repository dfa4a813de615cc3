"""The checkpointer: the task that decides when a snapshot is written, and writes it.

A checkpoint goes in the order of `docs/persistence.md`: a view between two commits, the journal
synced and a new file begun, the snapshot written and put in place on a thread of its own while
messages flow, and only then the journal that it covers retired, and in a compressed store what is
kept of it compressed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Final

from penin.core.formats import encode_state
from penin.core.snapshots import Envelope
from penin.core.state import StateView
from penin.errors import (
    ClosedError,
    FinalCheckpointError,
    JournalFailedError,
    PeninError,
    StorageError,
)
from penin.logs import EventLog
from penin.runtime.actor import Actor
from penin.runtime.clock import now_text
from penin.runtime.storage_thread import StorageThread
from penin.runtime.store import Store
from penin.settings import Settings, duration_s
from penin.storage.compression import split_suffix
from penin.storage.retention import CHECKPOINTS_KEPT_MIN, Retention
from penin.storage.snapshots import JSON_SUFFIX
from penin.storage.timings import Timings

SMALL_BYTES: Final = 16 * 2**20
"""A snapshot of up to this size is written whenever it is due. A larger one has to pay for itself:
the journal since the last one must have grown to the size of that. So over any time all snapshots
but the last have no more bytes than the journal, and recovery replays no more bytes than it reads
from the snapshot, and what came in until the one that was due then was written."""

LARGE_JSON_BYTES: Final = 64 * 2**20
"""From this size on the log says, once, that the other format is faster."""


class Checkpointer:
    """Writes checkpoints: on a timer, after so many transitions, and on request.

    One that nobody asked for is left out where it would not pay for itself (`SMALL_BYTES`).
    `durations` are those of the checkpoints that were written, `finished_s` is when the last one
    was (by `time.monotonic`; None before the first), and `failures` counts the others.
    """

    def __init__(
        self,
        *,
        store: Store,
        actor: Actor,
        journal_thread: StorageThread,
        snapshot_thread: StorageThread,
        settings: Settings,
        log: EventLog,
        snapshot_seq: int,
        snapshot_bytes: int,
    ) -> None:
        self.snapshot_seq = snapshot_seq
        self.blocks_written = 0  # of all snapshots; read to see whether one gets on
        self.snapshot_bytes = snapshot_bytes
        self.durations = Timings()
        self.finished_s: float | None = None
        self.failures = 0
        self._store = store
        self._actor = actor
        self._journal_thread = journal_thread
        self._snapshot_thread = snapshot_thread
        self._settings = settings
        self._retention = Retention(
            settings.keep_last, settings.keep_daily, duration_s(settings.keep_within)
        )
        # Known to be good: what was read whole at recovery, and what was written and synced here.
        # To read a checkpoint again before an older one goes would cost as much as writing it.
        self._valid_seqs = [snapshot_seq]
        self._log = log
        self._wanted = asyncio.Event()
        self._requests: list[tuple[str, asyncio.Future[int]]] = []
        self._aborted = False
        self._closed = False
        self._finishing = False
        self._has_failed = False
        self._is_large_noted = False
        actor.listeners.append(self.note_applied)

    def request(self, reason: str) -> asyncio.Future[int]:
        """A checkpoint of all that is applied now; the future gives its seq.

        The future raises StorageError where it failed (nothing is lost; the journal has it), and
        ClosedError where the checkpointer stopped before.
        """
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self._closed:
            answer.set_exception(ClosedError("the orchestrator is closed"))
            return answer
        self._requests.append((reason, answer))
        self._wanted.set()
        return answer

    def note_applied(self, seq: int) -> None:
        """The state is at `seq`; a checkpoint may be due."""
        if seq - self.snapshot_seq < self._settings.checkpoint_transitions_max:
            return
        if not self._has_failed and self._pays():  # after a failure, the timer tries again
            self._wanted.set()

    def _pays(self) -> bool:
        size = self.snapshot_bytes
        return size <= SMALL_BYTES or self._store.size_bytes(self.snapshot_seq) >= size

    def abort(self) -> None:
        """Make the snapshot that is being written fail, so that its thread ends soon."""
        self._aborted = True

    async def run(self) -> None:
        """Write checkpoints as they are due until `finish`, then the last one.

        A failed one is logged and tried again at the next tick. Raises JournalFailedError when
        the sync of the journal failed, which stops the actor too, and FinalCheckpointError when
        the last one failed.
        """
        try:
            await self._measure()
            while not self._finishing:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(
                        self._wanted.wait(), self._settings.checkpoint_interval_s
                    )
                reason = "transitions" if self._wanted.is_set() else "timer"
                self._wanted.clear()
                if not self._finishing:
                    await self._serve(reason)
            await self._serve("shutdown")
        finally:
            self.close()

    def finish(self) -> None:
        """Let `run` write the last checkpoint and return; for when the actor has ended."""
        self._finishing = True
        self._wanted.set()

    def close(self) -> None:
        """Take no further requests, and refuse those that wait."""
        self._closed = True
        _answer(self._requests, self._actor.failure or ClosedError("the orchestrator is closed"))
        self._requests.clear()

    async def _serve(self, reason: str) -> None:
        requests, self._requests = self._requests, []
        if requests and not self._finishing:
            reason = requests[0][0]
        if not requests and not self._pays():
            self._log.debug("checkpoint.skipped", reason=reason, seq=self._actor.state.seq)
            return
        try:
            seq = await self.checkpoint(reason)
            self._has_failed = False
        except JournalFailedError as error:
            _answer(requests, error)
            raise
        except (PeninError, OSError) as error:
            self._has_failed = True
            named = error if isinstance(error, PeninError) else _named(error, self._store)
            _answer(requests, named)
            if self._finishing:
                raise FinalCheckpointError(
                    f"the last checkpoint failed ({named}); the journal has everything"
                ) from error
        except BaseException:
            stopped = ClosedError("the orchestrator stopped during the checkpoint")
            _answer(requests, self._actor.failure or stopped)
            raise
        else:
            for _, answer in requests:
                if not answer.done():
                    answer.set_result(seq)

    async def checkpoint(self, reason: str) -> int:
        """Write one now, if anything changed since the last; its seq.

        When it returns, the snapshot is durable and the journal that it covers retired. Raises,
        after logging it, StorageError or OSError when it failed: then the journal has everything.
        """
        seq = self._actor.state.seq
        if seq == self.snapshot_seq:
            self._log.debug("checkpoint.skipped", reason=reason, seq=seq)
            return seq
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        try:
            async with self._actor.between_commits():
                if self._actor.failure is not None:
                    # It came with the commit that was waited for, which may be applied in part.
                    raise self._actor.failure
                view = self._actor.state.view()
                seq = view.seq
                envelope = self._envelope()
                await self._journal_thread.call(self._store.journal.rotate)
                self._actor.note_durable(seq)
            size = await self._snapshot_thread.call(self._write, view, envelope)
        except JournalFailedError:
            raise  # the end of everything, and logged as that
        except (PeninError, OSError) as error:
            self.failures += 1
            self._log.error("checkpoint.failed", reason=reason, seq=seq, cause=str(error))
            raise
        self.snapshot_seq, self.snapshot_bytes = seq, size
        self._valid_seqs = [*self._valid_seqs, seq][-CHECKPOINTS_KEPT_MIN:]
        self.finished_s = time.monotonic()
        seconds = round(loop.time() - begun_s, 6)
        self.durations.observe(seconds)
        self._log.info("checkpoint.finished", reason=reason, seq=seq, bytes=size, seconds=seconds)
        self._note_large(size)
        await self._sign_head(envelope, seq)
        await self._retire_older(seq)
        await self._compress_older(seq)
        await self._measure()
        return seq

    async def _measure(self) -> None:
        """Let the bounds know what checkpoints take now; what cannot be read is as it was."""
        if self._actor.bounds is None:
            return
        with contextlib.suppress(PeninError, OSError):
            await self._snapshot_thread.call(self._actor.bounds.measure)

    def _note_large(self, size: int) -> None:
        if size > LARGE_JSON_BYTES and split_suffix(self._store.snapshots.suffix)[0] == JSON_SUFFIX:
            if not self._is_large_noted:
                self._log.info("checkpoint.large_json", bytes=size, limit=LARGE_JSON_BYTES)
            self._is_large_noted = True

    async def _sign_head(self, envelope: Envelope, seq: int) -> None:
        """Of the line that the snapshot ends with; what fails is left out."""
        signer = self._store.signer
        if signer is None:
            return
        try:
            await self._snapshot_thread.call(signer.sign, envelope, seq)
        except (PeninError, OSError) as error:
            self._log.warning("checkpoint.unsigned", seq=seq, cause=str(error))

    async def _retire_older(self, seq: int) -> None:
        """What cannot be deleted now is deleted after the next checkpoint."""
        try:
            await self._journal_thread.call(self._retire)
        except JournalFailedError:
            raise
        except (PeninError, OSError) as error:
            self._log.warning("checkpoint.unretired", seq=seq, cause=str(error))

    async def _compress_older(self, seq: int) -> None:
        """What is left of the journal before a snapshot; what fails is tried after the next one."""
        compression = split_suffix(self._store.snapshots.suffix)[1]
        if compression is None:
            return
        journal, level = self._store.journal, self._store.level
        try:
            await self._snapshot_thread.call(
                journal.compress, seq, compression, level, self._check_aborted
            )
        except JournalFailedError:
            raise
        except (PeninError, OSError) as error:
            self._log.warning("checkpoint.uncompressed", seq=seq, cause=str(error))

    def _envelope(self) -> Envelope:
        journal = self._store.journal
        return Envelope(journal.store, journal.epoch, self._actor.at, journal.head_hash)

    def _write(self, view: StateView, envelope: Envelope) -> int:
        """On the snapshots' thread."""
        assert envelope.epoch is not None
        assert envelope.at is not None

        snapshots = self._store.snapshots
        chunks = encode_state(view, envelope, snapshots.suffix, self._store.level)
        chunks = self._until_aborted(chunks)
        return snapshots.put(view.seq, envelope.epoch, envelope.at, chunks)

    def _until_aborted(self, chunks: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        for chunk in chunks:
            self._check_aborted()
            self.blocks_written += 1
            yield chunk
        self._check_aborted()

    def _check_aborted(self) -> None:
        if self._aborted:
            raise ClosedError("the orchestrator stopped during the checkpoint")

    def _retire(self) -> None:
        """On the journal's thread: what older checkpoints and their journal took is given back."""
        self._store.journal.sync()  # raises where the journal has failed: then nothing is deleted
        snapshots = self._store.snapshots
        snapshots.prune(self._retention, now=now_text(), valid=self._valid_seqs)
        if self._settings.keep_journal == "checkpoints":
            oldest_kept_seq = snapshots.oldest_kept_seq()
            self._store.journal.trim(oldest_kept_seq)
            if self._store.sealed is not None:  # after the journal that names them
                self._store.sealed.retire(oldest_kept_seq)


def _named(error: OSError, store: Store) -> StorageError:
    return StorageError(error.filename or store.name, error.strerror or str(error))


def _answer(requests: list[tuple[str, asyncio.Future[int]]], error: PeninError) -> None:
    for _, answer in requests:
        if not answer.done():
            answer.set_exception(error)
