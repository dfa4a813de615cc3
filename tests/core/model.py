"""The state as plain dictionaries and deques: what every call must do, in the fewest words.

The slow and obvious double of `OmegaMetaOrchestrator`, for tests that compare the two after any
sequence of calls.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from tests.core.strategies import Call

SEED_HISTORIES = ("task_history", "score_history")


class Knowledge(dict[str, NumericVectorArtifact]):
    """A knowledge base in the order of each key's last change, with the order of its columns."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[tuple[str, int]] = []

    def put(self, key: str, artifact: NumericVectorArtifact) -> None:
        self.pop(key, None)
        self[key] = artifact
        self._order_kinds()

    def remove(self, key: str) -> bool:
        found = self.pop(key, None) is not None
        self._order_kinds()
        return found

    def _order_kinds(self) -> None:
        present = [kind_of(artifact) for artifact in self.values()]
        self.kinds = [kind for kind in dict.fromkeys(self.kinds + present) if kind in present]

    def order(self) -> list[str]:
        """The keys column by column: columns by their first vector, rows by their last change."""
        return sorted(self, key=lambda key: self.kinds.index(kind_of(self[key])))


def kind_of(artifact: NumericVectorArtifact) -> tuple[str, int]:
    return artifact.dtype.str, len(artifact)


class Model:
    """The same writers as the orchestrator; each returns the result and uses one seq."""

    def __init__(self, maxlen: int) -> None:
        self.seq = 0
        self.maxlen: int | None = maxlen
        self.knowledge = Knowledge()
        self.histories: dict[str, deque[Any]] = {
            name: deque(maxlen=maxlen) for name in SEED_HISTORIES
        }
        self.documents: dict[str, tuple[int, Any]] = {}

    def run(self, call: Call) -> str:
        """Make one call and return its result."""
        name, arguments, keywords = call
        self.seq += 1
        result: str | None = getattr(self, name)(*arguments, **keywords)
        return result or "ok"

    def add_knowledge(self, key: str, artifact: NumericVectorArtifact) -> None:
        self.knowledge.put(key, artifact)

    def remove_knowledge(self, key: str) -> str | None:
        return None if self.knowledge.remove(key) else "missing"

    def extend_knowledge(
        self, keys: list[str], matrix: np.ndarray, metadata: list[dict[str, Any]] | None = None
    ) -> None:
        for row, key in enumerate(keys):
            each = None if metadata is None else metadata[row]
            self.knowledge.put(key, NumericVectorArtifact(matrix[row], each))

    def add_task(self, task: dict[str, Any]) -> None:
        self.histories["task_history"].append(task)

    def add_score(self, score: float) -> None:
        self.histories["score_history"].append(score)

    def extend_scores(self, scores: list[float]) -> None:
        self.histories["score_history"].extend(scores)

    def append_history(self, name: str, value: Any) -> None:
        self.histories.setdefault(name, deque(maxlen=self.maxlen)).append(value)

    def put_document(self, name: str, value: Any, if_seq: int | None = None) -> str | None:
        changed_at, _ = self.documents.get(name, (0, None))
        if if_seq is not None and if_seq != changed_at:
            return "conflict"
        self.documents[name] = (self.seq, value)
        return None

    def remove_document(self, name: str) -> str | None:
        return "missing" if self.documents.pop(name, None) is None else None

    def set_history_maxlen(self, maxlen: int | None, name: str | None = None) -> str | None:
        if name is None:
            self.maxlen = maxlen
            names = list(self.histories)
        elif name in self.histories:
            names = [name]
        else:
            return "missing"
        for each in names:
            self.histories[each] = deque(self.histories[each], maxlen=maxlen)
        return None

    def contents(self) -> dict[str, Any]:
        """Everything that a reader can see."""
        return {
            "seq": self.seq,
            "knowledge": dict(self.knowledge),
            "histories": self.histories,
            "documents": {name: value for name, (_, value) in self.documents.items()},
        }


def contents(orchestrator: OmegaMetaOrchestrator, *, seq: bool = True) -> dict[str, Any]:
    """The same of an orchestrator, over its public readers."""
    named = {
        name: history
        for name, history in orchestrator.histories.items()
        if name not in SEED_HISTORIES
    }
    return {
        **({"seq": orchestrator.seq} if seq else {}),
        "knowledge": dict(orchestrator.knowledge_base),
        "histories": {
            "task_history": orchestrator.task_history,
            "score_history": orchestrator.score_history,
            **named,
        },
        "documents": {name: orchestrator.get_document(name) for name in orchestrator.documents},
    }
