"""The door: what people hand in becomes a `Message`, or is refused before anything changes.

Every function here takes Python values, checks and converts them, encodes them as the journal will
have them, decodes those bytes again, and compares (`penin.core.values.take_value`). The bytes are
what the state keeps, so a live state and a recovered one are made of the same bytes, and the
caller may change its own dictionary or array as soon as the call returns.

The limits of the door hold for what comes in, never for what is read back.

Raises RefusedTypeError or RefusedValueError, both PeninError, naming the field and the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from pybase64 import b64encode

from penin.core import values
from penin.core.artifacts import (
    FLOAT64,
    NumericVectorArtifact,
    Vector,
    matrix_array,
    refuse_masked,
)
from penin.core.bulk import BULK_BYTES_MAX, Bulk
from penin.core.names import check_name, check_text
from penin.core.transitions import (
    AddKnowledge,
    AddScore,
    AddTask,
    AppendHistory,
    ExtendKnowledge,
    ExtendScores,
    Message,
    Origin,
    PutDocument,
    RemoveDocument,
    RemoveKnowledge,
    Sendable,
    SetHistoryMaxlen,
    Transaction,
    encode_body,
)
from penin.core.values import take_object, take_value
from penin.errors import RefusedTypeError, RefusedValueError
from penin.storage.commits import FRAME_BYTES_MAX

ID_CHARACTERS_MAX: Final = 128
MESSAGE_BYTES_MAX: Final = FRAME_BYTES_MAX - 4096
"""How long a message may be: a commit with it alone still fits a frame."""
SCORES_MAX: Final = BULK_BYTES_MAX // 8
TRANSACTION_TRANSITIONS_MAX: Final = 10_000
"""How many transitions one transaction has; they are applied without a pause."""
HISTORY_MAXLEN_MAX: Final = 2**31 - 1
"""The largest bound of a history; every platform's deque takes it."""
INT64_MAX: Final = 2**63 - 1
NO_BULK: Final = "extend_knowledge may be several messages, and a transaction is one"
_SURELY_EXACT: Final = 2.0**53  # no integer up to here is rounded by a float


def _exact(body: Sendable) -> Message:
    """The message of a transition that is made of checked parts only."""
    return Message(encode_body(body), body)


# -- one transition each ----------------------------------------------------------------------


def add_knowledge(
    key: str, artifact: NumericVectorArtifact, sender: Sender | None = None
) -> Message:
    """`artifact` under `key`."""
    name = check_name(key, "key")
    if not isinstance(artifact, NumericVectorArtifact):
        raise RefusedTypeError(
            "artifact", f"{type(artifact).__name__} is not a NumericVectorArtifact"
        )
    dtype, data, metadata = artifact.parts
    if len(metadata) > values.VALUE_BYTES_MAX:
        raise RefusedValueError(
            "artifact.metadata", f"{len(metadata)} bytes of JSON are over {values.VALUE_BYTES_MAX}"
        )
    # As `encode_body` would have it, whose base64 takes six times as long.
    head = b'{"type":"add_knowledge","key":%b,"vector":{"dtype":"%b","data":"' % (
        encode_body(name),
        dtype.encode(),
    )
    end, origin = (b"}", None) if sender is None else (sender.member, sender.origin)
    raw = b"".join((head, b64encode(data), b'"},"metadata":', metadata, end))
    vector = Vector(dtype, data)
    return Message(raw, AddKnowledge(key=name, vector=vector, metadata=metadata, origin=origin))  # type: ignore[arg-type]


def remove_knowledge(key: str, if_seq: int | None = None) -> Message:
    """Nothing under `key` any more, if the last change of what is there has seq `if_seq`."""
    condition = None if if_seq is None else check_whole(if_seq, "if_seq", at_least=0)
    return removal(check_name(key, "key"), if_seq=condition)


def removal(key: str, *, if_seq: int | None = None, origin: Origin | None = None) -> Message:
    """The same of a key that is there, and may be one that is not taken any more."""
    return _exact(RemoveKnowledge(key=key, if_seq=if_seq, origin=origin))


def extend_knowledge(
    keys: Sequence[str],
    matrix: NDArray[Any],
    metadata: Sequence[Mapping[str, Any]] | None = None,
) -> Bulk:
    """One artifact per row of `matrix`, of shape (len(keys), n); all of it is checked here."""
    return bulk(keys, take_matrix(matrix), metadata)


def take_matrix(matrix: object) -> NDArray[Any]:
    """The numbers of a matrix, checked and not copied: of shape (rows, n)."""
    return matrix_array(matrix, "matrix")


def bulk(
    keys: Sequence[str], rows: NDArray[Any], metadata: Sequence[Mapping[str, Any]] | None
) -> Bulk:
    """What `extend_knowledge` makes of a matrix that was taken; keys and metadata are checked."""
    names = [check_name(key, f"keys[{i}]") for i, key in enumerate(_listed(keys, "keys"))]
    if len(names) != len(rows):
        raise RefusedValueError("keys", f"{len(names)} keys for {len(rows)} rows")
    if len(set(names)) != len(names):
        seen: set[str] = set()
        index = next(i for i, name in enumerate(names) if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise RefusedValueError(f"keys[{index}]", f"{names[index]!r} stands twice")
    raws = None
    if metadata is not None:
        objects = _listed(metadata, "metadata")
        if len(objects) != len(names):
            raise RefusedValueError("metadata", f"{len(objects)} objects for {len(names)} keys")
        raws = [take_object(item, f"metadata[{i}]") for i, item in enumerate(objects)]
    return Bulk(names, rows, raws)


def _listed(items: object, field: str, at_most: int | None = None) -> list[Any]:
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        raise RefusedTypeError(field, f"{type(items).__name__} is not a list")
    try:
        if isinstance(items, np.ndarray) and items.ndim == 1:
            return list(items[:at_most].tolist())  # numbers of Python, at once
        return list(islice(items, at_most))
    except TypeError as error:  # an array without a dimension
        raise RefusedTypeError(field, str(error)) from error


def add_task(task: Mapping[str, Any]) -> Message:
    """`task` at the end of `task_history`; any object that the table makes a dictionary."""
    # A dictionary is an object: a call less, on the way of every task.
    raw = take_value(task, "task") if type(task) is dict else take_object(task, "task")
    return Message(b'{"type":"add_task","task":%b}' % raw, AddTask(task=raw))  # type: ignore[arg-type]


def taken_task(raw: bytes, sender: Sender) -> Message:
    """The same of what `take_object` gave for a task, with who sent it."""
    body = AddTask(task=raw, origin=sender.origin)  # type: ignore[arg-type]
    return Message(b'{"type":"add_task","task":%b%b' % (raw, sender.member), body)


def add_score(score: float) -> Message:
    """`score` at the end of `score_history`; infinities and NaN are kept."""
    number = score if type(score) is float else check_score(score, "score")
    raw = take_value(number, "score")
    return Message(b'{"type":"add_score","score":%b}' % raw, AddScore(score=number))


def check_score(score: object, field: str) -> float:
    """A score as the float that it is; infinities and NaN among them."""
    plain = score.item() if isinstance(score, np.generic) else score
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise RefusedTypeError(field, f"{type(score).__name__} is not a number")
    try:
        number = float(plain)
    except OverflowError:
        number = float("inf")
    if number != plain and number == number:  # noqa: PLR0124  # NaN is the one unequal to itself
        raise RefusedValueError(field, "a float does not hold this integer exactly")
    return number


def extend_scores(scores: Iterable[float]) -> Message:
    """`scores`, in order, at the end of `score_history`; at most SCORES_MAX of them."""
    if isinstance(scores, np.ndarray):
        refuse_masked(scores, "scores")
    if isinstance(scores, np.ndarray) and scores.dtype == np.float64 and scores.ndim == 1:
        array = np.ascontiguousarray(scores).astype(FLOAT64)
        _check_scores_count(array.size)
    else:
        array = _scores_array(_listed(scores, "scores", at_most=SCORES_MAX + 1))
    return _exact(ExtendScores(scores=Vector(FLOAT64, array.tobytes())))


def _scores_array(listed: list[Any]) -> NDArray[Any]:
    _check_scores_count(len(listed))
    kinds = set(map(type, listed))
    if kinds == {int}:
        exact = min(listed) >= -_SURELY_EXACT and max(listed) <= _SURELY_EXACT
    else:
        exact = kinds == {float}
    if exact:
        return np.array(listed, FLOAT64)
    return np.array([check_score(item, f"scores[{i}]") for i, item in enumerate(listed)], FLOAT64)


def _check_scores_count(count: int) -> None:
    if count == 0:
        raise RefusedValueError("scores", "empty")
    if count > SCORES_MAX:
        raise RefusedValueError("scores", f"more than the limit of {SCORES_MAX} scores")


def append_history(name: str, value: object) -> Message:
    """`value` at the end of the history `name`; the two histories of the seed keep their types."""
    checked = check_name(name, "name")
    if checked == "task_history":
        return add_task(value)  # type: ignore[arg-type]  # checked there
    if checked == "score_history":
        return add_score(value)  # type: ignore[arg-type]  # checked there
    raw = take_value(value, "value")
    encoded = b'{"type":"append_history","name":%b,"value":%b}' % (encode_body(checked), raw)
    return Message(encoded, AppendHistory(name=checked, value=raw))  # type: ignore[arg-type]


def put_document(name: str, value: object, if_seq: int | None = None) -> Message:
    """`value` as the document `name`, if its last change has seq `if_seq` (0: there is none)."""
    checked = check_name(name, "name")
    condition = None if if_seq is None else check_whole(if_seq, "if_seq", at_least=0)
    raw = take_value(value, "value")
    tail = b"}" if condition is None else b',"if_seq":%d}' % condition
    encoded = b'{"type":"put_document","name":%b,"value":%b%b' % (encode_body(checked), raw, tail)
    body = PutDocument(name=checked, value=raw, if_seq=condition)  # type: ignore[arg-type]
    return Message(encoded, body)


def remove_document(name: str) -> Message:
    """No document `name` any more."""
    return _exact(RemoveDocument(name=check_name(name, "name")))


def set_history_maxlen(maxlen: int | None, name: str | None = None) -> Message:
    """Bound the history `name`, or all histories; None is no bound."""
    bound = None if maxlen is None else check_maxlen(maxlen)
    checked = None if name is None else check_name(name, "name")
    return _exact(SetHistoryMaxlen(maxlen=bound, name=checked))


def check_maxlen(maxlen: int) -> int:
    """The bound of a history: an integer from 1 to HISTORY_MAXLEN_MAX."""
    return check_whole(maxlen, "maxlen", at_least=1, at_most=HISTORY_MAXLEN_MAX)


def check_whole(number: object, field: str, *, at_least: int, at_most: int = INT64_MAX) -> int:
    """A number as the integer that it is, within its limits."""
    plain = number.item() if isinstance(number, np.integer) else number
    if isinstance(plain, bool) or not isinstance(plain, int):
        raise RefusedTypeError(field, f"{type(number).__name__} is not an integer")
    whole = int.__int__(plain)
    if not at_least <= whole <= at_most:
        # A number of more than 4,300 digits cannot even be shown.
        raise RefusedValueError(
            field, f"{values.shown(whole)} is not between {at_least} and {at_most}"
        )
    return whole


# -- several, and who sent them ---------------------------------------------------------------


def transaction(messages: Sequence[Message]) -> Message:
    """One message of several, each with one transition and without `id` and `from` of its own.

    A bulk of vectors is refused: it may be several messages, and a transaction is one.
    """
    if not messages:
        raise RefusedValueError("transitions", "empty; a transaction has at least one")
    check_transitions_count(len(messages))
    for index, message in enumerate(messages):
        if type(message.body) is ExtendKnowledge:
            raise RefusedValueError(f"transitions[{index}].type", NO_BULK)
    raw = b"".join(
        (
            b'{"type":"transaction","transitions":[',
            b",".join(message.raw for message in messages),
            b"]}",
        )
    )
    _check_message(raw, "transitions")
    bodies: list[Any] = [message.body for message in messages]
    return Message(raw, Transaction(transitions=bodies), len(bodies))


def check_transitions_count(count: int) -> None:
    """Raise RefusedValueError for more than one transaction has."""
    if count > TRANSACTION_TRANSITIONS_MAX:
        raise RefusedValueError(
            "transitions",
            f"{count} transitions are over the limit of {TRANSACTION_TRANSITIONS_MAX}",
        )


def _check_message(raw: bytes, field: str) -> None:
    if len(raw) > MESSAGE_BYTES_MAX:
        raise RefusedValueError(
            field, f"{len(raw)} bytes are over the limit of {MESSAGE_BYTES_MAX}"
        )


def stamp(message: Message, id: str | None, origin: Origin | None) -> Message:  # the design's word
    """The same message with an `id` (and then the digest of its content) and with who sent it."""
    named = message if id is None else _identified(message, check_id(id))
    return named if origin is None else sent_by(named, sender(origin))


def _identified(message: Message, id: str) -> Message:
    digest = sha256(message.raw).hexdigest()
    raw = b'%b,"id":%b,"digest":"%b"}' % (message.raw[:-1], encode_body(id), digest.encode())
    return _with_member(message, raw, id=id, digest=digest)


class Sender(NamedTuple):
    """Who sent messages, checked once for all of them."""

    origin: Origin
    member: bytes
    """As the last member of a message, with the end of it."""


def sender(origin: Origin) -> Sender:
    """What `sent_by` takes."""
    checked = take_origin(origin)
    return Sender(checked, _member(checked))


def sent_by(message: Message, sender: Sender) -> Message:
    """The same message with who sent it, in place of who did by its own account."""
    before = message.body.origin
    start = message.raw[:-1] if before is None else message.raw.removesuffix(_member(before))
    return _with_member(message, start + sender.member, origin=sender.origin)


def _member(origin: Origin) -> bytes:
    return b',"from":%b}' % encode_body(origin)


def _with_member(message: Message, raw: bytes, **members: object) -> Message:
    """A message with further members, and its bytes with them."""
    _check_message(raw, "message")
    return Message(raw, msgspec.structs.replace(message.body, **members), message.count)


def check_id(identity: object) -> str:
    """What a message is called by its sender: a text of 1 to ID_CHARACTERS_MAX characters."""
    if isinstance(identity, str) and not 1 <= str.__len__(identity) <= ID_CHARACTERS_MAX:
        raise RefusedValueError(
            "id", f"{str.__len__(identity)} characters; it has 1 to {ID_CHARACTERS_MAX}"
        )
    return check_name(identity, "id")


def take_origin(sender: Origin | Mapping[str, Any]) -> Origin:
    """Who sent a message, with plain and bounded members, of an `Origin` or of its mapping."""
    if isinstance(sender, Origin):
        source, name, line, trace = sender.source, sender.name, sender.line, sender.trace
    elif isinstance(sender, Mapping):
        members: dict[Any, Any] = dict(sender)
        if "source" not in members:
            raise RefusedValueError("from.source", "missing")
        source, name, line, trace = (members.pop(each, None) for each in Origin.__struct_fields__)
        for unknown in members:
            raise RefusedValueError(*unknown_field(unknown, "from"))
    else:
        raise RefusedTypeError("from", f"{type(sender).__name__} is not a JSON object")
    return Origin(
        check_text(source, "from.source"),
        None if name is None else check_text(name, "from.name"),
        None if line is None else check_whole(line, "from.line", at_least=0),
        None if trace is None else check_text(trace, "from.trace"),
    )


def unknown_field(name: object, inside: str = "") -> tuple[str, str]:
    """Field and reason for a member that nobody knows, whatever its name is made of."""
    shown = values.shown(name)
    plain = isinstance(name, str) and name.isprintable() and len(name) <= values.SHOWN_MAX
    field = ".".join(part for part in (inside, str(name) if plain else "") if part)
    return field or "message", "no such field here" if plain else f"no such field here: {shown}"
