"""From a line of the socket to what it asks for."""

from __future__ import annotations

from typing import Any, NamedTuple

from penin.core.door import Sender
from penin.core.transitions import Message
from penin.core.vocabulary import message as message_of
from penin.errors import PeninError, RefusedError, RefusedTypeError, RefusedValueError
from penin.ingress.lines import decode_line, id_in
from penin.ingress.socket import wire
from penin.ingress.socket.queries import QUERIES, Members
from penin.ingress.socket.subscription import SUBSCRIBE
from penin.ingress.typed import typed_message


class Refusal(NamedTuple):
    """Why a line is refused, and the `id` that it gives its message."""

    error: RefusedError
    id: str | None


Parsed = Message | tuple[str, Members] | Refusal
"""A message, a query with its members, or why it is neither."""


def refused(reason: str) -> RefusedValueError:
    """Why a whole line is refused."""
    return RefusedValueError("message", reason)


def parsed(line: bytes, sender: Sender) -> tuple[bytes, Parsed]:
    """How the reply to a line begins, and what the line asks for."""
    head = b"{"
    taken = typed_message(line, sender)
    if taken is not None:
        return head, taken
    content: Any = None
    try:
        content = decode_line(line)
        if not isinstance(content, dict):
            reason = f"{type(content).__name__} is not a JSON object"
            raise RefusedTypeError("message", reason)
        head = wire.head_of(wire.request_of(content))
        kind = content.get("type")
        if isinstance(kind, str) and (kind in QUERIES or kind == SUBSCRIBE):
            del content["type"]
            return head, (kind, content)
        return head, message_of(content, sender.origin)
    except RefusedError as error:
        if error.field == "type" and "type" in content:
            queries = ", ".join(sorted((*QUERIES, SUBSCRIBE)))
            error = RefusedValueError("type", f"{error.reason}, and no query: {queries}")
        return head, Refusal(error, id_in(line))
    except RecursionError:
        return head, Refusal(refused("nested too deep"), id_in(line))
    except PeninError as error:
        return head, Refusal(RefusedTypeError("message", str(error)), id_in(line))
