"""The state of what stands in a snapshot file, and what a file may hold that no state can.

A file of version 2 with the right digest is what a state wrote, and is trusted. One of version 1 is
what somebody's Python wrote, and an edited one is what somebody typed: both are looked at whole.
Raises RefusedValueError or RefusedTypeError with the place in the file.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

import msgspec

from penin.core import values
from penin.core.artifacts import NumericVectorArtifact, typed_vector
from penin.core.message_ids import MESSAGE_IDS_MAX_DEFAULT, KnownMessage
from penin.core.serialization import state_decoder
from penin.core.state import HISTORY_MAXLEN_DEFAULT, SCORE_HISTORY, TASK_HISTORY, State
from penin.core.transitions import MessageDigest, MessageId
from penin.errors import RefusedError, RefusedTypeError, RefusedValueError

_BOUND_MAX: Final = 2**31 - 1


class Deque(msgspec.Struct):
    """A history in a file of version 2."""

    items: list[Any]
    maxlen: int | None = None


class Artifact(msgspec.Struct):
    """An artifact in a file of version 2."""

    vector: list[Any]
    metadata: msgspec.Raw
    dtype: str = "float64"


class Answer(msgspec.Struct):
    """What a message with an `id` was answered, in a file of version 2."""

    seq: int
    digest: MessageDigest
    result: Literal["ok", "missing", "conflict"]
    failed_seq: int | None = None

    def known(self, id: str) -> KnownMessage:  # the design's word
        """The same with the `id` that it stands under."""
        # One text for each result, however many there are.
        return KnownMessage(id, self.seq, self.digest, sys.intern(self.result), self.failed_seq)


class File(msgspec.Struct):
    """A file of version 2; one of a time before ids were answered has no bound of them."""

    store: str | None
    epoch: int | None
    seq: int
    at: str | None
    schema_version: int
    journal_hash: str | None
    history_maxlen: int | None
    knowledge_base: dict[str, Artifact]
    task_history: Deque
    score_history: Deque
    histories: dict[str, Deque]
    documents: dict[str, Any]
    seqs: dict[str, dict[str, int]]
    message_ids: dict[MessageId, Answer] = {}
    message_ids_max: int = MESSAGE_IDS_MAX_DEFAULT


# -- version 2, edited ----------------------------------------------------------------------------


def state_of_edited(file: File) -> State:
    """The same of a file that somebody edited, after a look at all of it."""
    for name in ("seq", "schema_version"):
        if getattr(file, name) < 0:
            raise RefusedValueError(name, "below 0")
    _check_bound(file.history_maxlen, "history_maxlen")
    state = State(file.history_maxlen)
    state.seq = file.seq
    state.schema_version = file.schema_version
    key_seqs = _checked_seqs(file, "knowledge_base")
    for key, entry in file.knowledge_base.items():
        _check_name(key, "knowledge_base")
        with _place(f"knowledge_base.{key}"):
            state.knowledge_base.put(key, *_checked_artifact(entry).parts, key_seqs.get(key, 0))
    seed = {TASK_HISTORY: file.task_history, SCORE_HISTORY: file.score_history}
    for name, history in seed.items():
        _put_checked_history(state, name, history, name)
    for name, history in file.histories.items():
        _check_name(name, "histories")
        if name in seed:
            raise RefusedValueError(f"histories.{name}", "it has a place of its own")
        _put_checked_history(state, name, history, f"histories.{name}")
    for name, item in file.documents.items():
        _check_name(name, "documents")
        value = _checked_value(item, f"documents.{name}")
        state.documents.encoded[name] = values.encode_value(value, f"documents.{name}")
    _put_checked_ids(state, file)
    # What was edited away has no seq any more.
    histories, documents = _checked_seqs(file, "histories"), _checked_seqs(file, "documents")
    state.history_seqs = {key: seq for key, seq in histories.items() if key in state.histories}
    state.document_seqs = {key: seq for key, seq in documents.items() if key in state.documents}
    return state


def _put_checked_ids(state: State, file: File) -> None:
    _check_bound(file.message_ids_max, "message_ids_max")
    state.message_ids.bound(file.message_ids_max)
    for name, answer in sorted(file.message_ids.items(), key=lambda member: member[1].seq):
        seqs = answer.seq, answer.seq if answer.failed_seq is None else answer.failed_seq
        if not 0 < min(seqs) <= max(seqs) <= file.seq:
            raise RefusedValueError(f"message_ids.{name}", "not between 1 and the file's seq")
        state.message_ids.put(answer.known(name))


@contextmanager
def _place(place: str) -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        raise RefusedValueError(place, str(error)) from error


def _checked_seqs(file: File, group: str) -> dict[str, int]:
    if group not in file.seqs:
        raise RefusedValueError(f"seqs.{group}", "missing")
    for name, seq in file.seqs[group].items():
        if not 0 <= seq <= file.seq:
            raise RefusedValueError(f"seqs.{group}.{name}", "not between 0 and the file's seq")
    return file.seqs[group]


def _checked_artifact(entry: Artifact) -> NumericVectorArtifact:
    array = typed_vector(entry.vector, entry.dtype, "vector")
    if type(_checked_value(msgspec.json.decode(entry.metadata), "metadata")) is not dict:
        raise RefusedTypeError("metadata", "not a JSON object")
    metadata = msgspec.json.format(bytes(entry.metadata), indent=-1)
    return NumericVectorArtifact.from_parts(array.dtype.str, array.tobytes(), metadata)


def _put_checked_history(state: State, name: str, history: Deque, place: str) -> None:
    _check_bound(history.maxlen, f"{place}.maxlen")
    items = []
    for index, item in enumerate(history.items):
        value = _checked_value(item, f"{place}[{index}]")
        if name == TASK_HISTORY and type(value) is not dict:
            raise RefusedTypeError(f"{place}[{index}]", "not a JSON object")
        if name == SCORE_HISTORY:
            _check_score(value, f"{place}[{index}]", (float, int))
        if name != SCORE_HISTORY:
            value = values.encode_value(value, f"{place}[{index}]")
        items.append(value)
    state.set_history(name, items, history.maxlen)


def _checked_value(plain: Any, place: str) -> Any:
    with _place(place):
        value = values.from_wire(plain)
    values.to_wire(value, place, escape=True)
    return value


def _check_name(name: str, place: str) -> None:
    if not name:
        raise RefusedValueError(place, "an empty name")


def _check_bound(maxlen: int | None, place: str) -> None:
    if maxlen is not None and not 0 <= maxlen <= _BOUND_MAX:
        raise RefusedValueError(place, f"not between 0 and {_BOUND_MAX}")


def _check_score(score: Any, place: str, kinds: tuple[type, ...]) -> None:
    if type(score) not in kinds:
        raise RefusedTypeError(place, "not a number")
    try:
        float(score)
    except OverflowError as error:
        raise RefusedValueError(place, "larger than a float can be") from error


# -- version 1 --------------------------------------------------------------------------------


def state_of_version_1(content: Mapping[str, Any]) -> State:
    """The state in the three keys of the original format, revived by `state_decoder`."""
    knowledge = content["knowledge_base"]
    if not isinstance(knowledge, dict):
        raise RefusedTypeError("knowledge_base", "not a JSON object")
    histories: dict[str, deque[Any]] = {}
    for name in (TASK_HISTORY, SCORE_HISTORY):
        history = content[name]
        if not isinstance(history, (deque, list)):
            raise RefusedTypeError(name, "neither a deque nor a list")
        histories[name] = history if isinstance(history, deque) else deque(history)
    bounds = {history.maxlen for history in histories.values()}
    state = State(bounds.pop() if len(bounds) == 1 else HISTORY_MAXLEN_DEFAULT)
    for key, artifact in knowledge.items():
        values.to_wire(key, "knowledge_base", escape=True)
        if not isinstance(artifact, NumericVectorArtifact):
            raise RefusedTypeError(f"knowledge_base.{key}", "not a NumericVectorArtifact")
        state.knowledge_base.put(key, *artifact.parts, 0)
    for name, history in histories.items():
        # What could be read and never be written again is refused now.
        encoded = [
            values.encode_value(item, f"{name}[{index}]") for index, item in enumerate(history)
        ]
        if name == SCORE_HISTORY:
            for index, score in enumerate(history):
                _check_score(score, f"{name}[{index}]", (float, int, bool))
        state.set_history(name, history if name == SCORE_HISTORY else encoded, history.maxlen)
    return state


def revive_with_place(plain: Any, place: str = "") -> Any:
    """What `state_decoder` as a hook makes; the place of what it refuses is in the error."""
    if isinstance(plain, list):
        return [revive_with_place(item, f"{place}[{index}]") for index, item in enumerate(plain)]
    if not isinstance(plain, dict):
        return plain
    revived = {
        name: revive_with_place(item, f"{place}.{name}" if place else name)
        for name, item in plain.items()
    }
    try:
        return state_decoder(revived)
    except RefusedError as error:
        raise RefusedValueError(place, str(error)) from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise RefusedValueError(place, values.shown(error)) from error
