"""The logging of a host that is not ours: into its own structlog, or nowhere."""

from __future__ import annotations

import contextvars
import logging
import sys
from collections.abc import Callable
from typing import Any, Final

from penin.errors import RefusedTypeError
from penin.logs.buffer import EVENTS_MAX, LINGER_S, LogBuffer
from penin.logs.event_log import EventLog

_HostEvent = tuple[contextvars.Context, str, str, dict[str, object]]
"""The context to log in, the logger's method, the event and its fields."""

_METHODS: Final = ("debug", "info", "warning", "error")


class SilentLog:
    """An `EventLog` that drops everything: for a host that has not asked for any logs."""

    enabled: bool = False
    dropped: int = 0
    reopen: None = None

    def bind(self, **fields: object) -> None:
        """Nothing."""

    def debug(self, event: str, /, **fields: object) -> None:
        """Nothing."""

    def info(self, event: str, /, **fields: object) -> None:
        """Nothing."""

    def warning(self, event: str, /, **fields: object) -> None:
        """Nothing."""

    def error(self, event: str, /, **fields: object) -> None:
        """Nothing."""

    def transition(self, context: contextvars.Context | None, /, **fields: object) -> None:
        """Nothing."""

    def close(self, timeout_s: float = 0.0) -> bool:  # noqa: ARG002 - nothing to wait for
        """Nothing."""
        return True


class _HostSink:
    """Calls the host's logger. An exception out of it is counted and goes no further."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._stopped = False
        self.bound: dict[str, object] = {}
        self.failures = 0
        self.lost = 0

    def write(self, items: list[_HostEvent], /) -> None:
        for context, method, event, fields in items:
            if self._stopped:
                self.lost += 1
                continue
            try:
                context.run(getattr(self._logger, method), event, **{**self.bound, **fields})
            except Exception:  # noqa: BLE001 - the host's code; there is nowhere to log it to
                self.failures += 1

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        """The logger is the host's."""


class HostLog:
    """An `EventLog` in front of a host's logger, which is called on a thread of its own.

    So a slow or failing logger of the host never reaches the event loop. Each event is logged in
    a copy of the context that it came from, so that the host's processors find their variables;
    a timestamp that they add is that of the call on the thread, some milliseconds later.
    """

    reopen: None = None

    def __init__(
        self, logger: Any, *, events_max: int = EVENTS_MAX, linger_s: float = LINGER_S
    ) -> None:
        self._is_enabled_for = _level_check(logger)
        self._sink = _HostSink(logger)
        self._buffer: LogBuffer[_HostEvent] = LogBuffer(
            self._sink, _dropped_event, events_max=events_max, linger_s=linger_s
        )
        self._put = self._buffer.put

    @property
    def enabled(self) -> bool:
        """Whether the host's logger takes `info` now; it may change its level at any time."""
        return self._is_enabled_for(logging.INFO)

    def bind(self, **fields: object) -> None:
        """Gives every event that is handed on from now on these fields."""
        self._sink.bound = fields

    def debug(self, event: str, /, **fields: object) -> None:
        """Logs `event` in a copy of the caller's context."""
        if self._is_enabled_for(logging.DEBUG):
            self._put((contextvars.copy_context(), "debug", event, fields))

    def info(self, event: str, /, **fields: object) -> None:
        """Logs `event` in a copy of the caller's context."""
        if self._is_enabled_for(logging.INFO):
            self._put((contextvars.copy_context(), "info", event, fields))

    def warning(self, event: str, /, **fields: object) -> None:
        """Logs `event` in a copy of the caller's context."""
        if self._is_enabled_for(logging.WARNING):
            self._put((contextvars.copy_context(), "warning", event, fields))

    def error(self, event: str, /, **fields: object) -> None:
        """Logs `event` in a copy of the caller's context."""
        if self._is_enabled_for(logging.ERROR):
            self._put((contextvars.copy_context(), "error", event, fields))

    def transition(self, context: contextvars.Context | None, /, **fields: object) -> None:
        """Logs `state.transition` in a copy of `context`, the sender's (None: the caller's)."""
        if self._is_enabled_for(logging.INFO):
            copy = contextvars.copy_context() if context is None else context.copy()
            self._put((copy, "info", "state.transition", fields))

    @property
    def dropped(self) -> int:
        """How many events did not reach the host's logger for want of room or of time."""
        return self._buffer.dropped + self._sink.lost

    @property
    def failures(self) -> int:
        """How often the host's logger raised."""
        return self._sink.failures

    def close(self, timeout_s: float = 1.0) -> bool:
        """Drains, for `timeout_s` at most; True if the host's logger was called for every event.

        The logger itself stays the host's. Calling it again is harmless.
        """
        return self._buffer.close(timeout_s)


def _dropped_event(count: int) -> _HostEvent:
    return contextvars.Context(), "warning", "log.dropped", {"count": count}


def _level_check(logger: Any) -> Callable[[int], bool]:
    """How to ask `logger` whether it takes a level, without ever raising.

    Looked up on the class: the generic logger of structlog answers to every name, by logging.
    """
    for name in ("is_enabled_for", "isEnabledFor"):
        if hasattr(type(logger), name):
            ask: Callable[[int], bool] = getattr(logger, name)
            break
    else:
        return lambda _level: True

    def is_enabled_for(level: int) -> bool:
        try:
            return ask(level)
        except Exception:  # noqa: BLE001 - the host's code
            return True

    return is_enabled_for


def embedded_logger(
    logger: Any = None, *, events_max: int = EVENTS_MAX, linger_s: float = LINGER_S
) -> EventLog:
    """The log of an orchestrator inside somebody else's program.

    With `logger` (anything with structlog's methods: `logger.info(event, **fields)`), or if the
    host has configured structlog, events go there, from a thread of their own. Otherwise nothing
    is printed. No global configuration is touched.

    Raises RefusedTypeError for a logger that does not take fields, as that of the standard
    library (`structlog.wrap_logger` or `structlog.stdlib` goes around it).
    """
    if logger is None:
        # A host that has not imported it has not configured it, and need not wait for it.
        structlog = sys.modules.get("structlog")
        if structlog is None or not structlog.is_configured():
            return SilentLog()
        logger = structlog.get_logger()
    if isinstance(logger, logging.Logger | logging.LoggerAdapter):
        raise RefusedTypeError(
            "logger", "a logger of the standard library takes no fields; wrap it with structlog"
        )
    if hasattr(logger, "bind"):
        # What structlog.get_logger() returns assembles itself anew at every call; once is enough.
        logger = logger.bind()
    lacking = [method for method in _METHODS if not callable(getattr(logger, method, None))]
    if lacking:
        raise RefusedTypeError("logger", f"it has no method {', '.join(lacking)}")
    return HostLog(logger, events_max=events_max, linger_s=linger_s)
