"""The trace that a message belongs to: the sender's OpenTelemetry span, where there is one.

Nothing of OpenTelemetry is imported here. A span can only be there where the host has imported it.
"""

from __future__ import annotations

import sys
from typing import Final

import msgspec

from penin.core import door
from penin.core.transitions import Message, Origin

_MODULE: Final = "opentelemetry.trace"
PYTHON: Final = Origin("python")
_modules: Final = sys.modules


def traced(message: Message, sender: Origin = PYTHON) -> Message:
    """The message with the sender's current span as `from.trace`.

    The same message where there is no span, or where the message tells its trace itself. `sender`
    is who sends one that does not say. Raises RefusedValueError where it is too large with it.
    """
    trace = current_trace()
    origin = message.body.origin or sender
    if trace is None or origin.trace is not None:
        return message
    return door.sent_by(message, door.sender(msgspec.structs.replace(origin, trace=trace)))


def current_trace() -> str | None:
    """The caller's current span, as W3C writes a traceparent; None where there is none."""
    module = _modules.get(_MODULE)
    if module is None:
        return None
    span = module.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
