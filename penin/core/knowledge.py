"""`KnowledgeBase`: key -> artifact, read as a mapping, changed only by `apply`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from penin.core.artifacts import NumericVectorArtifact


class KnowledgeBase(Mapping[str, NumericVectorArtifact]):
    """A mapping of key to artifact in the order in which the keys were first added.

    To its reader it is read-only: `penin.core.state` is the only caller of `put` and `remove`,
    because a change that is not a transition would not survive.
    """

    __slots__ = ("_artifacts", "_seqs")

    def __init__(self) -> None:
        self._artifacts: dict[str, NumericVectorArtifact] = {}
        self._seqs: dict[str, int] = {}

    def __getitem__(self, key: str) -> NumericVectorArtifact:
        return self._artifacts[key]

    def __contains__(self, key: object) -> bool:
        return key in self._artifacts

    def __iter__(self) -> Iterator[str]:
        return iter(self._artifacts)

    def __len__(self) -> int:
        return len(self._artifacts)

    def __repr__(self) -> str:
        return f"KnowledgeBase({self._artifacts!r})"

    def seq_of(self, key: str) -> int:
        """The seq of the last change of a key that is there; 0 for one that is not."""
        return self._seqs.get(key, 0)

    def view(self) -> KnowledgeBase:
        """A copy that later changes do not reach; it shares the artifacts, which are immutable."""
        copy = KnowledgeBase()
        copy._artifacts = self._artifacts.copy()
        copy._seqs = self._seqs.copy()
        return copy

    def put(self, key: str, artifact: NumericVectorArtifact, seq: int) -> None:
        """Set `key`, changed at `seq`."""
        self._artifacts[key] = artifact
        self._seqs[key] = seq

    def remove(self, key: str) -> bool:
        """Remove `key`; whether it was there."""
        self._seqs.pop(key, None)
        return self._artifacts.pop(key, None) is not None
