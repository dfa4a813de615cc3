"""The vocabulary: every change that a state can go through, as immutable typed structs.

The same names stand in the Python API, in the journal, on stdin and in the logs. In the journal a
transition is one JSON object with its `type`; a *message* is one transition or one `Transaction`,
optionally with `id` (1 to 128 characters) and `from` (who sent it). Behind an `id` stands `digest`,
the SHA-256 of the message without these three; what an older version wrote has none, and is not
remembered (`penin.core.message_ids`).

What is in here passed the door (`penin.core.door`) or was read from a journal that did: `apply`
(`penin.core.state`) never refuses one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec

from penin.core.artifacts import Vector
from penin.core.values import MARK_BYTES, from_wire
from penin.storage.mapped import MappedFile

if TYPE_CHECKING:
    from penin.core.state import State

Result = str
OK: Final = "ok"
MISSING: Final = "missing"
CONFLICT: Final = "conflict"


class Ack(msgspec.Struct, frozen=True, gc=False):
    """The answer to a message: it holds, and these are its number and its result.

    `seq` is the message's last seq. `result` is `ok`, `missing` (what was to be removed or
    resized was not there; nothing changed) or `conflict` (an `if_seq` did not hold; nothing of
    the message took effect, and `failed_seq` is the seq of the transition whose `if_seq` it was).
    """

    seq: int
    result: Result = OK
    failed_seq: int | None = None


class Origin(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who sent a message: `source` (`stdin`, `file`, …), a name, a line number, a trace id."""

    source: str
    name: str | None = None
    line: int | None = None
    trace: str | None = None


MessageId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
MessageDigest = Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


class Body(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="type",
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,  # no cycles: nothing in a body refers to a body, and there are many of them
):
    """What transitions and transactions have in common."""

    id: MessageId | None = None
    digest: MessageDigest | None = None
    origin: Origin | None = msgspec.field(name="from", default=None)


Encoded = msgspec.Raw
"""A value as JSON, decoded when somebody reads it. What the door makes holds bytes instead."""


class Transition(Body, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """One change of the state; `NAMES` are the fields that a log event shows."""

    TYPE: ClassVar[str]

    def subject(self) -> dict[str, Any]:
        """What it is about, for the log: the key, the name, or the counts of a bulk."""
        return {}

    def revived(self) -> Transition:
        """The same with a tagged score turned back; values are revived when they are read."""
        return self


class AddKnowledge(Transition, frozen=True, kw_only=True, gc=False, tag="add_knowledge"):
    """Put an artifact under a key, replacing what is there."""

    TYPE: ClassVar[str] = "add_knowledge"
    key: str
    vector: Vector
    metadata: msgspec.Raw = msgspec.Raw(b"{}")

    def subject(self) -> dict[str, Any]:
        return {"key": self.key}


class SealedPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Some bytes of a sealed file (`penin.storage.sealed`): `size` of them from `start` on."""

    file: str
    start: int
    size: int


class Matrix(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Rows of numbers, one after the other: `data` itself, or the place of it in a file."""

    dtype: str
    data: bytes = b""
    sealed: SealedPlace | None = None


class ExtendKnowledge(Transition, frozen=True, kw_only=True, gc=False, tag="extend_knowledge"):
    """Put one artifact per row of a matrix of shape (len(keys), n), replacing what is there."""

    TYPE: ClassVar[str] = "extend_knowledge"
    keys: list[str]
    matrix: Matrix
    metadata: list[msgspec.Raw] | None = None

    def subject(self) -> dict[str, Any]:
        return {"count": len(self.keys)}


class ExtendSealed(ExtendKnowledge, frozen=True, kw_only=True, gc=False, tag="extend_knowledge"):
    """The same of a matrix with a place, ready to apply: the file is there, and has the digest."""

    file: MappedFile

    @property
    def place(self) -> SealedPlace:
        """Where the rows are in the file."""
        assert self.matrix.sealed is not None
        return self.matrix.sealed


class RemoveKnowledge(Transition, frozen=True, kw_only=True, gc=False, tag="remove_knowledge"):
    """Remove a key and its artifact, only if its last change has the seq `if_seq`."""

    TYPE: ClassVar[str] = "remove_knowledge"
    key: str
    if_seq: int | None = None

    def subject(self) -> dict[str, Any]:
        return {"key": self.key}


class AddTask(Transition, frozen=True, kw_only=True, gc=False, tag="add_task"):
    """Record a task at the end of `task_history`."""

    TYPE: ClassVar[str] = "add_task"
    task: Encoded


class AddScore(Transition, frozen=True, kw_only=True, gc=False, tag="add_score"):
    """Record a score at the end of `score_history`."""

    TYPE: ClassVar[str] = "add_score"
    score: float | dict[str, str]

    def revived(self) -> AddScore:
        return msgspec.structs.replace(self, score=from_wire(self.score))


class ExtendScores(Transition, frozen=True, kw_only=True, gc=False, tag="extend_scores"):
    """Record many scores, in order, at the end of `score_history`."""

    TYPE: ClassVar[str] = "extend_scores"
    scores: Vector

    def subject(self) -> dict[str, Any]:
        return {"count": len(self.scores.data) // 8}


class AppendHistory(Transition, frozen=True, kw_only=True, gc=False, tag="append_history"):
    """Append a value to a history, which is made if it is not there."""

    TYPE: ClassVar[str] = "append_history"
    name: str
    value: Encoded

    def subject(self) -> dict[str, Any]:
        return {"name": self.name}


class PutDocument(Transition, frozen=True, kw_only=True, gc=False, tag="put_document"):
    """Set a document, only if its last change has the seq `if_seq` (0: only if there is none)."""

    TYPE: ClassVar[str] = "put_document"
    name: str
    value: Encoded
    if_seq: int | None = None

    def subject(self) -> dict[str, Any]:
        return {"name": self.name}


class RemoveDocument(Transition, frozen=True, kw_only=True, gc=False, tag="remove_document"):
    """Remove a document."""

    TYPE: ClassVar[str] = "remove_document"
    name: str

    def subject(self) -> dict[str, Any]:
        return {"name": self.name}


class SetHistoryMaxlen(Transition, frozen=True, kw_only=True, gc=False, tag="set_history_maxlen"):
    """Bound one history, or (name None) all of them and those made later; null is no bound."""

    TYPE: ClassVar[str] = "set_history_maxlen"
    maxlen: int | None
    name: str | None = None

    def subject(self) -> dict[str, Any]:
        return {"name": self.name, "maxlen": self.maxlen}


AnyTransition = (
    AddKnowledge
    | ExtendKnowledge
    | RemoveKnowledge
    | AddTask
    | AddScore
    | ExtendScores
    | AppendHistory
    | PutDocument
    | RemoveDocument
    | SetHistoryMaxlen
)


class Transaction(Body, frozen=True, kw_only=True, gc=False, tag="transaction"):
    """Several transitions as one message: all or nothing, with consecutive seqs."""

    TYPE: ClassVar[str] = "transaction"
    transitions: list[AnyTransition]


class SnapshotFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A snapshot in a sealed file (`penin.storage.sealed`), of one of the two formats."""

    file: str
    format: Literal["json", "safetensors"]


class Rebase(Body, frozen=True, kw_only=True, gc=False, tag="rebase"):
    """Let all content be that of a snapshot, and the schema version another one.

    Without a snapshot, the version alone. Recovery makes it, of what the owner's migrations gave:
    nobody can send one, and it is not part of a transaction.
    """

    TYPE: ClassVar[str] = "rebase"
    schema_version: int
    snapshot: SnapshotFile | None = None


class RebaseLoaded(Rebase, frozen=True, kw_only=True, gc=False, tag="rebase"):
    """The same with a snapshot, ready to apply: `content` is the state in it, for this one use."""

    content: State


class SetMessageIdsMax(Body, frozen=True, kw_only=True, gc=False, tag="set_message_ids_max"):
    """Bound how many message ids are known.

    Recovery makes it, of the setting: nobody can send one, and it is not part of a transaction.
    """

    TYPE: ClassVar[str] = "set_message_ids_max"
    maxlen: int


Sendable = AnyTransition | Transaction
AnyBody = Sendable | Rebase | SetMessageIdsMax


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message that passed the door: its bytes as the journal has them, and what they decode to.

    `count` is the number of seqs that it uses.
    """

    raw: bytes
    body: Sendable
    count: int = 1


def transition_count(body: AnyBody) -> int:
    """How many seqs a message uses."""
    return len(body.transitions) if type(body) is Transaction else 1


encode_body: Final = msgspec.json.Encoder().encode
decode_body: Final = msgspec.json.Decoder(AnyBody).decode
_decode_bodies: Final = msgspec.json.Decoder(list[AnyBody]).decode


def decode_messages(messages: msgspec.Raw | bytes) -> list[AnyBody]:
    """The messages of one commit; `penin.core.replay` makes them ready to apply.

    Raises msgspec.ValidationError for others, and ValueError.
    """
    bodies = _decode_bodies(messages)
    return [revive(body) for body in bodies] if MARK_BYTES in bytes(messages) else bodies


def revive(body: AnyBody) -> AnyBody:
    """A decoded body with its tagged scores turned back."""
    if isinstance(body, Transaction):
        transitions = [transition.revived() for transition in body.transitions]
        return msgspec.structs.replace(body, transitions=transitions)
    return body.revived() if isinstance(body, Transition) else body  # type: ignore[return-value]  # each gives its own kind
