"""What is in a state, in numbers: how much of what, without the content itself.

Pure, and in time that grows with the number of segments, history items and documents, not with
that of vectors: of those, keys and lengths are looked at, never a number.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from penin.core import values
from penin.core.blocks import Block
from penin.core.histories import History
from penin.core.knowledge import KnowledgeBase
from penin.core.segments import Kind
from penin.core.state import SCORE_HISTORY, State


class ColumnSummary(msgspec.Struct, frozen=True):
    """All vectors of one dtype and dimension, with what keys and metadata take beside them."""

    dtype: str
    dimension: int
    artifacts: int
    vector_bytes: int
    key_bytes: int
    metadata_bytes: int


class KnowledgeSummary(msgspec.Struct, frozen=True):
    """The knowledge base: its columns, and their sums."""

    artifacts: int
    vector_bytes: int
    key_bytes: int
    metadata_bytes: int
    columns: list[ColumnSummary]


class ScoreSummary(msgspec.Struct, frozen=True):
    """Of the scores: the smallest, the mean and the largest. NaN where one of them is."""

    min: float
    mean: float
    max: float


class HistorySummary(msgspec.Struct, frozen=True):
    """A history: how many items, how many are kept (None: all), the seq of its last change.

    `seq` is None where it never changed, or where that is not known (a file of version 1).
    `scores` is None for what is no `score_history` or has no number in it.
    """

    size: int
    maxlen: int | None
    seq: int | None
    scores: ScoreSummary | None


class DocumentSummary(msgspec.Struct, frozen=True):
    """A document: its size as JSON and the seq of its last change, where that is known."""

    size_bytes: int
    seq: int | None


class StateSummary(msgspec.Struct, frozen=True):
    """The parts of a state. `history_maxlen` is the bound of histories made from now on.

    `histories` and `documents` are None where they could not be read out of a damaged file.
    """

    history_maxlen: int | None
    knowledge_base: KnowledgeSummary
    histories: dict[str, HistorySummary] | None
    documents: dict[str, DocumentSummary] | None


def summary_of(state: State) -> StateSummary:
    """What is in a state.

    Also of one that was read in part from a damaged file: then nothing is said of scores that are
    no numbers. Raises CorruptionError where a mapped snapshot is damaged in the ends of keys or of
    metadata.
    """
    return StateSummary(
        history_maxlen=state.history_maxlen,
        knowledge_base=_of_knowledge(state.knowledge_base),
        histories={
            name: HistorySummary(
                len(history),
                history.maxlen,
                state.history_seqs.get(name),
                _of_scores(history) if name == SCORE_HISTORY else None,
            )
            for name, history in state.histories.items()
        },
        documents={
            name: DocumentSummary(len(encoded), state.document_seqs.get(name))
            for name, encoded in state.documents.encoded.items()
        },
    )


def sum_of_columns(columns: list[ColumnSummary]) -> KnowledgeSummary:
    """The summary of a knowledge base with these columns."""
    return KnowledgeSummary(
        sum(column.artifacts for column in columns),
        sum(column.vector_bytes for column in columns),
        sum(column.key_bytes for column in columns),
        sum(column.metadata_bytes for column in columns),
        columns,
    )


def column_summary(kind: Kind, rows: int, key_bytes: int, metadata_bytes: int) -> ColumnSummary:
    """The summary of `rows` vectors of one kind."""
    dtype = np.dtype(kind[0])
    dimension = kind[1] // dtype.itemsize
    return ColumnSummary(dtype.name, dimension, rows, rows * kind[1], key_bytes, metadata_bytes)


def _of_knowledge(knowledge_base: KnowledgeBase) -> KnowledgeSummary:
    sizes: dict[Kind, list[int]] = {}
    for block in knowledge_base.view().blocks():
        live = block.live
        counts = sizes.setdefault(block.kind, [0, 0, 0])
        counts[0] += int(np.count_nonzero(live))
        for index, ends in enumerate((Block.key_ends, Block.metadata_ends), 1):
            counts[index] += int(np.diff(ends(block))[live].sum())
    return sum_of_columns([column_summary(kind, *counts) for kind, counts in sizes.items()])


def _of_scores(history: History) -> ScoreSummary | None:
    try:
        scores = [_as_float(score) for score in history.kept()]
    except (TypeError, OverflowError):  # of a damaged file
        return None
    if not scores:
        return None
    array = np.array(scores)
    # The mean as everywhere else; the others by numpy, for which NaN wins whatever the order.
    return ScoreSummary(float(array.min()), sum(scores) / len(scores), float(array.max()))


def _as_float(score: Any) -> float:
    if not isinstance(score, (int, float)):
        raise TypeError(f"{values.shown(score)} is no score")
    return float(score)
