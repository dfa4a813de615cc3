"""The bounded buffer between whoever logs and whatever is slow.

Rules:
1. `put` never blocks, never raises and takes no lock that is held over anything slow.
2. What does not fit is dropped and counted, and the count is reported once there is room.
3. One thread hands items over, in their order, as many at once as there are.
4. Whatever the sink raises ends here.
"""

from __future__ import annotations

import atexit
import errno
import os
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Item = TypeVar("Item")

EVENTS_MAX: Final = 65_536
"""Items that wait at most: about 20 MB of lines, and most of a second of a busy actor."""

LINGER_S: Final = 0.01
"""How long the thread lets items gather before it takes them.

Without it the thread would wake for every item, and each waking makes the event loop give up the
interpreter lock and wait to get it back. A hundred wakings a second are not noticed.
"""

EXIT_TIMEOUT_S: Final = 1.0
"""How long the end of the interpreter waits for a buffer that nobody closed."""

_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Failures after which the same stream may work again: no room now does not mean no room ever."""


class Sink(Protocol[Item]):
    """Where a buffer's items go. All of it is called on the buffer's thread, except `stop`."""

    def write(self, items: list[Item], /) -> None:
        """Takes `items`, in order; may block. Whatever it raises ends the output.

        Only an OSError that means "no room" does not: then the items are lost and counted, and
        the next ones are tried.
        """

    def stop(self) -> None:
        """Asks a `write` under way to return soon. Called by `close` when its time is over."""

    def close(self) -> None:
        """Gives up what the sink holds; nothing is written afterwards."""


class LogBuffer(Generic[Item]):
    """A bounded buffer in front of a sink, with one thread that empties it.

    The thread is a daemon, so that it never keeps the interpreter from ending; a buffer that
    nobody closed is drained at the interpreter's end, for `EXIT_TIMEOUT_S` at most.

    In a forked child there is no such thread. What was waiting stays the parent's and is
    forgotten in the child; what the child puts is handed to the sink at once, on the calling
    thread, so there (and only there) `put` can block on a slow sink.

    `dropped_item` makes the item that tells how many were dropped. It goes through the same sink,
    after the items that were in the buffer when it was full.
    """

    def __init__(
        self,
        sink: Sink[Item],
        dropped_item: Callable[[int], Item],
        *,
        events_max: int = EVENTS_MAX,
        linger_s: float = LINGER_S,
    ) -> None:
        self._sink = sink
        self._dropped_item = dropped_item
        self._linger_s = linger_s
        self._items: deque[Item] = deque()
        # The number of waiting items from which on nothing is taken: 0 once output has ended, so
        # that `put` has one comparison to make.
        self._room = events_max
        self._dropped = 0
        self._reported = 0
        self._closing = False
        self._abandoned = False
        self._failure: Exception | None = None
        self._reset_locks()
        self._asleep = False
        self._inline = False
        self._thread = threading.Thread(target=self._run, name="penin-logs", daemon=True)
        self._thread.start()
        _buffers.add(self)
        atexit.register(self.close, EXIT_TIMEOUT_S)

    def _reset_locks(self) -> None:
        # A bare lock as a binary semaphore: releasing one is a single call that cannot block and
        # may be interrupted anywhere by a garbage collector or signal handler that logs as well.
        # (`Event.set` takes a lock of its own, and would wait for itself there.)
        self._wake = threading.Lock()
        self._wake.acquire()
        self._counting = threading.RLock()

    # -- whoever logs -------------------------------------------------------------------------

    def put(self, item: Item) -> None:
        """Takes `item` if there is room, or counts it as dropped. From any thread, at any time.

        Never raises, and never blocks (except in a forked child, see the class). The item must
        not be changed afterwards.
        """
        items = self._items
        if len(items) >= self._room:
            self._count_dropped(1)
            return
        items.append(item)
        if self._asleep:
            self._wake_up()

    def _wake_up(self) -> None:
        if self._inline:
            with self._counting:
                self._hand_over()
            return
        # Who appends first and looks at `_asleep` then, cannot be missed by a thread that sets
        # `_asleep` first and looks for items then. Two may find it set: one release is enough.
        self._asleep = False
        try:
            self._wake.release()
        except RuntimeError:
            return

    def _count_dropped(self, count: int) -> None:
        with self._counting:
            self._dropped += count

    @property
    def dropped(self) -> int:
        """How many items were not handed over, or were in a batch that the sink failed on."""
        return self._dropped + (len(self._items) if self._abandoned else 0)

    @property
    def failure(self) -> Exception | None:
        """What the sink raised and thereby ended the output; None while all is well."""
        return self._failure

    # -- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while not (self._closing or self._room == 0):
            self._asleep = True
            if not self._items and not self._closing:
                self._wake.acquire()
            self._asleep = False
            if not self._closing and self._linger_s > 0:
                self._wake.acquire(timeout=self._linger_s)
            self._hand_over()
        if not self._abandoned:
            self._hand_over()
        self._sink.close()

    def _hand_over(self) -> None:
        """Everything there is, and the count of what was dropped, in one call of the sink."""
        items = self._items
        batch = [items.popleft() for _ in range(len(items))]
        if self._failure is not None:
            self._count_dropped(len(batch))
            return
        dropped = self._dropped - self._reported
        if not batch and not dropped:
            return
        lost = len(batch)
        try:
            if dropped:
                batch.append(self._dropped_item(dropped))
            self._sink.write(batch)
        except Exception as error:  # noqa: BLE001 - rule 4: a log must not fail whoever logs
            self._count_dropped(lost)
            if not (isinstance(error, OSError) and error.errno in _PASSING):
                self._failure = error
                self._room = 0
                # Those that were put while the sink was failing.
                self._count_dropped(len(items))
                items.clear()
        else:
            self._reported += dropped

    # -- the end ------------------------------------------------------------------------------

    def close(self, timeout_s: float) -> bool:
        """Takes nothing more, and waits until what was put is handed over, `timeout_s` at most.

        Returns True if the sink has taken all that was put before. Otherwise the output had ended
        already, or time is over: then the sink is told to stop, and what it still holds is lost.
        Blocks, so not for the event loop. Calling it again is harmless.
        """
        self._room = 0
        self._closing = True
        if not self._inline:
            self._wake_up()
            if threading.current_thread() is not self._thread:
                self._thread.join(timeout_s)
            if self._thread.is_alive():
                self._abandoned = True
                self._sink.stop()
        atexit.unregister(self.close)
        return self._failure is None and not self._abandoned

    def _after_fork_in_child(self) -> None:
        # Any lock may have been held by a thread that does not exist here.
        self._reset_locks()
        self._items.clear()
        self._reported = self._dropped
        self._inline = True
        self._asleep = True


_buffers: weakref.WeakSet[LogBuffer[Any]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for buffer in list(_buffers):
        buffer._after_fork_in_child()  # noqa: SLF001 - the same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
