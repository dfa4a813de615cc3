"""Which artifacts of a knowledge base are exported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penin.core.artifacts import FLOAT64, NumericVectorArtifact
from penin.errors import UsageError

NO_METADATA = b"{}"


class Kind(NamedTuple):
    """What the vectors of one matrix have in common."""

    dtype: np.dtype[Any]
    dimension: int

    def __str__(self) -> str:
        return f"{self.dtype.name} of dimension {self.dimension}"


class Member(NamedTuple):
    """One artifact with its key; the metadata as JSON."""

    key: str
    array: NDArray[Any]
    metadata: bytes


def _members(knowledge_base: Mapping[str, NumericVectorArtifact]) -> Iterator[Member]:
    """All artifacts, in the order of the knowledge base; the one place that looks into it."""
    for key, artifact in knowledge_base.items():
        yield Member(key, artifact.array, artifact.parts[2])


class Selection:
    """The artifacts of `dtype` (a name: "float32") and `dimension`; None is any.

    `count` is how many they are, and `written` how many have been given out for writing so far.
    """

    def __init__(
        self,
        knowledge_base: Mapping[str, NumericVectorArtifact],
        dtype: str | None = None,
        dimension: int | None = None,
    ) -> None:
        self._knowledge_base = knowledge_base
        self._dtype = None if dtype is None else np.dtype(dtype)
        self._dimension = dimension
        self._kinds: Counter[Kind] = Counter()
        self.with_metadata = 0
        for member in self.members():
            self._kinds[Kind(member.array.dtype, len(member.array))] += 1
            self.with_metadata += member.metadata != NO_METADATA
        self.count = self._kinds.total()
        self.written = 0

    @property
    def has_metadata(self) -> bool:
        """Whether any of them has metadata."""
        return self.with_metadata > 0

    @property
    def kind(self) -> Kind:
        """What they all are. Raises UsageError where they are not all the same."""
        if not self._kinds:
            return Kind(self._dtype or np.dtype(FLOAT64), self._dimension or 0)
        if len(self._kinds) > 1:
            found = ", ".join(f"{count:,} {kind}" for kind, count in self._kinds.most_common(3))
            more = ", ..." if len(self._kinds) > 3 else ""  # noqa: PLR2004  # those that are shown
            raise UsageError(
                f"one matrix has one dtype and one dimension, and there are {found}{more}: choose "
                "with --dtype and --dimension, or write .jsonl, which holds all"
            )
        return next(iter(self._kinds))

    def members(self) -> Iterator[Member]:
        """The artifacts, in the order of the knowledge base."""
        for member in _members(self._knowledge_base):
            array = member.array
            if (self._dtype is None or array.dtype == self._dtype) and (
                self._dimension is None or len(array) == self._dimension
            ):
                yield member

    def key_texts(self) -> Iterator[str]:
        """Their keys."""
        return (member.key for member in self.members())

    def metadata_texts(self) -> Iterator[str]:
        """Their metadata as JSON."""
        return (member.metadata.decode() for member in self.members())

    def counted(self) -> Iterator[Member]:
        """The artifacts, each counted in `written` as it is given out."""
        for member in self.members():
            self.written += 1
            yield member

    def blocks(self, bytes_max: int) -> Iterator[tuple[list[str], NDArray[Any], list[bytes]]]:
        """Keys, matrix (rows, n) and metadata of about `bytes_max` at a time; counted."""
        block: list[Member] = []
        size = 0
        for member in self.counted():
            block.append(member)
            size += member.array.nbytes + len(member.metadata) + len(member.key)
            if size >= bytes_max:
                yield _joined(block)
                block, size = [], 0
        if block:
            yield _joined(block)


def _joined(block: list[Member]) -> tuple[list[str], NDArray[Any], list[bytes]]:
    keys, arrays, metadata = zip(*block, strict=True)
    return list(keys), np.stack(arrays), list(metadata)
