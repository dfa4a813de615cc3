"""`TransactionBuilder`: what `async with orchestrator.transaction() as t` gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from penin.core import door
from penin.core.artifacts import NumericVectorArtifact
from penin.core.transitions import Ack, Message
from penin.errors import RefusedValueError


class TransactionBuilder:
    """Collects transitions; each call is checked at once and raises as the door does.

    `id` is that of the message; RefusedTypeError or RefusedValueError for what is none.
    `ack` is the answer after the block, None before and where nothing was collected.
    """

    def __init__(self, id: str | None = None) -> None:  # the design's word
        self.ack: Ack | None = None
        self._id = None if id is None else door.check_id(id)
        self._messages: list[Message] = []

    def message(self) -> Message | None:
        """All of it as one message; None if there is nothing in it."""
        if not self._messages:
            return None
        return door.stamp(door.transaction(self._messages), self._id, None)

    def add_knowledge(self, key: str, artifact: NumericVectorArtifact) -> None:
        """Put `artifact` under `key`."""
        self._messages.append(door.add_knowledge(key, artifact))

    def remove_knowledge(self, key: str) -> None:
        """Remove `key`; that it is not there does not abort the transaction."""
        self._messages.append(door.remove_knowledge(key))

    def extend_knowledge(self, *_: object, **__: object) -> NoReturn:
        """Raise RefusedValueError: it may be several messages, and a transaction is one."""
        raise RefusedValueError("extend_knowledge", door.NO_BULK)

    def add_task(self, task: Mapping[str, Any]) -> None:
        """Record `task`."""
        self._messages.append(door.add_task(task))

    def add_score(self, score: float) -> None:
        """Record `score`."""
        self._messages.append(door.add_score(score))

    def extend_scores(self, scores: Iterable[float]) -> None:
        """Record many scores."""
        self._messages.append(door.extend_scores(scores))

    def append_history(self, name: str, value: object) -> None:
        """Append a value to a history."""
        self._messages.append(door.append_history(name, value))

    def put_document(self, name: str, value: object, if_seq: int | None = None) -> None:
        """Set a document; an `if_seq` that does not hold aborts the whole transaction."""
        self._messages.append(door.put_document(name, value, if_seq))

    def remove_document(self, name: str) -> None:
        """Remove a document; that it is not there does not abort the transaction."""
        self._messages.append(door.remove_document(name))

    def set_history_maxlen(self, maxlen: int | None, name: str | None = None) -> None:
        """Bound one history, or all of them."""
        self._messages.append(door.set_history_maxlen(maxlen, name))
