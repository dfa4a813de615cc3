"""The state, and the one function that changes it.

`State.apply` takes messages that passed the door, live or from a journal, in the order of their
seqs. Rules that the rest of the project stands on:

- it is total: what depends on the state is a result (`missing`, `conflict`), not an exception;
- it is deterministic: no clock, no randomness, no settings; bounds are part of the state;
- what it keeps is owned by the state: the bodies it is given are never changed by anybody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

import msgspec

from penin.core.artifacts import NumericVectorArtifact
from penin.core.knowledge import KnowledgeBase
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
    PutDocument,
    RemoveDocument,
    RemoveKnowledge,
    Result,
    SetHistoryMaxlen,
    Transaction,
)

HISTORY_MAXLEN_DEFAULT: Final = 1000
TASK_HISTORY: Final = "task_history"
SCORE_HISTORY: Final = "score_history"
_NO_METADATA: Final = b"{}"


class History(deque[Any]):
    """A bounded deque, oldest dropped first, that its readers cannot change.

    `apply` changes it through `deque`'s own methods (`deque.append(history, item)`).
    """

    __slots__ = ()

    def _refuse(self, *_: object) -> NoReturn:
        msg = "a history is changed by transitions only: add_task, add_score, append_history"
        raise TypeError(msg)

    append = appendleft = extend = extendleft = insert = remove = rotate = _refuse
    pop = popleft = clear = reverse = _refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    __hash__ = None

    # A copy, of whatever kind, is a plain deque that its owner may change.

    def copy(self) -> deque[Any]:  # type: ignore[override]  # it is no history of a state
        """A plain deque with the same items and bound."""
        return deque(self, self.maxlen)

    __copy__ = copy  # type: ignore[assignment]

    def __add__(self, other: deque[Any]) -> deque[Any]:  # type: ignore[override]
        return self.copy() + other

    def __mul__(self, number: int) -> deque[Any]:  # type: ignore[override]
        return self.copy() * number

    __rmul__ = __mul__  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return deque, (list(self), self.maxlen)


class Histories(dict[str, History]):
    """Name -> history; `task_history` and `score_history` always exist."""

    __slots__ = ()


class StateView(msgspec.Struct, frozen=True):
    """The whole state at one seq, for a snapshot; later changes do not reach it."""

    seq: int
    history_maxlen: int | None
    knowledge_base: KnowledgeBase
    histories: dict[str, tuple[int | None, list[Any]]]
    documents: dict[str, Any]
    history_seqs: dict[str, int]
    document_seqs: dict[str, int]


class State:
    """Knowledge base, histories, documents and their bounds, with the seq of the last transition.

    `history_maxlen` is the bound of histories that are made from now on (None: no bound).
    """

    __slots__ = (
        "document_seqs",
        "documents",
        "histories",
        "history_maxlen",
        "history_seqs",
        "knowledge_base",
        "score_history",
        "seq",
        "task_history",
    )

    def __init__(self, history_maxlen: int | None = HISTORY_MAXLEN_DEFAULT) -> None:
        self.seq = 0
        self.history_maxlen = history_maxlen
        self.knowledge_base = KnowledgeBase()
        self.histories = Histories()
        self.documents: dict[str, Any] = {}
        self.history_seqs: dict[str, int] = {}
        self.document_seqs: dict[str, int] = {}
        self.set_history(TASK_HISTORY, (), history_maxlen)
        self.set_history(SCORE_HISTORY, (), history_maxlen)

    def set_history(self, name: str, items: Iterable[Any], maxlen: int | None) -> None:
        """Make or replace a history; the newest `maxlen` items stay."""
        history = History(items, maxlen)
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
            msg = f"the state is at seq {self.seq}, and the message begins at {first_seq}"
            raise AssertionError(msg)
        if type(body) is Transaction:
            return self._apply_transaction(body, first_seq)
        result = _APPLY[type(body)](self, body, first_seq)
        self.seq = first_seq
        if result is OK:
            return Ack(first_seq)
        return Ack(first_seq, result, first_seq if result is CONFLICT else None)

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
        for seq, transition in enumerate(body.transitions, first_seq):
            if type(transition) is PutDocument:
                name = transition.name
                now = changed.get(name, self.document_seqs.get(name, 0))
                if transition.if_seq is not None and transition.if_seq != now:
                    return seq
                changed[name] = seq
            elif type(transition) is RemoveDocument:
                changed[transition.name] = 0
        return None

    def view(self) -> StateView:
        """The state as it is now, for a snapshot."""
        return StateView(
            seq=self.seq,
            history_maxlen=self.history_maxlen,
            knowledge_base=self.knowledge_base.view(),
            histories={
                name: (history.maxlen, list(history)) for name, history in self.histories.items()
            },
            documents=self.documents.copy(),
            history_seqs=self.history_seqs.copy(),
            document_seqs=self.document_seqs.copy(),
        )


# -- one function a transition: (state, transition, seq) -> result -----------------------------


def _add_knowledge(state: State, body: AddKnowledge, seq: int) -> Result:
    vector = body.vector
    artifact = NumericVectorArtifact.from_parts(vector.dtype, vector.data, bytes(body.metadata))
    state.knowledge_base.put(body.key, artifact, seq)
    return OK


def _extend_knowledge(state: State, body: ExtendKnowledge, seq: int) -> Result:
    data = body.matrix.data
    dtype = body.matrix.dtype
    row_bytes = len(data) // len(body.keys)
    for index, key in enumerate(body.keys):
        metadata = _NO_METADATA if body.metadata is None else bytes(body.metadata[index])
        row = data[index * row_bytes : (index + 1) * row_bytes]
        artifact = NumericVectorArtifact.from_parts(dtype, row, metadata)
        state.knowledge_base.put(key, artifact, seq)
    return OK


def _remove_knowledge(state: State, body: RemoveKnowledge, _seq: int) -> Result:
    return OK if state.knowledge_base.remove(body.key) else MISSING


def _add_task(state: State, body: AddTask, seq: int) -> Result:
    deque.append(state.task_history, body.task)
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
        state.set_history(body.name, (body.value,), state.history_maxlen)
    else:
        deque.append(history, body.value)
    state.history_seqs[body.name] = seq
    return OK


def _put_document(state: State, body: PutDocument, seq: int) -> Result:
    if body.if_seq is not None and body.if_seq != state.document_seqs.get(body.name, 0):
        return CONFLICT
    state.documents[body.name] = body.value
    state.document_seqs[body.name] = seq
    return OK


def _remove_document(state: State, body: RemoveDocument, _seq: int) -> Result:
    if body.name not in state.documents:
        return MISSING
    del state.documents[body.name]
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
        state.set_history(name, state.histories[name], body.maxlen)
        state.history_seqs[name] = seq
    return OK


_APPLY: Final[dict[type, Callable[[State, Any, int], Result]]] = {
    AddKnowledge: _add_knowledge,
    ExtendKnowledge: _extend_knowledge,
    RemoveKnowledge: _remove_knowledge,
    AddTask: _add_task,
    AddScore: _add_score,
    ExtendScores: _extend_scores,
    AppendHistory: _append_history,
    PutDocument: _put_document,
    RemoveDocument: _remove_document,
    SetHistoryMaxlen: _set_history_maxlen,
}
