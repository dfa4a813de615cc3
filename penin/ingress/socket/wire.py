"""What goes over the socket, for both ends: JSON lines, their bounds, and errors as JSON.

A request is a JSON object with a `type`: a message of the vocabulary or a query. `request`, a
number or a string that the client chooses, comes back in the reply. The replies of a connection
have the order of its requests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from penin.core.transitions import OK, Ack, Origin
from penin.errors import (
    BusyError,
    ClosedError,
    CorruptionError,
    ForbiddenError,
    IdReusedError,
    JournalFailedError,
    KnowledgeFullError,
    NotKeptError,
    PeninError,
    RefusedTypeError,
    RefusedValueError,
    StorageError,
    StorageFullError,
    UsageError,
)

SOURCE: Final = "socket"
REQUEST_CHARACTERS_MAX: Final = 128
REQUEST_NUMBER_MAX: Final = 2**63 - 1
STOPPING_LINE: Final = b'{"stopping":%b}\n'
CLOSED: Final = "the worker is stopping"

Request = int | str | None


class WireError(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as JSON: `kind` tells the class, `message` is a sentence for a person."""

    kind: str
    message: str
    field: str | None = None
    reason: str | None = None
    path: str | None = None
    position: int | None = None
    id: str | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    size: int | None = None
    max_knowledge: int | None = None


class Reply(msgspec.Struct, frozen=True):
    """Any line from a worker, as its client reads it; what it does not have is None or empty."""

    request: Request = None
    seq: int | None = None
    result: str = OK
    failed_seq: int | None = None
    value: msgspec.Raw = msgspec.Raw(b"")
    items: list[msgspec.Raw] | None = None
    more: bool = False
    error: WireError | None = None
    stopping: str | None = None


_encode: Final = msgspec.json.Encoder().encode
decode_reply: Final = msgspec.json.Decoder(Reply).decode


def head_of(request: Request) -> bytes:
    """The beginning of every reply to a request."""
    if request is None:
        return b"{"
    return (
        b'{"request":%d,' % request
        if type(request) is int
        else (b'{"request":%b,' % _encode(request))
    )


def request_of(content: dict[str, Any]) -> Request:
    """What a request calls itself, taken out of it. Raises RefusedValueError, RefusedTypeError."""
    request = content.pop("request", None)
    if request is None:
        return None
    if type(request) is int:
        if abs(request) > REQUEST_NUMBER_MAX:
            raise RefusedValueError("request", "a number of more than 63 bits")
        return request
    if not isinstance(request, str):
        raise RefusedTypeError("request", "neither a number nor a string")
    if len(request) > REQUEST_CHARACTERS_MAX:
        reason = f"{len(request)} characters are over the limit of {REQUEST_CHARACTERS_MAX}"
        raise RefusedValueError("request", reason)
    return request


def ack_line(head: bytes, ack: Ack) -> bytes:
    """The reply to a message."""
    if ack.result == OK:
        return b'%b"seq":%d,"result":"ok"}\n' % (head, ack.seq)
    if ack.failed_seq is None:
        return b'%b"seq":%d,"result":"%b"}\n' % (head, ack.seq, ack.result.encode())
    return b'%b"seq":%d,"result":"%b","failed_seq":%d}\n' % (
        head,
        ack.seq,
        ack.result.encode(),
        ack.failed_seq,
    )


def sender_of(pid: int | None) -> Origin:
    """Who sends what does not say it: the process at the other end."""
    return Origin(SOURCE, None if pid is None else f"process {pid}")


def value_line(head: bytes, value: bytes, seq: int | None = None) -> bytes:
    """The reply to a query, with the seq of the last change of what was asked for."""
    if seq is None:
        return b'%b"value":%b}\n' % (head, value)
    return b'%b"value":%b,"seq":%d}\n' % (head, value, seq)


def items_line(head: bytes, items: list[bytes], *, more: bool) -> bytes:
    """A part of the reply to a query that gives a list."""
    return b'%b"items":[%b],"more":%b}\n' % (head, b",".join(items), b"true" if more else b"false")


def error_line(head: bytes, error: PeninError) -> bytes:
    """The reply to what was refused or failed."""
    return b'%b"error":%b}\n' % (head, _encode(_wire_error(error)))


def stopping_line(reason: str) -> bytes:
    """The last line of a worker that stops."""
    return STOPPING_LINE % _encode(reason)


# -- errors ------------------------------------------------------------------------------------

_KINDS: Final[dict[str, type[PeninError]]] = {
    "refused_value": RefusedValueError,
    "refused_type": RefusedTypeError,
    "id_reused": IdReusedError,
    "knowledge_full": KnowledgeFullError,
    "not_kept": NotKeptError,
    "storage_full": StorageFullError,
    "journal_failed": JournalFailedError,
    "corruption": CorruptionError,
    "storage": StorageError,
    "closed": ClosedError,
    "busy": BusyError,
    "forbidden": ForbiddenError,
    "usage": UsageError,
}
"""The kind of an error on the wire; of several classes that fit, the most derived one counts."""

KINDS: Final = (*_KINDS, "failed")
"""All kinds; `failed` is every error that has none of its own."""
_KIND_OF: Final = {kind: name for name, kind in _KINDS.items()}


def _wire_error(error: PeninError) -> WireError:
    kind = next((_KIND_OF[base] for base in type(error).__mro__ if base in _KIND_OF), "failed")
    names = [name for name in WireError.__struct_fields__ if name not in ("kind", "message")]
    told = {name: getattr(error, name, None) for name in names}
    if told["path"] is not None:
        told["path"] = str(told["path"])
    return WireError(kind, _printable(str(error)), **told)


def _printable(text: str) -> str:
    """A sentence without lone surrogates, which JSON has no place for."""
    return text.encode("utf-8", "backslashreplace").decode()


def error_of(told: WireError) -> PeninError:
    """The error that a worker has told, of the class that it has there as far as that is known."""
    kind = _KINDS.get(told.kind, PeninError)
    path = Path(told.path or "")
    reason = told.reason or told.message
    made: PeninError
    if kind in (RefusedValueError, RefusedTypeError):
        made = kind(told.field or "message", reason)
    elif kind is IdReusedError:
        made = IdReusedError(told.id or "", told.first_seq or 0)
    elif kind is KnowledgeFullError:
        made = KnowledgeFullError(told.size or 0, told.max_knowledge or 0)
    elif kind is NotKeptError:
        kept = f"; kept is seq {told.first_seq} to {told.last_seq}"
        made = NotKeptError(
            told.field or "seq",
            reason.removesuffix(kept),
            told.first_seq or 0,
            told.last_seq or 0,
        )
    elif kind is CorruptionError:
        position = told.position or 0
        said = reason.removeprefix(f"damaged at byte {position}: ")
        made = CorruptionError(path, position, said)
    elif issubclass(kind, StorageError):
        made = kind(path, reason)
    else:
        made = kind(told.message)
    return made
