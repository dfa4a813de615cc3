"""Reading a state: what the synchronous class and the asynchronous view have in common."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeVar, get_origin, overload

import msgspec
import numpy as np

from penin.core.documents import Documents
from penin.core.histories import History
from penin.core.knowledge import KnowledgeBase
from penin.core.state import State
from penin.errors import RefusedValueError

T = TypeVar("T")


class StateReader:
    """The live state under the names of the seed. Nothing here changes it.

    The mapping, the deques and `documents` are the state itself: they show later changes. What
    they give is a new copy each time, which is the reader's own; so for more than a few items
    `history` is faster than one index after the other.
    """

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def seq(self) -> int:
        """The seq of the last transition in the state; 0 for a new one."""
        return self._state.seq

    @property
    def schema_version(self) -> int:
        """The version of what the owner keeps here; 0 until it is set (`penin.open`)."""
        return self._state.schema_version

    @property
    def knowledge_base(self) -> KnowledgeBase:
        """Key -> artifact, read-only."""
        return self._state.knowledge_base

    @property
    def task_history(self) -> History:
        """The recorded tasks, oldest first; a deque that only transitions change."""
        return self._state.task_history

    @property
    def score_history(self) -> History:
        """The recorded scores, oldest first; a deque that only transitions change."""
        return self._state.score_history

    @property
    def histories(self) -> Mapping[str, History]:
        """Name -> history, `task_history` and `score_history` among them."""
        return MappingProxyType(self._state.histories)

    @property
    def documents(self) -> Documents:
        """Name -> value of each document, read-only."""
        return self._state.documents

    def get_statistics(self) -> dict[str, Any]:
        """The three sizes and `avg_score`: the mean of `score_history`, 0.0 when it is empty."""
        scores = self._state.score_history
        try:
            average = sum(scores) / len(scores) if scores else 0.0
        except OverflowError:  # whole numbers of an original file, beyond what a float holds
            average = sum(map(float, scores)) / len(scores)
        return {
            "knowledge_base_size": len(self._state.knowledge_base),
            "task_history_size": len(self._state.task_history),
            "score_history_size": len(scores),
            "avg_score": average,
        }

    @overload
    def get_document(self, name: str, type: None = None) -> Any: ...
    @overload
    def get_document(self, name: str, type: type[T]) -> T | None: ...
    def get_document(self, name: str, type: Any = None) -> Any:  # as msgspec calls it
        """A copy of a document, or None where there is none.

        With `type` (a dataclass, a Struct, a pydantic model, `datetime`, `uuid.UUID`,
        `numpy.ndarray`, `list[int]`, …) it is converted to that type. Raises RefusedValueError
        where the document does not fit it.
        """
        if name not in self._state.documents:
            return None
        value = self._state.documents[name]
        return value if type is None else as_type(value, type, f"documents.{name}")

    def document_seq(self, name: str) -> int:
        """The seq of the last change of a document, for `if_seq`; 0 where there is none."""
        return self._state.document_seqs.get(name, 0)

    def history(self, name: str, last: int | None = None) -> list[Any]:
        """A copy of the newest `last` items (None: all), oldest first; empty if it is not there."""
        history = self._state.histories.get(name)
        if history is None:
            return []
        if last is None:
            return list(history)
        newest = list(islice(reversed(history), max(0, last)))
        newest.reverse()
        return newest


def as_type(value: Any, kind: Any, field: str) -> Any:
    """A document's value as a type; RefusedValueError, naming `field`, where it does not fit."""
    try:
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return kind(value)
        return msgspec.convert(value, kind, dec_hook=_from_plain)
    except (ValueError, TypeError, msgspec.ValidationError) as error:
        raise RefusedValueError(field, f"not a {kind}: {error}") from error


def _from_plain(kind: Any, value: Any) -> Any:
    """What `msgspec.convert` asks for types that it does not know."""
    if kind is np.ndarray or get_origin(kind) is np.ndarray:
        return np.array(value)
    validate = getattr(kind, "model_validate", None)  # pydantic's name
    if callable(validate):
        return validate(value)
    if isinstance(value, get_origin(kind) or kind):  # an artifact or a deque
        return value
    raise TypeError(f"{kind} cannot be made of {type(value).__name__}")
