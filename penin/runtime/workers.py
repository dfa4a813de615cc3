"""Workers: the user's `async def worker(orchestrator)`, started, restarted and stopped."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from penin.errors import JournalFailedError, UsageError, WorkerGaveUpError
from penin.logs import EventLog
from penin.settings import Settings

if TYPE_CHECKING:
    from penin.runtime.protocol import AsyncOrchestrator

WorkerFunction = Callable[..., Awaitable[object]]


class Worker:
    """One worker: a function, the keyword arguments that it takes, and its current task.

    `cancelled_s` is when the function was cancelled, on the monotonic clock; None if it was not.
    """

    def __init__(self, function: WorkerFunction, arguments: Mapping[str, Any]) -> None:
        self.name = _name_of(function)
        self._function = function
        self._arguments = dict(arguments)
        self.task: asyncio.Task[BaseException | None] | None = None
        self.cancelled_s: float | None = None

    async def run(
        self,
        orchestrator: AsyncOrchestrator,
        stopping: asyncio.Event,
        settings: Settings,
        log: EventLog,
    ) -> None:
        """Run the function until it returns, restarting it when it raises.

        Returns when it has returned, or has ended after `stopping` was set. Raises
        WorkerGaveUpError when it failed `worker_failures_max` times within
        `worker_failures_within_s`. A failed journal is no reason to start again. `sys.exit` and a
        CancelledError that is not of our cancelling are failures as any other exception is.

        Cancelled, it cancels the function and does not wait for it: `task` may go on, and whoever
        ends the loop decides how long it may (`penin.runtime.leftovers`).
        """
        loop = asyncio.get_running_loop()
        failures: deque[float] = deque(maxlen=settings.worker_failures_max)
        while True:
            log.info("worker.started", worker=self.name)
            begun_s = loop.time()
            failure = await self._outcome(orchestrator)
            if failure is None:
                seconds = round(loop.time() - begun_s, 6)
                log.info("worker.returned", worker=self.name, seconds=seconds)
                return
            failures.append(loop.time())
            log.error(
                "worker.failed",
                worker=self.name,
                cause=repr(failure),
                failures=len(failures),
                exc_info=failure,
            )
            if stopping.is_set() or isinstance(failure, JournalFailedError):
                return
            await self._pause_or_give_up(failures, stopping, settings, log)
            if stopping.is_set():
                return

    async def _outcome(self, orchestrator: AsyncOrchestrator) -> BaseException | None:
        """What the function raised; None when it returned or ended because we cancelled it."""
        # A task of its own, cancelled as asyncio does it, once: a cancelled scope would also end
        # every await of its clean-up, and what a clean-up writes is to be kept.
        self.task = asyncio.create_task(self._call(orchestrator), name=self.name)
        try:
            await asyncio.wait({self.task})
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self.task.cancelled():  # before it had begun
            return None if self.cancelled_s else asyncio.CancelledError()
        if isinstance(self.task.exception(), KeyboardInterrupt):
            # The loop has raised it already, and is going on only to end.
            raise asyncio.CancelledError
        failure = self.task.result()
        is_ours = isinstance(failure, asyncio.CancelledError) and self.cancelled_s is not None
        return None if is_ours else failure

    async def _call(self, orchestrator: AsyncOrchestrator) -> BaseException | None:
        """What the function raised. SystemExit, if a task raised it, would end the loop."""
        structlog.contextvars.bind_contextvars(worker=self.name)
        try:
            await self._function(orchestrator, **self._arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # a failure of the worker, whatever it is
            return error
        return None

    async def _pause_or_give_up(
        self,
        failures: deque[float],
        stopping: asyncio.Event,
        settings: Settings,
        log: EventLog,
    ) -> None:
        within_s = settings.worker_failures_within_s
        if len(failures) == failures.maxlen and failures[-1] - failures[0] <= within_s:
            log.error("worker.gave_up", worker=self.name, failures=len(failures), within_s=within_s)
            raise WorkerGaveUpError(self.name, len(failures), within_s)
        delay_s = backoff_s(len(failures), settings)
        log.warning("worker.restarting", worker=self.name, delay_s=delay_s, failures=len(failures))
        try:
            await asyncio.wait_for(stopping.wait(), delay_s)
        except TimeoutError:
            return

    def cancel(self) -> bool:
        """Cancel the function, once; whether it was still running."""
        if self.task is None or self.task.done():
            return False
        if self.cancelled_s is None:
            self.cancelled_s = time.monotonic()
            self.task.cancel()
        return True


def backoff_s(failures: int, settings: Settings) -> float:
    """The pause after so many failures: doubling, bounded, varied by up to a half."""
    doubled: float = settings.worker_backoff_min_s * 2 ** min(failures - 1, 32)
    share = random.uniform(0.5, 1.0)  # noqa: S311  # no secret
    return round(min(doubled, settings.worker_backoff_max_s) * share, 6)


def make_workers(functions: Sequence[WorkerFunction], arguments: Mapping[str, Any]) -> list[Worker]:
    """The workers, each with those arguments that it has a parameter for.

    Raises UsageError for an argument that no worker has, one that a worker needs and is not
    given, and for what is not an async function of at least one parameter.
    """
    workers = []
    unused = set(arguments)
    for function in functions:
        if not callable(function) or not _is_async(function):
            raise UsageError(f"{_name_of(function)} is not an async function")
        given = _arguments_of(function, arguments)
        unused -= set(given)
        workers.append(Worker(function, given))
    if unused:
        raise UsageError(f"no worker has a parameter {', '.join(sorted(unused))}")
    return workers


def _name_of(function: object) -> str:
    module = getattr(function, "__module__", "?")
    return f"{module}:{getattr(function, '__qualname__', repr(function))}"


def _is_async(function: WorkerFunction) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # an object with an async __call__
    )


def _arguments_of(function: WorkerFunction, arguments: Mapping[str, Any]) -> dict[str, Any]:
    name = getattr(function, "__qualname__", repr(function))
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise UsageError(f"worker {name} takes no orchestrator as its first parameter")
    given = {}
    for parameter in parameters[1:]:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return dict(arguments)
        if parameter.name in arguments:
            given[parameter.name] = arguments[parameter.name]
        elif (
            parameter.default is parameter.empty
            and parameter.kind is not inspect.Parameter.VAR_POSITIONAL
        ):
            raise UsageError(f"worker {name} needs the argument {parameter.name}")
    return given
