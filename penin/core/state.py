"""The state, and the one function that changes it.

`State.apply_all` takes messages that passed the door, live or from a journal, in the order of their
seqs. Rules that the rest of the project stands on:

- it is total: what depends on the state is a result (`missing`, `conflict`), not an exception;
- it is deterministic: no clock, no randomness, no settings; bounds are part of the state;
- what it keeps is owned by the state: the bodies it is given are never changed by anybody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from penin.core.documents import Documents
from penin.core.histories import EncodedHistory, Histories, History
from penin.core.knowledge import KnowledgeBase
from penin.core.knowledge_view import KnowledgeView
from penin.core.mapped import SealedSegment
from penin.core.message_ids import KnownMessage, MessageIds
from penin.core.transitions import (
    CONFLICT,
    MISSING,
    OK,
    Ack,
    AddKnowledge,
    AddScore,
    AddTask,
    AnyBody,
    AppendHistory,
    ExtendKnowledge,
    ExtendScores,
    ExtendSealed,
    PutDocument,
    Rebase,
    RebaseLoaded,
    RemoveDocument,
    RemoveKnowledge,
    Result,
    SetHistoryMaxlen,
    SetMessageIdsMax,
    Transaction,
)

HISTORY_MAXLEN_DEFAULT: Final = 1000
TASK_HISTORY: Final = "task_history"
SCORE_HISTORY: Final = "score_history"


class StateView(msgspec.Struct, frozen=True):
    """The whole state at one seq, for a snapshot; later changes do not reach it.

    `histories` is name -> (bound, items as they are kept), `documents` name -> encoded JSON,
    `message_ids` what was answered to messages with an `id`, oldest first.
    """

    seq: int
    schema_version: int
    history_maxlen: int | None
    knowledge_base: KnowledgeView
    histories: dict[str, tuple[int | None, list[Any]]]
    documents: dict[str, bytes]
    message_ids_max: int
    message_ids: list[KnownMessage]
    history_seqs: dict[str, int]
    document_seqs: dict[str, int]


class State:
    """Knowledge base, histories, documents, message ids and their bounds, with the last seq.

    `history_maxlen` is the bound of histories that are made from now on (None: no bound),
    `schema_version` that of what the owner keeps in it (0 until it is set).
    """

    __slots__ = (
        "document_seqs",
        "documents",
        "histories",
        "history_maxlen",
        "history_seqs",
        "knowledge_base",
        "message_ids",
        "schema_version",
        "score_history",
        "seq",
        "task_history",
    )

    def __init__(self, history_maxlen: int | None = HISTORY_MAXLEN_DEFAULT) -> None:
        self.seq = 0
        self.schema_version = 0
        self.history_maxlen = history_maxlen
        self.knowledge_base = KnowledgeBase()
        self.histories = Histories()
        self.documents = Documents()
        self.message_ids = MessageIds()
        self.history_seqs: dict[str, int] = {}
        self.document_seqs: dict[str, int] = {}
        self.set_history(TASK_HISTORY, (), history_maxlen)
        self.set_history(SCORE_HISTORY, (), history_maxlen)

    def set_history(self, name: str, items: Iterable[Any], maxlen: int | None) -> None:
        """Make or replace a history of items as they are kept; the newest `maxlen` stay."""
        history = (History if name == SCORE_HISTORY else EncodedHistory)(items, maxlen)
        self.histories[name] = history
        if name == TASK_HISTORY:
            self.task_history = history
        elif name == SCORE_HISTORY:
            self.score_history = history

    def apply(self, body: AnyBody, first_seq: int) -> Ack:
        """Apply one message whose transitions have the seqs from `first_seq` on.

        Raises AssertionError if it is not the next one: that is a bug of the caller.
        """
        if first_seq != self.seq + 1:
            raise self._not_the_next(first_seq)
        if type(body) is Transaction:
            ack = self._apply_transaction(body, first_seq)
        else:
            result = _APPLY[type(body)](self, body, first_seq)
            self.seq = first_seq
            if result is OK:
                ack = Ack(first_seq)
            else:
                ack = Ack(first_seq, result, first_seq if result is CONFLICT else None)
        if body.digest is not None:
            self.message_ids.note(body, ack)
        return ack

    def apply_all(self, bodies: Sequence[AnyBody], first_seq: int) -> list[Ack]:
        """Apply messages that follow each other, as `apply` would one by one; an ack for each.

        Neighbours of the same kind are applied at once where there is a way to, which takes half
        the time of a vector.
        """
        if first_seq != self.seq + 1:
            raise self._not_the_next(first_seq)
        acks: list[Ack] = []
        for kind, grouped in groupby(bodies, type):
            apply_run = _APPLY_RUN.get(kind)
            if apply_run is None:
                acks += [self.apply(body, self.seq + 1) for body in grouped]
                continue
            run = list(grouped)
            seqs = range(self.seq + 1, self.seq + 1 + len(run))
            apply_run(self, run, seqs)
            self.seq = seqs[-1]
            acks_of_run = list(map(Ack, seqs))
            for body, ack in zip(run, acks_of_run, strict=True):
                if body.digest is not None:
                    self.message_ids.note(body, ack)
            acks += acks_of_run
        return acks

    def _not_the_next(self, first_seq: int) -> AssertionError:
        msg = f"the state is at seq {self.seq}, and the message begins at {first_seq}"
        return AssertionError(msg)

    def _apply_transaction(self, body: Transaction, first_seq: int) -> Ack:
        last_seq = first_seq + len(body.transitions) - 1
        failed_seq = self._failed_condition(body, first_seq)
        if failed_seq is None:
            for seq, transition in enumerate(body.transitions, first_seq):
                _APPLY[type(transition)](self, transition, seq)
        self.seq = last_seq
        return Ack(last_seq, OK if failed_seq is None else CONFLICT, failed_seq)

    def _failed_condition(self, body: Transaction, first_seq: int) -> int | None:
        """The seq of the first transition whose `if_seq` would not hold; nothing is changed."""
        changed: dict[str, int] = {}
        changed_keys: dict[str, int] = {}
        for seq, transition in enumerate(body.transitions, first_seq):
            if type(transition) is PutDocument:
                name = transition.name
                now = changed.get(name, self.document_seqs.get(name, 0))
                if transition.if_seq is not None and transition.if_seq != now:
                    return seq
                changed[name] = seq
            elif type(transition) is RemoveDocument:
                changed[transition.name] = 0
            elif type(transition) is AddKnowledge:
                changed_keys[transition.key] = seq
            elif type(transition) is RemoveKnowledge:
                key = transition.key
                if transition.if_seq is not None and transition.if_seq != changed_keys.get(
                    key, self.knowledge_base.seq_of(key)
                ):
                    return seq
                changed_keys[key] = 0
        return None

    def view(self) -> StateView:
        """The state as it is now, for a snapshot."""
        return StateView(
            seq=self.seq,
            schema_version=self.schema_version,
            history_maxlen=self.history_maxlen,
            knowledge_base=self.knowledge_base.view(),
            histories={
                name: (history.maxlen, list(history.kept()))
                for name, history in self.histories.items()
            },
            documents=self.documents.encoded.copy(),
            message_ids_max=self.message_ids.maxlen,
            message_ids=self.message_ids.kept(),
            history_seqs=self.history_seqs.copy(),
            document_seqs=self.document_seqs.copy(),
        )


# -- one function a transition: (state, transition, seq) -> result -----------------------------


def _add_knowledge(state: State, body: AddKnowledge, seq: int) -> Result:
    vector = body.vector
    state.knowledge_base.put(body.key, vector.dtype, vector.data, body.metadata, seq)
    return OK


def _extend_knowledge(state: State, body: ExtendKnowledge, seq: int) -> Result:
    matrix = body.matrix
    seqs = [seq] * len(body.keys)
    state.knowledge_base.extend(body.keys, matrix.dtype, matrix.data, body.metadata, seqs)
    return OK


def _extend_sealed(state: State, body: ExtendSealed, seq: int) -> Result:
    kind = body.matrix.dtype, body.place.size // len(body.keys)
    segment = SealedSegment(kind, body.file, body.place.start)
    state.knowledge_base.extend_sealed(body.keys, segment, body.metadata, seq)
    return OK


def _remove_knowledge(state: State, body: RemoveKnowledge, _seq: int) -> Result:
    if body.if_seq is not None and body.if_seq != state.knowledge_base.seq_of(body.key):
        return CONFLICT
    return OK if state.knowledge_base.remove(body.key) else MISSING


def _add_task(state: State, body: AddTask, seq: int) -> Result:
    deque.append(state.task_history, bytes(body.task))
    state.history_seqs[TASK_HISTORY] = seq
    return OK


def _add_score(state: State, body: AddScore, seq: int) -> Result:
    deque.append(state.score_history, body.score)
    state.history_seqs[SCORE_HISTORY] = seq
    return OK


def _extend_scores(state: State, body: ExtendScores, seq: int) -> Result:
    deque.extend(state.score_history, body.scores.array.tolist())
    state.history_seqs[SCORE_HISTORY] = seq
    return OK


def _append_history(state: State, body: AppendHistory, seq: int) -> Result:
    history = state.histories.get(body.name)
    if history is None:
        state.set_history(body.name, (bytes(body.value),), state.history_maxlen)
    else:
        deque.append(history, bytes(body.value))
    state.history_seqs[body.name] = seq
    return OK


def _put_document(state: State, body: PutDocument, seq: int) -> Result:
    if body.if_seq is not None and body.if_seq != state.document_seqs.get(body.name, 0):
        return CONFLICT
    state.documents.encoded[body.name] = bytes(body.value)
    state.document_seqs[body.name] = seq
    return OK


def _remove_document(state: State, body: RemoveDocument, _seq: int) -> Result:
    if body.name not in state.documents:
        return MISSING
    del state.documents.encoded[body.name]
    del state.document_seqs[body.name]
    return OK


def _set_history_maxlen(state: State, body: SetHistoryMaxlen, seq: int) -> Result:
    if body.name is None:
        state.history_maxlen = body.maxlen
        names = list(state.histories)
    elif body.name in state.histories:
        names = [body.name]
    else:
        return MISSING
    for name in names:
        state.set_history(name, state.histories[name].kept(), body.maxlen)
        state.history_seqs[name] = seq
    return OK


def _set_message_ids_max(state: State, body: SetMessageIdsMax, _seq: int) -> Result:
    state.message_ids.bound(body.maxlen)
    return OK


def _set_schema_version(state: State, body: Rebase, _seq: int) -> Result:
    assert body.snapshot is None, "it is not loaded"
    state.schema_version = body.schema_version
    return OK


def _rebase(state: State, body: RebaseLoaded, seq: int) -> Result:
    content = body.content
    assert (content.seq, content.schema_version) == (seq, body.schema_version)
    for name in State.__slots__:
        setattr(state, name, getattr(content, name))
    return OK


_APPLY: Final[dict[type, Callable[[State, Any, int], Result]]] = {
    AddKnowledge: _add_knowledge,
    ExtendKnowledge: _extend_knowledge,
    ExtendSealed: _extend_sealed,
    RemoveKnowledge: _remove_knowledge,
    AddTask: _add_task,
    AddScore: _add_score,
    ExtendScores: _extend_scores,
    AppendHistory: _append_history,
    PutDocument: _put_document,
    RemoveDocument: _remove_document,
    SetHistoryMaxlen: _set_history_maxlen,
    SetMessageIdsMax: _set_message_ids_max,
    Rebase: _set_schema_version,
    RebaseLoaded: _rebase,
}


# -- runs of the same kind, whose result is always ok: (state, transitions, their seqs) --------


def _add_knowledge_run(state: State, run: list[AddKnowledge], seqs: range) -> None:
    dtype, size = run[0].vector.dtype, len(run[0].vector.data)
    data = [body.vector.data for body in run]
    if any(body.vector.dtype != dtype for body in run) or any(len(each) != size for each in data):
        for body, seq in zip(run, seqs, strict=True):
            _add_knowledge(state, body, seq)
        return
    keys = [body.key for body in run]
    metadata = [body.metadata for body in run]
    state.knowledge_base.extend(keys, dtype, b"".join(data), metadata, seqs)


def _add_task_run(state: State, run: list[AddTask], seqs: range) -> None:
    # What the door made is bytes already; what was decoded is a `Raw`, which keeps its whole line.
    tasks = [body.task if type(body.task) is bytes else bytes(body.task) for body in run]
    deque.extend(state.task_history, tasks)
    state.history_seqs[TASK_HISTORY] = seqs[-1]


def _add_score_run(state: State, run: list[AddScore], seqs: range) -> None:
    deque.extend(state.score_history, [body.score for body in run])
    state.history_seqs[SCORE_HISTORY] = seqs[-1]


_APPLY_RUN: Final[dict[type, Callable[[State, list[Any], range], None]]] = {
    AddKnowledge: _add_knowledge_run,
    AddTask: _add_task_run,
    AddScore: _add_score_run,
}
