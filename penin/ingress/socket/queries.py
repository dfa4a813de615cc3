"""What can be asked over the socket: one function for each type of query.

Each takes the members of the request, and writes its reply, in several lines where that may be
long. `write` returns when the reader has room for more, so that no reply is in memory whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pybase64 import b64encode

from penin.core import door
from penin.core.artifacts import NumericVectorArtifact
from penin.core.names import check_name
from penin.core.nearest import Neighbour
from penin.core.values import encode_value, from_wire
from penin.core.vocabulary import vector_of
from penin.errors import RefusedTypeError, RefusedValueError
from penin.ingress.socket import wire
from penin.runtime.found import found_in
from penin.runtime.status import worker_status

if TYPE_CHECKING:
    from penin.runtime.orchestrator import EmbeddedOrchestrator
    from penin.runtime.supervisor import Supervisor

PART_BYTES: Final = 2**18
"""A reply that is a list comes in lines of about this size."""

Members = dict[str, Any]
Write = Callable[[bytes], Awaitable[None]]
Query = Callable[["Supervisor", bytes, Members, Write], Awaitable[None]]

_encode: Final = msgspec.json.Encoder().encode


def check_members(members: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise RefusedValueError for a member that a query does not have."""
    for name in members.keys() - set(known):
        raise RefusedValueError(*door.unknown_field(name))


def _orchestrator(supervisor: Supervisor) -> EmbeddedOrchestrator:
    assert supervisor.orchestrator is not None  # it is there before a server is
    return supervisor.orchestrator


def _name(members: Members, field: str) -> str:
    if field not in members:
        raise RefusedValueError(field, "missing")
    return check_name(members[field], field)


def whole(members: Members, field: str, *, at_least: int, default: int | None = None) -> int:
    """A member that is a whole number. Raises RefusedValueError, RefusedTypeError."""
    number = members.get(field)
    if number is None:
        if default is None:
            raise RefusedValueError(field, "missing")
        return default
    return door.check_whole(number, field, at_least=at_least)


# -- queries -----------------------------------------------------------------------------------


async def _status(supervisor: Supervisor, head: bytes, members: Members, write: Write) -> None:
    check_members(members, ())
    await write(wire.value_line(head, _encode(worker_status(supervisor))))


async def _statistics(supervisor: Supervisor, head: bytes, members: Members, write: Write) -> None:
    check_members(members, ())
    statistics = await _orchestrator(supervisor).statistics()
    await write(wire.value_line(head, encode_value(statistics, "statistics")))


async def _find(supervisor: Supervisor, head: bytes, members: Members, write: Write) -> None:
    check_members(members, ("name",))
    actor = supervisor.actor
    assert actor is not None
    store = supervisor.store.journal.store
    found = found_in(actor.state, _name(members, "name"), store=store, at=actor.at)
    await write(wire.value_line(head, _encode(found)))


async def _get(supervisor: Supervisor, head: bytes, members: Members, write: Write) -> None:
    check_members(members, ("key",))
    key = _name(members, "key")
    orchestrator = _orchestrator(supervisor)
    artifact = await orchestrator.get(key)
    if artifact is None:
        await write(wire.value_line(head, b"null", 0))
        return
    seq = orchestrator.view.knowledge_base.seq_of(key) or 0
    await write(wire.value_line(head, b"{%b}" % _artifact(artifact), seq))


async def _get_document(
    supervisor: Supervisor, head: bytes, members: Members, write: Write
) -> None:
    check_members(members, ("name",))
    name = _name(members, "name")
    view = _orchestrator(supervisor).view
    raw = view.documents.encoded.get(name, b"null")
    await write(wire.value_line(head, raw, view.document_seq(name)))


async def _history(supervisor: Supervisor, head: bytes, members: Members, write: Write) -> None:
    check_members(members, ("name", "last"))
    history = _orchestrator(supervisor).view.histories.get(_name(members, "name"))
    last = whole(members, "last", at_least=0, default=-1)
    # References to what is kept, of one moment: an item itself never changes.
    kept = [] if history is None else list(history.kept())
    newest = kept if last < 0 else kept[max(0, len(kept) - last) :]
    raws = (item if isinstance(item, bytes) else encode_value(item, "item") for item in newest)
    await _write_items(head, raws, write)


async def _nearest(supervisor: Supervisor, head: bytes, members: Members, write: Write) -> None:
    check_members(members, ("vector", "k", "metric", "where", "approximate"))
    if "vector" not in members:
        raise RefusedValueError("vector", "missing")
    approximate = members.get("approximate", False)
    if not isinstance(approximate, bool):
        raise RefusedTypeError("approximate", "neither true nor false")
    found = await _orchestrator(supervisor).nearest(
        vector_of(members["vector"]),
        members.get("k", 10),
        members.get("metric", "cosine"),
        from_wire(members.get("where")),
        approximate=approximate,
    )
    await _write_items(head, map(_neighbour, found), write)


async def _checkpoint(supervisor: Supervisor, head: bytes, members: Members, write: Write) -> None:
    check_members(members, ())
    seq = await _orchestrator(supervisor).checkpoint()
    await write(wire.value_line(head, b"%d" % seq))


async def _prune_knowledge(
    supervisor: Supervisor, head: bytes, members: Members, write: Write
) -> None:
    check_members(members, ("prefix", "before_seq"))
    removed = await _orchestrator(supervisor).prune_knowledge(
        prefix=members.get("prefix"), before_seq=members.get("before_seq")
    )
    await write(wire.value_line(head, b"%d" % removed))


async def _durable(supervisor: Supervisor, head: bytes, members: Members, write: Write) -> None:
    check_members(members, ("seq",))
    orchestrator = _orchestrator(supervisor)
    await orchestrator.durable(whole(members, "seq", at_least=0))
    await write(wire.value_line(head, b"%d" % orchestrator.durable_seq))


QUERIES: Final[dict[str, Query]] = {
    "status": _status,
    "find": _find,
    "get": _get,
    "get_document": _get_document,
    "history": _history,
    "nearest": _nearest,
    "statistics": _statistics,
    "prune_knowledge": _prune_knowledge,
    "checkpoint": _checkpoint,
    "durable": _durable,
}
WAITING: Final = frozenset({"durable"})
"""Queries that may wait for what never comes: a stop does not wait for them."""


# -- replies -----------------------------------------------------------------------------------


def _artifact(artifact: NumericVectorArtifact) -> bytes:
    """The members of an artifact, as a message that adds it has them."""
    dtype, data, metadata = artifact.parts
    return b'"vector":{"dtype":"%b","data":"%b"},"metadata":%b' % (
        dtype.encode(),
        b64encode(data),
        metadata,
    )


def _neighbour(found: Neighbour) -> bytes:
    return b'{"key":%b,"score":%b,%b}' % (
        _encode(found.key),
        encode_value(found.score, "score"),
        _artifact(found.artifact),
    )


async def _write_items(head: bytes, raws: Iterable[bytes], write: Write) -> None:
    iterator = iter(raws)
    part = _part(iterator)
    while True:
        following = _part(iterator)
        await write(wire.items_line(head, part, more=bool(following)))
        if not following:
            return
        part = following


def _part(raws: Iterable[bytes]) -> list[bytes]:
    part: list[bytes] = []
    size = 0
    for raw in islice(raws, PART_BYTES // 2):
        part.append(raw)
        size += len(raw)
        if size >= PART_BYTES:
            break
    return part
