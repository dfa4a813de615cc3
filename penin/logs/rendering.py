"""From an event to its line: the last two processors of the command line's structlog pipeline.

Neither of them raises, whatever the event holds: a log line must not fail whoever writes it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import orjson
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import StackInfoRenderer, format_exc_info

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict

DEPTH_MAX: Final = 16
"""How deep a value that orjson refuses is followed; what lies deeper is shown by its repr."""

ITEMS_MAX: Final = 1_000
"""How many items of a container that orjson refuses are shown."""

REPR_LENGTH_MAX: Final = 10_000
"""Characters of a repr that are shown: a log line is no place for a whole array."""

_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY

_LEVELS: Final = {"warn": "warning", "exception": "error", "fatal": "critical", "msg": "info"}
"""The methods of a logger whose name is not their level's."""

_INTEGERS: Final = range(-(2**63), 2**64)
"""What orjson writes as a number."""

_add_stack: Final = StackInfoRenderer()


class Stamp:
    """Puts `timestamp`, `level` and `event` first; replaces fields of those names.

    The timestamp is UTC with microseconds: `2026-01-31T12:00:00.000123Z`. `clock` returns
    nanoseconds since 1970.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        # One tuple, replaced as a whole, so that two threads cannot mix two seconds.
        self._second = (-1, "")

    def __call__(self, _logger: object, method: str, fields: EventDict) -> EventDict:
        """The processor."""
        second, ns = divmod(self._clock(), 1_000_000_000)
        known, prefix = self._second
        if second != known:
            prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, prefix)
        timestamp = f"{prefix}.{ns // 1000:06d}Z"
        level = _LEVELS.get(method, method)
        event: EventDict = {"timestamp": timestamp, "level": level, "event": None, **fields}
        event["timestamp"] = timestamp
        event["level"] = level
        return event


def to_json(logger: Any, method: str, event: EventDict) -> bytes:
    """The event as one line of JSON, newline included. Never raises.

    JSON has no word for NaN and the infinities: they become null. Integers beyond 64 bits become
    strings of digits, what has no JSON form at all becomes its repr, and a value that cannot even
    tell its repr is named by its type.
    """
    try:
        if event.get("exc_info"):
            event = format_exc_info(logger, method, event)
        else:
            event.pop("exc_info", None)
        if "stack_info" in event:
            event = _add_stack(logger, method, event)
        return orjson.dumps(event, _plain_leaf, _OPTIONS)
    except Exception:  # noqa: BLE001 - values bring code of their own; see the head of the file
        return orjson.dumps(_plain(event, DEPTH_MAX), None, orjson.OPT_APPEND_NEWLINE)


class ToConsole:
    """The event as a readable line in UTF-8, newline included. Never raises.

    With `colours` for a terminal. What is not printable is escaped: a key that came from outside
    must not be able to move a terminal's cursor. Tracebacks are plain, without local variables,
    which may be large or secret.
    """

    def __init__(self, *, colours: bool) -> None:
        self._render = ConsoleRenderer(
            colors=colours,
            sort_keys=False,
            pad_event_to=24,
            exception_formatter=plain_traceback,
        )

    def __call__(self, logger: Any, method: str, event: EventDict) -> bytes:
        """The processor."""
        try:
            if "stack_info" in event:
                event = _add_stack(logger, method, event)
            text = self._render(logger, method, {k: _printable(k, v) for k, v in event.items()})
        except Exception:  # noqa: BLE001 - as in to_json
            event = {k: _printable(k, v) for k, v in _plain(event, DEPTH_MAX).items()}
            text = self._render(logger, method, event)
        return text.encode("utf-8", "backslashreplace") + b"\n"


def _printable(key: str, value: object) -> object:
    if type(value) is not str or value.isprintable() or key in ("exception", "stack"):
        return value
    return value.encode("unicode_escape").decode("ascii")


def _plain_leaf(value: object) -> object:
    """What orjson does not know, as something that it does."""
    if isinstance(value, set | frozenset):
        return sorted(map(_repr, value))
    return _repr(value)


def _repr(value: object) -> str:
    try:
        text = value if isinstance(value, str) else repr(value)
        return text[:REPR_LENGTH_MAX].encode("utf-8", "backslashreplace").decode("utf-8")
    except Exception:  # noqa: BLE001 - any class may define a repr that raises
        return f"<{type(value).__name__} without a repr>"


def _plain(value: Any, depth: int) -> Any:
    """`value`, built anew from types that every JSON writer takes. Slow, and total."""
    kind = type(value)
    if value is None or kind in (bool, float):
        return value
    if kind is int:
        if value in _INTEGERS:
            return value
        try:
            return str(value)
        except ValueError:  # more digits than the interpreter converts
            return hex(value)
    if kind is str:
        # Not shortened: it is the value itself. Lone surrogates have no UTF-8.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if depth > 0 and isinstance(value, Mapping):
        pairs = islice(value.items(), ITEMS_MAX)
        return {_repr(key): _plain(item, depth - 1) for key, item in pairs}
    if depth > 0 and kind in (list, tuple):
        return [_plain(item, depth - 1) for item in value[:ITEMS_MAX]]
    return _plain_scalar(value)


def _plain_scalar(value: object) -> Any:
    """Numpy's and every other type: what orjson makes of it alone, or its repr."""
    try:
        return orjson.loads(orjson.dumps(value, _repr, orjson.OPT_SERIALIZE_NUMPY))
    except Exception:  # noqa: BLE001 - as in to_json
        return _repr(value)
