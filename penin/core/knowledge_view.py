"""`KnowledgeView`: a knowledge base as it was at one moment."""

from __future__ import annotations

from collections.abc import Iterator

from penin.core.artifacts import NumericVectorArtifact
from penin.core.blocks import Block


class KnowledgeView:
    """A knowledge base as it was at one moment, in its order. Any thread may read it."""

    __slots__ = ("_blocks", "_count")

    def __init__(self, blocks: list[Block], count: int) -> None:
        self._blocks = blocks
        self._count = count

    def __len__(self) -> int:
        return self._count

    def blocks(self) -> Iterator[Block]:
        """The segments with their live and dead rows; each has a live row at least."""
        return iter(self._blocks)

    def entries(self) -> Iterator[tuple[str, NumericVectorArtifact, int]]:
        """Key, artifact, and the seq of the last change."""
        for block in self._blocks:
            seqs = block.seqs
            for row in block.rows():
                yield block.key(row), block.artifact(row), int(seqs[row])

    def items(self) -> Iterator[tuple[str, NumericVectorArtifact]]:
        """Key and artifact."""
        return ((key, artifact) for key, artifact, _ in self.entries())

    def keys(self) -> Iterator[str]:
        """The keys."""
        return (block.key(row) for block in self._blocks for row in block.rows())
