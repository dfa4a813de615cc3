"""What can be asked over the socket: one function for each type of query.

Each takes what is asked, and writes its reply, in several lines where that may be long. `write`
returns when the reader has room for more, so that no reply is in memory whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from pybase64 import b64encode

from penin.core import door
from penin.core.artifacts import NumericVectorArtifact
from penin.core.names import check_name
from penin.core.nearest import Neighbour
from penin.core.pruning import pruning_of
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

_encode: Final = msgspec.json.Encoder().encode


class Asked(NamedTuple):
    """A query: of whom, by whom, how its reply begins, its members, and how a line is written."""

    supervisor: Supervisor
    sender: door.Sender
    head: bytes
    members: Members
    write: Write

    async def answer(self, value: bytes, seq: int | None = None) -> None:
        """Write a reply of one line."""
        await self.write(wire.value_line(self.head, value, seq))


Query = Callable[[Asked], Awaitable[None]]


def check_members(members: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise RefusedValueError for a member that a query does not have."""
    for name in members.keys() - set(known):
        raise RefusedValueError(*door.unknown_field(name))


def _orchestrator(asked: Asked) -> EmbeddedOrchestrator:
    assert asked.supervisor.orchestrator is not None  # it is there before a server is
    return asked.supervisor.orchestrator


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


async def _status(asked: Asked) -> None:
    check_members(asked.members, ())
    await asked.answer(_encode(worker_status(asked.supervisor)))


async def _statistics(asked: Asked) -> None:
    check_members(asked.members, ())
    statistics = await _orchestrator(asked).statistics()
    await asked.answer(encode_value(statistics, "statistics"))


async def _find(asked: Asked) -> None:
    check_members(asked.members, ("name",))
    actor = asked.supervisor.actor
    assert actor is not None
    store = asked.supervisor.store.journal.store
    found = found_in(actor.state, _name(asked.members, "name"), store=store, at=actor.at)
    await asked.answer(_encode(found))


async def _get(asked: Asked) -> None:
    check_members(asked.members, ("key",))
    key = _name(asked.members, "key")
    orchestrator = _orchestrator(asked)
    artifact = await orchestrator.get(key)
    if artifact is None:
        await asked.answer(b"null", 0)
        return
    seq = orchestrator.view.knowledge_base.seq_of(key) or 0
    await asked.answer(b"{%b}" % _artifact(artifact), seq)


async def _get_document(asked: Asked) -> None:
    check_members(asked.members, ("name",))
    name = _name(asked.members, "name")
    view = _orchestrator(asked).view
    await asked.answer(view.documents.encoded.get(name, b"null"), view.document_seq(name))


async def _history(asked: Asked) -> None:
    check_members(asked.members, ("name", "last"))
    history = _orchestrator(asked).view.histories.get(_name(asked.members, "name"))
    last = whole(asked.members, "last", at_least=0, default=-1)
    # References to what is kept, of one moment: an item itself never changes.
    kept = [] if history is None else list(history.kept())
    newest = kept if last < 0 else kept[max(0, len(kept) - last) :]
    raws = (item if isinstance(item, bytes) else encode_value(item, "item") for item in newest)
    await _write_items(asked, raws)


async def _nearest(asked: Asked) -> None:
    members = asked.members
    check_members(members, ("vector", "k", "metric", "where", "approximate"))
    if "vector" not in members:
        raise RefusedValueError("vector", "missing")
    approximate = members.get("approximate", False)
    if not isinstance(approximate, bool):
        raise RefusedTypeError("approximate", "neither true nor false")
    found = await _orchestrator(asked).nearest(
        vector_of(members["vector"]),
        members.get("k", 10),
        members.get("metric", "cosine"),
        from_wire(members.get("where")),
        approximate=approximate,
    )
    await _write_items(asked, map(_neighbour, found))


async def _checkpoint(asked: Asked) -> None:
    check_members(asked.members, ())
    await asked.answer(b"%d" % await _orchestrator(asked).checkpoint())


async def _prune_knowledge(asked: Asked) -> None:
    members = asked.members
    check_members(members, ("prefix", "before_seq", "from"))
    sender = door.sender(members["from"]) if "from" in members else asked.sender
    wanted = pruning_of(members.get("prefix"), members.get("before_seq"))
    removed = await _orchestrator(asked).prune_for(sender, wanted)
    await asked.answer(b"%d" % removed)


async def _durable(asked: Asked) -> None:
    check_members(asked.members, ("seq",))
    orchestrator = _orchestrator(asked)
    await orchestrator.durable(whole(asked.members, "seq", at_least=0))
    await asked.answer(b"%d" % orchestrator.durable_seq)


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


async def _write_items(asked: Asked, raws: Iterable[bytes]) -> None:
    iterator = iter(raws)
    part = _part(iterator)
    while True:
        following = _part(iterator)
        await asked.write(wire.items_line(asked.head, part, more=bool(following)))
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
