"""A thread that owns files: calls come from the event loop, one after the other, and end there.

The journal has one and the snapshots have one. What a thread has begun it finishes, whatever is
cancelled on the loop: the caller only stops waiting. `concurrent.futures` would do the same with a
future of its own on the way, which costs a third of the latency of one durable message.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Then = Callable[[], object]


class _Request(NamedTuple):
    """A call, and who waits for it: a future, and what is to be done before that has its result."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    future: asyncio.Future[Any] | None
    then: Then | None


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
        self._context = contextvars.copy_context()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(
        self, function: Callable[..., T], *args: Any, then: Then | None = None
    ) -> asyncio.Future[T]:
        """A future of `function(*args)` on the thread. Cancelling it does not stop the call.

        `then` is called on the event loop as soon as `function` has returned, unless the future
        was cancelled, and what it raises comes out of the future. Who awaits the future goes on a
        turn of the loop later.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._requests.put(_Request(function, args, future, then))
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
                request = _Request(_nothing, (), None, None)
            if request is None:
                return
            self._serve(request)
            if self._tick is not None:
                timeout_s = self._tick()

    def _serve(self, request: _Request) -> None:
        result, failure = None, None
        try:
            result = request.function(*request.args)
        except BaseException as error:  # noqa: BLE001  # handed to the caller, whatever it is
            failure = error
        if request.future is not None:
            # A closed loop has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(
                    _settle, request.future, request.then, result, failure, context=self._context
                )


def _settle(
    future: asyncio.Future[Any], then: Then | None, result: Any, failure: BaseException | None
) -> None:
    if future.done():
        return  # its caller was cancelled
    if then is not None and failure is None:
        try:
            then()
        except Exception as error:  # noqa: BLE001  # handed to the caller, as above
            failure = error
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
