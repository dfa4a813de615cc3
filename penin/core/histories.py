"""Histories: bounded deques, oldest dropped first, that their readers cannot change.

Scores are kept as they are, all other items as encoded JSON: that is what the journal and the
snapshots have, and what a reader gets is a new copy, which is the reader's own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NoReturn

from penin.core.values import decode_value


class History(deque[Any]):
    """A bounded deque. `apply` changes it through `deque`'s own methods (`deque.append(…)`)."""

    __slots__ = ()

    def kept(self) -> Iterator[Any]:
        """The items as they are kept, oldest first."""
        return deque.__iter__(self)

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


class EncodedHistory(History):
    """A history whose items are encoded JSON inside and values to its readers."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return map(decode_value, deque.__iter__(self))

    def __reversed__(self) -> Iterator[Any]:
        return map(decode_value, deque.__reversed__(self))

    def __getitem__(self, index: Any) -> Any:
        return decode_value(deque.__getitem__(self, index))

    def __contains__(self, value: object) -> bool:
        return value in iter(self)

    def count(self, value: object) -> int:
        """How many items equal `value`."""
        return self.copy().count(value)

    def index(self, value: object, *bounds: int) -> int:
        """The first position of `value`; raises ValueError where it is not there."""
        return self.copy().index(value, *bounds)

    def __eq__(self, other: object) -> bool:
        return self.copy() == other

    def __ne__(self, other: object) -> bool:
        return self.copy() != other

    def __lt__(self, other: deque[Any]) -> bool:
        return self.copy() < other

    def __le__(self, other: deque[Any]) -> bool:
        return self.copy() <= other

    def __gt__(self, other: deque[Any]) -> bool:
        return self.copy() > other

    def __ge__(self, other: deque[Any]) -> bool:
        return self.copy() >= other

    __hash__ = None


class Histories(dict[str, History]):
    """Name -> history; `task_history` and `score_history` always exist."""

    __slots__ = ()
