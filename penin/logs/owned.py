"""The logging of a process that is ours: what the command line sets up."""

from __future__ import annotations

import logging
import sys
from typing import IO, TYPE_CHECKING, Any, Final, Literal

import structlog
from structlog.contextvars import merge_contextvars

from penin.errors import UsageError
from penin.logs.buffer import EVENTS_MAX, LINGER_S, LogBuffer
from penin.logs.rendering import Stamp, ToConsole, to_json
from penin.logs.streams import FileSink, sink_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from pathlib import Path

    from structlog.typing import EventDict, FilteringBoundLogger, Processor

LogFormat = Literal["auto", "json", "console"]

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


class _BufferLogger:
    """The bottom of the pipeline: whatever the method, the finished line goes into the buffer."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self.debug = self.info = self.warning = self.warn = put
        self.error = self.critical = self.fatal = self.exception = self.log = self.msg = put


class _Bound:
    """A processor that puts the same fields into every event, unless it has them itself.

    Whoever looks at a terminal knows whose lines they are: there they are left out.
    """

    def __init__(self) -> None:
        self.fields: dict[str, object] = {}

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        for name, value in self.fields.items():
            event.setdefault(name, value)
        return event


class _FromLogging(logging.Handler):
    """Takes the records of the standard library's logging into the same pipeline.

    asyncio and other libraries log there. Python's own last resort writes to stderr on the thread
    that logs: on the event loop's, and it would wait there for a slow pipe.
    """

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = record.getMessage()
        except Exception:  # noqa: BLE001 - a mistake in somebody's format string
            event = str(record.msg)
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        self._logger.log(level, event, logger=record.name, exc_info=record.exc_info)


class Logs:
    """The pipeline of a process that is ours; an `EventLog`.

    `logger` is the structlog logger at its top, for those who want to bind values to it.
    """

    def __init__(
        self,
        logger: FilteringBoundLogger,
        buffer: LogBuffer[bytes],
        handler: logging.Handler,
        bound: _Bound,
        *,
        transitions: bool,
        reopen: Callable[[], None] | None,
    ) -> None:
        self.logger = logger
        self.enabled: bool = transitions and logger.is_enabled_for(logging.INFO)
        self.reopen = reopen
        # The logger's own methods, without a call in between: this is a hot path.
        self.debug: Callable[..., None] = logger.debug
        self.info: Callable[..., None] = logger.info
        self.warning: Callable[..., None] = logger.warning
        self.error: Callable[..., None] = logger.error
        self._bound = bound
        self._buffer = buffer
        self._handler = handler
        self._root_level = logging.root.level

    def bind(self, **fields: object) -> None:
        """Gives every line from now on these fields, a worker's own too; not those for people."""
        self._bound.fields = fields

    def transition(self, context: Context | None, /, **fields: object) -> None:
        """Logs `state.transition` in a copy of `context`, the sender's (None: the caller's)."""
        if not self.enabled:
            return
        if context is None:
            self.info("state.transition", **fields)
        else:
            # A context can be entered only once at a time, and this one may be running in its
            # owner's task or thread; a copy costs next to nothing.
            context.copy().run(self.info, "state.transition", **fields)

    @property
    def dropped(self) -> int:
        """How many lines are missing in the output."""
        return self._buffer.dropped

    def close(self, timeout_s: float = 1.0) -> bool:
        """Drains, for `timeout_s` at most; True if everything that was logged was written.

        Gives the standard library's logging back. structlog stays configured; what is logged from
        now on is discarded. Calling it again is harmless.
        """
        if self._handler in logging.root.handlers:
            logging.root.removeHandler(self._handler)
            logging.root.setLevel(self._root_level)
            logging.captureWarnings(capture=False)
        return self._buffer.close(timeout_s)


def configure(
    *,
    format: LogFormat = "auto",  # noqa: A002 - the word of the option
    level: str = "info",
    stream: IO[Any] | None = None,
    file: Path | None = None,
    colours: bool | None = None,
    transitions: bool = True,
    events_max: int = EVENTS_MAX,
    linger_s: float = LINGER_S,
) -> Logs:
    """Makes this process's logging ours: JSON or readable lines to `file`, else to `stream`.

    A stream of None is stderr.

    For the command line alone, since it sets global configuration: structlog's, so that a
    worker's `structlog.get_logger()` writes through the same buffer and never blocks the loop;
    and, until `close`, the standard library's root logger and warnings, which get a handler that
    leads here and the same level.

    Without `transitions`, `state.transition` is left out, for a person who follows a busy worker.
    `auto` is `console` where the stream is a terminal, `json` elsewhere. `colours` is by default
    whether it is a terminal. Raises UsageError for an unknown format or level, and for a file that
    cannot be opened.
    """
    if level not in LEVELS:
        raise UsageError(f"no such log level: {level} (there are {', '.join(LEVELS)})")
    if format not in ("auto", "json", "console"):
        raise UsageError(f"no such log format: {format} (there are auto, json, console)")
    stream = sys.stderr if stream is None else stream
    is_terminal = file is None and _is_terminal(stream)
    stamp = Stamp()
    render: Callable[..., bytes] = to_json
    if format == "console" or (format == "auto" and is_terminal):
        render = ToConsole(colours=is_terminal if colours is None else colours)
    bound = _Bound()

    def dropped_line(count: int) -> bytes:
        event = stamp(None, "warning", {"event": "log.dropped", "count": count, **bound.fields})
        return render(None, "warning", event)

    sink = sink_of(stream) if file is None else _file_sink(file)
    buffer = LogBuffer(sink, dropped_line, events_max=events_max, linger_s=linger_s)
    bottom = _BufferLogger(buffer.put)
    processors: list[Processor] = [merge_contextvars, stamp, render]
    if render is to_json:
        processors.insert(1, bound)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
        logger_factory=lambda *_names: bottom,
        cache_logger_on_first_use=True,
    )
    logger: FilteringBoundLogger = structlog.get_logger().bind()
    handler = _FromLogging(logger)
    reopen = sink.reopen if isinstance(sink, FileSink) else None
    logs = Logs(logger, buffer, handler, bound, transitions=transitions, reopen=reopen)
    logging.root.addHandler(handler)
    logging.root.setLevel(LEVELS[level])
    logging.captureWarnings(capture=True)
    return logs


def _file_sink(file: Path) -> FileSink:
    try:
        return FileSink(file)
    except OSError as error:
        raise UsageError(f"the log file {file} cannot be opened: {error.strerror}") from error


def _is_terminal(stream: IO[Any] | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):
        return False
