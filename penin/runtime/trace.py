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
_PYTHON: Final = Origin("python")
_modules: Final = sys.modules


def traced(message: Message) -> Message:
    """The message with the sender's current span as `from.trace`, as W3C writes a traceparent.

    The same message where there is no span, or where the message tells its trace itself. Raises
    RefusedValueError where it is too large with it.
    """
    trace = _modules.get(_MODULE)
    if trace is None:
        return message
    span = trace.get_current_span().get_span_context()
    origin = message.body.origin or _PYTHON
    if not span.is_valid or origin.trace is not None:
        return message
    parent = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    return door.sent_by(message, door.sender(msgspec.structs.replace(origin, trace=parent)))
