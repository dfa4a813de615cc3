"""Messages as plain mappings: the vocabulary of stdin, of the socket and of `send`.

    {"type": "add_score", "score": 0.85}
    {"type": "transaction", "id": "batch-17", "transitions": [{"type": …}, …]}

Each type goes through the function of `penin.core.door` with its name, so it is checked and
converted as in Python. Tagged values (`{"__type__": "float", "value": "nan"}`) are understood,
because plain JSON has no other way to say them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from penin.core import door
from penin.core.artifacts import (
    DTYPES,
    NumericVectorArtifact,
    Vector,
    matrix_array,
    typed_vector,
)
from penin.core.bulk import BULK_BYTES_MAX
from penin.core.transitions import Body, Message, Origin, Transaction
from penin.core.values import DEPTH_MAX, MARK, from_wire, shown
from penin.errors import RefusedError, RefusedTypeError, RefusedValueError

_ENVELOPE: Final = ("type", "id", "digest", "from")


def message(content: Mapping[str, Any] | Message, origin: Origin | None = None) -> Message:
    """The message of a mapping with a `type`; a `Message` is returned as it is.

    `origin` says who sent it, where the mapping does not (`from`). Raises RefusedValueError or
    RefusedTypeError with the path of the field: `transitions[2].score`.
    """
    if isinstance(content, Message):
        return content
    kind, members = _members(content, "message")
    is_transaction = kind == Transaction.TYPE
    inner = _transaction(members) if is_transaction else _transition(kind, members)
    made = door.stamp(inner, content.get("id"), _origin(content, origin))
    digest = content.get("digest")
    if digest is not None and digest != made.body.digest:
        raise RefusedValueError("digest", "not that of this content, or without an id")
    return made


def _members(content: object, field: str) -> tuple[str, dict[str, Any]]:
    if isinstance(content, Body):
        raise RefusedTypeError(field, "a transition is handed in as a mapping")
    # A dictionary is one; to ask whether something is a Mapping takes longer than all of this.
    if type(content) is not dict and not isinstance(content, Mapping):
        raise RefusedTypeError(field, f"{type(content).__name__} is not a JSON object")
    if "type" not in content:
        raise RefusedValueError("type", "missing")
    kind = content["type"]
    if not isinstance(kind, str) or (kind != Transaction.TYPE and kind not in _READERS):
        known = ", ".join(sorted((*_READERS, Transaction.TYPE)))
        raise RefusedValueError("type", f"{shown(kind)} is none of {known}")
    members = dict(content)
    for name in _ENVELOPE:
        members.pop(name, None)
    return kind, members


def _origin(content: Mapping[str, Any], origin: Origin | None) -> Origin | None:
    if content.get("from") is None:
        return origin
    return door.take_origin(content["from"])


def _transaction(members: dict[str, Any]) -> Message:
    transitions = members.pop("transitions", None)
    _refuse_unknown(members)
    if not isinstance(transitions, (list, tuple)):
        raise RefusedTypeError("transitions", "not a list of transitions")
    door.check_transitions_count(len(transitions))
    inner = []
    for index, content in enumerate(transitions):
        try:
            inner.append(_inner(content))
        except RefusedError as error:
            raise type(error)(f"transitions[{index}].{error.field}", error.reason) from error
    return door.transaction(inner)


def _inner(content: object) -> Message:
    kind, members = _members(content, "transition")
    if kind == Transaction.TYPE:
        raise RefusedValueError("type", "a transaction holds transitions, not transactions")
    for name in ("id", "digest", "from"):
        if name in content:  # type: ignore[operator]  # _members saw that it is a mapping
            raise RefusedValueError(name, "stands on the transaction, not inside it")
    return _transition(kind, members)


def _transition(kind: str, members: dict[str, Any]) -> Message:
    made = _READERS[kind](members)
    _refuse_unknown(members)
    return made


def _refuse_unknown(members: dict[str, Any]) -> None:
    for name in members:
        raise RefusedValueError(*door.unknown_field(name))


def _required(members: dict[str, Any], name: str) -> Any:
    if name not in members:
        raise RefusedValueError(name, "missing")
    return _optional(members, name)


def _optional(members: dict[str, Any], name: str) -> Any:
    """A member with its tagged values turned back."""
    try:
        # Tags nest deeper than what they stand for; the door has the exact limit.
        return from_wire(members.pop(name, None), levels=3 * DEPTH_MAX)
    except RefusedError as error:
        raise type(error)(f"{name}: {error.field}", error.reason) from error


# -- one reader a type ------------------------------------------------------------------------


def _add_knowledge(members: dict[str, Any]) -> Message:
    key = _required(members, "key")
    vector = _required(members, "vector")
    if isinstance(vector, NumericVectorArtifact):
        return door.add_knowledge(key, vector)
    dtype = _optional(members, "dtype")
    encoded = isinstance(vector, dict)
    array = _decoded(vector, "vector") if encoded else typed_vector(vector, dtype, "vector")
    return door.add_knowledge(key, NumericVectorArtifact(array, _optional(members, "metadata")))


def vector_of(vector: Any) -> Any:
    """The numbers of a vector that a mapping has: as they are, or of a dtype and base64."""
    return _decoded(vector, "vector") if isinstance(vector, dict) else vector


def _decoded(vector: Mapping[str, Any], field: str) -> np.ndarray[Any, Any]:
    """Numbers in the journal's form: a dtype and base64; not checked further."""
    try:
        encoded = msgspec.convert(vector, Vector)
        if encoded.dtype not in DTYPES:
            raise RefusedValueError(f"{field}.dtype", f"{shown(encoded.dtype)} is not supported")
        return encoded.array
    except RefusedError:
        raise
    except (msgspec.ValidationError, ValueError) as error:
        raise RefusedValueError(field, str(error)) from error


def _remove_knowledge(members: dict[str, Any]) -> Message:
    return door.remove_knowledge(_required(members, "key"), _optional(members, "if_seq"))


def _extend_knowledge(members: dict[str, Any]) -> Message:
    keys = _required(members, "keys")
    matrix = _required(members, "matrix")
    metadata = _optional(members, "metadata")
    if isinstance(matrix, dict) and MARK not in matrix:
        flat = _decoded(matrix, "matrix")
        if not isinstance(keys, (list, tuple)):
            raise RefusedTypeError("keys", "not a list of keys")
        if not keys or flat.size % len(keys):
            raise RefusedValueError("matrix", f"{flat.size} numbers for {len(keys)} keys")
        matrix = flat.reshape(len(keys), -1)
    messages = list(door.extend_knowledge(keys, matrix_array(matrix, "matrix"), metadata))
    if len(messages) != 1:
        raise RefusedValueError(
            "matrix", f"more than the {BULK_BYTES_MAX} bytes that one message carries"
        )
    return messages[0]


def _add_task(members: dict[str, Any]) -> Message:
    return door.add_task(_required(members, "task"))


def _add_score(members: dict[str, Any]) -> Message:
    return door.add_score(_required(members, "score"))


def _extend_scores(members: dict[str, Any]) -> Message:
    scores = _required(members, "scores")
    return door.extend_scores(_decoded(scores, "scores") if isinstance(scores, dict) else scores)


def _append_history(members: dict[str, Any]) -> Message:
    return door.append_history(_required(members, "name"), _required(members, "value"))


def _put_document(members: dict[str, Any]) -> Message:
    name, value = _required(members, "name"), _required(members, "value")
    return door.put_document(name, value, _optional(members, "if_seq"))


def _remove_document(members: dict[str, Any]) -> Message:
    return door.remove_document(_required(members, "name"))


def _set_history_maxlen(members: dict[str, Any]) -> Message:
    maxlen = _required(members, "maxlen")
    return door.set_history_maxlen(maxlen, _optional(members, "name"))


_READERS: Final[dict[str, Callable[[dict[str, Any]], Message]]] = {
    "add_knowledge": _add_knowledge,
    "remove_knowledge": _remove_knowledge,
    "extend_knowledge": _extend_knowledge,
    "add_task": _add_task,
    "add_score": _add_score,
    "extend_scores": _extend_scores,
    "append_history": _append_history,
    "put_document": _put_document,
    "remove_document": _remove_document,
    "set_history_maxlen": _set_history_maxlen,
}
