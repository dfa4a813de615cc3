"""Whether what messages put into the knowledge base fits into a bound, before they are applied.

What depends on the state at one moment is told here, and what it leads to is explicit: keys that
make room are removed by messages of their own. So a replay knows no bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Final

from penin.core.knowledge import KnowledgeBase
from penin.core.transitions import (
    AddKnowledge,
    AnyBody,
    ExtendKnowledge,
    PutDocument,
    RemoveDocument,
    RemoveKnowledge,
    SetHistoryMaxlen,
    Transaction,
)

EXTRA_MAX: Final = 1024
"""How many more keys than it adds make room for a message, where the bound became smaller."""
_FREEING: Final = frozenset({RemoveKnowledge, RemoveDocument, SetHistoryMaxlen})


class KnowledgeRoom:
    """The keys as they will be when the messages that were admitted are applied.

    For a few messages, which are admitted in their order; nothing else may change the knowledge
    base but they. After some of them were applied, `renew` is called.
    """

    def __init__(self, knowledge_base: KnowledgeBase, size_max: int) -> None:
        self.size = len(knowledge_base)
        self._there = knowledge_base
        self._size_max = size_max
        self._put: dict[str, None] = {}  # by admitted messages, in the order of the last change
        self._removed: set[str] = set()
        self._oldest: Iterator[str] | None = None

    def renew(self) -> None:
        """Some admitted messages are applied now."""
        self._oldest = None

    def admit(self, body: AnyBody, *, evicts: bool) -> list[str] | None:
        """The keys that are to be removed before a message is applied; None where it does not fit.

        Those are the ones whose last change is the oldest, and none that the message is about. With
        `evicts`, it does not fit if it puts more keys than the bound; without, if it would make the
        knowledge base larger than that. One that puts nothing new always fits.
        """
        after = _effect(body)
        puts = [key for key, is_there in after.items() if is_there]
        growth = sum(not self._holds(key) for key in puts)
        growth -= sum(self._holds(key) for key, is_there in after.items() if not is_there)
        need = self.size + growth - self._size_max
        evicted: list[str] = []
        if growth > 0 and need > 0:
            if not evicts or len(puts) > self._size_max:
                return None
            evicted = list(islice(self._victims(after), min(need, growth + EXTRA_MAX)))
        for key in evicted:
            self._remove(key)
        for key, is_there in after.items():
            self._remove(key)
            if is_there:
                self._put[key] = None
        self.size += growth - len(evicted)
        return evicted

    def _holds(self, key: str) -> bool:
        return key in self._put or (key not in self._removed and key in self._there)

    def _remove(self, key: str) -> None:
        self._put.pop(key, None)
        self._removed.add(key)

    def _victims(self, spared: dict[str, bool]) -> Iterator[str]:
        """The keys by their last change, oldest first; what was passed is not looked at again."""
        if self._oldest is None:
            self._oldest = oldest(self._there)
        for key in self._oldest:
            if key not in self._put and key not in self._removed and key not in spared:
                yield key
        yield from [key for key in self._put if key not in spared]


def oldest(knowledge_base: KnowledgeBase) -> Iterator[str]:
    """The keys by their last change, oldest first; to be read before anything is changed."""
    columns = [column.by_change() for column in knowledge_base.columns()]
    return (key for _, key in merge(*columns, key=itemgetter(0)))


def frees_space(body: AnyBody) -> bool:
    """Whether a message only takes something out of the state."""
    if isinstance(body, Transaction):
        return all(type(transition) in _FREEING for transition in body.transitions)
    return type(body) in _FREEING


def _effect(body: AnyBody) -> dict[str, bool]:
    """For each key that a message is about, whether it is there afterwards.

    Of a message with a condition, which may turn out not to hold, only what it puts.
    """
    if isinstance(body, AddKnowledge):
        return {body.key: True}
    if isinstance(body, ExtendKnowledge):
        return dict.fromkeys(body.keys, True)
    if isinstance(body, RemoveKnowledge):
        return {} if body.if_seq is not None else {body.key: False}
    after: dict[str, bool] = {}
    if isinstance(body, Transaction):
        is_conditional = any(
            isinstance(each, PutDocument | RemoveKnowledge) and each.if_seq is not None
            for each in body.transitions
        )
        for each in body.transitions:
            if isinstance(each, AddKnowledge):
                after[each.key] = True
            elif isinstance(each, RemoveKnowledge) and not is_conditional:
                after[each.key] = False
    return after
