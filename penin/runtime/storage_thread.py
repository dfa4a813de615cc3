"""A thread that owns files: calls come from the event loop, one after the other, and end there.

The journal has one and the snapshots have one. What a thread has begun it finishes, whatever is
cancelled on the loop: the caller only stops waiting. `concurrent.futures` would do the same with a
future of its own on the way, which costs a third of the latency of one durable message.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Request = tuple[Callable[..., Any], tuple[Any, ...], "asyncio.Future[Any] | None"]


def _nothing() -> None:
    """What a thread does when only its time is over, and last if nothing else is asked for."""


class StorageThread:
    """Runs calls in order on one daemon thread.

    `tick`, if given, is called on the thread after each call and whenever the time that it
    returned last (seconds; None: until the next call) is over. It must not raise.

    The thread is a daemon so that a host that never closes can still exit; nothing acknowledged
    depends on what it would do then.
    """

    def __init__(self, name: str, tick: Callable[[], float | None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._tick = tick
        self._ending: asyncio.Future[Any] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """A future of `function(*args)` on the thread. Cancelling it does not stop the call."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._requests.put((function, args, future))
        return future

    def close(self, function: Callable[[], object] = _nothing) -> asyncio.Future[Any]:
        """Make `function` the last call and end the thread after it; the future is its outcome.

        Returns at once and can be called from a cancelled task, which need not wait. Only the
        first call counts; the future is the same every time.
        """
        if self._ending is None:
            self._ending = self.call(function)
            self._requests.put(None)
        return self._ending

    def join(self) -> None:
        """Block until the thread has ended; for another thread, never for the event loop."""
        self._thread.join()

    def _run(self) -> None:
        timeout_s: float | None = None
        while True:
            try:
                request = self._requests.get(timeout=timeout_s)
            except Empty:
                request = (_nothing, (), None)
            if request is None:
                return
            self._serve(*request)
            if self._tick is not None:
                timeout_s = self._tick()

    def _serve(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        future: asyncio.Future[Any] | None,
    ) -> None:
        result, failure = None, None
        try:
            result = function(*args)
        except BaseException as error:  # noqa: BLE001  # handed to the caller, whatever it is
            failure = error
        if future is not None:
            # A closed loop has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_settle, future, result, failure)


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return  # its caller was cancelled
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
